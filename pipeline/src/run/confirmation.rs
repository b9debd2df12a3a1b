//! The confirmation of irreversible changes.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::cloud::Cloud;
use crate::outcome::{Failure, Stage};
use crate::review::Review;
use crate::run::{Options, Run};

/// The question before a plan with irreversible changes.
#[derive(Debug, Clone)]
pub struct Question {
    /// The operation: `deploy`, `destroy`.
    pub doing: &'static str,
    /// The plan.
    pub review: Review,
}

type Ask = dyn Fn(Question) -> BoxFuture<'static, bool> + Send + Sync;

/// The source of the confirmation.
///
/// A deploy asks if its plan has [losses](Review::losses), and a destroy if the stack has resources.
#[derive(Clone, Default)]
pub enum Confirmation {
    /// Confirmed in advance by the caller.
    #[default]
    Given,
    /// No confirmation is possible: the operation is refused.
    Missing,
    /// A user is asked.
    Asked(Arc<Ask>),
}

impl Confirmation {
    /// Asks by this function; a stop of the run drops it.
    pub fn asking<F>(ask: impl Fn(Question) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self::Asked(Arc::new(move |question| Box::pin(ask(question))))
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "Given",
            Self::Missing => "Missing",
            Self::Asked(_) => "Asked",
        })
    }
}

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// Asks for the confirmation.
    ///
    /// # Errors
    /// A [`Failure`] of [`Stage::Confirmation`] without a confirmation, or of [`Stage::Interrupted`].
    pub(crate) async fn confirmation(
        &self,
        doing: &'static str,
        review: &Review,
    ) -> Result<(), Box<Failure>> {
        let Options {
            confirmation,
            apply,
            ..
        } = self.options;
        let stack = self.stack;
        let yes = match confirmation {
            Confirmation::Given => true,
            Confirmation::Missing => {
                let message = match doing {
                    "destroy" => {
                        format!(
                            "destroying {stack} needs a confirmation, and there is no terminal to ask on"
                        )
                    }
                    _ => format!(
                        "this {doing} of {stack} needs a confirmation, and there is no terminal to ask on"
                    ),
                };
                let mut failure = Failure::new(Stage::Confirmation, message);
                failure.losses.clone_from(&review.losses);
                return Err(failure.hint("confirm with `--yes`"));
            }
            Confirmation::Asked(ask) => {
                let question = Question {
                    doing,
                    review: review.clone(),
                };
                tokio::select! {
                    yes = ask(question) => yes,
                    () = apply.stop.cancelled() => {
                        let message = "interrupted before anything was changed";
                        return Err(Failure::new(Stage::Interrupted, message));
                    }
                }
            }
        };
        if yes {
            Ok(())
        } else {
            Err(Failure::new(
                Stage::Confirmation,
                format_args!("{stack} stays as it is: the answer was no"),
            ))
        }
    }
}
