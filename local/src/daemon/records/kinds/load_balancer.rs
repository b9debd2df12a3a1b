//! A load balancer in the local cloud: a proxy with a node in each of its subnets.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landfall_lb::{LoadBalancer, LoadBalancerOutput};
use landfall_network::Subnet;
use landfall_provider::{Error, ErrorKind, Probe, Result, SubnetId, Zone};

use super::{invalid, known};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource, find};

/// The assigned values of a load balancer.
#[derive(Debug, Clone)]
pub(crate) struct LoadBalancerStatus {
    /// Its nodes, one per subnet, in the order of subnets.
    pub(crate) nodes: Vec<Node>,
}

/// The node of a load balancer in one zone.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) zone: Zone,
    pub(crate) subnet: SubnetId,
    pub(crate) private: Ipv4Addr,
    pub(crate) public: Ipv4Addr,
}

impl LocalResource for LoadBalancer {
    const PREFIX: &'static str = "lb";
    type Status = LoadBalancerStatus;

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<LoadBalancerStatus> {
        nodes(state, new.spec, &[])
    }

    fn amend(
        state: &State,
        old: &Entry<Self>,
        new: &Draft<'_, Self>,
    ) -> Result<LoadBalancerStatus> {
        if old.spec.idle_timeout != new.spec.idle_timeout {
            return Err(invalid(
                "the local cloud does not change the idle timeout of a balancer that runs",
            )
            .hint("`landfall destroy`, then `landfall deploy`"));
        }
        nodes(state, new.spec, &old.facts.nodes)
    }

    fn check_deletable(id: &Self::Id, entry: &Entry<Self>) -> Result<()> {
        if entry.spec.protected {
            let why = format!("deletion protection of {id} is on");
            return Err(Error::new(ErrorKind::Denied, why)
                .hint("`protect = false` in landfall.toml, then `deploy`"));
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<LoadBalancerOutput> {
        Probe::Usable(LoadBalancerOutput {
            dns_name: dns_name(entry),
        })
    }
}

/// One node per subnet; existing nodes are kept.
fn nodes(state: &State, spec: &LoadBalancer, old: &[Node]) -> Result<LoadBalancerStatus> {
    let mut zones = BTreeSet::new();
    let mut taken = state.public_taken();
    let mut nodes = Vec::new();
    for subnet in &spec.subnets {
        let subnet = known(subnet)?;
        let zone = find::<Subnet>(state, subnet)?.spec.zone.clone();
        if !zones.insert(zone.clone()) {
            return Err(invalid(format_args!(
                "two of its subnets are in {zone}: one in each zone"
            )));
        }
        if let Some(node) = old.iter().find(|node| &node.subnet == subnet) {
            nodes.push(node.clone());
            continue;
        }
        let public = state.new_public_address(&taken)?;
        taken.insert(public);
        let private = state.new_private_address(subnet)?;
        nodes.push(Node {
            zone,
            subnet: subnet.clone(),
            private,
            public,
        });
    }
    if zones.len() < 2 {
        return Err(invalid(
            "a load balancer needs subnets in at least two zones",
        ));
    }
    Ok(LoadBalancerStatus { nodes })
}

/// The name of the load balancer on this machine: every name under
/// `.localhost` is loopback (RFC 6761, section 6.3).
pub(crate) fn dns_name(entry: &Entry<LoadBalancer>) -> String {
    if entry.name.as_str() == "main" {
        format!("{}.localhost", entry.stack)
    } else {
        format!("{}.{}.localhost", entry.name, entry.stack)
    }
}
