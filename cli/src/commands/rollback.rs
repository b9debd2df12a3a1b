//! `rollback`: returns a service to an earlier release.

use std::time::Duration;

use landfall_lb::TargetHealth;
use landfall_pipeline::{RollbackTo, RolledBack};
use landfall_provider::{ResourceName, StackName};
use serde::Serialize;

use super::{Session, config};
use crate::args::Rollback;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{self, STRONG, paint};

/// The last line of JSON of a rollback.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    service: &'a ResourceName,
    from: u32,
    to: u32,
    release: u32,
    changed: bool,
    targets: &'a [TargetHealth],
    duration_ms: u64,
}

/// Rolls back.
pub(crate) async fn rollback(args: &Rollback) -> Result<(), CliError> {
    let to = to(args)?;
    let mut config = config(&args.common)?;
    let mut session = Session::for_config(&args.common, &mut config).await?;
    session.options.wait = args.waiting.wait;
    let cloud = session.place.cloud();
    let back = landfall_pipeline::rollback(cloud, &config, &to, &session.options).await;
    session.progress.finish();
    let back = back?;
    if session.json {
        output::json_line(&Line {
            result: "rollback",
            stack: &back.stack,
            service: &back.service,
            from: back.from,
            to: back.to,
            release: back.release,
            changed: !back.is_same(),
            targets: &back.targets,
            duration_ms: back.duration_ms,
        });
    } else {
        output::result(&summary(&back));
    }
    Ok(())
}

/// Interprets the two arguments: a number alone is a release.
fn to(args: &Rollback) -> Result<RollbackTo, CliError> {
    let (service, release) = match (&args.service, args.release) {
        (Some(word), None) if word.starts_with(|first: char| first.is_ascii_digit()) => {
            (None, Some(word))
        }
        (service, release) => {
            let service = service
                .as_ref()
                .map(|name| ResourceName::new(name.as_str()));
            let service = service.transpose();
            let service = service.map_err(|error| CliError::usage(error.to_string(), None))?;
            return Ok(RollbackTo { service, release });
        }
    };
    let release = release.map(|word| word.parse::<u32>()).transpose();
    let release = release.map_err(|error| {
        let word = args.service.as_deref().unwrap_or_default();
        CliError::usage(
            format!("`{word}` is not a release number: {error}"),
            Some("releases are numbered from 1; `landfall releases` lists them"),
        )
    })?;
    Ok(RollbackTo { service, release })
}

fn summary(back: &RolledBack) -> String {
    let RolledBack {
        service,
        from,
        to,
        release,
        ..
    } = back;
    let stack = paint(STRONG, &back.stack);
    if back.is_same() {
        return format!(
            "{stack}: release {from} of {service} serves, and has the content of release {to}\n"
        );
    }
    let took = render::duration(Duration::from_millis(back.duration_ms));
    format!(
        "{stack}: {service} was rolled back from release {from} to {to}, which serves as release {release}, {took}\n"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn meant(args: &[&str]) -> Result<(Option<String>, Option<u32>), CliError> {
        let line = ["landfall", "rollback"].iter().chain(args);
        let Command::Rollback(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command");
        };
        let RollbackTo { service, release } = to(&args)?;
        Ok((service.map(String::from), release))
    }

    #[test]
    fn a_number_alone_is_a_release_and_a_name_alone_a_service() {
        let web = || Some("web".to_owned());
        assert_eq!(meant(&[]).unwrap(), (None, None));
        assert_eq!(meant(&["3"]).unwrap(), (None, Some(3)));
        assert_eq!(meant(&["web"]).unwrap(), (web(), None));
        assert_eq!(meant(&["web", "3"]).unwrap(), (web(), Some(3)));
        assert_eq!(meant(&["3x"]).unwrap_err().exit_code(), 2);
        assert_eq!(meant(&["Web"]).unwrap_err().exit_code(), 2);
        assert!(Cli::try_parse_from(["landfall", "rollback", "web", "three"]).is_err());
    }

    #[test]
    fn the_summary_says_what_serves_now() {
        let mut back = RolledBack {
            stack: StackName::new("digipay").unwrap(),
            service: "web".parse().unwrap(),
            from: 4,
            to: 3,
            release: 5,
            targets: Vec::new(),
            duration_ms: 2300,
        };
        let plain = |back: &RolledBack| anstream::adapter::strip_str(&summary(back)).to_string();
        assert_eq!(
            plain(&back),
            "digipay: web was rolled back from release 4 to 3, which serves as release 5, 2.3 s\n"
        );
        back.release = 4;
        assert_eq!(
            plain(&back),
            "digipay: release 4 of web serves, and has the content of release 3\n"
        );
    }
}
