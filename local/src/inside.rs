//! Data types of `logs`, `exec` and reachability checks, for clients.

use serde::{Deserialize, Serialize};

/// The terminal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalKind {
    /// Its width in characters.
    pub columns: u16,
    /// Its height in lines.
    pub rows: u16,
    /// Its type: the variable `TERM`.
    pub term: String,
}

/// A line of an instance's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The time, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it was written to standard error.
    pub is_error: bool,
    /// The line without its end.
    pub text: String,
}

/// An event of a command in an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// Output: standard output, or the terminal.
    Output(Vec<u8>),
    /// Standard error.
    Errors(Vec<u8>),
    /// It has exited with this code; after a signal, 128 plus the signal's number, as in shells.
    Exited(u8),
}

/// The result of an attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// The connection was accepted.
    Open,
    /// The connection was refused.
    Refused,
    /// There was no answer in time, or there is no route; the text says which.
    Silent(String),
}
