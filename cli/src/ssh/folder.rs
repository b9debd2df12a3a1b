//! The directory of the operator's data: the generated key, host keys.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli_error::CliError;

/// The variable that overrides the directory.
const VARIABLE: &str = "LANDFALL_CONFIG_DIR";

/// The directory: `LANDFALL_CONFIG_DIR`, `$XDG_CONFIG_HOME/landfall` or `~/.config/landfall`. It
/// need not exist.
///
/// # Errors
/// When no variable gives a directory.
pub(crate) fn folder() -> Result<PathBuf, CliError> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = given(VARIABLE) {
        return Ok(PathBuf::from(folder));
    }
    if let Some(config) = given("XDG_CONFIG_HOME") {
        return Ok(Path::new(&config).join("landfall"));
    }
    match home() {
        Some(home) => Ok(home.join(".config/landfall")),
        None => Err(CliError::usage(
            "there is no home directory to keep host keys in",
            Some("set HOME, or LANDFALL_CONFIG_DIR to a directory of yours"),
        )),
    }
}

/// The user's home directory.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Creates a directory with its parents, accessible only to the owner.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that only the owner can read, atomically: an ssh that reads it concurrently sees
/// either the old or the new one.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&beside)?.write_all(text.as_bytes())?;
    std::fs::rename(&beside, file)
}
