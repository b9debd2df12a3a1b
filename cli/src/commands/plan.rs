//! `plan`: show what a deploy would change.

use landfall_pipeline::{Changes, catalog};
use landfall_provider::{StackName, Step};
use serde::Serialize;

use super::{Session, config};
use crate::args::Common;
use crate::problem::Problem;
use crate::{output, render};

/// The last line of JSON of a plan.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    changes: Changes,
    steps: &'a [Step],
}

/// Plans, and changes nothing.
pub(crate) async fn plan(args: &Common) -> Result<(), Problem> {
    let config = config(args)?;
    let session = Session::open(args, Some(&config))?;
    let cloud = session.place.cloud();
    let plan = landfall_pipeline::plan(cloud, &config, &session.options).await?;
    session.progress.finish();
    if session.json {
        output::json_line(&Line {
            result: "plan",
            stack: &plan.stack,
            changes: Changes::of(&plan),
            steps: &plan.steps,
        });
    } else {
        let kinds = catalog::<dyn landfall_pipeline::Cloud>();
        output::result(&render::plan::render(&plan, kinds.schema()));
    }
    Ok(())
}
