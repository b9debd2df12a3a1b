//! `unlock`: breaks the lock of a run that has died.

use landfall_provider::{Holder, StackName};
use serde::Serialize;

use super::confirmation::{answer, can_ask};
use super::{Session, stack_of};
use crate::args::Unlock;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{STRONG, paint};

/// The last line of JSON of an unlock.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    /// The holder of the broken lock; `None` if there was no lock.
    holder: Option<&'a Holder>,
}

/// Shows the holder of the lock, and breaks it.
pub(crate) async fn unlock(args: &Unlock) -> Result<(), CliError> {
    let (stack, said) = stack_of(&args.on)?;
    let session = Session::open(&args.on.common, said).await?;
    let cloud = session.place.cloud();
    let holder = session.look(cloud.holder(&stack)).await?;
    if let Some(holder) = &holder {
        if !args.yes {
            confirmed(&stack, holder, session.json).await?;
        }
        cloud.break_lock(&stack, holder).await?;
    }
    session.progress.finish();
    if session.json {
        output::json_line(&Line {
            result: "unlock",
            stack: &stack,
            holder: holder.as_ref(),
        });
        return Ok(());
    }
    let name = paint(STRONG, &stack);
    output::result(&match holder {
        Some(holder) => format!("{name}: broke the lock of {holder}\n"),
        None => format!("{name} is not locked\n"),
    });
    Ok(())
}

async fn confirmed(stack: &StackName, holder: &Holder, json: bool) -> Result<(), CliError> {
    let whose = format!("{stack} is locked: {holder}");
    if !can_ask(json) {
        return Err(CliError::usage(
            whose,
            Some("break the lock with `--yes`, after you have made sure that this run has died"),
        ));
    }
    output::message(&format!(
        "{whose}\nBreak the lock? If that run lives, two runs will change one stack. [y/N] "
    ));
    if answer().await {
        Ok(())
    } else {
        Err(CliError::usage("the lock stays: the answer was no", None))
    }
}
