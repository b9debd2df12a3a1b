//! Destroy: end everything that a stack holds, by its name alone.

use landfall_provider::StackName;
use tokio::time::Instant;

use crate::cloud::Cloud;
use crate::outcome::{Destroyed, Failure, PostFailureState, Stage, millis};
use crate::review::Review;
use crate::run::{Options, Run, count};

/// Ends everything that the stack holds, and proves by a last look that nothing of it is left.
///
/// Images outlive their stack: the next deploy, or one of another stack, may want them. A stack that holds
/// nothing is destroyed at once.
///
/// A stack that is protected is not destroyed, and one that holds anything only with a yes.
///
/// # Errors
/// A [`Failure`] with every error and what is left. A destroy carries on past what fails, and can be run again.
pub async fn destroy<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
    options: &Options,
) -> Result<Destroyed, Box<Failure>> {
    let run = Run::new(cloud, stack, options);
    run.locked("destroy", while_locked(&run)).await
}

/// What a destroy does while it has the lock.
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
        // The proof is what was looked for; what failed on the way there is told, and no more than that.
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
