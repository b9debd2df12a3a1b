//! `status`: show which way a request takes through the stack, and how healthy each part is.

use landfall_pipeline::Status;
use serde::Serialize;

use super::{Session, stack_of};
use crate::args::OnStack;
use crate::problem::Problem;
use crate::{output, render};

/// The last line of JSON of a status.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    healthy: bool,
    status: &'a Status,
}

/// Looks.
pub(crate) async fn status(args: &OnStack) -> Result<(), Problem> {
    let (stack, said) = stack_of(args)?;
    let session = Session::open(&args.common, said).await?;
    let looking = landfall_pipeline::status(session.place.cloud(), &stack);
    let status = session.look(looking).await?;
    session.progress.finish();
    if !status.exists() {
        return Err(Problem::Missing { stack });
    }
    if session.json {
        output::json_line(&Line {
            result: "status",
            healthy: status.is_healthy(),
            status: &status,
        });
    } else {
        output::result(&render::status::render(&status));
    }
    Ok(())
}
