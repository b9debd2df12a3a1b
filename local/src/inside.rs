//! What goes on inside an instance, in the words of clients.

use serde::{Deserialize, Serialize};

/// A terminal that a command is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalKind {
    /// Its width in characters.
    pub columns: u16,
    /// Its height in lines.
    pub rows: u16,
    /// What programs call it: the variable `TERM`.
    pub term: String,
}

/// A line that an instance has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it was written to standard error.
    pub is_error: bool,
    /// The line without its end.
    pub text: String,
}

/// What is heard of a command in an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// It wrote this to standard output, or to its terminal.
    Output(Vec<u8>),
    /// It wrote this to standard error.
    Errors(Vec<u8>),
    /// It has ended, with this code as shells have it: 128 and the number of the signal that ended it.
    Exited(u8),
}

/// What came of trying to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// Somebody took the connection.
    Open,
    /// Somebody refused it.
    Refused,
    /// Nobody answered in time, or there is no way there; the text says which.
    Silent(String),
}
