//! Decompression for `ADD`: gzip, bzip2, xz and zstd.

use std::io::Read;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::store::unzstd;

/// More memory than any level of `xz` needs to decompress, in KiB.
const XZ_MEMORY: u32 = 512 * 1024;

/// A compressed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Format {
    /// The format with this header, if it is a known one.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The decompressed contents of `from`.
    pub(super) fn reader<'r>(self, from: impl Read + 'r) -> Box<dyn Read + 'r> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(from)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(from)),
            Self::Xz => Box::new(XzReader::new_mem_limit(from, true, XZ_MEMORY)),
            Self::Zstd => Box::new(unzstd(from)),
        }
    }
}
