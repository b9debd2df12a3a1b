//! The instances of a group, as AWS reports them.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, Instance as Found, InstanceStateName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_aws::{Aws, during, if_there};
use landfall_provider::{
    AutoscalingGroupId, ErrorKind, InstanceId, LaunchTemplateId, Probe, Result, Zone,
};

use super::instance::{GROUP, in_pages, why_ended};
use super::{autoscaling_group, capacity, ec2, refresh, releases};
use crate::{
    ComputeProvider, GroupCapacity, GroupInstance, HostKey, InstanceState, Release, ReleaseNote,
    Scaling,
};

/// The prefix of the state reason of an instance that shut itself down, or that AWS terminated
/// after a failure.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html>
const BY_ITSELF: [&str; 2] = ["Client.InstanceInitiatedShutdown", "Server."];

#[async_trait]
impl ComputeProvider for Aws {
    async fn group_instances(&self, group: &AutoscalingGroupId) -> Result<Vec<GroupInstance>> {
        let members = Filter::builder()
            .name(format!("tag:{GROUP}"))
            .values(group.as_ref())
            .build();
        let (found, instances) = futures::try_join!(
            autoscaling_group::shared(self, group),
            in_pages(self, std::slice::from_ref(&members)),
        )?;
        let members = found.as_ref().map(|found| found.instances());
        let mut known: Vec<GroupInstance> = instances
            .iter()
            .filter_map(|instance| {
                let id = instance.instance_id()?;
                let member = members
                    .unwrap_or_default()
                    .iter()
                    .find(|member| member.instance_id() == Some(id));
                let version = member
                    .and_then(|member| member.launch_template())
                    .map(autoscaling_group::version_of)
                    .or_else(|| super::tag(instance.tags(), VERSION)?.parse().ok());
                let is_leaving = member.is_some_and(autoscaling_group::is_leaving);
                Some(GroupInstance {
                    id: InstanceId::from(id),
                    zone: zone(instance)?,
                    // A terminated instance has no address.
                    private_address: instance
                        .private_ip_address()
                        .and_then(|address| address.parse().ok())
                        .unwrap_or(Ipv4Addr::UNSPECIFIED),
                    state: state(instance, is_leaving)?,
                    template_version: version.unwrap_or_default(),
                    ended: None,
                })
            })
            .collect();
        known.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(known)
    }

    async fn roll(
        &self,
        group: &AutoscalingGroupId,
        template: &LaunchTemplateId,
        version: u32,
    ) -> Result<()> {
        refresh::start(self, group, template, version).await
    }

    async fn rolling(&self, group: &AutoscalingGroupId) -> Result<Probe<()>> {
        refresh::progress(self, group).await
    }

    async fn roll_back(&self, group: &AutoscalingGroupId, _why: &str) -> Result<()> {
        refresh::back(self, group).await
    }

    fn note_releases(&self, note: ReleaseNote) {
        releases::note(self, note);
    }

    async fn releases(
        &self,
        template: &LaunchTemplateId,
        group: &AutoscalingGroupId,
    ) -> Result<Vec<Release>> {
        releases::releases(self, template, group).await
    }

    async fn capacity(&self, group: &AutoscalingGroupId) -> Result<GroupCapacity> {
        capacity::now(self, group).await
    }

    async fn scale(&self, group: &AutoscalingGroupId, desired: u32) -> Result<()> {
        capacity::set(self, group, desired).await
    }

    async fn last_scaling(&self, group: &AutoscalingGroupId) -> Result<Option<Scaling>> {
        capacity::last_change(self, group).await
    }

    async fn last_output(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>> {
        console(self, instance, lines).await
    }

    async fn host_keys(&self, instance: &InstanceId) -> Result<Vec<HostKey>> {
        // The keys are printed at the first boot, and AWS keeps 64 KiB of the console from that
        // boot on.
        let booted = HostKey::from_console(&written(self, instance, false).await?);
        if !booted.is_empty() {
            return Ok(booted);
        }
        // Until it has kept that, minutes after the boot, Nitro instances can be asked for what there is now.
        let latest = latest(self, instance).await?.unwrap_or_default();
        Ok(HostKey::from_console(&latest))
    }
}

/// What an instance has written to its console until now. `None` where AWS keeps the output of the boot alone, and
/// refuses the question: types that are not built on Nitro, such as t2 and m4.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-console.html#instance-console-console-output>
async fn latest(aws: &Aws, instance: &InstanceId) -> Result<Option<String>> {
    match written(aws, instance, true).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
        Err(error) => Err(error),
    }
}

/// An instance's console output: the present one, or the stored one of its boot.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
async fn written(aws: &Aws, instance: &InstanceId, latest: bool) -> Result<String> {
    let found = ec2(aws)
        .get_console_output()
        .instance_id(instance.as_ref())
        .latest(latest)
        .send()
        .await
        .map_err(during("ec2:GetConsoleOutput"));
    let output = if_there(found)?.and_then(|found| found.output);
    let bytes = output.and_then(|text| STANDARD.decode(text).ok());
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

/// The last lines of an instance's console.
pub(super) async fn console(aws: &Aws, instance: &InstanceId, lines: usize) -> Result<Vec<String>> {
    // The latest output, which AWS gives for Nitro instances, is that of now; without it, of the last boot.
    let text = match latest(aws, instance).await? {
        Some(text) => text,
        None => written(aws, instance, false).await?,
    };
    Ok(last(&text, lines))
}

/// The tag with the template version of an instance that was launched from a template.
const VERSION: &str = "aws:ec2launchtemplate:version";

pub(super) fn zone(instance: &Found) -> Option<Zone> {
    Zone::new(instance.placement()?.availability_zone()?).ok()
}

/// The state of a group's instance; `None` for one that was terminated because it was surplus.
fn state(instance: &Found, is_leaving: bool) -> Option<InstanceState> {
    let name = instance.state().and_then(|state| state.name());
    let reason = instance.state_reason().and_then(|reason| reason.code());
    let by_itself =
        reason.is_some_and(|code| BY_ITSELF.iter().any(|start| code.starts_with(start)));
    Some(match name? {
        InstanceStateName::Pending => InstanceState::Pending,
        InstanceStateName::Running if is_leaving => InstanceState::Terminating,
        InstanceStateName::Running => InstanceState::Running,
        InstanceStateName::Stopped | InstanceStateName::Terminated if by_itself => {
            InstanceState::Failed(why_ended(instance))
        }
        InstanceStateName::ShuttingDown
        | InstanceStateName::Stopping
        | InstanceStateName::Stopped => InstanceState::Terminating,
        _ => return None,
    })
}

/// The last non-empty lines.
fn last(text: &str, lines: usize) -> Vec<String> {
    let mut reported: Vec<String> = text
        .lines()
        .rev()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .take(lines)
        .collect();
    reported.reverse();
    reported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_console_are_those_with_text() {
        let console = "[    0.0] Linux\r\ncloud-init: done\r\n\r\nweb: listening\r\n\r\n";
        assert_eq!(last(console, 2), ["cloud-init: done", "web: listening"]);
        assert_eq!(last("", 2), Vec::<String>::new());
    }
}
