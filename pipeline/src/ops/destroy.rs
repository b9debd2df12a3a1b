//! Destroy: deletes all resources of a stack, by its name alone.

use landfall_provider::StackName;
use tokio::time::Instant;

use crate::cloud::Cloud;
use crate::outcome::{Destroyed, Failure, PostFailureState, Stage, millis};
use crate::review::Review;
use crate::run::{Options, Run, count};

/// Deletes all resources of the stack, and proves by a final listing that nothing is left.
///
/// Images outlive their stack: the next deploy, or one of another stack, may use them. A stack without
/// resources is destroyed at once.
///
/// A protected stack is not destroyed, and one with resources only after a confirmation.
///
/// # Errors
/// A [`Failure`] with all errors and the remaining resources. A destroy continues after errors, and can be repeated.
pub async fn destroy<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
    options: &Options,
) -> Result<Destroyed, Box<Failure>> {
    let run = Run::new(cloud, stack, options);
    run.locked("destroy", while_locked(&run)).await
}

/// The part of a destroy with the lock.
async fn while_locked<P: Cloud + ?Sized>(run: &Run<'_, P>) -> Result<Destroyed, Box<Failure>> {
    let started = Instant::now();
    if run.is_stopped() {
        return Err(Failure::interrupted());
    }
    let live = run.first_look().await?;
    run.may_destroy(&live)?;
    let plan = run.clearing(&live)?;
    if !plan.is_empty() {
        run.confirmation("destroy", &Review::of(&plan, run.catalog.schema()))
            .await?;
    }
    let cleared = run.clear(plan).await?;
    let left = run.bound(&cleared.after);
    let mut applied = cleared.applied;
    if left.is_empty() {
        // The final listing is the proof; errors on the way are only reported.
        for (_, error) in &applied.failed {
            run.notice(format!("{error}; and yet it is gone"));
        }
        let failed = applied.failed.into_iter().map(|(key, _)| key);
        let others = applied.on_its_way.into_iter().chain(applied.not_started);
        applied.deleted.extend(failed.chain(others));
        let kept = cleared.after.found().iter().map(|found| found.key.clone());
        return Ok(Destroyed {
            stack: run.stack.clone(),
            deleted: applied.deleted,
            kept: kept.collect(),
            left,
            duration_ms: millis(started.elapsed()),
        });
    }
    let steps = count(cleared.plan.steps.len(), "resource");
    let mut failure = if applied.failed.is_empty() && run.is_stopped() {
        Failure::new(
            Stage::Interrupted,
            format_args!("interrupted: {} of {steps} are gone", applied.deleted.len()),
        )
    } else {
        Failure::new(
            Stage::Apply,
            format_args!("{} of {steps} could not be deleted", left.len()),
        )
    };
    failure = failure.undone(applied);
    failure.remains = PostFailureState::Resources {
        keys: left,
        next: "`destroy` continues from here".to_owned(),
    };
    Err(failure)
}
