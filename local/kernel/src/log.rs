//! The log of the background process: its standard error.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard error, which is the cloud's log.
pub fn log(text: Arguments<'_>) {
    // A failed write to the log cannot be reported.
    let _ = writeln!(std::io::stderr(), "{text}");
}
