//! Rolls a group's instances to a version of its template: one instance refresh at a time.
//!
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html>

use aws_sdk_autoscaling::types::{
    DesiredConfiguration, InstanceRefresh, InstanceRefreshStatus as Status, RefreshPreferences,
};
use landfall_aws::{Aws, during, unless};
use landfall_provider::{AutoscalingGroupId, Error, ErrorKind, LaunchTemplateId, Probe, Result};

use super::autoscaling;

use super::autoscaling_group::{version, version_of};

/// The full desired number stays healthy at all times.
const LEAST_HEALTHY: i32 = 100;
/// New instances are launched before old ones are terminated, all at once where the quota allows
/// it.
const MOST_HEALTHY: i32 = 200;
/// A refresh waits until the target group reports each new instance healthy; it needs no additional
/// warmup.
const WARMUP: i32 = 0;

/// Starts a refresh to this version, unless one to it is in progress.
///
/// `InUse` while another refresh must end first: one to another version is cancelled, a rollback is
/// waited for.
pub(super) async fn start(
    aws: &Aws,
    group: &AutoscalingGroupId,
    template: &LaunchTemplateId,
    number: u32,
) -> Result<()> {
    let autoscaling = autoscaling(aws);
    let preferences = RefreshPreferences::builder()
        .min_healthy_percentage(LEAST_HEALTHY)
        .max_healthy_percentage(MOST_HEALTHY)
        .instance_warmup(WARMUP)
        .skip_matching(true)
        .auto_rollback(true)
        .build();
    let desired = DesiredConfiguration::builder()
        .launch_template(version(template, number))
        .build();
    let started = autoscaling
        .start_instance_refresh()
        .auto_scaling_group_name(group.as_ref())
        .desired_configuration(desired)
        .preferences(preferences)
        .send()
        .await
        .map_err(during("autoscaling:StartInstanceRefresh"));
    let refused = match started {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::InUse => error,
        Err(error) => return Err(error),
    };
    // It ended in the meantime: the next attempt starts the desired one.
    let Some(running) = latest(aws, group).await?.filter(|one| !is_over(one)) else {
        return Err(refused);
    };
    let target = target(&running, template);
    match running.status() {
        Some(Status::Pending | Status::InProgress | Status::Baking) if target == Some(number) => {
            Ok(())
        }
        Some(Status::Pending | Status::InProgress | Status::Baking) => {
            let cancelled = autoscaling
                .cancel_instance_refresh()
                .auto_scaling_group_name(group.as_ref())
                .send()
                .await
                .map_err(during("autoscaling:CancelInstanceRefresh"));
            // No refresh is in progress any more.
            unless(ErrorKind::NotFound, cancelled.map(drop))?;
            Err(Error::new(
                ErrorKind::InUse,
                "an instance refresh to another version is being cancelled",
            ))
        }
        _ => Err(Error::new(
            ErrorKind::InUse,
            format_args!(
                "waiting for an earlier instance refresh: {}",
                reported(&running)
            ),
        )),
    }
}

/// Rolls back the refresh in progress. AWS records its own reason.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html>: the
/// group must name its version by number, as every Landfall group does.
pub(super) async fn back(aws: &Aws, group: &AutoscalingGroupId) -> Result<()> {
    let asked = autoscaling(aws)
        .rollback_instance_refresh()
        .auto_scaling_group_name(group.as_ref())
        .send()
        .await
        .map_err(during("autoscaling:RollbackInstanceRefresh"));
    match asked {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_back = |one: InstanceRefresh| {
                matches!(
                    one.status(),
                    Some(
                        Status::RollbackInProgress
                            | Status::RollbackSuccessful
                            | Status::RollbackFailed
                    )
                )
            };
            match latest(aws, group).await?.is_some_and(is_back) {
                true => Ok(()),
                false => Err(error),
            }
        }
        outcome => outcome.map(drop),
    }
}

/// The target version of a refresh.
pub(super) fn target(refresh: &InstanceRefresh, template: &LaunchTemplateId) -> Option<u32> {
    refresh
        .desired_configuration()
        .and_then(|desired| desired.launch_template())
        .filter(|target| target.launch_template_id() == Some(template.as_ref()))
        .map(version_of)
}

/// Every refresh of a group that AWS still lists, the newest first.
pub(super) async fn all(aws: &Aws, group: &AutoscalingGroupId) -> Result<Vec<InstanceRefresh>> {
    let mut pages = autoscaling(aws)
        .describe_instance_refreshes()
        .auto_scaling_group_name(group.as_ref())
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("autoscaling:DescribeInstanceRefreshes"))?;
        found.extend(page.instance_refreshes().iter().cloned());
    }
    Ok(found)
}

/// The state of a group's last refresh.
pub(super) async fn progress(aws: &Aws, group: &AutoscalingGroupId) -> Result<Probe<()>> {
    let Some(refresh) = latest(aws, group).await? else {
        return Ok(Probe::Absent);
    };
    Ok(match refresh.status() {
        Some(Status::Successful) => Probe::Usable(()),
        Some(
            Status::Failed
            | Status::Cancelled
            | Status::RollbackFailed
            | Status::RollbackSuccessful,
        ) => Probe::Failed(reported(&refresh)),
        Some(Status::RollbackInProgress) => Probe::Ending(reported(&refresh)),
        _ => Probe::Pending(reported(&refresh)),
    })
}

/// The newest refresh of a group; AWS lists the newest first.
async fn latest(aws: &Aws, group: &AutoscalingGroupId) -> Result<Option<InstanceRefresh>> {
    let listed = autoscaling(aws)
        .describe_instance_refreshes()
        .auto_scaling_group_name(group.as_ref())
        .max_records(1)
        .send()
        .await
        .map_err(during("autoscaling:DescribeInstanceRefreshes"))?;
    Ok(listed.instance_refreshes().first().cloned())
}

pub(super) fn is_over(refresh: &InstanceRefresh) -> bool {
    matches!(
        refresh.status(),
        Some(
            Status::Successful
                | Status::Failed
                | Status::Cancelled
                | Status::RollbackFailed
                | Status::RollbackSuccessful
        )
    )
}

/// A refresh in a few words, with AWS's reason.
pub(super) fn reported(refresh: &InstanceRefresh) -> String {
    let done = refresh.percentage_complete().unwrap_or_default();
    let what = match refresh.status() {
        Some(Status::Pending) => "the instance refresh is about to begin".to_owned(),
        Some(Status::InProgress) => format!("the instance refresh is {done} % done"),
        Some(Status::Baking) => "all instances are new, and are being watched".to_owned(),
        Some(Status::Cancelling) => "the instance refresh is being cancelled".to_owned(),
        Some(Status::Cancelled) => "the instance refresh was cancelled".to_owned(),
        Some(Status::Failed) => "the instance refresh failed".to_owned(),
        Some(Status::RollbackInProgress) => {
            "the instance refresh failed, and the version before is coming back".to_owned()
        }
        Some(Status::RollbackSuccessful) => {
            "the instance refresh failed, and the version before is back".to_owned()
        }
        Some(Status::RollbackFailed) => {
            "the instance refresh and its rollback failed: instances of both versions are running"
                .to_owned()
        }
        Some(Status::Successful) => "the instance refresh is done".to_owned(),
        other => format!(
            "the instance refresh is {}",
            other.map_or("?", Status::as_str)
        ),
    };
    let behind = refresh
        .rollback_details()
        .and_then(|details| details.rollback_reason());
    match behind.or(refresh.status_reason()) {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    }
}
