//! A listener that hears of a failure at once, while the run still cleans up after it.

use std::fmt;
use std::sync::Arc;

use crate::outcome::Failure;

type Listener = dyn Fn(&Failure) + Send + Sync;

/// Hears of a failure before what a first deploy has made is deleted again, which may take minutes.
///
/// The failure that the run returns later is the same one, with what is left; its `told` says that it was announced.
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
