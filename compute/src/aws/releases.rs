//! Releases on AWS: the author and time of a template's versions, and the state of each, from the
//! group's refreshes.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_autoscaling::types::{
    AutoScalingGroup, InstanceRefresh, InstanceRefreshStatus as Status,
};
use aws_sdk_ec2::types::LaunchTemplateVersion;
use landfall_aws::{Aws, during};
use landfall_provider::{AutoscalingGroupId, LaunchTemplateId, Result};

use super::autoscaling_group::{group, version_of};
use super::{ec2, launch_template, refresh};
use crate::{Release, ReleaseNote, ReleaseState};

/// The longest description:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html>
const LONGEST: usize = 255;

/// The session's note for new versions.
#[derive(Clone, Default)]
struct Note(Arc<Mutex<ReleaseNote>>);

fn current_note(aws: &Aws) -> Note {
    aws.client(|_| Note::default())
}

/// Sets the note for all later versions.
pub(super) fn note(aws: &Aws, note: ReleaseNote) {
    let Note(current) = current_note(aws);
    *current.lock().unwrap_or_else(PoisonError::into_inner) = note;
}

/// The description of a new version; AWS itself records the author.
pub(super) fn description(aws: &Aws) -> Option<String> {
    let Note(current) = current_note(aws);
    let text = current
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .to_string();
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}

/// Every existing version, by number.
pub(super) async fn releases(
    aws: &Aws,
    template: &LaunchTemplateId,
    id: &AutoscalingGroupId,
) -> Result<Vec<Release>> {
    let (versions, group, refreshes) = futures::try_join!(
        versions(aws, template),
        group(aws, id),
        refresh::all(aws, id),
    )?;
    let reported = ReleaseStates::of(template, group.as_ref(), &refreshes);
    let mut releases: Vec<Release> = versions
        .iter()
        .map(|version| {
            let number = launch_template::number(version);
            Release {
                version: number,
                spec: launch_template::spec(version),
                made: version
                    .create_time()
                    .and_then(|time| SystemTime::try_from(*time).ok()),
                who: version.created_by().map(str::to_owned),
                note: ReleaseNote::parse(version.version_description().unwrap_or_default()),
                state: reported.state_of(number),
            }
        })
        .collect();
    releases.sort_by_key(|release| release.version);
    Ok(releases)
}

async fn versions(aws: &Aws, template: &LaunchTemplateId) -> Result<Vec<LaunchTemplateVersion>> {
    let mut pages = ec2(aws)
        .describe_launch_template_versions()
        .launch_template_id(template.as_ref())
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("ec2:DescribeLaunchTemplateVersions"))?;
        found.extend(page.launch_template_versions().iter().cloned());
    }
    Ok(found)
}

/// The states of a template's versions, from a group and its refreshes.
struct ReleaseStates {
    /// The version that the group names: a refresh changes it at its end.
    current: u32,
    rolling: Option<u32>,
    failed: BTreeMap<u32, String>,
}

impl ReleaseStates {
    /// Refreshes are listed the newest first; the newest one to a version decides its state.
    fn of(
        template: &LaunchTemplateId,
        group: Option<&AutoScalingGroup>,
        refreshes: &[InstanceRefresh],
    ) -> Self {
        let mut outcomes: BTreeMap<u32, &InstanceRefresh> = BTreeMap::new();
        for refresh in refreshes {
            if let Some(version) = refresh::target(refresh, template) {
                outcomes.entry(version).or_insert(refresh);
            }
        }
        let current = group
            .and_then(|group| group.launch_template())
            .filter(|one| one.launch_template_id() == Some(template.as_ref()))
            .map(version_of);
        let failed = |refresh: &InstanceRefresh| {
            matches!(
                refresh.status(),
                Some(
                    Status::Failed
                        | Status::Cancelling
                        | Status::Cancelled
                        | Status::RollbackInProgress
                        | Status::RollbackSuccessful
                        | Status::RollbackFailed
                )
            )
        };
        Self {
            current: current.unwrap_or_default(),
            rolling: outcomes
                .iter()
                .find(|(_, refresh)| !refresh::is_over(refresh) && !failed(refresh))
                .map(|(version, _)| *version),
            failed: outcomes
                .iter()
                .filter(|(_, refresh)| failed(refresh))
                .map(|(version, refresh)| (*version, refresh::reported(refresh)))
                .collect(),
        }
    }

    fn state_of(&self, version: u32) -> ReleaseState {
        if version == self.current {
            ReleaseState::Current
        } else if Some(version) == self.rolling {
            ReleaseState::Rolling
        } else if let Some(why) = self.failed.get(&version) {
            ReleaseState::Failed(why.clone())
        } else if version < self.current {
            ReleaseState::Superseded
        } else {
            ReleaseState::Waiting
        }
    }
}
