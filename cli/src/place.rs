//! Where a stack is held: the provider that was asked for, ready to be called.

use std::sync::Arc;

use landfall_pipeline::{Cloud, Config};
use landfall_provider::{Events, Pace, Result};

use crate::args::ProviderName;
use crate::problem::Problem;

/// A provider, and what the cli does with it beside the flows.
pub(crate) struct Place {
    cloud: Arc<dyn Cloud>,
    #[cfg(target_os = "linux")]
    local: landfall_local::Local,
}

impl Place {
    /// Whether this build on this machine has the provider.
    ///
    /// # Errors
    /// When it has not, and why.
    pub(crate) fn check(name: ProviderName) -> Result<(), Problem> {
        match name {
            ProviderName::Local if cfg!(target_os = "linux") => Ok(()),
            ProviderName::Local => Err(Problem::usage(
                "the local provider needs Linux: it holds a stack in the kernel's namespaces",
                Some("run Landfall in a Linux machine or virtual machine"),
            )),
            ProviderName::Aws => Err(Problem::usage(
                "this build has no AWS support: Landfall cannot deploy to AWS yet",
                Some("leave --provider out to deploy to this machine"),
            )),
        }
    }

    /// The provider of this name. `config` has what concerns one provider only.
    ///
    /// # Errors
    /// When this build on this machine does not have it, or it cannot be used.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(
        name: ProviderName,
        config: Option<&Config>,
        events: &Events,
    ) -> Result<Self, Problem> {
        Self::check(name)?;
        let local = landfall_local::Local::open(landfall_local::LocalOptions {
            published_port: config
                .and_then(|config| config.local.port)
                .map(landfall_provider::Port::get),
            events: events.clone(),
            ..landfall_local::LocalOptions::default()
        })?;
        Ok(Self {
            cloud: Arc::new(local.clone()),
            local,
        })
    }

    /// The same where there is no provider that could be opened.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(
        name: ProviderName,
        _: Option<&Config>,
        _: &Events,
    ) -> Result<Self, Problem> {
        Self::check(name)?;
        Err(Problem::usage("this build has no provider", None))
    }

    /// The provider itself.
    pub(crate) fn cloud(&self) -> &dyn Cloud {
        self.cloud.as_ref()
    }

    /// How often it is looked at while something is waited for.
    pub(crate) fn pace(&self) -> Pace {
        Pace::NEARBY
    }

    /// Waits until nothing goes on any more that nobody needs: a provider's process that holds nothing.
    ///
    /// # Errors
    /// When it goes on all the same.
    pub(crate) async fn settle(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        self.local.settle().await?;
        Ok(())
    }
}
