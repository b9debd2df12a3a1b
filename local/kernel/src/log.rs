//! The log of the background process: its standard error.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard error, which is the cloud's log.
pub fn log(text: Arguments<'_>) {
    // A log that cannot be written has nowhere to say so.
    let _ = writeln!(std::io::stderr(), "{text}");
}
