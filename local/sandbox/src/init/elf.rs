//! The headers of a program's file: its loader, its loaded size, and its machine.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// The interpreter of a program that does not run by itself.
#[derive(Debug, PartialEq)]
pub(super) enum Loader {
    Elf(String),
    Script {
        name: String,
        /// The rest of the line, which the kernel passes as one argument.
        argument: String,
    },
}

/// A part of an ELF file, and its use by the kernel.
struct Segment {
    kind: u32,
    offset: u64,
    size: u64,
}

/// The segments of a 64-bit, little-endian ELF file: see elf(5).
fn segments(file: &File) -> Option<Vec<Segment>> {
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // Elf64_Ehdr has e_phoff at 32, e_phentsize at 54, e_phnum at 56.
    let start = u64::from_le_bytes(head[32..40].try_into().ok()?);
    let size = u64::from(u16::from_le_bytes(head[54..56].try_into().ok()?));
    let count = u64::from(u16::from_le_bytes(head[56..58].try_into().ok()?));
    let mut segments = Vec::new();
    for index in 0..count {
        // Elf64_Phdr: p_type at 0, p_offset at 8, p_filesz at 32.
        let mut header = [0; 56];
        file.read_exact_at(&mut header, start.checked_add(index.checked_mul(size)?)?)
            .ok()?;
        segments.push(Segment {
            kind: u32::from_le_bytes(header[..4].try_into().ok()?),
            offset: u64::from_le_bytes(header[8..16].try_into().ok()?),
            size: u64::from_le_bytes(header[32..40].try_into().ok()?),
        });
    }
    Some(segments)
}

/// The number of bytes from the start of a program that it needs to run.
pub(super) fn loaded(file: &File) -> Option<u64> {
    let segments = segments(file)?;
    let loaded = segments
        .iter()
        .filter(|segment| segment.kind == PT_LOAD)
        .map(|segment| segment.offset.saturating_add(segment.size));
    loaded.max()
}

/// The loader of a program: the PT_INTERP of an ELF file, or the `#!` of a script.
pub(super) fn loader(path: &Path) -> Option<Loader> {
    // Opening a pipe would wait for its other end.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path);
    let file = file
        .ok()
        .filter(|it| it.metadata().is_ok_and(|it| it.is_file()))?;
    let mut head = [0; 256];
    let length = (&file).read(&mut head).ok()?;
    if let Some(line) = head[..length].strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        // Like the kernel, which does not treat a carriage return as a space.
        let name = line.split([' ', '\t']).find(|word| !word.is_empty())?;
        let (_, rest) = line.split_once(name)?;
        return Some(Loader::Script {
            name: name.to_owned(),
            argument: rest.trim_matches([' ', '\t']).to_owned(),
        });
    }
    let segments = segments(&file)?;
    let interpreter = segments.iter().find(|it| it.kind == PT_INTERP)?;
    let mut name = vec![0; usize::try_from(interpreter.size.min(256)).ok()?];
    file.read_exact_at(&mut name, interpreter.offset).ok()?;
    let name = String::from_utf8_lossy(&name);
    Some(Loader::Elf(name.trim_end_matches('\0').to_owned()))
}

/// The machine of an ELF file, in Rust's words.
pub(super) fn machine(path: &Path) -> Option<&'static str> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    // e_machine, in the byte order of e_ident[EI_DATA].
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
    fn loader_of_a_dynamic_program_is_found() {
        // The test program is such a file, unless it is linked statically.
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
    fn carriage_return_belongs_to_the_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        let named = |line: &str| {
            std::fs::write(&path, line).unwrap();
            loader(&path)
        };
        let script = |name: &str, argument: &str| {
            let (name, argument) = (name.to_owned(), argument.to_owned());
            Some(Loader::Script { name, argument })
        };
        assert_eq!(named("#!/bin/sh\r\necho\r\n"), script("/bin/sh\r", ""));
        assert_eq!(
            named("#!/busybox sh\r\necho\r\n"),
            script("/busybox", "sh\r")
        );
        assert_eq!(named("#! \t/bin/sh -e\n"), script("/bin/sh", "-e"));
        assert_eq!(named("#!\n/bin/sh\n"), None);
    }

    #[test]
    fn program_runs_with_its_loaded_part_alone() {
        let own = File::open("/proc/self/exe").unwrap();
        let whole = own.metadata().unwrap().len();
        let length = loaded(&own).unwrap();
        assert!(length < whole, "{length} of {whole}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        let mut part = File::create(&path).unwrap();
        std::io::copy(&mut own.take(length), &mut part).unwrap();
        drop(part);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        let output = std::process::Command::new(&path).arg("--list").output();
        assert!(output.unwrap().status.success());
    }
}
