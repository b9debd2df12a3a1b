//! `protect = true`: no destroy, and no change by which something would be lost.
//!
//! The load balancer carries the protection, where AWS has it too, so that it holds for a destroy that has only the
//! stack's name, and for whatever else is used on the account.

use landfall_lb::LoadBalancer;
use landfall_provider::{Provider, Snapshot, kind};
use serde::Deserialize;

use crate::cloud::Cloud;
use crate::config::Config;
use crate::outcome::{Failure, Stage};
use crate::review::Review;
use crate::run::Run;

const UNPROTECT: &str = "`protect = false` in landfall.toml and a `deploy` end the protection";

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// Refuses a plan by which a stack would lose what its file protects.
    pub(crate) fn check_protected(
        &self,
        config: &Config,
        review: &Review,
    ) -> Result<(), Box<Failure>> {
        if !config.protect || review.losses.is_empty() {
            return Ok(());
        }
        let message = format!("{} is protected, and the change would lose", self.stack);
        let mut failure = Failure::new(Stage::Protected, message).hint(UNPROTECT);
        failure.losses.clone_from(&review.losses);
        Err(failure)
    }

    /// Refuses to destroy a stack that is protected.
    pub(crate) fn may_destroy(&self, live: &Snapshot) -> Result<(), Box<Failure>> {
        let protected = live.of_kind(&kind::LOAD_BALANCER).any(|found| {
            LoadBalancer::deserialize(&found.spec).is_ok_and(|balancer| balancer.protected)
        });
        if protected {
            let message = format!("{} is protected: it is not destroyed", self.stack);
            return Err(Failure::new(Stage::Protected, message).hint(UNPROTECT));
        }
        Ok(())
    }

    /// Takes the protection off balancers of a first deploy that failed: nobody relies on them yet.
    pub(crate) async fn unprotect(&self) -> landfall_provider::Result<()> {
        for live in Provider::<LoadBalancer>::list(self.cloud, self.stack).await? {
            if live.spec.protected {
                let desired = LoadBalancer {
                    protected: false,
                    ..live.spec.clone()
                };
                self.cloud.update(&live, &desired).await?;
            }
        }
        Ok(())
    }
}
