//! How a single instance is, for `status`.

use futures::future::try_join_all;
use landfall_compute::{Instance, SingleInstance, SingleInstanceState};
use landfall_provider::{Found, InstanceId, Port, ResourceName, Result, Snapshot};
use serde::Serialize;

use super::single::standing_alone;
use crate::cloud::Cloud;

/// How many of its last lines an instance is quoted with whose container does not stay up.
const QUOTED: usize = 5;

/// An instance that stands alone and runs a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SingleStatus {
    /// Its name in the stack: that of its service.
    pub name: ResourceName,
    /// Its id.
    pub id: InstanceId,
    /// The port that its container listens on.
    pub port: Port,
    /// How it is, and where it is asked.
    pub standing: SingleInstance,
    /// The last lines of its container, where that one does not stay up.
    pub output: Vec<String>,
}

impl SingleStatus {
    /// Whether its container runs, as far as the provider knows.
    pub fn runs(&self) -> bool {
        matches!(
            self.standing.state,
            SingleInstanceState::Up | SingleInstanceState::Booting
        )
    }
}

/// All of a stack. What vanishes between two questions is left out.
pub(crate) async fn statuses<P: Cloud + ?Sized>(
    cloud: &P,
    live: &Snapshot,
) -> Result<Vec<SingleStatus>> {
    let all = standing_alone(live).map(|(found, spec)| status(cloud, found, spec));
    Ok(try_join_all(all).await?.into_iter().flatten().collect())
}

async fn status<P: Cloud + ?Sized>(
    cloud: &P,
    found: &Found,
    spec: Instance,
) -> Result<Option<SingleStatus>> {
    let id = InstanceId::from(found.id.clone());
    let Some(port) = spec.workload.map(|workload| workload.port) else {
        return Ok(None);
    };
    let Some(standing) = cloud.standing(&id, port).await? else {
        return Ok(None);
    };
    let output = match standing.state {
        SingleInstanceState::Failing { .. } => cloud.last_output(&id, QUOTED).await?,
        _ => Vec::new(),
    };
    Ok(Some(SingleStatus {
        name: found.key.name.clone(),
        id,
        port,
        standing,
        output,
    }))
}
