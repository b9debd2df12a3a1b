//! Executing the image's command, and saying why it cannot be.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execve;

use super::Order;
use super::identity::Identity;

/// What Docker gives an image that sets no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command ready to be executed.
pub(super) struct Command {
    name: String,
    path: String,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Command {
    /// Finds the program in the image, which has to be this process's root already.
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
        let c = |text: String| {
            CString::new(text).map_err(|error| {
                format!(
                    "{:?} holds a zero byte",
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

    /// Executes it; returns only with the reason why that failed.
    pub(super) fn execute(self) -> String {
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

/// Where the program `name` is: as a path if it has a slash, else in the folders of `path`.
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

/// Why the kernel refused to execute `path`, in terms of the image.
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
            Some(Loader::Script(loader)) => {
                format!("the file is there, but not the interpreter of its first line, {loader}")
            }
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

/// What runs a program that does not run by itself.
#[derive(Debug, PartialEq)]
enum Loader {
    Elf(String),
    Script(String),
}

/// The loader that a program names: an ELF file's PT_INTERP (64-bit, little-endian), a script's `#!`.
fn loader(path: &Path) -> Option<Loader> {
    let file = File::open(path).ok()?;
    let mut head = [0; 256];
    let length = (&file).read(&mut head).ok()?;
    if let Some(line) = head[..length].strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line);
        return Some(Loader::Script(line.split_whitespace().next()?.to_owned()));
    }
    // See elf(5): Elf64_Ehdr has e_phoff at 32, e_phentsize at 54, e_phnum at 56.
    if length < 64 || !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let start = u64::from_le_bytes(head[32..40].try_into().ok()?);
    let size = u64::from(u16::from_le_bytes(head[54..56].try_into().ok()?));
    let count = u64::from(u16::from_le_bytes(head[56..58].try_into().ok()?));
    for index in 0..count {
        // Elf64_Phdr: p_type at 0, p_offset at 8, p_filesz at 32; PT_INTERP is 3.
        let mut header = [0; 56];
        file.read_exact_at(&mut header, start.checked_add(index.checked_mul(size)?)?)
            .ok()?;
        if header[..4] == [3, 0, 0, 0] {
            let at = u64::from_le_bytes(header[8..16].try_into().ok()?);
            let length = u64::from_le_bytes(header[32..40].try_into().ok()?).min(256);
            let mut name = vec![0; usize::try_from(length).ok()?];
            file.read_exact_at(&mut name, at).ok()?;
            let name = String::from_utf8_lossy(&name);
            return Some(Loader::Elf(name.trim_end_matches('\0').to_owned()));
        }
    }
    None
}

/// The machine that an ELF file is for, named as Rust does.
fn machine(path: &Path) -> Option<&'static str> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    // e_machine, in the byte order that e_ident[EI_DATA] names.
    let bytes = [head[18], head[19]];
    let number = if head[5] == 2 {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    };
    Some(match number {
        3 => "x86",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "another kind of machine",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_loader_of_a_dynamic_program_is_found() {
        // The test itself is such a program, unless it is linked statically.
        let own = std::env::current_exe().unwrap();
        if cfg!(not(target_feature = "crt-static")) {
            match loader(&own) {
                Some(Loader::Elf(name)) => assert!(name.starts_with("/lib"), "{name}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(machine(&own), Some(std::env::consts::ARCH));
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
