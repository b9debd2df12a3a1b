//! The arguments of `scale`.

use std::str::FromStr;

use clap::Args;
use landfall_provider::ResourceName;

use super::{OnStack, Waiting};

pub(super) const SCALE_AFTER: &str = "\
Examples:
  landfall scale web=3                          three instances of the service web
  landfall scale web=3 api=2 --json             of two services, for a script
  landfall scale --stack digipay web=1          without the file";

/// `scale`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Scale {
    /// The number of instances of each service
    #[arg(value_name = "SERVICE=NUMBER", required = true)]
    pub(crate) targets: Vec<ScaleTarget>,
    #[command(flatten)]
    pub(crate) on: OnStack,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// A service and its desired number of instances: `web=3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScaleTarget {
    pub(crate) service: ResourceName,
    pub(crate) instances: u32,
}

impl FromStr for ScaleTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, instances) = text
            .split_once('=')
            .ok_or("expected a service and a number, such as web=3")?;
        let service = service
            .parse()
            .map_err(|error| format!("`{service}` is not a service name: {error}"))?;
        let instances = instances.parse().map_err(|_| {
            format!("`{instances}` is not a number of instances; expected, for example, web=3")
        })?;
        Ok(Self { service, instances })
    }
}
