//! A load balancer: one DNS name, and a node in every zone.

use std::time::Duration;

use landfall_provider::{
    DataLoss, Gate, Input, Kind, LoadBalancerId, Reference, Resource, SecurityGroupId, SubnetId,
    VpcId, kind,
};
use serde::{Deserialize, Serialize};

/// An internet-facing application load balancer.
///
/// It drops headers with invalid names and refuses ambiguous requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The VPC of its subnets. A balancer cannot move to another one.
    pub vpc: Input<VpcId>,
    /// The public subnets of its nodes: at least two, in different zones.
    ///
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer>
    pub subnets: Vec<Input<SubnetId>>,
    /// Its security groups.
    pub groups: Vec<Input<SecurityGroupId>>,
    /// The idle timeout of a connection in seconds: 1–4000.
    pub idle_timeout: u32,
    /// Whether the provider refuses to delete it until this is false again (AWS: deletion
    /// protection). A protected balancer also protects its stack: destroy refuses while this is
    /// set.
    pub protected: bool,
}

/// The output of a balancer, known from its creation on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancerOutput {
    /// The DNS name of its nodes.
    pub dns_name: String,
}

impl Resource for LoadBalancer {
    const KIND: Kind = kind::LOAD_BALANCER;
    // Listeners can be created long before the balancer is active.
    const GATE: Gate = Gate::Exists;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc"];
    const UNORDERED: &'static [&'static str] = &["subnets", "groups"];
    const AFTER: &'static [Kind] = &[kind::INTERNET_GATEWAY];
    const CREATE_TIMEOUT: Duration = Duration::from_secs(600);
    const DATA_LOSS: DataLoss = DataLoss::Output {
        field: "dns_name",
        called: "DNS name",
    };
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(120);
    type Id = LoadBalancerId;
    type Output = LoadBalancerOutput;

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.vpc];
        references.extend(self.subnets.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.groups.iter_mut().map(|id| id as &mut dyn Reference));
        references
    }
}
