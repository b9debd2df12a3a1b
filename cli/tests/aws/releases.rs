//! A release, a failing release, and a rollback on AWS, with the calls in order.
//!
//! The emulator has no instance refresh and reports every instance with its template's default
//! version. Both are scripted here by AWS's documentation:
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html>. A
//! completed refresh changes the version that the group names; a rolled-back one does not.

use std::sync::{Arc, Mutex};

use landfall_testkit::scripted::{Answer, Call, Upstream};

use crate::account::Account;

const FILE: &str = r#"
stack = "digipay"

[service.web]
port   = 8000
health = { path = "/healthz", deadline = 10 }
env    = { LOG = "info" }
deregistration-delay = 0
"#;

/// The calls of a release.
const PARTS: [&str; 6] = [
    "CreateLaunchTemplateVersion",
    "ModifyLaunchTemplate",
    "StartInstanceRefresh",
    "RollbackInstanceRefresh",
    "DescribeInstanceRefreshes",
    "DescribeLaunchTemplateVersions",
];

/// A group that moves its instances to another version, or fails to.
#[derive(Debug)]
struct Group {
    serving: u32,
    /// The newest first: the version, the status, and the number of looks.
    refreshes: Vec<(u32, &'static str, u32)>,
    /// The version that never becomes healthy.
    broken: Option<u32>,
}

impl Group {
    fn answer(&mut self, call: &Call, upstream: &Upstream) -> Option<Answer> {
        let begun = "<InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>";
        match call.action.as_str() {
            "StartInstanceRefresh" => {
                let field = "DesiredConfiguration.LaunchTemplate.Version";
                let version = call.field(field).parse().unwrap();
                self.refreshes.insert(0, (version, "InProgress", 0));
                Some(call.result(begun))
            }
            "RollbackInstanceRefresh" => {
                let newest = &mut self.refreshes[0];
                assert_eq!(newest.1, "InProgress");
                *newest = (newest.0, "RollbackInProgress", 0);
                Some(call.result(begun))
            }
            "DescribeInstanceRefreshes" => {
                self.go_on();
                Some(self.listed(call))
            }
            "DescribeAutoScalingGroups" => {
                let answer = upstream.ask(call);
                let mut parts = answer.body.split("<Version>");
                let mut body = parts.next()?.to_owned();
                for part in parts {
                    let (_, rest) = part.split_once('<')?;
                    body.push_str(&format!("<Version>{}<{rest}", self.serving));
                }
                Some(Answer { body, ..answer })
            }
            _ => None,
        }
    }

    /// An operation in progress is over at the third look.
    fn go_on(&mut self) {
        let Some((version, status, looks)) = self.refreshes.first_mut() else {
            return;
        };
        *looks += 1;
        match *status {
            "InProgress" if *looks > 2 && self.broken != Some(*version) => {
                *status = "Successful";
                self.serving = *version;
            }
            "RollbackInProgress" if *looks > 2 => *status = "RollbackSuccessful",
            _ => {}
        }
    }

    fn listed(&self, call: &Call) -> Answer {
        let group = call.field("AutoScalingGroupName");
        let members = self.refreshes.iter().map(|(version, status, _)| {
            format!(
                "<member><InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>\
                 <AutoScalingGroupName>{group}</AutoScalingGroupName><Status>{status}</Status>\
                 <DesiredConfiguration><LaunchTemplate><LaunchTemplateId>TEMPLATE</LaunchTemplateId>\
                 <Version>{version}</Version></LaunchTemplate></DesiredConfiguration></member>"
            )
        });
        let members: String = members.collect();
        call.result(&format!("<InstanceRefreshes>{members}</InstanceRefreshes>"))
    }
}

/// The relevant calls since the last time, without immediate repetitions.
fn parts(account: &Account) -> Vec<String> {
    let calls = account.aws.endpoint.calls();
    account.aws.endpoint.forget();
    let actions = calls.into_iter().map(|call| call.action);
    let mut parts: Vec<String> = actions
        .filter(|action| PARTS.contains(&action.as_str()))
        .collect();
    parts.dedup();
    parts
}

#[tokio::test]
async fn needs_emulators_release_failure_and_rollback_calls() {
    let group = Arc::new(Mutex::new(Group {
        serving: 1,
        refreshes: Vec::new(),
        broken: None,
    }));
    let template = Arc::new(Mutex::new(String::new()));
    let account = {
        let (group, template) = (Arc::clone(&group), Arc::clone(&template));
        Account::scripted(FILE, move |call, upstream| {
            if call.is("autoscaling:StartInstanceRefresh") {
                let id = call.field("DesiredConfiguration.LaunchTemplate.LaunchTemplateId");
                *template.lock().unwrap() = id.to_owned();
            }
            let answer = group.lock().unwrap().answer(call, upstream)?;
            let body = answer.body.replace("TEMPLATE", &template.lock().unwrap());
            Some(Answer { body, ..answer })
        })
        .await
    };
    account.landfall(&["deploy"]).ended_with(0);
    parts(&account);

    // A release.
    account.write("landfall.toml", &FILE.replace("info", "debug"));
    account.landfall(&["deploy"]).ended_with(0);
    let begun = [
        "DescribeLaunchTemplateVersions",
        "CreateLaunchTemplateVersion",
        "ModifyLaunchTemplate",
        "StartInstanceRefresh",
        "DescribeInstanceRefreshes",
    ];
    assert_eq!(parts(&account), begun);
    assert_eq!(group.lock().unwrap().serving, 2);

    // It does not become healthy: AWS is asked to roll back, and polled until it has.
    group.lock().unwrap().broken = Some(3);
    account.write("landfall.toml", &FILE.replace("info", "broken"));
    let failed = account.landfall(&["deploy"]).ended_with(1);
    for part in [
        "the service web did not become healthy within 10 s: the instance refresh is 0 % done",
        "web was rolled back from release 3 to release 2, which serves",
    ] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    let back = ["RollbackInstanceRefresh", "DescribeInstanceRefreshes"];
    assert_eq!(parts(&account), [&begun[..], &back[..]].concat());

    // Back to the first, as a new version.
    let rolled = account
        .landfall(&["rollback", "1", "--json"])
        .ended_with(0)
        .json();
    assert_eq!(
        (&rolled["from"], &rolled["to"], &rolled["release"]),
        (&2.into(), &1.into(), &4.into())
    );
    let calls = parts(&account);
    // The order of the two lists of releases is random.
    let made = calls.iter().position(|call| call == begun[1]).unwrap();
    assert_eq!(calls[made..], begun[1..]);

    let listed = account
        .landfall(&["releases", "--json"])
        .ended_with(0)
        .json();
    let releases = listed["services"][0]["releases"].as_array().unwrap();
    let states: Vec<_> = releases
        .iter()
        .map(|one| {
            (
                one["release"].as_u64().unwrap(),
                one["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            (1, "superseded"),
            (2, "superseded"),
            (3, "failed"),
            (4, "current")
        ]
    );
    assert_eq!(releases[3]["back_to"], 1);
    assert_eq!(releases[3]["digest"], releases[0]["digest"]);
    account
        .landfall(&["destroy", "--yes", "--stack", "digipay"])
        .ended_with(0);
}
