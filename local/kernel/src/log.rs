//! Log lines of every process of the local cloud.

use std::fmt::Arguments;
use std::io::Write;

/// Logs a line: as an event, or on standard error in a process that has set up no log.
///
/// The processes of instances are such. Their standard error is the same file.
pub fn log(text: Arguments<'_>) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("{text}");
    } else {
        // A failed write cannot be reported: this is the log.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}
