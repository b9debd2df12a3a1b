//! Decompression of zstd, which layers and archives come in.

use std::io::{self, BufRead as _, BufReader, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// The default limit of `zstd` itself, in bytes.
const WINDOW: u64 = 128 * 1024 * 1024;

/// The plain contents of the zstd frames in `from`, which end with it.
pub fn unzstd(from: impl Read) -> impl Read {
    Frames::Between(BufReader::new(from))
}

/// The frames, one after the other.
enum Frames<R: Read> {
    Between(BufReader<R>),
    Inside(Box<StreamingDecoder<BufReader<R>, FrameDecoder>>),
    Done,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Done) {
                Self::Done => return Ok(0),
                Self::Between(mut from) => {
                    if from.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let frame = StreamingDecoder::new_with_max_window_size(from, WINDOW)
                        .map_err(io::Error::other)?;
                    *self = Self::Inside(Box::new(frame));
                }
                Self::Inside(mut frame) => {
                    let read = frame.read(buffer)?;
                    if read > 0 || buffer.is_empty() {
                        *self = Self::Inside(frame);
                        return Ok(read);
                    }
                    *self = Self::Between(frame.into_inner());
                }
            }
        }
    }
}
