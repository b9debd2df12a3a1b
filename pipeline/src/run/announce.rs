//! Reports a failure at once, while the run still cleans up.

use std::fmt;
use std::sync::Arc;

use crate::outcome::Failure;

type Listener = dyn Fn(&Failure) + Send + Sync;

/// Receives a failure before the resources of a first deploy are deleted again, which may take minutes.
///
/// The run returns the same failure later, with the remaining resources; its `told` says that it was reported.
#[derive(Clone, Default)]
pub struct OnFailure(Option<Arc<Listener>>);

impl OnFailure {
    /// Calls this function.
    pub fn call(listener: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn announce(&self, failure: &mut Failure) {
        if let Some(listener) = &self.0 {
            listener(failure);
            failure.reported = Some(failure.errors.len());
        }
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "OnFailure(listener)",
            None => "OnFailure(none)",
        })
    }
}
