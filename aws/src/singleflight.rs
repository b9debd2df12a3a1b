//! Singleflight: concurrent callers with the same question share one call.
//!
//! Several kinds are listed through the same calls (a rule's listener belongs to a balancer), and a
//! snapshot lists all kinds concurrently.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use landfall_provider::Result;

/// A pending answer, shared by all waiting callers.
type Flight<T> = Shared<BoxFuture<'static, Result<T>>>;

/// A question in progress or answered.
#[derive(Debug)]
struct Asked<T: Clone> {
    flight: Flight<T>,
    /// The time of the answer.
    landed: Arc<OnceLock<Instant>>,
}

impl<T: Clone> Asked<T> {
    /// Whether its answer is pending, or succeeded no longer ago than this.
    fn holds(&self, within: Duration) -> bool {
        match (self.flight.peek(), self.landed.get()) {
            (None, _) => true,
            (Some(Ok(_)), Some(at)) => at.elapsed() < within,
            _ => false,
        }
    }
}

/// The questions in progress.
///
/// A caller that joins gets an answer that may be as old as the question. That is right for a
/// listing, which describes no exact moment, and wrong for a probe of a recently changed resource.
#[derive(Debug)]
pub struct Singleflight<T: Clone>(Mutex<HashMap<String, Asked<T>>>);

impl<T: Clone> Default for Singleflight<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Singleflight<T> {
    /// Answers a question, with a new call unless the same question is in progress; the answer is
    /// not kept.
    ///
    /// # Errors
    /// The error of `ask`; every waiting caller gets it.
    pub async fn join<F>(&self, question: &str, ask: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let answer = self.recent(question, Duration::ZERO, ask).await;
        self.asked()
            .retain(|_, asked| asked.flight.peek().is_none());
        answer
    }

    /// Answers a question, with a new call unless the same question is in progress or was answered
    /// this recently, and not [forgotten](Self::forget) since. Among many callers that start
    /// together, one may arrive after the answer.
    ///
    /// # Errors
    /// The error of `ask`; every waiting caller gets it, and no later one.
    pub async fn recent<F>(
        &self,
        question: &str,
        within: Duration,
        ask: impl FnOnce() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let flight = {
            let mut all = self.asked();
            match all.get(question).filter(|asked| asked.holds(within)) {
                Some(asked) => asked.flight.clone(),
                None => {
                    let (asking, landed) = (ask(), Arc::<OnceLock<Instant>>::default());
                    let landing = Arc::clone(&landed);
                    let flight = async move {
                        let answer = asking.await;
                        landing.get_or_init(Instant::now);
                        answer
                    };
                    let flight = flight.boxed().shared();
                    let asked = Asked {
                        flight: flight.clone(),
                        landed,
                    };
                    all.insert(question.to_owned(), asked);
                    flight
                }
            }
        };
        flight.await
    }

    /// Forgets all answers, because their subject has changed.
    pub fn forget(&self) {
        self.asked().clear();
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Asked<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use landfall_provider::{Error, ErrorKind};

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_joins_and_who_asks_later_asks_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let singleflight = Singleflight::default();
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(number)
            }
        };
        let (a, b) = tokio::join!(
            singleflight.join("lists", ask),
            singleflight.join("lists", ask)
        );
        assert_eq!((a.unwrap(), b.unwrap()), (0, 0));
        assert_eq!(singleflight.join("lists", ask).await.unwrap(), 1);
        assert!(singleflight.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn recent_answers_are_shared_until_forgotten_or_failed() {
        let asked = AtomicUsize::new(0);
        let singleflight = Singleflight::default();
        let ask = || std::future::ready(Ok(asked.fetch_add(1, Ordering::Relaxed)));
        let hour = Duration::from_secs(3600);
        assert_eq!(singleflight.recent("lists", hour, ask).await.unwrap(), 0);
        assert_eq!(singleflight.recent("lists", hour, ask).await.unwrap(), 0);
        assert_eq!(
            singleflight
                .recent("lists", Duration::ZERO, ask)
                .await
                .unwrap(),
            1
        );
        singleflight.forget();
        assert_eq!(singleflight.recent("lists", hour, ask).await.unwrap(), 2);

        let refused = || std::future::ready(Err(Error::new(ErrorKind::Throttled, "too many")));
        assert!(singleflight.recent("others", hour, refused).await.is_err());
        assert_eq!(singleflight.recent("others", hour, ask).await.unwrap(), 3);
    }
}
