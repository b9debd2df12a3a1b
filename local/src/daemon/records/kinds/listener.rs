//! A listener in the local cloud: a port of every node, and a loopback port that forwards to them.

use landfall_lb::{Listener, ListenerOutput, LoadBalancer};
use landfall_provider::{Probe, Result};

use super::load_balancer::dns_name;
use super::{conflict, invalid, known};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource, find};

/// The assigned values of a listener.
#[derive(Debug, Clone)]
pub(crate) struct ListenerStatus {
    /// The requested loopback port.
    pub(crate) wanted_port: Option<u16>,
    /// The open loopback port that forwards to it.
    pub(crate) published_port: Option<u16>,
}

impl LocalResource for Listener {
    const PREFIX: &'static str = "listener";
    type Status = ListenerStatus;

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<ListenerStatus> {
        if new.spec.certificate.is_some() || new.spec.action.target_group().is_none() {
            return Err(invalid(
                "the local cloud has no certificates: it listens for HTTP only",
            ));
        }
        let mut others = state.tables.listeners.values();
        if others.any(|other| {
            other.spec.balancer == new.spec.balancer && other.spec.port == new.spec.port
        }) {
            return Err(conflict(format_args!(
                "the balancer listens on port {} already",
                new.spec.port
            )));
        }
        Ok(ListenerStatus {
            wanted_port: new.extras.published_port,
            published_port: None,
        })
    }

    fn probe(state: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<ListenerOutput> {
        let balancer = known(&entry.spec.balancer).and_then(|id| find::<LoadBalancer>(state, id));
        match (balancer, entry.facts.published_port) {
            (Ok(balancer), Some(port)) => Probe::Usable(ListenerOutput {
                url: format!("http://{}:{port}/", dns_name(balancer)),
            }),
            _ => Probe::Pending("opening its loopback port".to_owned()),
        }
    }
}
