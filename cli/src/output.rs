//! The two streams: results to standard output, everything else to standard error.

use std::io::Write;

use serde::Serialize;

/// Writes text to standard output, with colours if it is a terminal.
pub(crate) fn result(text: &str) {
    let mut out = anstream::stdout();
    // The reader may have closed the pipe.
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Writes text to standard error, with colours if it is a terminal.
pub(crate) fn message(text: &str) {
    let _ = write!(anstream::stderr(), "{text}");
}

/// Writes a value as one line of JSON to standard output.
pub(crate) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => {
            let mut out = std::io::stdout().lock();
            // One write, so that lines from two threads do not mix.
            let _ = out
                .write_all(format!("{line}\n").as_bytes())
                .and_then(|()| out.flush());
        }
        Err(error) => message(&format!("cannot write JSON: {error}\n")),
    }
}
