//! The running operations, and the progress lines about them: without its own clock or stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use landfall_provider::{Event, Key, Operation};

use crate::render::{BAD, CHANGED, DIM, GOOD, duration, paint, short, tame};

/// The duration after which a wait gets a line, and the time until its next line.
const WORTH_TELLING: Duration = Duration::from_secs(2);
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// A running operation on a resource.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) verb: Operation,
    pub(crate) since: Instant,
    /// The reason for waiting.
    pub(crate) why: Option<String>,
    /// The time and the reason of its last line.
    reported: Option<(Instant, Option<String>)>,
}

/// All running operations.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Whether deletions get no line, because they clean up after a failed run.
    undoing: bool,
    running: BTreeMap<Key, Running>,
}

impl Board {
    /// Processes an event; returns its line, if it has one.
    pub(crate) fn event(&mut self, event: &Event, now: Instant) -> Option<String> {
        match event {
            Event::Started { key, verb } => {
                let running = Running {
                    verb: *verb,
                    since: now,
                    why: None,
                    reported: None,
                };
                self.running.insert(key.clone(), running);
                None
            }
            Event::Waiting { key, why, .. } => {
                let running = self.running.entry(key.clone()).or_insert(Running {
                    verb: Operation::Await,
                    since: now,
                    why: None,
                    reported: None,
                });
                running.why = Some(tame(why));
                None
            }
            Event::Output { key, line } => Some(format!(
                "{} {} {}",
                paint(DIM, key),
                paint(DIM, "│"),
                tame(line)
            )),
            Event::Done {
                key,
                verb,
                id,
                took_ms,
            } => {
                self.running.remove(key);
                if self.undoing && *verb == Operation::Delete {
                    return None;
                }
                let took = duration(Duration::from_millis(*took_ms));
                let (style, done) = match verb {
                    Operation::Create => (GOOD, "created"),
                    Operation::Update => (CHANGED, "updated"),
                    Operation::Await => (GOOD, "ready"),
                    Operation::Delete => (CHANGED, "deleted"),
                };
                Some(format!(
                    "{}  {key}  {}  {}",
                    paint(style, done),
                    short(id),
                    paint(DIM, took)
                ))
            }
            // The reason is printed once, in the command's final error.
            Event::Failed { key, verb, .. } => {
                self.running.remove(key);
                Some(format!("{}  {verb} {key}", paint(BAD, "failed")))
            }
            Event::Notice { text } => Some(paint(CHANGED, tame(text))),
        }
    }

    /// From now on, deletions clean up after a failed run.
    pub(crate) fn undo(&mut self) {
        self.undoing = true;
    }

    /// The lines about long operations, so that the output does not stay silent.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, running) in &mut self.running {
            let lasts = now.saturating_duration_since(running.since);
            let due = match &running.reported {
                None => lasts >= WORTH_TELLING,
                Some((at, why)) => {
                    let ago = now.saturating_duration_since(*at);
                    ago >= TELL_AGAIN || (ago >= WORTH_TELLING && *why != running.why)
                }
            };
            if due {
                running.reported = Some((now, running.why.clone()));
                lines.push(line(key, running, lasts));
            }
        }
        lines
    }

    /// The running operations, by key.
    pub(crate) fn running(&self) -> &BTreeMap<Key, Running> {
        &self.running
    }
}

fn line(key: &Key, running: &Running, lasts: Duration) -> String {
    let why = match &running.why {
        Some(why) => format!("  {why}"),
        None => String::new(),
    };
    format!(
        "{}  {key}{why}  {}",
        paint(CHANGED, running.verb),
        paint(DIM, format_args!("{} so far", duration(lasts)))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn plain(line: impl AsRef<str>) -> String {
        anstream::adapter::strip_str(line.as_ref()).to_string()
    }

    fn started(text: &str) -> Event {
        Event::Started {
            key: key(text),
            verb: Operation::Create,
        }
    }

    #[test]
    fn what_is_done_and_what_failed_is_a_line() {
        let mut board = Board::default();
        let now = Instant::now();
        assert_eq!(board.event(&started("vpc/main"), now), None);
        let done = Event::Done {
            key: key("vpc/main"),
            verb: Operation::Create,
            id: "vpc-0123".into(),
            took_ms: 12,
        };
        let line = board.event(&done, now).unwrap();
        assert_eq!(plain(line), "created  vpc/main  vpc-0123  12 ms");
        let failed = Event::Failed {
            key: key("nat-gateway/a"),
            verb: Operation::Delete,
            error: "the provider did not answer".into(),
        };
        let line = board.event(&failed, now).unwrap();
        assert_eq!(plain(line), "failed  deleting nat-gateway/a");
        assert!(board.running().is_empty());
    }

    #[test]
    fn a_build_line_names_its_image() {
        let output = Event::Output {
            key: key("image/web"),
            line: "STEP \x1b[1m1/3\x1b[0m".into(),
        };
        let line = Board::default().event(&output, Instant::now()).unwrap();
        assert_eq!(plain(line), "image/web │ STEP 1/3");
    }

    #[test]
    fn long_waits_repeat_on_change_and_each_half_minute() {
        let mut board = Board::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waiting = |why: &str| Event::Waiting {
            key: key("load-balancer/main"),
            id: "lb-1".into(),
            why: why.into(),
        };
        board.event(&started("load-balancer/main"), start);
        board.event(&waiting("provisioning"), start);
        assert!(board.tick(at(1)).is_empty());
        assert_eq!(
            board.tick(at(2)).iter().map(plain).collect::<Vec<_>>(),
            ["creating  load-balancer/main  provisioning  2.0 s so far"]
        );
        assert!(board.tick(at(3)).is_empty());
        board.event(&waiting("registering"), at(3));
        assert!(
            board.tick(at(3)).is_empty(),
            "reasons that flicker are not told"
        );
        assert_eq!(
            board.tick(at(4)).iter().map(plain).collect::<Vec<_>>(),
            ["creating  load-balancer/main  registering  4.0 s so far"]
        );
        assert!(board.tick(at(30)).is_empty());
        assert_eq!(board.tick(at(34)).len(), 1);
    }

    #[test]
    fn what_a_failed_run_made_is_deleted_without_a_line_each() {
        let mut board = Board::default();
        board.undo();
        let gone = Event::Done {
            key: key("vpc/main"),
            verb: Operation::Delete,
            id: "vpc-1".into(),
            took_ms: 5,
        };
        assert_eq!(board.event(&gone, Instant::now()), None);
    }

    #[test]
    fn a_short_wait_is_never_told() {
        let mut board = Board::default();
        let now = Instant::now();
        board.event(&started("vpc/main"), now);
        board.event(
            &Event::Done {
                key: key("vpc/main"),
                verb: Operation::Create,
                id: "vpc-1".into(),
                took_ms: 5,
            },
            now,
        );
        assert!(board.tick(now + Duration::from_secs(60)).is_empty());
    }
}
