//! The lock of a run: takes it, optionally waits for it, and releases it.

use std::time::{Duration, SystemTime};

use landfall_provider::{Attempt, Error, ErrorKind, Event, Holder, LockGuard, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::cloud::{Cloud, LAST_ANSWER};
use crate::outcome::{Failure, Stage};
use crate::run::Run;

/// The time in which the loss of the lock is detected after a call failed with it.
const LOSS_IS_SEEN_WITHIN: Duration = Duration::from_millis(100);

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// Runs an operation with the stack's lock. The lock is released even if the run has to end
    /// at once, because some locks outlive their process.
    ///
    /// # Errors
    /// A [`Failure`] of [`Stage::Lock`] if the lock is not available, of [`Stage::Lost`] if it is lost, or
    /// the operation's own.
    pub(crate) async fn locked<T>(
        &self,
        doing: &str,
        flow: impl Future<Output = std::result::Result<T, Box<Failure>>>,
    ) -> std::result::Result<T, Box<Failure>> {
        let mut guard = self.lock(doing).await?;
        let outcome = tokio::select! {
            biased;
            loss = guard.lost() => return Err(Failure::lost(loss)),
            outcome = flow => outcome,
            () = self.options.at_once.cancelled() => Err(Failure::ended_at_once()),
        };
        // A call may fail before the loss of the lock, its cause, is detected.
        if let Err(failure) = &outcome
            && failure.is_unanswered()
            && let Ok(loss) = timeout(LOSS_IS_SEEN_WITHIN, guard.lost()).await
        {
            return Err(Failure::lost(loss));
        }
        if let Err(error) = self.options.request_timeout.answer(guard.release()).await {
            // The operation is complete; the next run reports the holder of the lock.
            self.notice(format!(
                "the lock of {} could not be released: {error}; `unlock` breaks it",
                self.stack
            ));
        }
        outcome
    }

    /// Takes the lock, and waits for it as long as the options allow.
    async fn lock(&self, doing: &str) -> std::result::Result<LockGuard, Box<Failure>> {
        let failed = |error: Error| {
            let message = format!("cannot {doing} {} now", self.stack);
            Failure::of(Stage::Lock, &message, error)
        };
        let me = Holder::now(doing, &self.options.who);
        let deadline = self.options.wait.map(|wait| Instant::now() + wait);
        let mut reported: Option<Holder> = None;
        let mut pause = self.options.apply.poll_interval.first;
        loop {
            let holder = match self.attempt(&me).await {
                None => return Err(Failure::interrupted()),
                Some(Ok(Attempt::Taken(guard))) => return Ok(guard),
                Some(Ok(Attempt::Busy(holder))) => holder,
                Some(Err(error)) if error.kind() == ErrorKind::Timeout => {
                    let hint = "see whether it is running and can be reached; if the lock was taken all the same, \
                                `unlock` breaks it";
                    return Err(failed(error.hint(hint)));
                }
                Some(Err(error)) => return Err(failed(error)),
            };
            if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                return Err(failed(busy(&holder, self.options.wait)));
            }
            if reported.as_ref() != Some(&holder) {
                self.notice(format!("waiting for another run: {holder}"));
                reported = Some(holder);
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.options.apply.stop.cancelled() => {
                    let message = "interrupted while waiting for another run: nothing was changed";
                    return Err(Failure::new(Stage::Interrupted, message));
                }
            }
            pause = (pause * 3 / 2).min(self.options.apply.poll_interval.longest);
        }
    }

    /// Tries to take the lock; `None` if the run is stopped before the answer. A running request gets
    /// some time to finish: some locks outlive a process that does not know about them.
    async fn attempt(&self, me: &Holder) -> Option<Result<Attempt>> {
        let attempt = self.cloud.lock(self.stack, me);
        tokio::pin!(attempt);
        tokio::select! {
            biased;
            attempt = self.options.request_timeout.answer(&mut attempt) => Some(attempt),
            () = self.options.apply.stop.cancelled() => {
                timeout(LAST_ANSWER, attempt).await.ok()
            }
        }
    }

    pub(crate) fn notice(&self, text: String) {
        self.options.apply.events.emit(Event::Notice { text });
    }
}

/// The holder of the lock, and its time.
fn busy(holder: &Holder, waited: Option<Duration>) -> Error {
    let since = SystemTime::now()
        .duration_since(holder.since)
        .unwrap_or_default();
    let hint = match waited {
        None => "`--wait` waits until it is done; if that run has died, `unlock` breaks its lock",
        Some(_) => "if that run has died, `unlock` breaks its lock",
    };
    let error = Error::new(
        ErrorKind::InUse,
        format_args!("another run holds it: {holder} ({} s)", since.as_secs()),
    );
    error.hint(hint)
}
