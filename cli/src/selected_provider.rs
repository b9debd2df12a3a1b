//! The selected provider of a stack, ready for calls.

#[cfg(feature = "aws")]
mod aws;

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_local::{Local, LocalOptions};
use landfall_pipeline::{AccountZones, Cloud, Config, RequestTimeout, StackLocation};
use landfall_provider::{Events, PollInterval, Port, Result};

use crate::args::{Common, ProviderName};
use crate::cli_error::CliError;

/// A provider, with the cli's additional operations.
pub(crate) enum SelectedProvider {
    Local(Local),
    #[cfg(feature = "aws")]
    Aws(landfall_aws::Aws),
}

/// The settings in a file that select the provider and its access.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The loopback port that the local provider opens.
    port: Option<Port>,
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "regions are AWS's"))]
    region: Option<String>,
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "accounts are AWS's"))]
    account: Option<String>,
}

impl From<&Config> for Said {
    fn from(config: &Config) -> Self {
        Self {
            port: config.local.port,
            region: (!config.region.is_local()).then(|| config.region.to_string()),
            account: config.account.clone(),
        }
    }
}

impl From<StackLocation> for Said {
    fn from(there: StackLocation) -> Self {
        Self {
            port: None,
            region: there.region.map(|region| region.to_string()),
            account: there.account,
        }
    }
}

impl SelectedProvider {
    /// Checks that this build supports the provider.
    ///
    /// # Errors
    /// When it does not, with the reason.
    pub(crate) fn check(name: ProviderName) -> Result<(), CliError> {
        match name {
            #[cfg(not(feature = "aws"))]
            ProviderName::Aws => Err(without_aws()),
            _ => Ok(()),
        }
    }

    /// Opens the selected provider.
    ///
    /// # Errors
    /// When this build does not support it, this machine cannot run it, or AWS refuses the caller.
    pub(crate) async fn open(
        common: &Common,
        said: Said,
        events: &Events,
    ) -> Result<Self, CliError> {
        match common.provider {
            ProviderName::Local => {
                let options = LocalOptions {
                    published_port: said.port.map(Port::get),
                    events: events.clone(),
                    ..LocalOptions::default()
                };
                Ok(Self::Local(Local::open(options)?))
            }
            #[cfg(feature = "aws")]
            ProviderName::Aws => Ok(Self::Aws(aws::open(common, said, events).await?)),
            #[cfg(not(feature = "aws"))]
            ProviderName::Aws => Err(without_aws()),
        }
    }

    /// The provider itself.
    pub(crate) fn cloud(&self) -> &dyn Cloud {
        match self {
            Self::Local(local) => local,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws,
        }
    }

    /// Its name on the command line.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            #[cfg(feature = "aws")]
            Self::Aws(_) => "aws",
        }
    }

    /// The address by which this machine is seen from inside the provider's network.
    ///
    /// # Errors
    /// When no service reports it.
    #[cfg_attr(
        not(feature = "aws"),
        expect(clippy::unused_async, reason = "AWS has to be asked")
    )]
    pub(crate) async fn address(&self) -> Result<Ipv4Addr, CliError> {
        match self {
            Self::Local(_) => Ok(landfall_local::OPERATOR),
            #[cfg(feature = "aws")]
            Self::Aws(_) => aws::address().await,
        }
    }

    /// The region, on a provider that has regions.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Self::Local(_) => None,
            #[cfg(feature = "aws")]
            Self::Aws(aws) => Some(aws.region()),
        }
    }

    /// The zones of the provider, as far as the choice of zones needs them. The local provider takes every zone.
    ///
    /// # Errors
    /// When the provider does not answer.
    #[cfg_attr(
        not(feature = "aws"),
        expect(
            clippy::unused_async,
            unused_variables,
            reason = "only AWS is asked, for this file"
        )
    )]
    pub(crate) async fn zones(&self, config: &Config) -> Result<AccountZones> {
        match self {
            Self::Local(_) => Ok(AccountZones::default()),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws::zones(aws, config).await,
        }
    }

    /// The interval of probes.
    pub(crate) fn poll_interval(&self) -> PollInterval {
        match self {
            Self::Local(_) => PollInterval::LOCAL,
            #[cfg(feature = "aws")]
            Self::Aws(_) => PollInterval::default(),
        }
    }

    /// The timeout of a request.
    pub(crate) fn request_timeout(&self) -> RequestTimeout {
        match self {
            // Only a process on this machine.
            Self::Local(_) => RequestTimeout(Duration::from_secs(30)),
            #[cfg(feature = "aws")]
            Self::Aws(_) => RequestTimeout::default(),
        }
    }

    /// The interval of a watch: each refresh is a call for every kind.
    pub(crate) fn glance(&self) -> Duration {
        match self {
            Self::Local(_) => Duration::from_secs(1),
            #[cfg(feature = "aws")]
            Self::Aws(_) => Duration::from_secs(5),
        }
    }

    /// Waits until an unneeded provider process, one without resources, has exited.
    ///
    /// # Errors
    /// When it continues to run.
    pub(crate) async fn settle(&self) -> Result<()> {
        match self {
            Self::Local(local) => local.settle().await,
            #[cfg(feature = "aws")]
            Self::Aws(_) => Ok(()),
        }
    }
}

#[cfg(not(feature = "aws"))]
fn without_aws() -> CliError {
    CliError::usage(
        "this build has no AWS support: the AWS SDK takes minutes to compile, so it is optional",
        Some("build it with --features aws; `cargo xtask` does this automatically"),
    )
}
