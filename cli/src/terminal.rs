//! The terminal that this program was started from, handed to a command elsewhere for a while.

use landfall_local::TerminalKind;

/// The terminal, if standard input and output are one.
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

/// A terminal is for systems that have its calls.
#[cfg(not(unix))]
pub(crate) fn here() -> Option<TerminalKind> {
    None
}

/// The terminal without anything of its own: every key goes to the command. As it was, when this is dropped.
#[cfg(unix)]
pub(crate) struct Raw(rustix::termios::Termios);

#[cfg(unix)]
impl Raw {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When standard input is none.
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
        // There is nobody to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// There is none to take.
#[cfg(not(unix))]
pub(crate) struct Raw;

#[cfg(not(unix))]
impl Raw {
    /// ChangeKind nothing.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn take() -> std::io::Result<Self> {
        Ok(Self)
    }
}
