//! The state of a single instance, for `status`.

use futures::future::try_join_all;
use landfall_compute::{Instance, SingleInstance, SingleInstanceState};
use landfall_provider::{Found, InstanceId, Port, ResourceName, Result, Snapshot};
use serde::Serialize;

use super::single::standing_alone;
use crate::cloud::Cloud;

/// The number of quoted lines of an instance whose container does not stay up.
const QUOTED: usize = 5;

/// A single instance that runs a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SingleStatus {
    /// Its name in the stack: the name of its service.
    pub name: ResourceName,
    /// Its id.
    pub id: InstanceId,
    /// The port of its container.
    pub port: Port,
    /// Its state and its address.
    pub standing: SingleInstance,
    /// The last output of its container, if it does not stay up.
    pub output: Vec<String>,
}

impl SingleStatus {
    /// Whether its container runs, according to the provider.
    pub fn runs(&self) -> bool {
        matches!(
            self.standing.state,
            SingleInstanceState::Up | SingleInstanceState::Booting
        )
    }
}

/// All single instances of a stack. Those that are deleted during the listing are left out.
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
