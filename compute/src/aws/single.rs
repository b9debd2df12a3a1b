//! A single instance on AWS: its state by EC2 and by its console, stop and start.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Instance as Found, InstanceStateName};
use landfall_aws::{Aws, during};
use landfall_provider::{InstanceId, Port, Result};

use super::instance::{one, why_ended};
use super::{ec2, provider};
use crate::boot::{Booted, booted};
use crate::{SingleInstance, SingleInstanceState, SingleProvider};

/// The number of console lines to read: the boot script's lines are the last ones, except for the
/// container's.
const CONSOLE: usize = 200;

#[async_trait]
impl SingleProvider for Aws {
    async fn standing(&self, instance: &InstanceId, port: Port) -> Result<Option<SingleInstance>> {
        let Some(found) = one(self, instance).await? else {
            return Ok(None);
        };
        let state = match state_by_ec2(&found) {
            // Only the console shows whether the container runs.
            SingleInstanceState::Up => state_by_console(self, instance).await?,
            state => state,
        };
        let address = |text: Option<&str>| text.and_then(|text| text.parse::<Ipv4Addr>().ok());
        let public_address = address(found.public_ip_address());
        let door = public_address.filter(|_| !self.is_emulated());
        let door = door.map(|address| SocketAddr::V4(SocketAddrV4::new(address, port.get())));
        Ok(Some(SingleInstance {
            zone: provider::zone(&found),
            private_address: address(found.private_ip_address()),
            public_address,
            state,
            url: public_address.map(|address| format!("http://{address}:{port}/")),
            door,
        }))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StopInstances.html>
    async fn stop(&self, instance: &InstanceId) -> Result<()> {
        let stopping = ec2(self).stop_instances().instance_ids(instance.as_ref());
        let stopping = stopping.send().await;
        stopping.map(drop).map_err(during("ec2:StopInstances"))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StartInstances.html>
    async fn start(&self, instance: &InstanceId) -> Result<()> {
        let starting = ec2(self).start_instances().instance_ids(instance.as_ref());
        let starting = starting.send().await;
        starting.map(drop).map_err(during("ec2:StartInstances"))
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
fn state_by_ec2(found: &Found) -> SingleInstanceState {
    match found.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Running) => SingleInstanceState::Up,
        Some(InstanceStateName::Stopping) => SingleInstanceState::Stopping,
        Some(InstanceStateName::Stopped) => SingleInstanceState::Stopped,
        Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated) => {
            SingleInstanceState::Ended {
                how: why_ended(found),
            }
        }
        _ => SingleInstanceState::Pending,
    }
}

async fn state_by_console(aws: &Aws, instance: &InstanceId) -> Result<SingleInstanceState> {
    let lines = provider::console(aws, instance, CONSOLE).await?;
    Ok(match booted(&lines) {
        Booted::NotYet => SingleInstanceState::Booting,
        Booted::Runs => SingleInstanceState::Up,
        Booted::Failed(how) => SingleInstanceState::Failing { how, times: FINAL },
    })
}

/// The boot script reports a failure only after enough attempts, so one report counts as that many.
const FINAL: u32 = 3;
