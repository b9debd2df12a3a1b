//! The output of an instance: the last lines are kept, and subscribers get all lines.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::broadcast;
use tokio::time::Instant;

/// The maximum length of a line in bytes; longer lines are split.
const MAX_LINE: usize = 16 * 1024;
/// The maximum number of kept lines: empty lines have no bytes, but take memory.
const MAX_LINES: usize = 4096;
/// The output that an instance may write per second, in bytes; each line counts as 64 additional bytes. The cloud
/// reads faster output with a delay, so that it takes no time from other instances.
const RATE: u64 = 4 << 20;
/// The output that an instance may write at once after a silence.
const BURST: u64 = 2 * RATE;
const LINE_COST: u64 = 64;
/// The interval between two warnings about too much output.
const NOTICE_PERIOD: Duration = Duration::from_secs(10);
/// The number of lines that a subscriber may lag behind before it misses some.
const BEHIND: usize = 1024;

/// The stream of a line.
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
pub struct OutputLine {
    /// The time when its end arrived.
    pub at: SystemTime,
    /// The stream of the line.
    pub stream: Stream,
    /// The text without its end of line; invalid UTF-8 is replaced.
    pub text: String,
}

/// The output of an instance. It outlives the instance.
#[derive(Debug)]
pub struct Output {
    /// The maximum number of kept bytes.
    capacity: usize,
    kept: Mutex<Kept>,
    listeners: broadcast::Sender<OutputLine>,
    volume: Mutex<Volume>,
}

/// The used part of an instance's rate: a leaky bucket.
#[derive(Debug)]
struct Volume {
    level: u64,
    at: Instant,
    noticed: Option<Instant>,
}

impl Volume {
    fn new(now: Instant) -> Self {
        Self {
            level: 0,
            at: now,
            noticed: None,
        }
    }

    /// Adds bytes. Returns the delay of the writer, and whether to log a warning.
    fn add(&mut self, bytes: u64, now: Instant) -> Option<(Duration, bool)> {
        let passed = now.saturating_duration_since(self.at);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        self.level = self
            .level
            .saturating_sub(passed.saturating_mul(RATE / 1000));
        // The rest of a millisecond counts with the next line.
        self.at += Duration::from_millis(passed);
        self.level += bytes;
        let excess = self.level.checked_sub(BURST).filter(|excess| *excess > 0)?;
        let is_news = self
            .noticed
            .is_none_or(|noticed| now.saturating_duration_since(noticed) >= NOTICE_PERIOD);
        if is_news {
            self.noticed = Some(now);
        }
        // Short delays are collected, because a timer has a resolution of milliseconds.
        let wait = Duration::from_millis(excess / (RATE / 1000) + 1);
        (is_news || wait > Duration::from_millis(10)).then_some((wait, is_news))
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<OutputLine>,
    bytes: usize,
}

impl Output {
    /// Keeps the last lines, up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            kept: Mutex::default(),
            listeners: broadcast::Sender::new(BEHIND),
            volume: Mutex::new(Volume::new(Instant::now())),
        }
    }

    /// The last `most` kept lines, oldest first.
    pub fn tail(&self, most: usize) -> Vec<OutputLine> {
        let kept = self.kept();
        let skip = kept.lines.len().saturating_sub(most);
        kept.lines.iter().skip(skip).cloned().collect()
    }

    /// All lines from now on. A subscriber that lags 1024 lines behind misses the oldest, and gets an error about it.
    pub fn subscribe(&self) -> broadcast::Receiver<OutputLine> {
        self.listeners.subscribe()
    }

    /// The kept lines, and all following lines, without a gap and without duplicates.
    pub fn follow(&self) -> (Vec<OutputLine>, broadcast::Receiver<OutputLine>) {
        let kept = self.kept();
        (
            kept.lines.iter().cloned().collect(),
            self.listeners.subscribe(),
        )
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // After a panic of another thread, the lines are still complete.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: OutputLine) {
        let mut kept = self.kept();
        kept.bytes += line.text.len();
        kept.lines.push_back(line.clone());
        while kept.bytes > self.capacity || kept.lines.len() > MAX_LINES {
            let Some(oldest) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes -= oldest.text.len();
        }
        // Sent under the lock, so that subscribers see the same order. There may be no subscriber.
        let _ = self.listeners.send(line);
    }

    /// Adds a line of the cloud itself.
    pub(super) fn note(&self, text: String) {
        self.push(OutputLine {
            at: SystemTime::now(),
            stream: Stream::Stderr,
            text,
        });
    }

    /// Waits for the delay that so much output requires.
    async fn poll_interval(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX) + LINE_COST;
        let over = {
            let mut volume = self.volume.lock().unwrap_or_else(PoisonError::into_inner);
            volume.add(bytes, Instant::now())
        };
        let Some((wait, is_news)) = over else { return };
        if is_news {
            self.note(format!(
                "landfall: the instance writes more than {} MiB a second (limit of its output): it waits until that is read",
                RATE >> 20
            ));
        }
        tokio::time::sleep(wait).await;
    }

    /// Reads all output of `source`, line by line, until it ends.
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
            self.push(OutputLine {
                at: SystemTime::now(),
                stream,
                text,
            });
            let length = line.len();
            line.clear();
            length
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
                self.poll_interval(push(&mut line)).await;
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
    async fn empty_lines_are_bounded_too() {
        let output = Output::new(1000);
        let lines = taken(&output, &[b'\n'; 2 * MAX_LINES]).await;
        assert_eq!(lines.len(), MAX_LINES);
    }

    #[test]
    fn a_writer_waits_for_what_it_writes_too_much() {
        let now = Instant::now();
        let mut volume = Volume::new(now);
        assert_eq!(volume.add(BURST, now), None);
        let second = Duration::from_secs(1);
        let (wait, is_news) = volume.add(RATE, now).unwrap();
        assert!(
            is_news && wait >= second && wait < second * 11 / 10,
            "{wait:?}"
        );
        let (_, is_news) = volume.add(RATE, now + second).unwrap();
        assert!(!is_news, "once in a while is enough");
        // After a long silence, a burst is allowed again.
        assert_eq!(volume.add(BURST, now + 10 * second), None);
        let (_, is_news) = volume.add(RATE, now + 10 * second).unwrap();
        assert!(is_news);
        // An occasional line has no delay.
        let mut volume = Volume::new(now);
        for number in 0..10_000 {
            assert_eq!(
                volume.add(1000, now + number * Duration::from_millis(1)),
                None
            );
        }
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
