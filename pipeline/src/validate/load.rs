//! Loads a file and validates its stack: diagnostics of the stack are reported at their place in the file, too.

use std::path::Path;

use super::faults;
use crate::config::{Config, ConfigErrors, Diagnostic, file};

impl Config {
    /// Reads a file and the public key, and checks that the build contexts and Dockerfiles exist.
    ///
    /// With a `before` command they are not checked: the command may create them.
    ///
    /// # Errors
    /// All diagnostics of the file at once; only one syntax error, because the parser stops there.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_for(path, None)
    }

    /// Like [`load`](Self::load), with one of the file's environments merged into the rest.
    ///
    /// # Errors
    /// Like [`load`](Self::load), and for an unknown environment.
    pub fn load_for(path: &Path, environment: Option<&str>) -> Result<Self, ConfigErrors> {
        file::load(path, environment, &faults)
    }

    /// Places diagnostics of a file, found after it was read, at their lines.
    ///
    /// # Errors
    /// The diagnostics, or what else is wrong with the file by now.
    pub fn locate(
        path: &Path,
        environment: Option<&str>,
        found: &[Diagnostic],
    ) -> Result<(), ConfigErrors> {
        file::load(path, environment, &|_| found.to_vec()).map(|_| ())
    }

    /// Reads the text of a file, without access to other files. Relative paths start in the directory of `file`.
    ///
    /// # Errors
    /// Like [`load`](Self::load).
    pub fn parse(source: &str, file: &str) -> Result<Self, ConfigErrors> {
        Self::parse_for(source, file, None)
    }

    /// Like [`parse`](Self::parse), with one of the file's environments merged into the rest.
    ///
    /// # Errors
    /// Like [`parse`](Self::parse), and for an unknown environment.
    pub fn parse_for(
        source: &str,
        file: &str,
        environment: Option<&str>,
    ) -> Result<Self, ConfigErrors> {
        file::parse(source, file, environment, &faults)
    }
}
