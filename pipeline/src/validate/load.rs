//! Reading a file as far as its stack: what only the stack shows is reported at its place in the file too.

use std::path::Path;

use super::faults;
use crate::config::{Config, ConfigErrors, Diagnostic, file};

impl Config {
    /// Reads a file and the public key, and looks whether the build contexts and Dockerfiles that it names are there.
    ///
    /// Where there is a `before` command these may be its work, and are not looked for yet.
    ///
    /// # Errors
    /// Everything that is wrong with the file at once; a syntax error alone, since nothing can be read behind it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_for(path, None)
    }

    /// Reads a file as [`load`](Self::load) does, with one of its environments laid over the rest.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the file has no such environment.
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

    /// Reads the text of a file, and looks at no other. Relative paths start in the directory of `file`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(source: &str, file: &str) -> Result<Self, ConfigErrors> {
        Self::parse_for(source, file, None)
    }

    /// Reads the text of a file as [`parse`](Self::parse) does, with one of its environments laid over the rest.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when the file has no such environment.
    pub fn parse_for(
        source: &str,
        file: &str,
        environment: Option<&str>,
    ) -> Result<Self, ConfigErrors> {
        file::parse(source, file, environment, &faults)
    }
}
