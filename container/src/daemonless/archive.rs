//! `ADD archive.tar.gz /dir/`: local tar archives are unpacked.

use std::fs::File;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::fault::Fault;
use super::layer::{Contents, inside, node};
use super::tree::{Content, Tree};
use crate::Error;
use crate::context::copy;

/// A tar header's length, and that of every block of an archive.
const BLOCK: usize = 512;

/// The archive's files as a tree, or `None` if `content` is no archive: then it is copied like any file.
pub(super) fn unpack(content: &Content, contents: &mut Contents) -> Result<Option<Tree>, Fault> {
    contents.fetch(std::iter::once(content))?;
    let start = start(contents.open(content)?)?;
    match start.as_slice() {
        [0x1f, 0x8b, ..] => {
            // Not everything in gzip is an archive, and not everything that starts like gzip is gzip.
            match self::start(MultiGzDecoder::new(contents.open(content)?)) {
                Ok(start) if is_tar(&start) => {}
                _ => return Ok(None),
            }
            let spool = contents.spool().to_owned();
            read(MultiGzDecoder::new(contents.open(content)?), &spool).map(Some)
        }
        [b'B', b'Z', b'h', ..] => Err(unknown("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(unknown("xz")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(unknown("zstd")),
        start if is_tar(start) => {
            let spool = contents.spool().to_owned();
            read(contents.open(content)?, &spool).map(Some)
        }
        _ => Ok(None),
    }
}

fn unknown(name: &str) -> Fault {
    Fault::hint(
        format!(
            "ADD would unpack this {name} file, and the daemonless builder unpacks tar and tar.gz only"
        ),
        "COPY the file if it should stay packed; repack it with gzip, or build with a container engine, if not",
    )
}

/// The first block, or less if there is no more.
fn start(from: impl Read) -> Result<Vec<u8>, Error> {
    let mut start = Vec::with_capacity(BLOCK);
    from.take(BLOCK as u64)
        .read_to_end(&mut start)
        .map_err(Error::io("read", "a file to ADD"))?;
    Ok(start)
}

/// Whether a block is a tar header: its checksum is right. (An empty archive is not worth unpacking.)
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

fn read(archive: impl Read, spool: &std::path::Path) -> Result<Tree, Fault> {
    let broken =
        |error: io::Error| Fault::problem(format!("the archive cannot be unpacked: {error}"));
    let mut tree = Tree::default();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = inside(&name)
            .ok_or_else(|| format!("the archive holds {name}, which leads out of it"))?;
        // A name of its own for each file: archives may hold one path twice.
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
