//! The resource map: the path of a request, from the listener to the targets, and the health of
//! each target.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anstyle::Style;
use landfall_compute::{InstanceState, SingleInstanceState};
use landfall_lb::{Condition, TargetState};
use landfall_pipeline::{
    GroupStatus, ListenerStatus, RuleAction, RuleStatus, SingleStatus, Status, TargetGroupStatus,
};

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, count, or_dash, paint, tame, without_name};

/// The stack as a tree, with a line for each problem. Times in the past are relative to `now`.
pub(crate) fn render(status: &Status, now: SystemTime) -> String {
    let mut lines = vec![format!(
        "{}  {}  {}",
        paint(STRONG, &status.stack),
        if status.is_healthy() {
            paint(GOOD, "healthy")
        } else {
            paint(BAD, "not healthy")
        },
        paint(DIM, count(status.resources, "resource"))
    )];
    for balancer in &status.balancers {
        let name = balancer.dns_name.as_deref().unwrap_or("not known yet");
        lines.push(format!("load balancer {}  {name}", balancer.name));
    }
    let mut table = Table::default();
    for listener in &status.listeners {
        add_listener(&mut table, listener, now);
    }
    for group in &status.groups {
        add_group(&mut table, group, now);
    }
    for instance in &status.instances {
        add_single(&mut table, instance);
    }
    if !status.unusable.is_empty() {
        table.heading("not usable");
        for unusable in &status.unusable {
            let style = if unusable.failed { BAD } else { CHANGED };
            table.row(
                "  ",
                [
                    (Style::new(), unusable.key.to_string()),
                    (style, tame(&unusable.why)),
                ],
            );
        }
    }
    lines.extend(table.lines());
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn add_listener(table: &mut Table, listener: &ListenerStatus, now: SystemTime) {
    let url = listener.url.as_deref().unwrap_or("no address yet");
    table.heading(format!(
        "listener {} :{}  {}",
        listener.name,
        listener.port,
        paint(STRONG, url)
    ));
    if let Some(numeric) = listener.url.as_deref().and_then(without_name) {
        table.heading(format!("   also {numeric}"));
    }
    for (index, rule) in listener.rules.iter().enumerate() {
        let (branch, below) = branch(index, listener.rules.len());
        let requests = condition(rule);
        match &rule.action {
            RuleAction::Forward(group) => {
                table.heading(format!(
                    "{branch}{requests} → target group {}",
                    named(group)
                ));
                add_targets(table, below, group, now);
            }
            RuleAction::RedirectToHttps(port) => {
                table.heading(format!("{branch}{requests} → https on port {port}"));
            }
        }
    }
}

fn condition(rule: &RuleStatus) -> String {
    match (&rule.condition, rule.priority) {
        (None, _) => "default".to_owned(),
        (Some(condition), priority) => {
            let condition = match condition {
                Condition::Path(path) => format!("path {path}"),
                Condition::Host(host) => format!("host {host}"),
            };
            match priority {
                Some(priority) => format!("{priority}: {condition}"),
                None => condition,
            }
        }
    }
}

fn named(group: &TargetGroupStatus) -> String {
    match group.port {
        Some(port) => format!("{} :{port}", group.name),
        None => group.name.clone(),
    }
}

fn add_targets(table: &mut Table, indent: &str, group: &TargetGroupStatus, now: SystemTime) {
    if group.targets.is_empty() {
        table.heading(format!("{indent}└─ {}", paint(BAD, "no targets")));
    }
    for (index, target) in group.targets.iter().enumerate() {
        let (branch, _) = branch(index, group.targets.len());
        let name = target.name.clone().unwrap_or_default();
        let version = target.version.map(|version| format!("v{version}"));
        let target = &target.health;
        let since = target.since.map(|since| format!("for {}", age(since, now)));
        let style = match target.state {
            TargetState::Healthy => GOOD,
            TargetState::Unhealthy => BAD,
            TargetState::Initial | TargetState::Draining | TargetState::Unused => CHANGED,
        };
        let reason = target
            .reason
            .map_or(String::new(), |reason| reason.to_string());
        let seen = target.description.as_deref().map(tame).unwrap_or_default();
        table.row(
            format!("{indent}{branch}"),
            [
                (STRONG, name),
                (Style::new(), target.id.clone()),
                (DIM, or_dash(target.zone.as_ref())),
                (Style::new(), or_dash(target.address)),
                (DIM, version.unwrap_or_default()),
                (style, target.state.to_string()),
                (DIM, since.unwrap_or_default()),
                (CHANGED, reason),
                (DIM, seen),
            ],
        );
    }
}

/// A line for the group, and its instances in any state except running.
fn add_group(table: &mut Table, group: &GroupStatus, now: SystemTime) {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in &group.instances {
        *states.entry(word(&instance.state).0).or_default() += 1;
    }
    let states: Vec<String> = states
        .into_iter()
        .map(|(state, number)| format!("{number} {state}"))
        .collect();
    let states = if states.is_empty() {
        "no instances".to_owned()
    } else {
        states.join(", ")
    };
    let capacity = &group.capacity;
    let desired_in_file = match group.desired_in_file == capacity.desired {
        true => String::new(),
        false => format!(" ({} in the file)", group.desired_in_file),
    };
    table.heading(format!(
        "autoscaling group {}  {states}  {}",
        group.name,
        paint(
            DIM,
            format_args!(
                "desired {}{desired_in_file}, min {}, max {}",
                capacity.desired, capacity.min, capacity.max
            )
        )
    ));
    if let Some(scaling) = &group.last_scaling {
        let when = scaling
            .at
            .map(|at| format!(" {} ago", age(at, now)))
            .unwrap_or_default();
        table.heading(paint(
            DIM,
            format_args!("  last scaled{when}: {}", tame(&scaling.why)),
        ));
    }
    for instance in &group.instances {
        if instance.state == InstanceState::Running {
            continue;
        }
        let (state, style) = word(&instance.state);
        let why = match &instance.state {
            InstanceState::Failed(why) => tame(why),
            _ => String::new(),
        };
        let ended = instance
            .ended
            .map(|ended| format!("{} ago", age(ended, now)));
        table.row(
            "  ",
            [
                (Style::new(), instance.id.to_string()),
                (DIM, instance.zone.to_string()),
                (Style::new(), instance.private_address.to_string()),
                (DIM, format!("v{}", instance.template_version)),
                (style, state.to_owned()),
                (DIM, ended.unwrap_or_default()),
                (DIM, why),
            ],
        );
    }
}

/// The time since an event, with sensible precision: `5 s`, `3 min`, `2 h`, `4 d`.
fn age(then: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A single instance: its address, its state, and its last lines if it does not stay up.
fn add_single(table: &mut Table, instance: &SingleStatus) {
    let standing = &instance.standing;
    let url = standing.url.as_deref().unwrap_or("no address yet");
    table.heading(format!(
        "instance {} :{}  {}",
        instance.name,
        instance.port,
        paint(STRONG, url)
    ));
    if let Some(numeric) = standing.url.as_deref().and_then(without_name) {
        table.heading(format!("   also {numeric}"));
    }
    let (style, why) = match &standing.state {
        SingleInstanceState::Up => (GOOD, String::new()),
        SingleInstanceState::Failing { how, times } => {
            (BAD, format!("{how}, {times} times in a row"))
        }
        SingleInstanceState::Ended { how } => (BAD, how.clone()),
        _ => (CHANGED, String::new()),
    };
    table.row(
        "  ",
        [
            (Style::new(), instance.id.to_string()),
            (DIM, or_dash(standing.zone.as_ref())),
            (DIM, or_dash(standing.private_address)),
            (Style::new(), or_dash(standing.public_address)),
            (style, standing.state.word().to_owned()),
            (DIM, tame(&why)),
        ],
    );
    for line in &instance.output {
        table.heading(format!(
            "  {}",
            paint(DIM, format_args!("| {}", tame(line)))
        ));
    }
}

fn word(state: &InstanceState) -> (&'static str, Style) {
    match state {
        InstanceState::Pending => ("pending", CHANGED),
        InstanceState::Running => ("running", GOOD),
        InstanceState::Terminating => ("terminating", CHANGED),
        InstanceState::Failed(_) => ("failed", BAD),
    }
}

/// The prefix of a branch of the tree, and of the lines below it.
fn branch(index: usize, of: usize) -> (&'static str, &'static str) {
    if index + 1 == of {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use landfall_compute::{GroupCapacity, GroupInstance, Scaling};
    use landfall_lb::{HealthReason, TargetHealth};
    use landfall_pipeline::{BalancerStatus, TargetStatus, Unusable};
    use landfall_provider::{Port, StackName, Zone};

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn ago(seconds: u64) -> Option<SystemTime> {
        NOW.checked_sub(Duration::from_secs(seconds))
    }

    fn target(id: &str, zone: &str, state: TargetState) -> TargetStatus {
        let health = TargetHealth {
            id: id.into(),
            address: "10.0.0.4:8000".parse().ok(),
            zone: Zone::new(zone).ok(),
            state,
            reason: (state == TargetState::Unhealthy).then_some(HealthReason::Timeout),
            description: (state == TargetState::Unhealthy).then(|| "no answer within 5 s".into()),
            since: ago(if state == TargetState::Healthy {
                185
            } else {
                12
            }),
        };
        TargetStatus {
            health,
            version: Some(2),
            name: Some("web/1".into()),
        }
    }

    fn status(targets: Vec<TargetStatus>) -> Status {
        let group = TargetGroupStatus {
            name: "web".into(),
            port: Some(Port::new(8000).unwrap()),
            targets,
        };
        Status {
            stack: StackName::new("digipay").unwrap(),
            resources: 36,
            balancers: vec![BalancerStatus {
                name: "main".parse().unwrap(),
                dns_name: Some("digipay.localhost".into()),
            }],
            listeners: vec![ListenerStatus {
                name: "http".parse().unwrap(),
                port: Port::new(80).unwrap(),
                url: Some("http://digipay.localhost:20747/".into()),
                rules: vec![
                    RuleStatus {
                        priority: Some(10),
                        condition: Some(Condition::Path("/api/*".into())),
                        action: RuleAction::Forward(group.clone()),
                    },
                    RuleStatus {
                        priority: None,
                        condition: None,
                        action: RuleAction::Forward(group),
                    },
                ],
            }],
            groups: Vec::new(),
            instances: Vec::new(),
            unusable: Vec::new(),
        }
    }

    fn plain(status: &Status) -> String {
        anstream::adapter::strip_str(&render(status, NOW)).to_string()
    }

    #[test]
    fn the_way_of_a_request_with_health_and_reasons() {
        let shown = plain(&status(vec![
            target("i-01", "local-1a", TargetState::Healthy),
            target("i-0234", "local-1b", TargetState::Unhealthy),
        ]));
        insta::assert_snapshot!(shown, @r"
        digipay  not healthy  36 resources
        load balancer main  digipay.localhost
        listener http :80  http://digipay.localhost:20747/
           also http://127.0.0.1:20747/
        ├─ 10: path /api/* → target group web :8000
        │  ├─ web/1  i-01    local-1a  10.0.0.4:8000  v2  healthy    for 3 min
        │  └─ web/1  i-0234  local-1b  10.0.0.4:8000  v2  unhealthy  for 12 s   Target.Timeout  no answer within 5 s
        └─ default → target group web :8000
           ├─ web/1  i-01    local-1a  10.0.0.4:8000  v2  healthy    for 3 min
           └─ web/1  i-0234  local-1b  10.0.0.4:8000  v2  unhealthy  for 12 s   Target.Timeout  no answer within 5 s
        ");
    }

    #[test]
    fn what_is_long_ago_is_told_less_exactly() {
        for (seconds, reported) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (7_200, "2 h"),
            (86_400 * 3 + 5, "3 d"),
        ] {
            assert_eq!(age(ago(seconds).unwrap(), NOW), reported);
        }
        // The clock was set back.
        assert_eq!(age(NOW + Duration::from_secs(5), NOW), "0 s");
    }

    #[test]
    fn what_is_missing_failed_or_not_usable_is_named() {
        let mut status = status(Vec::new());
        status.listeners[0].rules.remove(0);
        status.groups.push(GroupStatus {
            name: "web".parse().unwrap(),
            capacity: GroupCapacity {
                min: 1,
                desired: 3,
                max: 4,
            },
            desired_in_file: 2,
            last_scaling: Some(Scaling {
                at: ago(40),
                why: "from 2 to 3: asked for".into(),
            }),
            instances: [
                InstanceState::Running,
                InstanceState::Failed("exited with code 1".into()),
            ]
            .into_iter()
            .enumerate()
            .map(|(index, state)| GroupInstance {
                id: format!("i-0{index}").into(),
                zone: Zone::new("local-1a").unwrap(),
                private_address: "10.0.0.4".parse().unwrap(),
                ended: match &state {
                    InstanceState::Failed(_) => ago(1_260),
                    _ => None,
                },
                state,
                template_version: 1,
            })
            .collect(),
        });
        status.unusable.push(Unusable {
            key: "nat-gateway/a".parse().unwrap(),
            failed: false,
            why: "pending".into(),
        });
        insta::assert_snapshot!(plain(&status), @r"
        digipay  not healthy  36 resources
        load balancer main  digipay.localhost
        listener http :80  http://digipay.localhost:20747/
           also http://127.0.0.1:20747/
        └─ default → target group web :8000
           └─ no targets
        autoscaling group web  1 failed, 1 running  desired 3 (2 in the file), min 1, max 4
          last scaled 40 s ago: from 2 to 3: asked for
          i-01           local-1a  10.0.0.4  v1  failed  21 min ago  exited with code 1
        not usable
          nat-gateway/a  pending
        ");
    }
}
