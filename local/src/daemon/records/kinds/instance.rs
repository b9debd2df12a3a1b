//! A single instance in the local cloud. Its instance record has the same id.

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

/// The assigned values of a single instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstanceStatus {
    /// The image store that contains its image.
    pub(crate) image_store: PathBuf,
    /// The values of the workload's secrets.
    pub(crate) secrets: Secrets,
    /// The requested loopback port.
    pub(crate) wanted_port: Option<u16>,
    /// The open loopback port that forwards to its container.
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
            // A deletion is visible in the record.
            Phase::Stopping => Probe::Pending("being stopped".to_owned()),
            Phase::Ended(why) => Probe::Failed(why.clone()),
            // The instance exists, whatever the state of its container.
            Phase::Running | Phase::Restarting { .. } | Phase::Stopped => {
                Probe::Usable(InstanceOutput {
                    private_address: machine.address,
                    public_address: public_address(state, id),
                })
            }
        }
    }
}

/// The public address of an instance.
pub(crate) fn public_address(state: &State, id: &InstanceId) -> Option<Ipv4Addr> {
    let address = state.tables.instances.get(id)?.spec.address.as_ref()?;
    let address = find::<ElasticIp>(state, address.known()?).ok()?;
    Some(address.facts.address)
}
