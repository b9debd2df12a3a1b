//! Releases on AWS: the calls of a release, of a failing one and of a listing, in order.
//!
//! Instance refreshes, which the emulator does not support, are answered by AWS's documentation:
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html>.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use landfall_aws::Aws;
use landfall_compute::{ComputeProvider, LaunchTemplate, ReleaseNote, ReleaseState};
use landfall_provider::{AutoscalingGroupId, ErrorKind, LaunchTemplateId, Probe, Provider};
use landfall_testkit::scripted::{Answer, Call, Endpoint};

use crate::bed::{Bed, key, listed, scripted, stack};
use crate::kinds::template;

const TEMPLATE: &str = "lt-068f72b729example";
const GROUP: &str = "digipay-web-0a1b2c3d";

fn ids() -> (AutoscalingGroupId, LaunchTemplateId) {
    (GROUP.into(), TEMPLATE.into())
}

/// A refresh to a version in AWS's listing.
fn refresh(status: &str, version: u32, more: &str) -> String {
    format!(
        "<member><InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>\
         <AutoScalingGroupName>{GROUP}</AutoScalingGroupName><Status>{status}</Status>\
         <StartTime>2026-11-22T18:11:27Z</StartTime><DesiredConfiguration><LaunchTemplate>\
         <LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>{version}</Version>\
         </LaunchTemplate></DesiredConfiguration>{more}</member>"
    )
}

fn refreshes(call: &Call, members: &str, more: &str) -> Answer {
    call.result(&format!(
        "<InstanceRefreshes>{members}</InstanceRefreshes>{more}"
    ))
}

/// A group whose refresh passes through these states, one per look.
async fn group_in(states: &'static [&'static str]) -> (Aws, Endpoint) {
    let at = Arc::new(Mutex::new(0));
    scripted(move |call| match call.action.as_str() {
        "StartInstanceRefresh" | "RollbackInstanceRefresh" => Some(call.result(
            "<InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>",
        )),
        "DescribeInstanceRefreshes" => {
            let mut at = at.lock().unwrap();
            let state = states[*at];
            *at = (*at + 1).min(states.len() - 1);
            let why = "<RollbackDetails><RollbackReason>Asked for by the operator.</RollbackReason></RollbackDetails>";
            let more = if state.starts_with("Rollback") { why } else { "" };
            Some(refreshes(call, &refresh(state, 2, more), ""))
        }
        _ => None,
    })
    .await
}

fn actions(endpoint: &Endpoint) -> Vec<String> {
    let calls = endpoint.calls();
    calls.iter().map(|call| call.action.clone()).collect()
}

#[tokio::test]
async fn a_release_starts_a_refresh_and_looks_until_it_is_done() {
    let (aws, endpoint) = group_in(&["Pending", "InProgress", "Baking", "Successful"]).await;
    let (group, template) = ids();
    aws.roll(&group, &template, 2).await.unwrap();
    for _ in 0..3 {
        let looked = aws.rolling(&group).await.unwrap();
        assert!(matches!(looked, Probe::Pending(_)), "{looked:?}");
    }
    assert_eq!(aws.rolling(&group).await.unwrap(), Probe::Usable(()));
    assert_eq!(
        actions(&endpoint),
        [
            "StartInstanceRefresh",
            "DescribeInstanceRefreshes",
            "DescribeInstanceRefreshes",
            "DescribeInstanceRefreshes",
            "DescribeInstanceRefreshes"
        ]
    );
}

#[tokio::test]
async fn failed_release_is_watched_until_rolled_back() {
    let (aws, endpoint) =
        group_in(&["InProgress", "RollbackInProgress", "RollbackSuccessful"]).await;
    let (group, template) = ids();
    aws.roll(&group, &template, 2).await.unwrap();
    assert!(matches!(
        aws.rolling(&group).await.unwrap(),
        Probe::Pending(_)
    ));
    aws.roll_back(&group, "it is not healthy").await.unwrap();
    let reported = |state: &str| {
        format!(
            "the instance refresh failed, and the version before is {state}: Asked for by the operator."
        )
    };
    assert_eq!(
        aws.rolling(&group).await.unwrap(),
        Probe::Ending(reported("coming back"))
    );
    assert_eq!(
        aws.rolling(&group).await.unwrap(),
        Probe::Failed(reported("back"))
    );
    assert_eq!(
        actions(&endpoint),
        [
            "StartInstanceRefresh",
            "DescribeInstanceRefreshes",
            "RollbackInstanceRefresh",
            "DescribeInstanceRefreshes",
            "DescribeInstanceRefreshes"
        ]
    );
    let asked = &endpoint.calls()[2];
    assert!(asked.is("autoscaling:RollbackInstanceRefresh"), "{asked}");
    assert_eq!(asked.field("AutoScalingGroupName"), GROUP);
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html#API_RollbackInstanceRefresh_Errors>
#[tokio::test]
async fn what_cannot_be_rolled_back_says_why() {
    for (code, state, expected) in [
        // AWS has rolled back by itself in the meantime: the desired result.
        ("ActiveInstanceRefreshNotFound", "RollbackSuccessful", None),
        ("ActiveInstanceRefreshNotFound", "RollbackInProgress", None),
        (
            "ActiveInstanceRefreshNotFound",
            "Successful",
            Some(ErrorKind::NotFound),
        ),
        (
            "IrreversibleInstanceRefresh",
            "InProgress",
            Some(ErrorKind::Invalid),
        ),
        ("ResourceContention", "InProgress", Some(ErrorKind::InUse)),
    ] {
        let (aws, _endpoint) = scripted(move |call| match call.action.as_str() {
            "RollbackInstanceRefresh" => Some(call.error(400, code, "It cannot be rolled back.")),
            "DescribeInstanceRefreshes" => Some(refreshes(call, &refresh(state, 2, ""), "")),
            _ => None,
        })
        .await;
        let outcome = aws.roll_back(&ids().0, "why").await;
        assert_eq!(
            outcome.err().map(|error| error.kind()),
            expected,
            "{code} {state}"
        );
    }
}

/// A version in AWS's listing.
fn version(number: u32, description: &str) -> String {
    format!(
        "<item><launchTemplateId>{TEMPLATE}</launchTemplateId><versionNumber>{number}</versionNumber>\
         <versionDescription>{description}</versionDescription><createTime>2026-11-22T16:52:16.000Z</createTime>\
         <createdBy>arn:aws:iam::123456789012:user/ana</createdBy>\
         <launchTemplateData><instanceType>t3.micro</instanceType></launchTemplateData></item>"
    )
}

#[tokio::test]
async fn releases_are_template_versions_with_refreshes() {
    let (aws, endpoint) = scripted(|call| match call.action.as_str() {
        "DescribeLaunchTemplateVersions" => {
            let (versions, next) = match call.field("NextToken") {
                "" => (
                    [version(6, ""), version(5, "commit 1a2b3c4d5e6f-dirty")],
                    "<nextToken>more</nextToken>",
                ),
                _ => ([version(4, "rollback to 1, commit 77de68daecd8"), version(3, "by hand")], ""),
            };
            let versions = versions.concat();
            Some(call.result(&format!(
                "<launchTemplateVersionSet>{versions}</launchTemplateVersionSet>{next}"
            )))
        }
        "DescribeAutoScalingGroups" => Some(call.result(&format!(
            "<AutoScalingGroups><member><AutoScalingGroupName>{GROUP}</AutoScalingGroupName>\
             <LaunchTemplate><LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>4</Version></LaunchTemplate>\
             <MinSize>1</MinSize><MaxSize>4</MaxSize><DesiredCapacity>2</DesiredCapacity>\
             <DefaultCooldown>300</DefaultCooldown><HealthCheckType>ELB</HealthCheckType>\
             <CreatedTime>2026-11-22T16:00:00Z</CreatedTime></member></AutoScalingGroups>"
        ))),
        "DescribeInstanceRefreshes" => Some(match call.field("NextToken") {
            // The newest first: a version that failed and was retried has the state of the retry.
            "" => refreshes(
                call,
                &[
                    refresh("InProgress", 6, ""),
                    refresh(
                        "RollbackSuccessful",
                        5,
                        "<RollbackDetails><RollbackReason>No healthy instances.</RollbackReason></RollbackDetails>",
                    ),
                ]
                .concat(),
                "<NextToken>more</NextToken>",
            ),
            _ => refreshes(
                call,
                &[refresh("Successful", 4, ""), refresh("Failed", 4, "")].concat(),
                "",
            ),
        }),
        _ => None,
    })
    .await;
    let (group, template) = ids();
    let releases = aws.releases(&template, &group).await.unwrap();
    let failed =
        "the instance refresh failed, and the version before is back: No healthy instances.";
    let reported: Vec<_> = releases
        .iter()
        .map(|release| (release.version, release.state.clone()))
        .collect();
    assert_eq!(
        reported,
        [
            (3, ReleaseState::Superseded),
            (4, ReleaseState::Current),
            (5, ReleaseState::Failed(failed.to_owned())),
            (6, ReleaseState::Rolling),
        ]
    );
    let note = |commit: &str, back_to| ReleaseNote {
        who: String::new(),
        commit: Some(commit.to_owned()),
        back_to,
    };
    assert_eq!(releases[0].note, ReleaseNote::default());
    assert_eq!(releases[1].note, note("77de68daecd8", Some(1)));
    assert_eq!(releases[2].note, note("1a2b3c4d5e6f-dirty", None));
    assert_eq!(
        releases[0].who.as_deref(),
        Some("arn:aws:iam::123456789012:user/ana")
    );
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_366_336);
    assert_eq!(releases[0].made, Some(made));
    let mut calls = actions(&endpoint);
    calls.sort();
    assert_eq!(
        calls,
        [
            "DescribeAutoScalingGroups",
            "DescribeInstanceRefreshes",
            "DescribeInstanceRefreshes",
            "DescribeLaunchTemplateVersions",
            "DescribeLaunchTemplateVersions"
        ]
    );
}

#[tokio::test]
async fn needs_moto_version_description_holds_its_source() {
    let bed = Bed::new().await;
    let (desired, changed) = (template(&bed, "info"), template(&bed, "debug"));
    let note = |commit: Option<&str>, back_to| ReleaseNote {
        who: "ana@build-3".to_owned(),
        commit: commit.map(str::to_owned),
        back_to,
    };
    bed.aws.note_releases(note(Some("1a2b3c4d5e6f"), None));
    let key = key::<LaunchTemplate>("web");
    let id = bed.aws.create(&stack(), &key, &desired).await.unwrap();
    bed.aws
        .note_releases(note(Some("77de68daecd8-dirty"), None));
    let live = listed::<LaunchTemplate>(&bed.aws).await.remove(0);
    bed.aws.update(&live, &changed).await.unwrap();
    // The rollback is a version too, with the content of the first.
    bed.aws.note_releases(note(Some("1a2b3c4d5e6f"), Some(1)));
    let live = listed::<LaunchTemplate>(&bed.aws).await.remove(0);
    bed.calls();
    bed.aws.update(&live, &desired).await.unwrap();
    let calls = bed.calls();
    // The session has cached the newest machine image by now.
    assert_eq!(
        calls,
        [
            "ec2:DescribeLaunchTemplates",
            "ec2:CreateLaunchTemplateVersion",
            "ec2:ModifyLaunchTemplate"
        ]
    );
    let reported = bed
        .boto(&format!(
            "[v.get('VersionDescription') for v in client('ec2').describe_launch_template_versions(\
             LaunchTemplateId='{id}')['LaunchTemplateVersions']]"
        ))
        .await;
    let mut reported: Vec<&str> = reported
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one.as_str())
        .collect();
    reported.sort_unstable();
    assert_eq!(
        reported,
        [
            "commit 1a2b3c4d5e6f",
            "commit 77de68daecd8-dirty",
            "rollback to 1, commit 1a2b3c4d5e6f"
        ]
    );
    let listed = listed::<LaunchTemplate>(&bed.aws).await.remove(0);
    assert_eq!(listed.spec, desired);
}
