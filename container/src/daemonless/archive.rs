//! `ADD archive.tar.gz /dir/`: local tar archives are unpacked, with any supported compression.

use std::fs::File;
use std::io::{self, Read};

use super::budget::Budget;
use super::decompress::Format;
use super::fault::Fault;
use super::layer::{Contents, inside, node};
use super::tree::{Content, Tree};
use crate::Error;
use crate::context::copy;

/// The length of a tar header, and of every block of an archive.
const BLOCK: usize = 512;

/// The archive's files as a tree, or `None` if `content` is not an archive: then it is copied like
/// any file.
pub(super) fn unpack(content: &Content, contents: &mut Contents) -> Result<Option<Tree>, Fault> {
    contents.fetch(std::iter::once(content))?;
    let first = start(contents.open(content)?)?;
    let spool = contents.spool().to_owned();
    let budget = Budget::new("it");
    if is_tar(&first) {
        return read(contents.open(content)?, &spool, &budget).map(Some);
    }
    let Some(format) = Format::of(&first) else {
        return Ok(None);
    };
    // Not every compressed file is an archive, and not every file with a compression header is
    // compressed.
    match start(format.reader(contents.open(content)?)) {
        Ok(first) if is_tar(&first) => {
            read(format.reader(contents.open(content)?), &spool, &budget).map(Some)
        }
        _ => Ok(None),
    }
}

/// The first block, or less at the end of the input.
fn start(from: impl Read) -> Result<Vec<u8>, Error> {
    let mut start = Vec::with_capacity(BLOCK);
    from.take(BLOCK as u64)
        .read_to_end(&mut start)
        .map_err(Error::io("read", "a file to ADD"))?;
    Ok(start)
}

/// Whether a block is a tar header: its checksum is right. (An empty archive needs no unpacking.)
fn is_tar(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(block) else {
        return false;
    };
    let header = tar::Header::from_byte_slice(block);
    // The checksum counts its own eight bytes as spaces.
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, b)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*b)
            }
        })
        .sum();
    header.cksum().is_ok_and(|stored| stored == sum) && block[0] != 0
}

/// The files of `archive`, with their contents in `spool`.
pub(super) fn read(
    archive: impl Read,
    spool: &std::path::Path,
    budget: &Budget,
) -> Result<Tree, Fault> {
    let broken =
        |error: io::Error| Fault::problem(format!("the archive cannot be unpacked: {error}"));
    let mut tree = Tree::default();
    let mut archive = tar::Archive::new(budget.reader(archive));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        budget.entry(&entry).map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = inside(&name)
            .ok_or_else(|| format!("the archive contains {name}, which points outside of it"))?;
        // A unique name for each file: archives may contain one path twice.
        let to = tempfile::Builder::new()
            .prefix("add-")
            .tempfile_in(spool)
            .map_err(Error::io("create a file in", spool))?;
        let (_, to) = to
            .keep()
            .map_err(|error| Error::io("keep a file in", spool)(error.error))?;
        let Some(node) = node(&entry, Content::File(to.clone()), &tree).map_err(broken)? else {
            continue;
        };
        if entry.header().entry_type().is_file() {
            let mut file = File::create(&to).map_err(Error::io("create", &to))?;
            copy(&mut entry, &mut file).map_err(broken)?;
        }
        if !path.is_empty() {
            tree.put(&path, node);
        }
    }
    Ok(tree)
}
