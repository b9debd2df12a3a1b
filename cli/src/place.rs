//! Where a stack is held: the provider that was asked for, ready to be called.

use landfall_local::{Local, LocalOptions};
use landfall_pipeline::{Cloud, Config};
use landfall_provider::{Events, Pace, Port, Result};

use crate::args::ProviderName;
use crate::problem::Problem;

/// A provider, and what the cli does with it beside the flows.
pub(crate) struct Place {
    local: Local,
}

impl Place {
    /// Whether this build has the provider.
    ///
    /// # Errors
    /// When it has not, and why.
    pub(crate) fn check(name: ProviderName) -> Result<(), Problem> {
        match name {
            ProviderName::Local => Ok(()),
            ProviderName::Aws => Err(Problem::usage(
                "this build has no AWS support: Landfall cannot deploy to AWS yet",
                Some("leave --provider out to deploy to this machine"),
            )),
        }
    }

    /// The provider of this name. `config` has what concerns one provider only.
    ///
    /// # Errors
    /// When this build does not have it, or this machine cannot hold it.
    pub(crate) fn open(
        name: ProviderName,
        config: Option<&Config>,
        events: &Events,
    ) -> Result<Self, Problem> {
        Self::check(name)?;
        let local = Local::open(LocalOptions {
            published_port: config.and_then(|config| config.local.port).map(Port::get),
            events: events.clone(),
            ..LocalOptions::default()
        })?;
        Ok(Self { local })
    }

    /// The provider itself.
    pub(crate) fn cloud(&self) -> &dyn Cloud {
        &self.local
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
        self.local.settle().await
    }
}
