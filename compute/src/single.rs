//! What a provider knows and does of an instance that stands alone: whether its container runs, where the caller
//! reaches it, and that it is stopped and started again.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use landfall_provider::{InstanceId, Port, Provider, Result, Zone};
use serde::{Deserialize, Serialize};

use crate::Instance;

/// A provider of instances that stand alone.
#[async_trait]
pub trait SingleProvider: Provider<Instance> {
    /// How an instance is now, and where it is asked on this port; `None` when there is no such instance.
    async fn standing(&self, instance: &InstanceId, port: Port) -> Result<Option<SingleInstance>>;

    /// Begins to stop an instance. It keeps its id, its disk and its addresses, and can be started again; one that
    /// is stopped already stays so.
    async fn stop(&self, instance: &InstanceId) -> Result<()>;

    /// Begins to start an instance that was stopped; its container is started with it. One that runs goes on.
    async fn start(&self, instance: &InstanceId) -> Result<()>;
}

/// An instance that stands alone, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleInstance {
    /// The zone that it stands in, if the provider says so.
    pub zone: Option<Zone>,
    /// Its address in the VPC.
    pub private_address: Option<Ipv4Addr>,
    /// Its address on the internet.
    pub public_address: Option<Ipv4Addr>,
    /// How it is.
    pub state: SingleInstanceState,
    /// The address that a browser is given, ending in a slash, once it is known.
    pub url: Option<String>,
    /// Where the caller reaches the port; none where it cannot be reached from here at all, as with an emulator's
    /// instances.
    pub door: Option<SocketAddr>,
}

/// How an instance that stands alone is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum SingleInstanceState {
    /// It is being launched, or started again.
    Pending,
    /// It runs, and its container has not been heard of yet.
    Booting,
    /// Its container runs.
    Up,
    /// Its container does not stay up, and is started again and again.
    Failing {
        /// How it ended the last time: `exited with code 1`.
        how: String,
        /// How many times in a row.
        times: u32,
    },
    /// It is being stopped.
    Stopping,
    /// It is stopped, and can be started again.
    Stopped,
    /// It is being ended, or has ended for good; the text says how.
    Ended {
        /// Why.
        how: String,
    },
}

impl SingleInstanceState {
    /// The state in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Booting => "booting",
            Self::Up => "running",
            Self::Failing { .. } => "failing",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Ended { .. } => "ended",
        }
    }
}
