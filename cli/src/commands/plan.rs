//! `plan`: show what a deploy would change.

use std::io::{self, Write};
use std::path::Path;

use landfall_pipeline::{Changes, Planned, Review, Reviewed, SavedPlan};
use landfall_provider::{Lost, StackName};
use serde::Serialize;

use super::{Session, config};
use crate::args::Plan;
use crate::problem::Problem;
use crate::{exit, output, render};

/// The last line of JSON of a plan.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    changes: Changes,
    losses: &'a [Lost],
    resources: &'a [Reviewed],
}

impl<'a> Line<'a> {
    pub(crate) fn of(review: &'a Review) -> Self {
        Self {
            result: "plan",
            stack: &review.stack,
            changes: Changes::of(review),
            losses: &review.losses,
            resources: &review.resources,
        }
    }
}

/// Plans, changes nothing, and gives the exit code.
pub(crate) async fn plan(args: &Plan) -> Result<u8, Problem> {
    let mut config = config(&args.common)?;
    let mut session = Session::for_config(&args.common, &mut config).await?;
    session.options.no_before = args.no_before;
    session.options.accept_unreachable = args.accept_unreachable;
    let cloud = session.place.cloud();
    let planned = landfall_pipeline::plan(cloud, &config, &session.options).await?;
    session.progress.finish();
    tell(&planned, session.json);
    let planned = planned.feasible()?;
    if let Some(file) = &args.out {
        write(file, &planned.save())?;
    }
    Ok(if args.detailed_exitcode && !planned.review.is_empty() {
        exit::CHANGES
    } else {
        exit::DONE
    })
}

fn tell(planned: &Planned, json: bool) {
    let review = &planned.review;
    if json {
        output::json_line(&Line::of(review));
    } else {
        output::result(&render::plan::render(review));
    }
}

/// Keeps a plan in a file that nobody else may read: it tells all about the stack.
fn write(file: &Path, plan: &SavedPlan) -> Result<(), Problem> {
    let written = private(file).and_then(|mut file| file.write_all(plan.to_text().as_bytes()));
    written.map_err(|error| {
        Problem::usage(
            format!("the plan cannot be kept in {}: {error}", file.display()),
            None,
        )
    })
}

fn private(file: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// Reads a plan that was kept.
pub(super) fn read(file: &Path) -> Result<SavedPlan, Problem> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Problem::usage(
            format!("the plan {} cannot be read: {error}", file.display()),
            Some("`plan --out FILE` makes one"),
        )
    })?;
    SavedPlan::parse(&text).map_err(|error| {
        Problem::usage(
            format!("{}: {error}", file.display()),
            Some("`plan --out FILE` makes a new one"),
        )
    })
}
