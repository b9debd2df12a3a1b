//! The kinds of resources: one file each, with the same functions in the same order.

pub(crate) mod autoscaling_group;
pub(crate) mod elastic_ip;
mod gateway_endpoint;
pub(crate) mod instance;
mod instance_profile;
mod internet_gateway;
mod key_pair;
mod launch_template;
mod listener;
mod listener_rule;
pub(crate) mod load_balancer;
pub(crate) mod nat_gateway;
mod network_acl;
mod repository;
mod route_table;
mod scaling_policy;
mod security_group;
mod security_group_rules;
mod subnet;
mod target_group;
mod vpc;

use landfall_provider::{Error, ErrorKind, Input, ResourceId, Result, SubnetId, VpcId};

use super::state::State;
use super::table::find;

/// The id of an input: specs are resolved before they arrive here.
pub(crate) fn known<T: ResourceId>(input: &Input<T>) -> Result<&T> {
    input.resolved()
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

fn conflict(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::AlreadyExists, why)
}

/// The VPC of a subnet.
pub(crate) fn vpc_of(state: &State, subnet: &SubnetId) -> Result<VpcId> {
    known(&find::<landfall_network::Subnet>(state, subnet)?.spec.vpc).cloned()
}

/// Fails when a subnet already has such an association, or is in another VPC.
fn each_free<'a>(
    state: &State,
    vpc: &Input<VpcId>,
    subnets: &[Input<SubnetId>],
    mut taken: impl Iterator<Item = &'a Input<SubnetId>>,
    what: &str,
) -> Result<()> {
    for subnet in subnets {
        let id = known(subnet)?;
        if &vpc_of(state, id)? != known(vpc)? {
            return Err(invalid(format_args!("{id} is in another VPC")));
        }
        if taken.any(|other| other == subnet) {
            return Err(conflict(format_args!("{id} already has {what}")));
        }
    }
    Ok(())
}
