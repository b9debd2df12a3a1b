//! Progress for a terminal: a spinner line for each running operation, and the finished ones above
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use landfall_provider::{Event, Key};

use super::board::Board;
use super::ticker::Ticker;

/// The interval of redraws.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Shorter operations have no spinner: it would only flicker.
const WORTH_A_BAR: Duration = Duration::from_millis(150);

/// Draws the spinners.
pub(crate) struct Bars {
    shared: Arc<Shared>,
    ticker: Mutex<Option<Ticker>>,
}

struct Shared {
    screen: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    board: Board,
    bars: BTreeMap<Key, ProgressBar>,
}

impl Bars {
    /// Starts to draw.
    pub(crate) fn start(target: ProgressDrawTarget) -> Self {
        let shared = Arc::new(Shared {
            screen: MultiProgress::with_draw_target(target),
            state: Mutex::default(),
        });
        let ticker = Ticker::start(DRAW_EVERY, {
            let shared = Arc::clone(&shared);
            move || shared.draw(Instant::now())
        });
        Self {
            shared,
            ticker: Mutex::new(Some(ticker)),
        }
    }

    pub(crate) fn event(&self, event: &Event) {
        let mut state = self.shared.state();
        let line = state.board.event(event, Instant::now());
        // Before the line: writing it redraws the bars.
        self.shared.retire(&mut state);
        if let Some(line) = line {
            self.shared.write(&line);
        }
    }

    pub(crate) fn say(&self, line: &str) {
        // Held, so that nothing is drawn in between.
        let _state = self.shared.state();
        self.shared.write(line);
    }

    pub(crate) fn undo(&self) {
        self.shared.state().board.undo();
    }

    /// Removes all bars, and stops drawing.
    pub(crate) fn finish(&self) {
        let ticker = self
            .ticker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(ticker);
        for (_, bar) in std::mem::take(&mut self.shared.state().bars) {
            bar.finish_and_clear();
        }
        // A terminal that cannot be cleared is ignored.
        let _ = self.shared.screen.clear();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &str) {
        self.screen.suspend(|| {
            // A closed terminal is no reason to stop.
            let _ = writeln!(anstream::stderr(), "{line}");
        });
    }

    /// Removes the bars of finished operations.
    fn retire(&self, state: &mut State) {
        let State { board, bars } = state;
        bars.retain(|key, bar| {
            let running = board.running().contains_key(key);
            if !running {
                bar.finish_and_clear();
                self.screen.remove(bar);
            }
            running
        });
    }

    fn draw(&self, now: Instant) {
        let mut state = self.state();
        let State { board, bars } = &mut *state;
        for (key, running) in board.running() {
            if now.saturating_duration_since(running.since) < WORTH_A_BAR {
                continue;
            }
            let bar = bars
                .entry(key.clone())
                .or_insert_with(|| self.screen.add(spinner(format!("{} {key}", running.verb))));
            bar.set_message(running.why.clone().unwrap_or_default());
            bar.tick();
        }
    }
}

fn spinner(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(what);
    // An invalid template leaves the default one, which is sufficient.
    if let Ok(style) =
        ProgressStyle::with_template("{spinner:.cyan} {prefix}  {wide_msg:.dim} {elapsed:>4.dim}")
    {
        bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    bar
}

impl fmt::Debug for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bars")
    }
}

#[cfg(test)]
mod tests {
    use landfall_provider::Operation;

    use super::*;

    #[test]
    fn what_lasts_has_a_bar_until_it_is_done() {
        let bars = Bars::start(ProgressDrawTarget::hidden());
        let key: Key = "vpc/main".parse().unwrap();
        bars.event(&Event::Started {
            key: key.clone(),
            verb: Operation::Create,
        });
        bars.event(&Event::Waiting {
            key: key.clone(),
            id: "vpc-1".into(),
            why: "pending".into(),
        });
        let later = Instant::now() + Duration::from_secs(1);
        bars.shared.draw(later);
        assert_eq!(bars.shared.state().bars[&key].message(), "pending");
        bars.event(&Event::Done {
            key,
            verb: Operation::Create,
            id: "vpc-1".into(),
            took_ms: 3,
        });
        assert!(bars.shared.state().bars.is_empty());
    }
}
