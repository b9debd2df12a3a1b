//! The log of the background process: events on standard error, which is the file `cloud.log`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable with the level, or with levels by module: `debug`, `info,landfall_local=trace`.
const LEVEL_VAR: &str = "LANDFALL_LOG";

/// Sends the events of this process to standard error.
pub(super) fn start() {
    let (levels, problem) = levels(std::env::var(LEVEL_VAR).ok().as_deref());
    // A failed write to the log must not become a message on the same stream, which would panic.
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let log = tracing_subscriber::registry().with(lines).with(levels);
    // A program that has its own log keeps it.
    let _ = log.try_init();
    if let Some(problem) = problem {
        tracing::warn!("{problem}");
    }
}

/// The levels of a setting, and the problem of an invalid one.
fn levels(setting: Option<&str>) -> (Targets, Option<String>) {
    let default = || Targets::new().with_default(LevelFilter::INFO);
    match setting.map(str::trim) {
        None | Some("") => (default(), None),
        Some(text) => match text.parse() {
            Ok(levels) => (levels, None),
            Err(error) => (
                default(),
                Some(format!(
                    "{LEVEL_VAR}={text} is invalid, so the level is info: {error}"
                )),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    const DAEMON: &str = "landfall_local::daemon";

    #[test]
    fn default_level_is_info() {
        for setting in [None, Some(""), Some(" ")] {
            let (levels, problem) = levels(setting);
            assert!(levels.would_enable(DAEMON, &Level::INFO), "{setting:?}");
            assert!(!levels.would_enable(DAEMON, &Level::DEBUG), "{setting:?}");
            assert_eq!(problem, None);
        }
    }

    #[test]
    fn level_is_set_for_everything_or_one_module() {
        let (all, _) = levels(Some("debug"));
        assert!(all.would_enable(DAEMON, &Level::DEBUG));
        let (one, problem) = levels(Some("warn,landfall_local=trace"));
        assert!(one.would_enable(DAEMON, &Level::TRACE));
        assert!(!one.would_enable("landfall_balancer", &Level::INFO));
        assert_eq!(problem, None);
    }

    #[test]
    fn invalid_level_is_reported_and_replaced() {
        let (levels, problem) = levels(Some("landfall_local=loud"));
        assert!(levels.would_enable(DAEMON, &Level::INFO));
        let problem = problem.unwrap();
        assert!(
            problem.contains("LANDFALL_LOG=landfall_local=loud"),
            "{problem}"
        );
    }
}
