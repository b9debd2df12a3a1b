//! States that the emulator skips, with answers from AWS's documentation; each test names the page.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use landfall_aws::{Aws, short_name};
use landfall_compute::{
    AutoscalingGroup, AutoscalingGroupOutput, ComputeProvider, Instance, InstanceProfile,
    InstanceState, KeyPair, LaunchTemplate,
};
use landfall_provider::{
    AutoscalingGroupId, Catalog, ErrorKind, Input, InstanceId, Live, Probe, Provider, Resource,
    Stack, apply, plan,
};
use landfall_testkit::scripted::{Answer, Call};

use crate::bed::{key, listed, quick, scripted, stack};

/// An instance of a group: its id, its lifecycle state and its template's version.
type Member = (&'static str, &'static str, u32);

/// A group with these instances, and additional fields.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAutoScalingGroups.html>
fn group(call: &Call, members: &[Member], more: &str) -> Answer {
    let members: String = members
        .iter()
        .map(|(id, state, version)| {
            format!(
                "<member><InstanceId>{id}</InstanceId><AvailabilityZone>eu-central-1a</AvailabilityZone>\
                 <LifecycleState>{state}</LifecycleState><HealthStatus>Healthy</HealthStatus>\
                 <LaunchTemplate><LaunchTemplateId>lt-1</LaunchTemplateId><Version>{version}</Version></LaunchTemplate>\
                 <ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
            )
        })
        .collect();
    call.result(&format!(
        "<AutoScalingGroups><member><AutoScalingGroupName>digipay-web</AutoScalingGroupName>\
         <LaunchTemplate><LaunchTemplateId>lt-1</LaunchTemplateId><Version>2</Version></LaunchTemplate>\
         <MinSize>1</MinSize><MaxSize>4</MaxSize><DesiredCapacity>2</DesiredCapacity><DefaultCooldown>300</DefaultCooldown>\
         <AvailabilityZones/><HealthCheckType>ELB</HealthCheckType><CreatedTime>2026-11-22T18:00:00Z</CreatedTime>\
         <Instances>{members}</Instances>{more}</member></AutoScalingGroups>"
    ))
}

fn desired() -> AutoscalingGroup {
    AutoscalingGroup {
        template: Input::Known("lt-1".into()),
        subnets: Vec::new(),
        min: 1,
        desired: 2,
        max: 4,
        target_groups: Vec::new(),
        health_check_grace_period: 0,
    }
}

/// Activities, the newest first, by their codes and the time since their start.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html>
fn activities(call: &Call, of: &[(&str, u64)]) -> Answer {
    let members: String = of
        .iter()
        .map(|(code, ago)| {
            let begun = SystemTime::now() - Duration::from_secs(*ago);
            let begun = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let begun = aws_sdk_ec2::primitives::DateTime::from_secs(begun.as_secs() as i64);
            format!(
                "<member><ActivityId>1</ActivityId><AutoScalingGroupName>digipay-web</AutoScalingGroupName>\
                 <Description>Launching a new EC2 instance.  Status Reason: {QUOTA}</Description>\
                 <Cause>At 2026-11-22T18:00:00Z an instance was started</Cause>\
                 <StartTime>{begun}</StartTime><StatusCode>{code}</StatusCode>\
                 <StatusMessage>{QUOTA}</StatusMessage><Progress>100</Progress></member>"
            )
        })
        .collect();
    call.result(&format!("<Activities>{members}</Activities>"))
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-capacity.html>
const QUOTA: &str = "You have requested more vCPU capacity than your current vCPU limit of 1 allows. \
    Launching EC2 instance failed.";

async fn probed<R: Resource>(
    script: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
    id: &str,
) -> Probe<R::Output>
where
    Aws: Provider<R>,
{
    let (aws, _endpoint) = scripted(script).await;
    let id = <R::Id as From<String>>::from(id.to_owned());
    Provider::<R>::probe(&aws, &id).await.unwrap()
}

#[tokio::test]
async fn a_group_is_usable_when_as_many_serve_as_it_is_to_have() {
    let probe = probed::<AutoscalingGroup>(
        |call| match call.action.as_str() {
            "DescribeAutoScalingGroups" => Some(group(
                call,
                &[("i-1", "InService", 2), ("i-2", "Pending", 2)],
                "",
            )),
            "DescribeScalingActivities" => Some(activities(call, &[("InProgress", 5)])),
            _ => None,
        },
        "digipay-web",
    );
    let pending = Probe::Pending("1 of 2 instances are in service".to_owned());
    assert_eq!(probe.await, pending);

    let members: &[Member] = &[
        ("i-1", "InService", 2),
        ("i-2", "InService", 1),
        ("i-3", "Terminating:Wait", 0),
    ];
    let probe = probed::<AutoscalingGroup>(|call| Some(group(call, members, "")), "digipay-web");
    // The instance on version 1 needs a rollout; the one that is leaving does not.
    assert_eq!(
        probe.await,
        Probe::Usable(AutoscalingGroupOutput { version: 1 })
    );
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html>
#[tokio::test]
async fn three_failed_launches_end_the_wait() {
    type Case = (
        &'static [(&'static str, u64)],
        fn(&str) -> Probe<AutoscalingGroupOutput>,
    );
    let cases: [Case; 4] = [
        (&[("Failed", 5)], |why| {
            Probe::Pending(format!("{why}; the last launch failed: {QUOTA}"))
        }),
        (
            &[
                ("InProgress", 1),
                ("Failed", 5),
                ("Failed", 30),
                ("Failed", 60),
            ],
            |why| {
                Probe::Failed(format!(
                    "{why}; 3 launches in a row failed, the last one: {QUOTA}"
                ))
            },
        ),
        // A later launch succeeded.
        (
            &[
                ("Successful", 1),
                ("Failed", 5),
                ("Failed", 30),
                ("Failed", 60),
            ],
            |why| Probe::Pending(why.to_owned()),
        ),
        // Yesterday's failures are ignored.
        (
            &[("Failed", 86_000), ("Failed", 86_100), ("Failed", 86_200)],
            |why| Probe::Pending(why.to_owned()),
        ),
    ];
    for (history, expected) in cases {
        let probe = probed::<AutoscalingGroup>(
            move |call| match call.action.as_str() {
                "DescribeAutoScalingGroups" => Some(group(call, &[], "")),
                "DescribeScalingActivities" => Some(activities(call, history)),
                _ => None,
            },
            "digipay-web",
        );
        assert_eq!(
            probe.await,
            expected("0 of 2 instances are in service"),
            "{history:?}"
        );
    }
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html>: `Status`
#[tokio::test]
async fn a_group_on_its_way_out_says_how_many_still_drain() {
    let probe = probed::<AutoscalingGroup>(
        |call| {
            let members: &[Member] = &[("i-1", "Terminating:Wait", 2), ("i-2", "Terminating", 2)];
            Some(group(call, members, "<Status>Delete in progress</Status>"))
        },
        "digipay-web",
    );
    assert_eq!(
        probe.await,
        Probe::Ending("2 instances are draining or terminating".to_owned())
    );
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html>:
/// `ScalingActivityInProgress`, `ResourceInUse`
#[tokio::test]
async fn deleting_a_deleted_group_succeeds() {
    const GOING: &str = "<Status>Delete in progress</Status>";
    for (code, there, expected) in [
        ("ValidationError", None, None),
        ("ValidationError", Some(""), Some(ErrorKind::Invalid)),
        ("ValidationError", Some(GOING), None),
        (
            "ScalingActivityInProgress",
            Some(""),
            Some(ErrorKind::InUse),
        ),
        ("ScalingActivityInProgress", Some(GOING), None),
        ("ScalingActivityInProgress", None, None),
        ("ResourceInUse", Some(""), Some(ErrorKind::InUse)),
        ("ResourceInUse", Some(GOING), None),
        ("AccessDenied", Some(""), Some(ErrorKind::Denied)),
    ] {
        let (aws, _endpoint) = scripted(move |call| match call.action.as_str() {
            "DeleteAutoScalingGroup" => {
                let status = if code == "AccessDenied" { 403 } else { 400 };
                Some(call.error(status, code, "AutoScalingGroup name not found"))
            }
            "DescribeAutoScalingGroups" => Some(match there {
                Some(more) => group(call, &[], more),
                None => call.result("<AutoScalingGroups/>"),
            }),
            _ => None,
        })
        .await;
        let refused = aws.delete(&live()).await.err().map(|error| error.kind());
        assert_eq!(refused, expected, "{code} {there:?}");
    }
}

fn live() -> Live<AutoscalingGroup> {
    Live {
        id: AutoscalingGroupId::from("digipay-web"),
        name: "web".parse().unwrap(),
        spec: desired(),
        state: Probe::Usable(AutoscalingGroupOutput { version: 1 }),
    }
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html>: a
/// group that is scaling is not deleted, and AWS does not retry it.
#[tokio::test]
async fn a_group_that_scales_is_asked_to_go_until_it_goes() {
    let tries = AtomicUsize::new(0);
    let (aws, endpoint) = scripted(move |call| match call.action.as_str() {
        "DeleteAutoScalingGroup" => Some(match tries.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => call.error(
                400,
                "ScalingActivityInProgress",
                "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.",
            ),
            _ => call.result(""),
        }),
        "DescribeAutoScalingGroups" if tries.load(Ordering::Relaxed) < 3 => Some(group(
            call,
            &[],
            "<VPCZoneIdentifier></VPCZoneIdentifier><Tags>\
             <member><Key>landfall:stack</Key><Value>digipay</Value></member>\
             <member><Key>landfall:name</Key><Value>web</Value></member></Tags>",
        )),
        "DescribeAutoScalingGroups" => Some(call.result("<AutoScalingGroups/>")),
        _ => None,
    })
    .await;
    let catalog = Catalog::new().with::<AutoscalingGroup>();
    let there = catalog.snapshot(&aws, &stack()).await.unwrap();
    let plan = plan(&Stack::new(stack()), &there, catalog.schema()).unwrap();
    let applied = apply(&plan, &aws, &catalog, &quick()).await;
    assert!(applied.is_complete(), "{applied:#?}");
    let calls = endpoint.calls();
    let asked = calls
        .iter()
        .filter(|call| call.is("autoscaling:DeleteAutoScalingGroup"));
    assert_eq!(asked.count(), 3);
}

/// An instance in this state, for this reason.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
fn instances(call: &Call, of: &[(&str, &str, &str)]) -> Answer {
    let items: String = of
        .iter()
        .map(|(id, state, reason)| {
            let (code, message) = reason.split_once(": ").unwrap_or(("", reason));
            format!(
                "<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>{id}</instanceId>\
                 <instanceState><code>16</code><name>{state}</name></instanceState>\
                 <privateIpAddress>10.0.0.9</privateIpAddress>\
                 <placement><availabilityZone>eu-central-1a</availabilityZone></placement>\
                 <stateReason><code>{code}</code><message>{code}: {message}</message></stateReason>\
                 </item></instancesSet></item>"
            )
        })
        .collect();
    call.result(&format!("<reservationSet>{items}</reservationSet>"))
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
#[tokio::test]
async fn an_instance_goes_through_all_its_states() {
    for (state, expected) in [
        ("pending", "Pending"),
        ("running", "Usable"),
        ("stopping", "Failed"),
        ("stopped", "Failed"),
        ("shutting-down", "Ending"),
        ("terminated", "Absent"),
    ] {
        let probe = probed::<Instance>(
            move |call| {
                Some(instances(
                    call,
                    &[("i-1", state, "Client.UserInitiatedShutdown: x")],
                ))
            },
            "i-1",
        );
        let probe = format!("{:?}", probe.await);
        assert!(probe.starts_with(expected), "{state}: {probe}");
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html>,
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>
#[tokio::test]
async fn exited_instances_differ_from_terminated_ones() {
    let (aws, _endpoint) = scripted(|call| match call.action.as_str() {
        "DescribeAutoScalingGroups" => Some(group(
            call,
            &[("i-1", "InService", 2), ("i-2", "Terminating:Wait", 1)],
            "",
        )),
        "DescribeInstances" => {
            assert_eq!(call.field("Filter.1.Name"), "tag:aws:autoscaling:groupName");
            Some(instances(
                call,
                &[
                    ("i-1", "running", ""),
                    ("i-2", "running", ""),
                    (
                        "i-3",
                        "terminated",
                        "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
                    ),
                    (
                        "i-4",
                        "terminated",
                        "Client.UserInitiatedShutdown: User initiated shutdown",
                    ),
                    (
                        "i-5",
                        "terminated",
                        "Server.InternalError: Internal error on launch",
                    ),
                ],
            ))
        }
        _ => None,
    })
    .await;
    let members = aws.group_instances(&"digipay-web".into()).await.unwrap();
    let reported: Vec<(&str, u32, &InstanceState)> = members
        .iter()
        .map(|one| (one.id.as_ref(), one.template_version, &one.state))
        .collect();
    let failed = |how: &str| InstanceState::Failed(how.to_owned());
    let (by_itself, by_aws) = (
        failed("Client.InstanceInitiatedShutdown: Instance initiated shutdown"),
        failed("Server.InternalError: Internal error on launch"),
    );
    assert_eq!(
        reported,
        [
            ("i-1", 2, &InstanceState::Running),
            ("i-2", 1, &InstanceState::Terminating),
            ("i-3", 0, &by_itself),
            ("i-5", 0, &by_aws),
        ]
    );
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
#[tokio::test]
async fn console_tail_is_the_last_output() {
    use base64::Engine as _;
    let console = "[    0.000000] Linux version 6.12\r\nweb: starting\r\nweb: no database\r\n";
    let console = base64::engine::general_purpose::STANDARD.encode(console);
    let (aws, endpoint) = scripted(move |call| {
        call.is("ec2:GetConsoleOutput").then(|| {
            call.result(&format!(
                "<instanceId>i-1</instanceId><timestamp>2026-11-22T18:00:00.000Z</timestamp><output>{console}</output>"
            ))
        })
    })
    .await;
    let id = InstanceId::from("i-1");
    let lines = aws.last_output(&id, 2).await.unwrap();
    assert_eq!(lines, ["web: starting", "web: no database"]);
    assert_eq!(endpoint.calls()[0].field("Latest"), "true");

    let (aws, _endpoint) = scripted(|call| {
        Some(call.error(
            400,
            "InvalidInstanceID.NotFound",
            "The instance ID 'i-1' does not exist",
        ))
    })
    .await;
    assert_eq!(aws.last_output(&id, 2).await.unwrap(), Vec::<String>::new());
}

/// The service that refuses an invisible profile, and its error.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency>
#[tokio::test]
async fn a_profile_that_is_not_visible_yet_is_tried_again() {
    let (aws, _endpoint) = scripted(|call| match call.action.as_str() {
        "DescribeLaunchTemplates" => Some(call.result(
            "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId>\
             <latestVersionNumber>1</latestVersionNumber></item></launchTemplates>",
        )),
        "CreateAutoScalingGroup" => Some(call.error(
            400,
            "ValidationError",
            "You must use a valid fully-formed launch template. Value (digipay-web) for parameter \
             iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        )),
        _ => None,
    })
    .await;
    let desired = desired();
    let key = key::<AutoscalingGroup>("web");
    let error = aws.create(&stack(), &key, &desired).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html>: `AlreadyExists`
#[tokio::test]
async fn group_beside_a_deleting_one_gets_a_new_name() {
    let first = short_name(255, &stack(), &key::<AutoscalingGroup>("web"), "");
    let taken = first.clone();
    let (aws, endpoint) = scripted(move |call| match call.action.as_str() {
        "DescribeLaunchTemplates" => Some(call.result(
            "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId>\
             <latestVersionNumber>7</latestVersionNumber></item></launchTemplates>",
        )),
        "CreateAutoScalingGroup" if call.field("AutoScalingGroupName") == taken => Some(call.error(
            400,
            "AlreadyExists",
            "AutoScalingGroup by this name already exists - A group with the name digipay-web already exists",
        )),
        "CreateAutoScalingGroup" => Some(call.result("")),
        "DescribeAutoScalingGroups" => Some(group(
            call,
            &[],
            "<Status>Delete in progress</Status><VPCZoneIdentifier></VPCZoneIdentifier><Tags>\
             <member><Key>landfall:stack</Key><Value>digipay</Value></member>\
             <member><Key>landfall:name</Key><Value>web</Value></member></Tags>",
        )),
        _ => None,
    })
    .await;
    let desired = desired();
    let key = key::<AutoscalingGroup>("web");
    let id = aws.create(&stack(), &key, &desired).await.unwrap();
    assert_ne!(id.as_ref(), first);
    let calls = endpoint.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.field("AutoScalingGroupName"), id.as_ref());
    assert_eq!(last.field("LaunchTemplate.Version"), "7");
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplates.html>: pages
#[tokio::test]
async fn a_listing_reads_all_pages() {
    let (aws, endpoint) = scripted(|call| match call.action.as_str() {
        "DescribeLaunchTemplates" => {
            let (id, next) = match call.field("NextToken") {
                "" => ("lt-1", "<nextToken>more</nextToken>"),
                _ => ("lt-2", ""),
            };
            Some(call.result(&format!(
                "<launchTemplates><item><launchTemplateId>{id}</launchTemplateId>\
                 <latestVersionNumber>3</latestVersionNumber><tagSet>\
                 <item><key>landfall:stack</key><value>digipay</value></item>\
                 <item><key>landfall:name</key><value>web</value></item></tagSet></item></launchTemplates>{next}"
            )))
        }
        "DescribeLaunchTemplateVersions" => Some(call.result(
            "<launchTemplateVersionSet><item><versionNumber>3</versionNumber><launchTemplateData>\
             <instanceType>t3.micro</instanceType></launchTemplateData></item></launchTemplateVersionSet>",
        )),
        _ => None,
    })
    .await;
    let found = listed::<LaunchTemplate>(&aws).await;
    let ids: Vec<&str> = found.iter().map(|live| live.id.as_ref()).collect();
    assert_eq!(ids, ["lt-1", "lt-2"]);
    // Landfall did not write that version: it differs from every desired one.
    assert_eq!(
        found[0].spec.workload.image.known().unwrap().as_ref(),
        "unknown"
    );
    let listing = |call: &&Call| call.action.starts_with("DescribeLaunchTemplate");
    assert_eq!(endpoint.calls().iter().filter(listing).count(), 4);
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html>: `InvalidKeyPair.Duplicate`
#[tokio::test]
async fn a_key_pair_that_is_there_is_the_one() {
    let (aws, _endpoint) = scripted(|call| {
        Some(call.error(
            400,
            "InvalidKeyPair.Duplicate",
            "The key pair already exists",
        ))
    })
    .await;
    let desired = KeyPair {
        public_key:
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M"
                .parse()
                .unwrap(),
    };
    let id = aws
        .create(&stack(), &key::<KeyPair>("main"), &desired)
        .await;
    assert!(id.unwrap().as_ref().starts_with("digipay-main-"));
}

/// AWS does not know the path of an absent role, and the operator's policy allows roles by path
/// only.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
#[tokio::test]
async fn a_role_that_is_gone_is_told_from_one_that_may_not_be_touched() {
    for is_there in [false, true] {
        let (aws, endpoint) = scripted(move |call| match call.action.as_str() {
            "GetInstanceProfile" => Some(call.result(
                "<InstanceProfile><Path>/landfall/eu-central-1/digipay/web/</Path>\
                 <InstanceProfileName>digipay-web</InstanceProfileName><InstanceProfileId>AIPA1</InstanceProfileId>\
                 <Arn>arn:aws:iam::123456789012:instance-profile/landfall/eu-central-1/digipay/web/digipay-web</Arn>\
                 <CreateDate>2026-11-22T16:00:00Z</CreateDate><Roles/></InstanceProfile>",
            )),
            "DeleteRolePolicy" | "DeleteRole" => Some(call.error(
                403,
                "AccessDenied",
                "User: arn:aws:iam::123456789012:user/ana is not authorized to perform: iam:DeleteRole on resource: \
                 role digipay-web because no identity-based policy allows the iam:DeleteRole action",
            )),
            "ListRoles" => {
                let role = "<member><Path>/landfall/eu-central-1/digipay/web/</Path><RoleName>digipay-web</RoleName>\
                            <RoleId>AROA1</RoleId><Arn>arn:aws:iam::123456789012:role/x</Arn>\
                            <CreateDate>2026-11-22T16:00:00Z</CreateDate></member>";
                let roles = if is_there { role } else { "" };
                let list = format!("<Roles>{roles}</Roles><IsTruncated>false</IsTruncated>");
                Some(call.result(&list))
            }
            "DeleteInstanceProfile" => Some(call.result("")),
            _ => None,
        })
        .await;
        let live = Live {
            id: "digipay-web".into(),
            name: "web".parse().unwrap(),
            spec: InstanceProfile {
                repositories: Vec::new(),
                secrets: Vec::new(),
                logs: None,
            },
            state: Probe::Usable(()),
        };
        let ended = aws.delete(&live).await;
        let last = endpoint.calls().pop().unwrap();
        if is_there {
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::Denied);
            assert_eq!(last.action, "ListRoles");
        } else {
            ended.unwrap();
            assert_eq!(last.action, "DeleteInstanceProfile");
        }
    }
}
