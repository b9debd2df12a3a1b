//! A bound on the headers in a tar archive.
//!
//! The `tar` crate reads long names (GNU) and extended headers (PAX) whole into memory, whatever size they claim.

use std::cell::Cell;
use std::io::{self, Read};

/// The most bytes of headers, long names and extended headers that one entry may have. Go's reader has the same bound.
const MAX_HEADERS: u64 = 1 << 20;

/// The size of a header, and what the size of content is rounded up to.
const BLOCK: u64 = 512;

/// Bounds the headers of each entry of an archive to 1 MiB.
#[derive(Debug, Default)]
pub struct HeaderLimit {
    /// How much may be read until the next entry: the content of this one, and headers.
    left: Cell<u64>,
}

impl HeaderLimit {
    /// A reader of an archive that fails when the headers of an entry are too large.
    pub fn reader<R: Read>(&self, source: R) -> HeaderLimited<'_, R> {
        self.left.set(MAX_HEADERS);
        HeaderLimited {
            source,
            limit: self,
        }
    }

    /// Lets the content of an entry pass. To be called with each entry, before its content is read.
    ///
    /// # Errors
    /// When its header has no valid size.
    pub fn entry<R: Read>(&self, entry: &tar::Entry<'_, R>) -> io::Result<()> {
        let content = match entry.header().entry_type() {
            // The size of a sparse entry counts its holes, which are not in the archive.
            tar::EntryType::GNUSparse => entry.header().entry_size()?,
            _ => entry.size(),
        };
        let blocks = content.div_ceil(BLOCK).saturating_mul(BLOCK);
        self.left.set(blocks.saturating_add(MAX_HEADERS));
        Ok(())
    }

    pub(crate) fn take(&self, bytes: u64) -> io::Result<()> {
        let left = self.left.get().checked_sub(bytes).ok_or_else(|| {
            let text = format!(
                "an entry of the archive has more than {} MiB of headers",
                MAX_HEADERS >> 20
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        });
        self.left.set(left?);
        Ok(())
    }

    pub(crate) fn begin(&self) {
        self.left.set(MAX_HEADERS);
    }
}

/// A reader with a [`HeaderLimit`].
#[derive(Debug)]
pub struct HeaderLimited<'l, R> {
    source: R,
    limit: &'l HeaderLimit,
}

impl<R: Read> Read for HeaderLimited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.limit.take(length as u64)?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use tar::{Archive, Builder, EntryType, Header};

    use super::*;

    fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_path(name).unwrap();
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }

    /// The number of entries, or the error. The content of every second one is read, and of the others skipped.
    fn entries(archive: &[u8]) -> Result<usize, String> {
        let limit = HeaderLimit::default();
        let mut count = 0;
        let mut archive = Archive::new(limit.reader(archive));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.map_err(|error| error.to_string())?;
            limit.entry(&entry).unwrap();
            if count % 2 == 0 {
                io::copy(&mut entry, &mut io::sink()).map_err(|error| error.to_string())?;
            }
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn large_files_with_long_names_pass() {
        let mut tar = Builder::new(Vec::new());
        let name = format!("{}/file", "d".repeat(200));
        for _ in 0..8 {
            let mut header = Header::new_gnu();
            header.set_size(3 << 20);
            tar.append_data(&mut header, &name, io::repeat(7).take(3 << 20))
                .unwrap();
        }
        assert_eq!(entries(&tar.into_inner().unwrap()), Ok(8));
    }

    #[test]
    fn headers_without_an_end_are_refused() {
        for kind in [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
        ] {
            let mut tar = Builder::new(Vec::new());
            entry(&mut tar, EntryType::Regular, "first", &[1; 4 << 20]);
            entry(&mut tar, kind, "long", &[b'a'; 2 << 20]);
            entry(&mut tar, EntryType::Regular, "file", b"x");
            let error = entries(&tar.into_inner().unwrap()).unwrap_err();
            assert!(
                error.contains("more than 1 MiB of headers"),
                "{kind:?}: {error}"
            );
        }
    }
}
