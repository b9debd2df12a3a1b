//! `plan`: shows the changes that a deploy would make.

use std::io::{self, Write};
use std::path::Path;

use landfall_pipeline::{Changes, PendingRollout, Planned, Review, Reviewed, SavedPlan};
use landfall_provider::{IrreversibleChange, StackName, read_text};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{Session, config, operator};
use crate::args::Plan;
use crate::cli_error::CliError;
use crate::{exit, output, render};

/// The last line of JSON of a plan.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    changes: Changes,
    losses: &'a [IrreversibleChange],
    resources: &'a [Reviewed],
    rollouts: &'a [PendingRollout],
}

impl<'a> Line<'a> {
    pub(crate) fn of(review: &'a Review) -> Self {
        Self {
            result: "plan",
            stack: &review.stack,
            changes: Changes::of(review),
            losses: &review.losses,
            resources: &review.resources,
            rollouts: &review.rollouts,
        }
    }
}

/// Plans, changes nothing, and returns the exit code.
pub(crate) async fn plan(args: &Plan) -> Result<u8, CliError> {
    let mut config = config(&args.common)?;
    let mut session = Session::for_config(&args.common, &mut config).await?;
    operator::settle(&session, &mut config, args.my_address.as_ref()).await?;
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

/// Saves a plan in a file that only the owner can read: it contains all data of the stack.
fn write(file: &Path, plan: &SavedPlan) -> Result<(), CliError> {
    private(file, plan.to_text().as_bytes()).map_err(|error| {
        CliError::usage(
            format!("cannot save the plan to {}: {error}", file.display()),
            None,
        )
    })
}

/// Writes a new file and replaces an existing one, whatever its permissions are.
fn private(file: &Path, text: &[u8]) -> io::Result<()> {
    // A link is preserved, and a path that is not a file, such as a pipe, is written directly.
    let target = match file.metadata() {
        Ok(there) if !there.is_file() => return std::fs::write(file, text),
        Ok(_) => file.canonicalize()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
    };
    let directory = target.parent().filter(|it| !it.as_os_str().is_empty());
    let mut new = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    new.write_all(text)?;
    new.persist(target).map_err(|error| error.error)?;
    Ok(())
}

/// The maximum size of a saved plan, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Reads a saved plan.
pub(super) fn read(file: &Path) -> Result<SavedPlan, CliError> {
    let text = read_text(file, MOST_BYTES).map_err(|error| {
        CliError::usage(
            format!("cannot read the plan {}: {error}", file.display()),
            Some("`plan --out FILE` makes one"),
        )
    })?;
    SavedPlan::parse(&text).map_err(|error| {
        CliError::usage(
            format!("{}: {error}", file.display()),
            Some("create a new one with `plan --out FILE`"),
        )
    })
}
