//! Requests to a provider outside the engine: each one has a time limit.

use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Result};
use tokio::time::timeout;

/// The time that a running request gets after the run was stopped.
pub(crate) const LAST_ANSWER: Duration = Duration::from_secs(3);

/// The time limit for an answer of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimeout(pub Duration);

impl Default for RequestTimeout {
    /// The default: two minutes, the time limit of a listing.
    fn default() -> Self {
        Self(Duration::from_secs(120))
    }
}

impl RequestTimeout {
    /// Waits for an answer.
    ///
    /// # Errors
    /// The provider's error, or [`Timeout`](ErrorKind::Timeout) without an answer in time.
    pub(crate) async fn answer<T>(self, call: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.0, call).await.unwrap_or_else(|_| {
            let silent = format_args!("the provider has not answered for {} s", self.0.as_secs());
            Err(Error::new(ErrorKind::Timeout, silent))
        })
    }
}
