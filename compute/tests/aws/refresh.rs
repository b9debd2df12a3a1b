//! Instance refreshes, which the emulator does not support, with answers from AWS's documentation:
//! <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html>.

use landfall_compute::ComputeProvider;
use landfall_provider::{AutoscalingGroupId, ErrorKind, LaunchTemplateId, Probe};
use landfall_testkit::scripted::{Answer, Call};

use crate::bed::scripted;

const TEMPLATE: &str = "lt-068f72b729example";

fn ids() -> (AutoscalingGroupId, LaunchTemplateId) {
    ("digipay-web-0a1b2c3d".into(), TEMPLATE.into())
}

/// A refresh to a version, with additional fields.
fn refreshes(call: &Call, status: &str, version: u32, more: &str) -> Answer {
    call.result(&format!(
        "<InstanceRefreshes><member>\
           <InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>\
           <AutoScalingGroupName>digipay-web-0a1b2c3d</AutoScalingGroupName>\
           <Status>{status}</Status>\
           <StartTime>2026-11-22T18:11:27Z</StartTime>\
           <DesiredConfiguration><LaunchTemplate>\
             <LaunchTemplateId>{TEMPLATE}</LaunchTemplateId><Version>{version}</Version>\
           </LaunchTemplate></DesiredConfiguration>{more}\
         </member></InstanceRefreshes>"
    ))
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html#API_StartInstanceRefresh_Errors>
fn in_progress(call: &Call) -> Answer {
    call.error(
        400,
        "InstanceRefreshInProgress",
        "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
    )
}

#[tokio::test]
async fn refresh_names_its_version_and_rolls_back_by_itself() {
    let (aws, endpoint) = scripted(|call| {
        call.is("autoscaling:StartInstanceRefresh").then(|| {
            call.result(
                "<InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>",
            )
        })
    })
    .await;
    let (group, template) = ids();
    aws.roll(&group, &template, 2).await.unwrap();
    let calls = endpoint.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    for (field, value) in [
        ("AutoScalingGroupName", "digipay-web-0a1b2c3d"),
        (
            "DesiredConfiguration.LaunchTemplate.LaunchTemplateId",
            TEMPLATE,
        ),
        ("DesiredConfiguration.LaunchTemplate.Version", "2"),
        ("Preferences.AutoRollback", "true"),
        ("Preferences.SkipMatching", "true"),
        ("Preferences.MinHealthyPercentage", "100"),
        ("Preferences.MaxHealthyPercentage", "200"),
        ("Preferences.InstanceWarmup", "0"),
    ] {
        assert_eq!(calls[0].field(field), value, "{field}");
    }
}

#[tokio::test]
async fn a_refresh_that_is_under_way_to_the_version_is_the_one() {
    for status in ["Pending", "InProgress", "Baking"] {
        let (aws, endpoint) = scripted(move |call| match call.action.as_str() {
            "StartInstanceRefresh" => Some(in_progress(call)),
            "DescribeInstanceRefreshes" => Some(refreshes(call, status, 2, "")),
            _ => None,
        })
        .await;
        let (group, template) = ids();
        aws.roll(&group, &template, 2).await.unwrap();
        assert_eq!(endpoint.calls().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_refresh_to_another_version_is_cancelled_first() {
    let (aws, endpoint) =
        scripted(|call| match call.action.as_str() {
            "StartInstanceRefresh" => Some(in_progress(call)),
            "DescribeInstanceRefreshes" => Some(refreshes(call, "InProgress", 2, "")),
            "CancelInstanceRefresh" => Some(call.result(
                "<InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>",
            )),
            _ => None,
        })
        .await;
    let (group, template) = ids();
    let error = aws.roll(&group, &template, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    let last = endpoint.calls().pop().unwrap();
    assert!(last.is("autoscaling:CancelInstanceRefresh"), "{last}");
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html>
#[tokio::test]
async fn what_cannot_be_cancelled_is_waited_out() {
    for status in ["Cancelling", "RollbackInProgress"] {
        let (aws, endpoint) = scripted(move |call| match call.action.as_str() {
            "StartInstanceRefresh" => Some(in_progress(call)),
            "DescribeInstanceRefreshes" => Some(refreshes(call, status, 2, "")),
            _ => None,
        })
        .await;
        let (group, template) = ids();
        let error = aws.roll(&group, &template, 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{status}");
        assert_eq!(endpoint.calls().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn how_far_a_refresh_is_reads_as_aws_tells_it() {
    let waiting = "<PercentageComplete>50</PercentageComplete>\
        <StatusReason>Waiting for instances to warm up before continuing. For example: 0e69cc3f05f825f4f is warming up.</StatusReason>";
    let failed = "<PercentageComplete>0</PercentageComplete>\
        <StatusReason>Rollback complete.</StatusReason>\
        <RollbackDetails><RollbackReason>The instance refresh failed to launch healthy instances.</RollbackReason>\
        <PercentageCompleteOnRollback>50</PercentageCompleteOnRollback></RollbackDetails>";
    let pending = |why: &str| Probe::Pending(why.to_owned());
    let gave_up = |why: &str| Probe::Failed(why.to_owned());
    let going_back = |why: &str| Probe::Ending(why.to_owned());
    for (status, more, expected) in [
        (
            "Pending",
            "",
            pending("the instance refresh is about to begin"),
        ),
        (
            "InProgress",
            waiting,
            pending(
                "the instance refresh is 50 % done: Waiting for instances to warm up before continuing. \
                 For example: 0e69cc3f05f825f4f is warming up.",
            ),
        ),
        (
            "Baking",
            "",
            pending("all instances are new, and are being watched"),
        ),
        ("Successful", "", Probe::Usable(())),
        (
            "Cancelled",
            "",
            gave_up("the instance refresh was cancelled"),
        ),
        ("Failed", "", gave_up("the instance refresh failed")),
        (
            "RollbackInProgress",
            failed,
            going_back(
                "the instance refresh failed, and the version before is coming back: \
                 The instance refresh failed to launch healthy instances.",
            ),
        ),
        (
            "RollbackSuccessful",
            failed,
            gave_up(
                "the instance refresh failed, and the version before is back: \
                 The instance refresh failed to launch healthy instances.",
            ),
        ),
        (
            "RollbackFailed",
            "",
            gave_up(
                "the instance refresh and its rollback failed: instances of both versions are running",
            ),
        ),
    ] {
        let (aws, _endpoint) = scripted(move |call| {
            call.is("autoscaling:DescribeInstanceRefreshes")
                .then(|| refreshes(call, status, 2, more))
        })
        .await;
        assert_eq!(aws.rolling(&ids().0).await.unwrap(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_group_that_was_never_refreshed_says_so() {
    let (aws, _endpoint) = scripted(|call| {
        call.is("autoscaling:DescribeInstanceRefreshes")
            .then(|| call.result("<InstanceRefreshes/>"))
    })
    .await;
    assert_eq!(aws.rolling(&ids().0).await.unwrap(), Probe::Absent);
}
