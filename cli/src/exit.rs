//! The exit codes, which scripts rely on.

/// Done.
pub(crate) const DONE: u8 = 0;
/// It failed.
pub(crate) const FAILED: u8 = 1;
/// It was refused: the command line, the file or a saved plan is wrong, the stack is protected, or a yes is missing.
/// Nothing was changed.
pub(crate) const USAGE: u8 = 2;
/// What a plan ends with that has something to do, where that was asked for.
pub(crate) const CHANGES: u8 = 2;
/// A signal ended it: 128 and the number of SIGINT, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;
