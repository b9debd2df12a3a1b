//! Executes the image's command, and explains a failure.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execve;

use super::elf::{Loader, loader, machine};
use super::identity::Identity;
use super::{Order, program};

/// Docker's value for an image without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const OWN: &str = "it leads to Landfall's own program, which runs in no instance";

/// A command ready to be executed.
pub(super) struct Command {
    name: String,
    path: String,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Command {
    /// Finds the program in the image, which must already be this process's root.
    pub(super) fn new(order: &Order, identity: &Identity) -> Result<Self, String> {
        let mut env = order.env.clone();
        for (name, value) in [
            ("PATH", DEFAULT_PATH),
            ("HOME", &identity.home),
            ("HOSTNAME", &order.hostname),
        ] {
            env.entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        let name = order
            .argv
            .first()
            .ok_or("the image has no command")?
            .clone();
        let path = find(&name, &env["PATH"])?;
        match program::is_own(Path::new(&path)) {
            Ok(false) => {}
            Ok(true) => return Err(format!("exec {name:?}: {OWN}")),
            Err(error) => {
                return Err(format!(
                    "exec {name:?}: cannot inspect this program: {error}"
                ));
            }
        }
        let c = |text: String| {
            CString::new(text).map_err(|error| {
                format!(
                    "{:?} contains a zero byte",
                    String::from_utf8_lossy(&error.into_vec())
                )
            })
        };
        Ok(Self {
            argv: order
                .argv
                .iter()
                .cloned()
                .map(c)
                .collect::<Result<_, _>>()?,
            env: env
                .into_iter()
                .map(|(name, value)| c(format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            name,
            path,
        })
    }

    /// Executes it; returns only the reason of a failure.
    pub(super) fn execute(self) -> String {
        // The interpreter would start, and fail with a message that does not show the carriage return.
        if let Some(warning) = crlf_argument(Path::new(&self.path)) {
            let _ = writeln!(std::io::stderr(), "{warning}");
        }
        let error = match CString::new(self.path.as_str()) {
            Ok(path) => {
                let Err(error) = execve(&path, &self.argv, &self.env);
                error
            }
            Err(_) => Errno::EINVAL,
        };
        format!(
            "exec {:?}: {}",
            self.name,
            explain(Path::new(&self.path), error)
        )
    }
}

/// The path of the program `name`: the name itself if it contains a slash, else in the folders of `path`.
fn find(name: &str, path: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("exec \"\": the command is empty".to_owned());
    }
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    path.split(':')
        .map(|dir| {
            if dir.is_empty() {
                ".".to_owned()
            } else {
                dir.to_owned()
            }
        })
        .map(|dir| format!("{dir}/{name}"))
        .find(|path| {
            std::fs::metadata(path)
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| format!("exec {name:?}: no such program in the image (PATH is {path})"))
}

/// The message for a script whose interpreter gets an argument that ends with a carriage return.
fn crlf_argument(path: &Path) -> Option<String> {
    let Some(Loader::Script { name, argument }) = loader(path) else {
        return None;
    };
    let argument = argument.strip_suffix('\r')?;
    Some(format!(
        "exec {path:?}: its lines end with CRLF, so its first line gives {name} the argument \"{argument}\\r\": \
         save the file with LF line ends"
    ))
}

/// The reason why the kernel refused to execute `path`, in terms of the image.
fn explain(path: &Path, error: Errno) -> String {
    let desc = error.desc();
    let loader = || loader(path);
    match error {
        Errno::ENOENT if !path.exists() => "no such file in the image".to_owned(),
        Errno::ENOENT => match loader() {
            Some(Loader::Elf(loader)) => format!(
                "the file is there, but not the loader that it needs, {loader}: it is dynamically \
                 linked and the image lacks its C library. Link it statically (for Rust: \
                 --target x86_64-unknown-linux-musl, or -C target-feature=+crt-static), or use \
                 a base image with that library"
            ),
            Some(Loader::Script { name: loader, .. }) => match loader.strip_suffix('\r') {
                Some(loader) => format!(
                    "its lines end with CRLF, so its first line names the interpreter \"{loader}\\r\": \
                     save the file with LF line ends"
                ),
                None => {
                    format!(
                        "the file is there, but not the interpreter of its first line, {loader}"
                    )
                }
            },
            None => "the file is there, but not the loader that it needs".to_owned(),
        },
        Errno::ENOEXEC => match machine(path) {
            Some(other) if other != std::env::consts::ARCH => format!(
                "it is a program for {other}, and this machine is {}: build the image for this platform",
                std::env::consts::ARCH
            ),
            Some(_) => format!("{desc}: the program's file is damaged"),
            None => format!(
                "{desc}: it is neither a program for Linux nor a script that starts with \"#!\""
            ),
        },
        // The file was replaced after the check of this command, and the kernel refused it.
        Errno::EACCES if program::is_own(path).is_ok_and(|own| own) => OWN.to_owned(),
        Errno::EACCES => match std::fs::metadata(path) {
            Ok(it) if it.is_dir() => "it is a folder".to_owned(),
            Ok(it) if it.permissions().mode() & 0o111 == 0 => {
                format!("{desc}: the file is not executable (chmod +x)")
            }
            _ => format!("{desc}: this user may not execute it"),
        },
        _ => desc.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crlf_after_an_argument_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.sh");
        let says = |line: &str| {
            std::fs::write(&path, line).unwrap();
            crlf_argument(&path)
        };
        let text = says("#!/busybox sh\r\necho\r\n").unwrap();
        let expected = "gives /busybox the argument \"sh\\r\": save the file with LF line ends";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(says("#!/busybox sh\necho\n"), None);
        // The kernel itself refuses this one.
        assert_eq!(says("#!/bin/sh\r\n"), None);
    }

    #[test]
    fn a_refusal_is_explained_by_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let mut foreign = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0".to_vec();
        if std::env::consts::ARCH == "aarch64" {
            foreign[18] = 62;
        }
        for (path, error, expected) in [
            (
                dir.path().join("none"),
                Errno::ENOENT,
                "no such file in the image",
            ),
            (
                file("script", b"#! /bin/zsh -e\n"),
                Errno::ENOENT,
                "/bin/zsh",
            ),
            (
                file("foreign", &foreign),
                Errno::ENOEXEC,
                "build the image for this platform",
            ),
            (
                file("text", b"hello, this is not a program"),
                Errno::ENOEXEC,
                "#!",
            ),
            (file("plain", b""), Errno::EACCES, "chmod +x"),
            (dir.path().to_owned(), Errno::EACCES, "a folder"),
        ] {
            let text = explain(&path, error);
            assert!(text.contains(expected), "{}: {text}", path.display());
        }
    }

    #[test]
    fn programs_are_looked_for_in_path() {
        assert_eq!(find("./a", "/bin").unwrap(), "./a");
        assert_eq!(find("sh", "/none:/bin").unwrap(), "/bin/sh");
        assert!(
            find("no-such", "/bin")
                .unwrap_err()
                .contains("PATH is /bin")
        );
    }
}
