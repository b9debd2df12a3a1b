//! `destroy`: deletes every resource of a stack.

use std::time::Duration;

use landfall_pipeline::Destroyed;
use landfall_provider::{Key, StackName};
use serde::Serialize;

use super::{Session, stack_of};
use crate::args::Destroy;
use crate::cli_error::CliError;
use crate::output;
use crate::render::{self, DIM, STRONG, paint};

/// The last line of JSON of a destroy.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    deleted: &'a [Key],
    kept: &'a [Key],
    left: &'a [Key],
    duration_ms: u64,
}

/// Destroys, and waits until every resource is gone.
pub(crate) async fn destroy(args: &Destroy) -> Result<(), CliError> {
    let (stack, said) = stack_of(&args.on)?;
    let mut session = Session::open(&args.on.common, said).await?;
    session.changing(&args.changing);
    let destroyed =
        landfall_pipeline::destroy(session.place.cloud(), &stack, &session.options).await?;
    session.place.settle().await?;
    session.progress.finish();
    if session.json {
        output::json_line(&Line {
            result: "destroy",
            stack: &destroyed.stack,
            deleted: &destroyed.deleted,
            kept: &destroyed.kept,
            left: &destroyed.left,
            duration_ms: destroyed.duration_ms,
        });
    } else {
        output::result(&summary(&destroyed));
    }
    Ok(())
}

fn summary(destroyed: &Destroyed) -> String {
    let stack = paint(STRONG, &destroyed.stack);
    let took = render::duration(Duration::from_millis(destroyed.duration_ms));
    let done = if destroyed.deleted.is_empty() {
        "there was nothing to destroy".to_owned()
    } else {
        let resources = render::count(destroyed.deleted.len(), "resource");
        format!("{resources} deleted, nothing is left, {took}")
    };
    let mut text = format!("{stack}: {done}\n");
    if !destroyed.kept.is_empty() {
        let images = render::count(destroyed.kept.len(), "image");
        text.push_str(&paint(
            DIM,
            format_args!("{images} kept, in repositories that are not the stack's"),
        ));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_gone_and_what_is_kept() {
        let destroyed = Destroyed {
            stack: StackName::new("digipay").unwrap(),
            deleted: vec!["vpc/main".parse().unwrap()],
            kept: vec!["image/web".parse().unwrap()],
            left: Vec::new(),
            duration_ms: 320,
        };
        assert_eq!(
            anstream::adapter::strip_str(&summary(&destroyed)).to_string(),
            "digipay: 1 resource deleted, nothing is left, 320 ms\n1 image kept, in repositories that are not the stack's\n"
        );
    }
}
