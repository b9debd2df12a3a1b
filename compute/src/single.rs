//! The provider trait for single instances: container state, address for the caller, stop and
//! start.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use landfall_provider::{InstanceId, Port, Provider, Result, Zone};
use serde::{Deserialize, Serialize};

use crate::Instance;

/// A provider of single instances.
#[async_trait]
pub trait SingleProvider: Provider<Instance> {
    /// The present state of an instance, and its address on this port; `None` when it does not
    /// exist.
    async fn standing(&self, instance: &InstanceId, port: Port) -> Result<Option<SingleInstance>>;

    /// Starts to stop an instance. It keeps its id, its disk and its addresses, and can be started
    /// again; a stopped instance stays stopped.
    async fn stop(&self, instance: &InstanceId) -> Result<()>;

    /// Starts a stopped instance and its container. A running instance is not affected.
    async fn start(&self, instance: &InstanceId) -> Result<()>;
}

/// The state of a single instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleInstance {
    /// Its zone, if the provider reports it.
    pub zone: Option<Zone>,
    /// Its address in the VPC.
    pub private_address: Option<Ipv4Addr>,
    /// Its address on the internet.
    pub public_address: Option<Ipv4Addr>,
    /// Its state.
    pub state: SingleInstanceState,
    /// The URL for a browser, with a slash at the end, once it is known.
    pub url: Option<String>,
    /// The address for the caller; `None` where the instance cannot be reached from here at all,
    /// such as an emulator's.
    pub door: Option<SocketAddr>,
}

/// The state of a single instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum SingleInstanceState {
    /// It is being launched, or started again.
    Pending,
    /// It is running, and its container has not reported yet.
    Booting,
    /// Its container runs.
    Up,
    /// Its container exits repeatedly and is restarted each time.
    Failing {
        /// The last exit: `exited with code 1`.
        how: String,
        /// The number of exits in a row.
        times: u32,
    },
    /// It is being stopped.
    Stopping,
    /// It is stopped, and can be started again.
    Stopped,
    /// It is being terminated, or is terminated; the text is the cause.
    Ended {
        /// The cause.
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
