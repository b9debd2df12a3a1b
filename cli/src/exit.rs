//! The exit codes, which scripts rely on.

/// Success.
pub(crate) const DONE: u8 = 0;
/// Failure.
pub(crate) const FAILED: u8 = 1;
/// Refused: the command line, the file or a saved plan is invalid, the stack is protected, or a
/// confirmation is missing. Nothing was changed.
pub(crate) const USAGE: u8 = 2;
/// With `--detailed-exitcode`, a plan with changes.
pub(crate) const CHANGES: u8 = 2;
/// Interrupted by a signal: 128 plus the number of SIGINT, as in shells.
pub(crate) const INTERRUPTED: u8 = 130;
