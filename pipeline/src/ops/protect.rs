//! `protect = true`: refuses a destroy, and irreversible changes.
//!
//! The load balancer stores the protection, as on AWS, so that it also applies to a destroy that has only the
//! stack's name, and to other tools.

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
    /// Refuses a plan with irreversible changes of a protected stack.
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

    /// Refuses to destroy a protected stack.
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

    /// Removes the protection of load balancers after a failed first deploy.
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
