//! The end of a chunked request body (RFC 9112 §7.1), which separates it from the next request in the same read.

/// The position in a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: ChunkState,
    /// The number of bytes left of the current chunk's data.
    left: u64,
    /// The digits of the current chunk's size.
    digits: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line of the trailer section.
    Line,
    InLine,
    InLineEnd,
    LastLf,
    End,
}

/// The body is not valid chunked coding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunks {
    /// Reads bytes of the body. Returns how many belong to it; fewer than given when the body has ended.
    ///
    /// # Errors
    /// When the bytes are not a chunked body.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == ChunkState::Data {
                let step = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                at += step;
                self.left -= step as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            if self.state == ChunkState::End {
                break;
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Whether the body is complete.
    pub(super) fn is_end(&self) -> bool {
        self.state == ChunkState::End
    }

    fn step(&mut self, b: u8) -> Result<ChunkState, Malformed> {
        Ok(match (self.state, b) {
            (ChunkState::Size, _) if b.is_ascii_hexdigit() && self.digits < 16 => {
                let digit = char::from(b).to_digit(16).ok_or(Malformed)?;
                self.left = (self.left << 4) | u64::from(digit);
                self.digits += 1;
                ChunkState::Size
            }
            (ChunkState::Size, b'\r') if self.digits > 0 => ChunkState::SizeEnd,
            (ChunkState::Size, b';' | b' ' | b'\t') if self.digits > 0 => ChunkState::Extension,
            (ChunkState::Extension, b'\r') => ChunkState::SizeEnd,
            (ChunkState::Extension, b'\n') => return Err(Malformed),
            (ChunkState::Extension, _) => ChunkState::Extension,
            (ChunkState::SizeEnd, b'\n') => {
                self.digits = 0;
                match self.left {
                    0 => ChunkState::Line,
                    _ => ChunkState::Data,
                }
            }
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => ChunkState::Size,
            (ChunkState::Line, b'\r') => ChunkState::LastLf,
            (ChunkState::LastLf, b'\n') => ChunkState::End,
            (ChunkState::Line | ChunkState::InLine, b'\n') => return Err(Malformed),
            (ChunkState::InLine, b'\r') => ChunkState::InLineEnd,
            (ChunkState::InLineEnd, b'\n') => ChunkState::Line,
            (ChunkState::Line | ChunkState::InLine, _) => ChunkState::InLine,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_ends_however_it_is_cut() {
        let body = b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nt: 1\r\n\r\nGET";
        for cut in 0..body.len() {
            let mut chunks = Chunks::default();
            let first = chunks.feed(&body[..cut]).unwrap();
            let second = chunks.feed(&body[first..]).unwrap();
            assert!(chunks.is_end(), "{cut}");
            assert_eq!(first + second, body.len() - 3, "{cut}");
        }
    }

    #[test]
    fn malformed_bodies() {
        for bad in [
            "x",
            "\r\n",
            "3\nabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "11111111111111111",
            "3;a\nb",
            "0\r\n\n",
            "-1\r\n",
        ] {
            assert_eq!(
                Chunks::default().feed(bad.as_bytes()),
                Err(Malformed),
                "{bad:?}"
            );
        }
    }
}
