//! One question, asked by several at once, is asked once.
//!
//! Several kinds are listed through the same calls (a rule's listener belongs to a balancer), and a
//! snapshot lists all kinds at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use landfall_provider::Result;

/// An answer on its way, for everybody who waits for it.
type Flight<T> = Shared<BoxFuture<'static, Result<T>>>;

/// Questions that are being asked right now.
///
/// Whoever joins gets an answer that may be as old as the question; nothing is kept after it came. That
/// is right for a listing, which is about no exact moment, and wrong for a look at what was just changed.
#[derive(Debug)]
pub struct Flights<T: Clone>(Mutex<HashMap<String, Flight<T>>>);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The answer to a question, asked unless somebody is asking it already.
    ///
    /// # Errors
    /// What `ask` reports; everybody who waited gets it.
    pub async fn join<F>(&self, question: &str, ask: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let flight = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights
                .get(question)
                .filter(|flight| flight.peek().is_none())
            {
                Some(flight) => flight.clone(),
                None => {
                    let flight = ask().boxed().shared();
                    flights.insert(question.to_owned(), flight.clone());
                    flight
                }
            }
        };
        let answer = flight.clone().await;
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights
            .get(question)
            .is_some_and(|other| other.ptr_eq(&flight))
        {
            flights.remove(question);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_joins_and_who_asks_later_asks_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let flights = Flights::default();
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(number)
            }
        };
        let (a, b) = tokio::join!(flights.join("lists", ask), flights.join("lists", ask));
        assert_eq!((a.unwrap(), b.unwrap()), (0, 0));
        assert_eq!(flights.join("lists", ask).await.unwrap(), 1);
        assert!(flights.0.lock().unwrap().is_empty());
    }
}
