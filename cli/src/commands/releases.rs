//! `releases`: lists the releases of every service.

use std::time::SystemTime;

use landfall_compute::{Release, ReleaseState};
use landfall_pipeline::ServiceReleases;
use landfall_provider::{ResourceName, StackName};
use serde::Serialize;

use super::{Session, stack_of};
use crate::args::Releases;
use crate::cli_error::CliError;
use crate::{output, render};

/// The last line of JSON of a list of releases.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    services: Vec<OfService<'a>>,
}

#[derive(Serialize)]
struct OfService<'a> {
    service: &'a ResourceName,
    releases: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    release: u32,
    state: &'static str,
    /// The reason of its failure.
    why: Option<&'a str>,
    image: Option<&'a str>,
    digest: Option<&'a str>,
    commit: Option<&'a str>,
    /// The release that it restores.
    back_to: Option<u32>,
    made: Option<String>,
    who: Option<&'a str>,
}

impl<'a> One<'a> {
    fn of(release: &'a Release) -> Self {
        Self {
            release: release.version,
            state: release.state.word(),
            why: match &release.state {
                ReleaseState::Failed(why) => Some(why),
                _ => None,
            },
            image: release.spec.workload.image.known().map(AsRef::as_ref),
            digest: release.digest(),
            commit: release.note.commit.as_deref(),
            back_to: release.note.back_to,
            made: release.made.map(time),
            who: release.who.as_deref(),
        }
    }
}

/// `2026-11-22T16:52:16Z`.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Lists the releases.
pub(crate) async fn releases(args: &Releases) -> Result<(), CliError> {
    let (stack, said) = stack_of(&args.on)?;
    let session = Session::open(&args.on.common, said).await?;
    let mut all = landfall_pipeline::releases(session.place.cloud(), &stack).await?;
    session.progress.finish();
    if all.is_empty() {
        return Err(CliError::Missing { stack });
    }
    if let Some(service) = &args.service {
        one_of(&mut all, service, &stack)?;
    }
    if session.json {
        let services = all.iter().map(|of| OfService {
            service: &of.service,
            releases: of.releases.iter().map(One::of).collect(),
        });
        output::json_line(&Line {
            result: "releases",
            stack: &stack,
            services: services.collect(),
        });
    } else {
        output::result(&render::releases::render(&all));
    }
    Ok(())
}

/// Keeps only the requested service.
fn one_of(
    all: &mut Vec<ServiceReleases>,
    service: &ResourceName,
    stack: &StackName,
) -> Result<(), CliError> {
    let names: Vec<String> = all.iter().map(|of| of.service.to_string()).collect();
    all.retain(|of| of.service == *service);
    if all.is_empty() {
        let hint = format!("it has {}", names.join(", "));
        let message = format!("{stack} has no service {service}");
        return Err(CliError::usage(message, Some(&hint)));
    }
    Ok(())
}
