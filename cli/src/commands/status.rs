//! `status`: shows the path of a request through the stack, and the health of each part.

use std::time::SystemTime;

use landfall_pipeline::Status;
use landfall_provider::StackName;
use serde::Serialize;

use super::{Session, stack_of};
use crate::args;
use crate::cli_error::CliError;
use crate::progress::Screen;
use crate::{output, render};

/// The last line of JSON of a status.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    healthy: bool,
    status: &'a Status,
}

impl<'a> Line<'a> {
    fn of(status: &'a Status) -> Self {
        Self {
            result: "status",
            healthy: status.is_healthy(),
            status,
        }
    }
}

/// Shows the status, once or repeatedly.
pub(crate) async fn status(args: &args::Status) -> Result<(), CliError> {
    let (stack, said) = stack_of(&args.on)?;
    let session = match args.watch {
        // A watch has no operation that must be finished first.
        true => Session::quietly(&args.on.common, said).await?,
        false => Session::open(&args.on.common, said).await?,
    };
    if args.watch {
        return watch(&session, &stack).await;
    }
    let looking = landfall_pipeline::status(session.place.cloud(), &stack);
    let status = session.look(looking).await?;
    session.progress.finish();
    if !status.exists() {
        return Err(CliError::Missing { stack });
    }
    if session.json {
        output::json_line(&Line::of(&status));
    } else {
        output::result(&render::status::render(&status, SystemTime::now()));
    }
    Ok(())
}

/// Updates the display until it is stopped or the stack is gone.
async fn watch(session: &Session, stack: &StackName) -> Result<(), CliError> {
    session.progress.finish();
    let stop = &session.options.apply.stop;
    let mut screen = Screen::for_stdout();
    let mut last: Option<Status> = None;
    let mut failing: Option<String> = None;
    loop {
        let looked = tokio::select! {
            looked = landfall_pipeline::status(session.place.cloud(), stack) => looked,
            () = stop.cancelled() => break,
        };
        match looked {
            Ok(status) if !status.exists() => {
                screen.leave();
                if last.is_none() {
                    return Err(CliError::Missing {
                        stack: stack.clone(),
                    });
                }
                gone(&status, session.json);
                return Ok(());
            }
            Ok(status) => {
                failing = None;
                let is_new = last.as_ref() != Some(&status);
                if session.json && is_new {
                    output::json_line(&Line::of(&status));
                } else if !session.json && (is_new || screen.is_drawn_again()) {
                    screen.show(&render::status::render(&status, SystemTime::now()));
                }
                last = Some(status);
            }
            // The stack existed a moment ago, and may be visible again soon.
            Err(error) if error.kind().is_transient() && last.is_some() => {
                let text = error.to_string();
                if failing.as_ref() != Some(&text) {
                    output::message(&format!("{text}; looking again\n"));
                    failing = Some(text);
                }
            }
            Err(error) => {
                screen.leave();
                return Err(error.into());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(session.place.glance()) => {}
            () = stop.cancelled() => break,
        }
    }
    screen.leave();
    Ok(())
}

/// Reports that the stack is gone.
fn gone(status: &Status, json: bool) {
    if json {
        output::json_line(&Line::of(status));
    } else {
        output::message(&format!("{} is gone\n", status.stack));
    }
}
