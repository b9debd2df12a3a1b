//! Limits on the unpacked size of an image or an archive: a few megabytes can be compressed from
//! terabytes of zeros.

use std::cell::Cell;
use std::io::{self, Read};

use crate::HeaderLimit;

/// The limits in bytes and entries for one image, or one archive.
pub(super) struct Budget {
    /// The subject of the error.
    what: &'static str,
    bytes: u64,
    entries: u64,
    bytes_left: Cell<u64>,
    entries_left: Cell<u64>,
    headers: HeaderLimit,
}

impl Budget {
    /// 16 GiB and a million entries.
    pub(super) fn new(what: &'static str) -> Self {
        Self::of(what, 16 << 30, 1_000_000)
    }

    fn of(what: &'static str, bytes: u64, entries: u64) -> Self {
        Self {
            what,
            bytes,
            entries,
            bytes_left: Cell::new(bytes),
            entries_left: Cell::new(entries),
            headers: HeaderLimit::default(),
        }
    }

    /// A reader of an archive that fails when it exceeds the remaining budget, or the headers of an entry are too large.
    pub(super) fn reader<R: Read>(&self, source: R) -> Limited<'_, R> {
        self.headers.begin();
        Limited {
            source,
            budget: self,
        }
    }

    /// Counts an entry. Its size is checked against the remaining budget before its content is
    /// unpacked.
    pub(super) fn entry<R: Read>(&self, entry: &tar::Entry<'_, R>) -> io::Result<()> {
        let left = self.entries_left.get().checked_sub(1).ok_or_else(|| {
            invalid(format!(
                "{} has more than {} files, the limit",
                self.what, self.entries
            ))
        })?;
        self.entries_left.set(left);
        self.headers.entry(entry)?;
        if entry.header().entry_type() == tar::EntryType::GNUSparse {
            // Holes are not in the archive, but are written to the disk.
            return self.take(entry.size());
        }
        match entry.size() > self.bytes_left.get() {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let left = self.bytes_left.get().checked_sub(bytes);
        self.bytes_left.set(left.ok_or_else(|| self.too_large())?);
        Ok(())
    }

    fn too_large(&self) -> io::Error {
        invalid(format!(
            "{} unpacks to more than {} MiB, the limit",
            self.what,
            self.bytes >> 20
        ))
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// A reader that counts towards a [`Budget`].
pub(super) struct Limited<'b, R> {
    source: R,
    budget: &'b Budget,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.budget.take(length as u64)?;
        self.budget.headers.take(length as u64)?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use oci_spec::image::{Descriptor, MediaType};

    use super::*;
    use crate::daemonless::archive;
    use crate::daemonless::decompress::Format;
    use crate::daemonless::layer;
    use crate::daemonless::tree::Tree;
    use crate::store::Store;

    /// An archive with files of zeros, `each` bytes long.
    fn zeros(files: usize, each: u64) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for number in 0..files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(each);
            tar.append_data(
                &mut header,
                format!("zeros{number}"),
                io::repeat(0).take(each),
            )
            .unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    /// Unpacks an archive of ADD within a budget of 4 MiB and ten entries.
    fn add(packed: &[u8]) -> Result<(), String> {
        let spool = tempfile::tempdir().unwrap();
        let from = Format::of(packed).unwrap().reader(packed);
        archive::read(from, spool.path(), &Budget::of("it", 4 << 20, 10))
            .map(|_| ())
            .map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn archives_of_zeros_end_at_the_limit() {
        for pack in [gzip, bzip2] {
            assert_eq!(add(&pack(&zeros(3, 1 << 20))), Ok(()));
            for (files, each) in [(1, 5 << 20), (5, 1 << 20)] {
                let why = add(&pack(&zeros(files, each))).unwrap_err();
                assert!(
                    why.contains(
                        "the archive cannot be unpacked: it unpacks to more than 4 MiB, the limit"
                    ),
                    "{why}"
                );
            }
            let why = add(&pack(&zeros(11, 0))).unwrap_err();
            assert!(
                why.contains("it has more than 10 files, the limit"),
                "{why}"
            );
        }
    }

    #[test]
    fn headers_without_a_file_count_too() {
        let mut bytes = zeros(1, 1);
        // One file, and a global header, which creates no entry.
        bytes.truncate(1024);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::XGlobalHeader);
        header.set_size(5 << 20);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + (5 << 20), b' ');
        let why = add(&gzip(&bytes)).unwrap_err();
        assert!(why.contains("more than 4 MiB"), "{why}");
    }

    #[test]
    fn the_layers_of_an_image_share_one_budget() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ingest = store.ingest().unwrap();
        let layer = |bytes: &[u8], media_type: MediaType| -> Descriptor {
            let mut blob = ingest.blob().unwrap();
            blob.write_all(bytes).unwrap();
            blob.finish(media_type).unwrap()
        };
        let packed = layer(&gzip(&zeros(1, 3 << 20)), MediaType::ImageLayerGzip);
        let plain = layer(&zeros(1, 2 << 20), MediaType::ImageLayer);
        let budget = Budget::of("the image", 4 << 20, 10);
        let mut tree = Tree::default();
        layer::apply(&store, &packed, &mut tree, &budget).unwrap();
        let error = layer::apply(&store, &plain, &mut tree, &budget).unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(why, "the image unpacks to more than 4 MiB, the limit");
    }
}
