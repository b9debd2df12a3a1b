//! The terminal of this program, used by a remote command for a while.

use landfall_local::TerminalKind;

/// The terminal, if both standard input and output are one.
#[cfg(unix)]
pub(crate) fn here() -> Option<TerminalKind> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(TerminalKind {
        columns: size.ws_col,
        rows: size.ws_row,
        term: std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()),
    })
}

/// Terminals are supported only on systems with these calls.
#[cfg(not(unix))]
pub(crate) fn here() -> Option<TerminalKind> {
    None
}

/// The terminal in raw mode: every key is sent to the command. Dropping this restores the previous
/// mode.
#[cfg(unix)]
pub(crate) struct Raw(rustix::termios::Termios);

#[cfg(unix)]
impl Raw {
    /// Switches the terminal to raw mode.
    ///
    /// # Errors
    /// When standard input is not a terminal.
    pub(crate) fn take() -> std::io::Result<Self> {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Raw {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // Nothing can be done about an error here.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Raw mode is not supported here.
#[cfg(not(unix))]
pub(crate) struct Raw;

#[cfg(not(unix))]
impl Raw {
    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn take() -> std::io::Result<Self> {
        Ok(Self)
    }
}
