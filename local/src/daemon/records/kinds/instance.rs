//! A single instance in the local cloud: a machine of its own, by the same id.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use landfall_compute::{Instance, InstanceOutput};
use landfall_network::ElasticIp;
use landfall_provider::{InstanceId, Probe, Result};

use super::{conflict, known};
use crate::daemon::records::machine::Phase;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource, find};
use crate::secrets::Secrets;

/// What the cloud remembers of a single instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstanceStatus {
    /// Where its image is.
    pub(crate) image_store: PathBuf,
    /// The values of the workload's secrets.
    pub(crate) secrets: Secrets,
    /// The loopback port that was asked for.
    pub(crate) wanted_port: Option<u16>,
    /// The loopback port that leads to its container, once there is one.
    pub(crate) published_port: Option<u16>,
}

impl LocalResource for Instance {
    const PREFIX: &'static str = "i";
    type Status = InstanceStatus;
    const ENDS_AT_ONCE: bool = false;

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<InstanceStatus> {
        if let Some(address) = &new.spec.address
            && !state.referrers(known(address)?.as_ref()).is_empty()
        {
            return Err(conflict(format_args!(
                "{} is associated already",
                known(address)?
            )));
        }
        Ok(InstanceStatus {
            image_store: new.extras.image_store.clone(),
            secrets: new.extras.secrets.clone(),
            wanted_port: new.extras.published_port,
            published_port: None,
        })
    }

    fn probe(state: &State, id: &Self::Id, _: &Entry<Self>) -> Probe<InstanceOutput> {
        let Some(machine) = state.machines.get(id) else {
            return Probe::Pending("starting".to_owned());
        };
        match &machine.phase {
            Phase::Booting => Probe::Pending("starting".to_owned()),
            // One that is being ended is known as such by its record.
            Phase::Stopping => Probe::Pending("being stopped".to_owned()),
            Phase::Ended(why) => Probe::Failed(why.clone()),
            // The instance is there, however its container is.
            Phase::Running | Phase::Restarting { .. } | Phase::Stopped => {
                Probe::Usable(InstanceOutput {
                    private_address: machine.address,
                    public_address: public_address(state, id),
                })
            }
        }
    }
}

/// The address that the internet knows an instance by.
pub(crate) fn public_address(state: &State, id: &InstanceId) -> Option<Ipv4Addr> {
    let address = state.tables.instances.get(id)?.spec.address.as_ref()?;
    let address = find::<ElasticIp>(state, address.known()?).ok()?;
    Some(address.facts.address)
}
