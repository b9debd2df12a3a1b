//! A single instance in the local cloud: a machine of its own, by the same id.

use std::path::PathBuf;

use landfall_compute::{Instance, InstanceOutput};
use landfall_network::ElasticIp;
use landfall_provider::{Probe, Result};

use super::{can_run, conflict, known};
use crate::cloud::machine::Phase;
use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted, find};

/// What the cloud remembers of a single instance.
#[derive(Debug, Clone)]
pub(crate) struct InstanceFacts {
    /// Where its image is.
    pub(crate) image_store: PathBuf,
}

impl Hosted for Instance {
    const PREFIX: &'static str = "i";
    type Facts = InstanceFacts;
    const ENDS_AT_ONCE: bool = false;

    fn admit(state: &State, new: &Draft<'_, Self>) -> Result<InstanceFacts> {
        if let Some(workload) = &new.spec.workload {
            can_run(workload)?;
        }
        if let Some(address) = &new.spec.address
            && !state.referrers(known(address)?.as_ref()).is_empty()
        {
            return Err(conflict(format_args!(
                "{} is associated already",
                known(address)?
            )));
        }
        Ok(InstanceFacts {
            image_store: new.extras.image_store.clone(),
        })
    }

    fn probe(state: &State, id: &Self::Id, entry: &Entry<Self>) -> Probe<InstanceOutput> {
        let Some(machine) = state.machines.get(id) else {
            return Probe::Pending("starting".to_owned());
        };
        match &machine.phase {
            Phase::Booting => Probe::Pending("starting".to_owned()),
            Phase::Stopping => Probe::Ending("stopping".to_owned()),
            Phase::Ended(why) => Probe::Failed(why.clone()),
            Phase::Running => {
                let address = entry
                    .spec
                    .address
                    .as_ref()
                    .and_then(|address| address.known());
                Probe::Usable(InstanceOutput {
                    private_address: machine.address,
                    public_address: address
                        .and_then(|id| find::<ElasticIp>(state, id).ok())
                        .map(|entry| entry.facts.address),
                })
            }
        }
    }
}
