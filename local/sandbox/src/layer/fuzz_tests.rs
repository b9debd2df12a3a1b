//! Mutated layers: each is unpacked or refused, and nothing is written outside of the root.

use std::fs;
use std::path::Path;

use landfall_testkit::fuzz::Fuzz;
use tar::{Builder, EntryType, Header};

use super::{Limits, Tree};

fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

/// Every header block gets the checksum that its bytes have: without it, most mutations end at the checksum.
fn resealed(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    archive
}

/// The names in a folder, without looking into it.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn layers() {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, EntryType::Directory, "d", "", b"");
    entry(&mut tar, EntryType::Regular, "d/file", "", b"content");
    entry(&mut tar, EntryType::Symlink, "out", "../beside", b"");
    entry(&mut tar, EntryType::Symlink, "up", "..", b"");
    entry(
        &mut tar,
        EntryType::Regular,
        "up/beside/new",
        "",
        b"escaped",
    );
    entry(&mut tar, EntryType::Link, "hard", "d/file", b"");
    entry(&mut tar, EntryType::Regular, "d/.wh.file", "", b"");
    entry(&mut tar, EntryType::Regular, ".wh..wh..opq", "", b"");
    entry(&mut tar, EntryType::Fifo, "fifo", "", b"");
    let archive = tar.into_inner().unwrap();
    let fuzz = Fuzz {
        name: "layer",
        seeds: &[&archive],
        words: &[
            "../",
            "../../beside/",
            "/",
            "up/",
            "out/",
            ".wh.",
            ".wh..wh..opq",
            "\0",
            "7777777",
            "\u{7f}",
            "./././././L",
            "hard",
        ],
        inputs: 150,
    };
    fuzz.run(|input| {
        let base = tempfile::tempdir().unwrap();
        let (root, beside) = (base.path().join("root"), base.path().join("beside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&beside).unwrap();
        for archive in [input.to_vec(), resealed(input)] {
            let limits = Limits {
                bytes: 1 << 20,
                entries: 1000,
            };
            let mut tree = Tree::new(&root, limits).unwrap();
            let _ = tree.apply(&mut archive.as_slice());
        }
        assert_eq!(names(base.path()), ["beside", "root"]);
        assert_eq!(names(&beside), Vec::<String>::new());
    });
}
