//! What an instance says: the last of it kept, all of it to whoever listens.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::broadcast;

/// The longest line, in bytes; a longer one is cut into several.
const MAX_LINE: usize = 16 * 1024;
/// How many lines a listener may be behind before it misses some.
const BEHIND: usize = 1024;

/// Where a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its end arrived.
    pub at: SystemTime,
    /// Where it was written to.
    pub stream: Stream,
    /// The text without its end of line; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// The output of an instance. It outlives the instance.
#[derive(Debug)]
pub struct Output {
    /// The most bytes of text that are kept.
    capacity: usize,
    kept: Mutex<Kept>,
    listeners: broadcast::Sender<Line>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Output {
    /// Keeps the last lines that have at most `capacity` bytes together.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            kept: Mutex::default(),
            listeners: broadcast::Sender::new(BEHIND),
        }
    }

    /// The last `most` lines that are kept, oldest first.
    pub fn tail(&self, most: usize) -> Vec<Line> {
        let kept = self.kept();
        let skip = kept.lines.len().saturating_sub(most);
        kept.lines.iter().skip(skip).cloned().collect()
    }

    /// All lines from now on. A listener that falls 1024 lines behind misses the oldest, and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Line> {
        self.listeners.subscribe()
    }

    /// The lines that are kept, and all from then on: none is missing between, and none comes twice.
    pub(crate) fn follow(&self) -> (Vec<Line>, broadcast::Receiver<Line>) {
        let kept = self.kept();
        (
            kept.lines.iter().cloned().collect(),
            self.listeners.subscribe(),
        )
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked, the lines are whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        let mut kept = self.kept();
        kept.bytes += line.text.len();
        kept.lines.push_back(line.clone());
        while kept.bytes > self.capacity {
            let Some(oldest) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes -= oldest.text.len();
        }
        // Sent under the lock, so that listeners see the order that is kept. Nobody may listen.
        let _ = self.listeners.send(line);
    }

    /// Takes in all that `source` says, line by line, until it ends.
    pub(super) async fn take(
        &self,
        stream: Stream,
        source: impl AsyncRead + Unpin,
    ) -> io::Result<()> {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        let push = |line: &mut Vec<u8>| {
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            let text = String::from_utf8_lossy(text).into_owned();
            self.push(Line {
                at: SystemTime::now(),
                stream,
                text,
            });
            line.clear();
        };
        loop {
            let buffer = source.fill_buf().await?;
            if buffer.is_empty() {
                if !line.is_empty() {
                    push(&mut line);
                }
                return Ok(());
            }
            let room = buffer.len().min(MAX_LINE - line.len());
            let end = buffer[..room].iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(room);
            line.extend_from_slice(&buffer[..taken]);
            source.consume(taken + usize::from(end.is_some()));
            if end.is_some() || line.len() == MAX_LINE {
                push(&mut line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(output: &Output, bytes: &[u8]) -> Vec<String> {
        output.take(Stream::Stdout, bytes).await.unwrap();
        output
            .tail(usize::MAX)
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    #[tokio::test]
    async fn lines_are_split_and_the_last_needs_no_end() {
        let output = Output::new(1000);
        let lines = taken(&output, b"one\r\n\ntwo\xff\nthree").await;
        assert_eq!(lines, ["one", "", "two\u{fffd}", "three"]);
        assert_eq!(output.tail(1)[0].text, "three");
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept() {
        let output = Output::new(8);
        assert_eq!(
            taken(&output, b"aaaa\nbbbb\ncccc\n").await,
            ["bbbb", "cccc"]
        );
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let output = Output::new(1 << 20);
        let lines = taken(&output, &[b'x'; MAX_LINE + 5]).await;
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [MAX_LINE, 5]
        );
    }

    #[tokio::test]
    async fn listeners_hear_what_comes_after() {
        let output = Output::new(100);
        taken(&output, b"before\n").await;
        let mut listener = output.subscribe();
        taken(&output, b"after\n").await;
        assert_eq!(listener.recv().await.unwrap().text, "after");
    }
}
