//! Questions to a provider beside the engine's: each comes to an end, answered or not.

use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Result};
use tokio::time::timeout;

/// How long an answer that is on its way may still take once a run is stopped.
pub(crate) const LAST_ANSWER: Duration = Duration::from_secs(3);

/// For how long a provider may be silent before that is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTimeout(pub Duration);

impl Default for RequestTimeout {
    /// As long as a listing may take: two minutes.
    fn default() -> Self {
        Self(Duration::from_secs(120))
    }
}

impl RequestTimeout {
    /// Awaits one answer.
    ///
    /// # Errors
    /// The provider's own, or [`Timeout`](ErrorKind::Timeout) when there is none in time.
    pub(crate) async fn answer<T>(self, call: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.0, call).await.unwrap_or_else(|_| {
            let silent = format_args!("the provider has not answered for {} s", self.0.as_secs());
            Err(Error::new(ErrorKind::Timeout, silent))
        })
    }
}
