//! Progress for a pipe or a log: a line for each event, and occasional lines about long operations.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use landfall_provider::Event;

use super::board::Board;
use super::ticker::Ticker;

/// The interval of checks for long operations.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes lines.
pub(crate) struct Lines {
    shared: Arc<Shared>,
    ticker: Mutex<Option<Ticker>>,
}

struct Shared {
    board: Mutex<Board>,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

impl Lines {
    /// Starts, with a function that writes a line.
    pub(crate) fn start(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            board: Mutex::default(),
            write: Box::new(write),
        });
        let ticker = Ticker::start(LOOK_EVERY, {
            let shared = Arc::clone(&shared);
            move || {
                let mut board = shared.board();
                for line in board.tick(Instant::now()) {
                    (shared.write)(&line);
                }
            }
        });
        Self {
            shared,
            ticker: Mutex::new(Some(ticker)),
        }
    }

    pub(crate) fn event(&self, event: &Event) {
        let mut board = self.shared.board();
        if let Some(line) = board.event(event, Instant::now()) {
            (self.shared.write)(&line);
        }
    }

    pub(crate) fn say(&self, line: &str) {
        // Held, so that lines from two threads do not mix.
        let _board = self.shared.board();
        (self.shared.write)(line);
    }

    pub(crate) fn undo(&self) {
        self.shared.board().undo();
    }

    /// Stops writing lines about long operations.
    pub(crate) fn finish(&self) {
        let ticker = self
            .ticker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(ticker);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_written_in_order() {
        let written: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Lines::start({
            let written = Arc::clone(&written);
            move |line| written.lock().unwrap().push(line.to_owned())
        });
        lines.say("one");
        lines.event(&Event::Output {
            key: "image/web".parse().unwrap(),
            line: "two".into(),
        });
        lines.finish();
        let written = written.lock().unwrap();
        assert_eq!(written.len(), 2);
        assert!(written[0].ends_with("one") && written[1].ends_with("two"));
    }
}
