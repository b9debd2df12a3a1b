//! The checkout, and running programs in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout's root directory, wherever `cargo xtask` was called.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the package's present directory; a moved program still has the path of its build.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsStr::new(env!("CARGO_MANIFEST_DIR")).to_owned());
    let package = PathBuf::from(package);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command in the checkout.
pub(crate) fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command with visible output.
///
/// # Errors
/// When it cannot be started or exits with another code than 0; names the command.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let shown = shown(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` failed: {status}"))
    }
}

/// Replaces this program by a command, so that signals and the exit code are the command's own; on
/// systems without exec, runs it and exits like it. Returns the reason when it cannot be started.
pub(crate) fn become_it(command: &mut Command) -> std::io::Error {
    #[cfg(unix)]
    return std::os::unix::process::CommandExt::exec(command);
    #[cfg(not(unix))]
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Runs a command and returns its standard output; standard error is shown.
///
/// # Errors
/// When it cannot be started, exits with another code than 0, or does not write UTF-8.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` failed: {}", output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{shown}` wrote something else than text"))
}

/// Whether a program is installed: in `PATH`, or in Debian's directories for root.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

/// Whether this process belongs to root.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
    }
    #[cfg(not(unix))]
    {
        false
    }
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| {
            let part = part.to_string_lossy();
            match Path::new(&*part).file_name() {
                // `cargo`, not the path of the toolchain.
                Some(name) if part.ends_with("bin/cargo") => name.to_string_lossy().into_owned(),
                _ => part.into_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
