//! Live progress: bars on a terminal, lines in a pipe, JSON if requested.

mod bars;
mod board;
mod lines;
mod screen;
mod ticker;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use indicatif::ProgressDrawTarget;
use landfall_pipeline::Failure;
use landfall_provider::{Event, Events};

pub(crate) use self::screen::Screen;

use self::bars::Bars;
use self::lines::Lines;
use crate::render;

/// The destination of events.
#[derive(Clone)]
pub(crate) enum Progress {
    /// A line for each running resource, redrawn repeatedly.
    Bars(Arc<Bars>),
    /// A line for each event.
    Lines(Arc<Lines>),
    /// Each event as a line of JSON on standard output.
    Json,
}

impl Progress {
    /// The progress for the program's streams.
    pub(crate) fn for_streams(json: bool) -> Self {
        if json {
            Self::Json
        } else if std::io::stderr().is_terminal() {
            Self::Bars(Arc::new(Bars::start(ProgressDrawTarget::stderr())))
        } else {
            Self::Lines(Arc::new(Lines::start(|line| {
                // A closed pipe is no reason to stop.
                let _ = writeln!(anstream::stderr(), "{line}");
            })))
        }
    }

    /// The listener.
    pub(crate) fn events(&self) -> Events {
        match self {
            Self::Bars(bars) => {
                let bars = Arc::clone(bars);
                Events::to(move |event| bars.event(&event))
            }
            Self::Lines(lines) => {
                let lines = Arc::clone(lines);
                Events::to(move |event| lines.event(&event))
            }
            Self::Json => Events::to(|event: Event| crate::output::json_line(&event)),
        }
    }

    /// Prints a message beside the events.
    pub(crate) fn say(&self, line: &str) {
        match self {
            Self::Bars(bars) => bars.say(line),
            Self::Lines(lines) => lines.say(line),
            Self::Json => {}
        }
    }

    /// Announces a failure before the run's resources are deleted.
    pub(crate) fn failing(&self, failure: &Failure) {
        self.say(&render::error::announced(failure));
        self.say("deleting the resources of this first deploy");
        match self {
            Self::Bars(bars) => bars.undo(),
            Self::Lines(lines) => lines.undo(),
            Self::Json => {}
        }
    }

    /// Removes the bars, and stops drawing.
    pub(crate) fn finish(&self) {
        match self {
            Self::Bars(bars) => bars.finish(),
            Self::Lines(lines) => lines.finish(),
            Self::Json => {}
        }
    }
}
