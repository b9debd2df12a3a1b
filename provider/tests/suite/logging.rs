//! The log of the engine: a span per operation; probes and retries in it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use landfall_provider::{ApplyOptions, ErrorKind, apply, plan};
use landfall_testkit::sim::{Fault, Sim, Times};
use tracing_subscriber::filter::LevelFilter;

use crate::things::{catalog, kind, schema, stack, stack_name};

/// The log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that a deploy of `plain/a` logs at a level, when its first call is throttled and its creation takes 2 s.
async fn logged(level: LevelFilter) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || writer.clone())
        .without_time()
        .finish();
    let _log = tracing::subscriber::set_default(lines);
    let slow = Times {
        create: std::time::Duration::from_secs(2).into(),
        ..Times::default()
    };
    let sim = Sim::new().times(kind("plain"), slow);
    let live = catalog().snapshot(&sim, &stack_name()).await.unwrap();
    let plan = plan(&stack(&["plain/a"]), &live, &schema()).unwrap();
    sim.inject(0, Fault::Refuse(ErrorKind::Throttled));
    let applied = apply(&plan, &sim, &catalog(), &ApplyOptions::default()).await;
    assert!(applied.is_complete(), "{applied:?}");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn info_shows_the_end_of_an_operation_in_its_span() {
    let lines = logged(LevelFilter::INFO).await;
    let [line] = &lines[..] else {
        panic!("{lines:#?}")
    };
    for part in ["INFO operation{key=plain/a verb=creating}", "ready", "id="] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn debug_shows_retries_and_probes() {
    let lines = logged(LevelFilter::DEBUG).await;
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!(
        count("the call failed attempt=1 gave_up=false"),
        1,
        "{lines:#?}"
    );
    assert!(count("not ready; it is probed again") > 1, "{lines:#?}");
    assert_eq!(count("operation{key=plain/a"), lines.len(), "{lines:#?}");
}
