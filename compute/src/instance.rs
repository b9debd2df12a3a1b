//! A single instance, outside any group: the bastion, or an instance that clients connect to
//! directly.

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_provider::{
    AllocationId, Claim, DataLoss, Input, InstanceId, InstanceProfileId, KeyPairId, Kind,
    Reference, Resource, SecurityGroupId, SubnetId, kind,
};
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its subnet.
    pub subnet: Input<SubnetId>,
    /// Its security groups.
    pub groups: Vec<Input<SecurityGroupId>>,
    /// The instance type, such as `t3.nano`.
    pub instance_type: String,
    /// Its Elastic IP on the internet; without one it is private.
    pub address: Option<Input<AllocationId>>,
    /// Its permissions at its cloud.
    pub profile: Option<Input<InstanceProfileId>>,
    /// Its key pair; without one nobody can log in.
    pub key: Option<Input<KeyPairId>>,
    /// Its workload; `None` for an instance that only serves logins.
    pub workload: Option<Workload>,
}

/// The output of a running instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOutput {
    /// Its address in the VPC.
    pub private_address: Ipv4Addr,
    /// Its address on the internet.
    pub public_address: Option<Ipv4Addr>,
}

impl Resource for Instance {
    const KIND: Kind = kind::INSTANCE;
    const FORCES_REPLACEMENT: &'static [&'static str] =
        &["subnet", "groups", "instance_type", "key", "workload"];
    const UNORDERED: &'static [&'static str] = &["groups"];
    const AFTER: &'static [Kind] = &[kind::INTERNET_GATEWAY];
    const CREATE_TIMEOUT: Duration = Duration::from_secs(300);
    const DATA_LOSS: DataLoss = DataLoss::Words("the data on its disk");
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(12);
    type Id = InstanceId;
    type Output = InstanceOutput;

    fn claims(&self) -> Vec<Claim> {
        let address = self.address.iter();
        address.map(|address| Claim::whole(address)).collect()
    }

    /// An instance with a container is recreated from its image; data is kept elsewhere, as with
    /// instances of groups.
    fn loss(&self) -> DataLoss {
        match self.workload {
            Some(_) => DataLoss::Nothing,
            None => Self::DATA_LOSS,
        }
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.subnet];
        references.extend(self.groups.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.address.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.profile.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.key.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(
            self.workload
                .iter_mut()
                .map(|workload| &mut workload.image as &mut dyn Reference),
        );
        references
    }
}
