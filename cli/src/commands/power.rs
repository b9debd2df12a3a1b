//! `stop` and `start` of a single instance, which keeps its address.

use landfall_compute::SingleInstance;
use landfall_pipeline::Powered;
use landfall_provider::StackName;
use serde::Serialize;

use super::{Session, stack_of};
use crate::args::Power;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{STRONG, or_dash, paint};

/// The last line of JSON of a stop or a start.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    instance: &'a str,
    /// Whether the state changed.
    changed: bool,
    standing: &'a SingleInstance,
    duration_ms: u64,
}

/// Stops the instance, and waits until it is stopped.
pub(crate) async fn stop(args: &Power) -> Result<(), CliError> {
    let (session, stack) = open(args).await?;
    let cloud = session.place.cloud();
    let powered = landfall_pipeline::stop(cloud, &stack, &session.options).await?;
    tell(&session, "stop", &powered, "stopped");
    Ok(())
}

/// Starts the instance, waits until it runs, and prints the address.
pub(crate) async fn start(args: &Power) -> Result<(), CliError> {
    let (session, stack) = open(args).await?;
    let cloud = session.place.cloud();
    let powered = landfall_pipeline::start(cloud, &stack, &session.options).await?;
    tell(&session, "start", &powered, "started");
    if let Some(url) = powered.standing.url.as_ref().filter(|_| !session.json) {
        output::result(&format!("{url}\n"));
    }
    Ok(())
}

async fn open(args: &Power) -> Result<(Session, StackName), CliError> {
    let (stack, said) = stack_of(&args.on)?;
    let mut session = Session::open(&args.on.common, said).await?;
    session.options.wait = args.waiting.wait;
    Ok((session, stack))
}

fn tell(session: &Session, result: &'static str, powered: &Powered, done: &str) {
    session.progress.finish();
    if session.json {
        output::json_line(&Line {
            result,
            stack: &powered.stack,
            instance: powered.instance.as_ref(),
            changed: powered.changed,
            standing: &powered.standing,
            duration_ms: powered.duration_ms,
        });
    } else {
        output::message(&summary(powered, done));
    }
}

fn summary(powered: &Powered, done: &str) -> String {
    let stack = paint(STRONG, &powered.stack);
    let (id, address) = (&powered.instance, or_dash(powered.standing.public_address));
    match powered.changed {
        true => format!("{stack}: {done} {id}; its address stays {address}\n"),
        false => format!(
            "{stack}: nothing to do, {id} is {}\n",
            powered.standing.state.word()
        ),
    }
}
