//! The exit codes, which scripts rely on.

/// Done.
pub(crate) const DONE: u8 = 0;
/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the file is wrong; nothing was changed.
pub(crate) const USAGE: u8 = 2;
/// A signal ended it: 128 and the number of SIGINT, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;
