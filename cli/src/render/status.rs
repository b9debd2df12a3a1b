//! The resource map: which way a request takes, from the listener to the targets, and how healthy each one is.

use std::collections::BTreeMap;

use anstyle::Style;
use landfall_compute::InstanceState;
use landfall_lb::{Condition, TargetState};
use landfall_pipeline::{
    GroupStatus, ListenerStatus, RuleAction, RuleStatus, Status, TargetGroupStatus,
};

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, count, or_dash, paint, tame};

/// The stack as a tree, with a line for each thing that is not as it should be.
pub(crate) fn render(status: &Status) -> String {
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
        add_listener(&mut table, listener);
    }
    for group in &status.groups {
        add_group(&mut table, group);
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

fn add_listener(table: &mut Table, listener: &ListenerStatus) {
    let url = listener.url.as_deref().unwrap_or("no address yet");
    table.heading(format!(
        "listener {} :{}  {}",
        listener.name,
        listener.port,
        paint(STRONG, url)
    ));
    for (index, rule) in listener.rules.iter().enumerate() {
        let (branch, below) = branch(index, listener.rules.len());
        let requests = condition(rule);
        match &rule.action {
            RuleAction::Forward(group) => {
                table.heading(format!(
                    "{branch}{requests} → target group {}",
                    named(group)
                ));
                add_targets(table, below, group);
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

fn add_targets(table: &mut Table, indent: &str, group: &TargetGroupStatus) {
    if group.targets.is_empty() {
        table.heading(format!("{indent}└─ {}", paint(BAD, "no targets")));
    }
    for (index, target) in group.targets.iter().enumerate() {
        let (branch, _) = branch(index, group.targets.len());
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
                (Style::new(), target.id.clone()),
                (DIM, or_dash(target.zone.as_ref())),
                (Style::new(), or_dash(target.address)),
                (style, target.state.to_string()),
                (CHANGED, reason),
                (DIM, seen),
            ],
        );
    }
}

/// The group in a line, and its instances that do not simply run.
fn add_group(table: &mut Table, group: &GroupStatus) {
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
    table.heading(format!(
        "autoscaling group {}  {states}  {}",
        group.name,
        paint(
            DIM,
            format_args!(
                "desired {}, min {}, max {}",
                group.desired, group.min, group.max
            )
        )
    ));
    for instance in &group.instances {
        if instance.state == InstanceState::Running {
            continue;
        }
        let (state, style) = word(&instance.state);
        let why = match &instance.state {
            InstanceState::Failed(why) => tame(why),
            _ => String::new(),
        };
        table.row(
            "  ",
            [
                (Style::new(), instance.id.to_string()),
                (DIM, instance.zone.to_string()),
                (Style::new(), instance.private_address.to_string()),
                (style, state.to_owned()),
                (DIM, why),
            ],
        );
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

/// How a branch of the tree begins, and what stands below it.
fn branch(index: usize, of: usize) -> (&'static str, &'static str) {
    if index + 1 == of {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

#[cfg(test)]
mod tests {
    use landfall_compute::GroupInstance;
    use landfall_lb::{HealthReason, TargetHealth};
    use landfall_pipeline::{BalancerStatus, Unusable};
    use landfall_provider::{Port, StackName, Zone};

    use super::*;

    fn target(id: &str, zone: &str, state: TargetState) -> TargetHealth {
        TargetHealth {
            id: id.into(),
            address: "10.0.0.4:8000".parse().ok(),
            zone: Zone::new(zone).ok(),
            state,
            reason: (state == TargetState::Unhealthy).then_some(HealthReason::Timeout),
            description: (state == TargetState::Unhealthy).then(|| "no answer within 5 s".into()),
        }
    }

    fn status(targets: Vec<TargetHealth>) -> Status {
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
            unusable: Vec::new(),
        }
    }

    fn plain(status: &Status) -> String {
        anstream::adapter::strip_str(&render(status)).to_string()
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
        ├─ 10: path /api/* → target group web :8000
        │  ├─ i-01    local-1a  10.0.0.4:8000  healthy
        │  └─ i-0234  local-1b  10.0.0.4:8000  unhealthy  Target.Timeout  no answer within 5 s
        └─ default → target group web :8000
           ├─ i-01    local-1a  10.0.0.4:8000  healthy
           └─ i-0234  local-1b  10.0.0.4:8000  unhealthy  Target.Timeout  no answer within 5 s
        ");
    }

    #[test]
    fn what_is_missing_failed_or_not_usable_is_named() {
        let mut status = status(Vec::new());
        status.listeners[0].rules.remove(0);
        status.groups.push(GroupStatus {
            name: "web".parse().unwrap(),
            min: 1,
            desired: 2,
            max: 4,
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
        └─ default → target group web :8000
           └─ no targets
        autoscaling group web  1 failed, 1 running  desired 2, min 1, max 4
          i-01           local-1a  10.0.0.4  failed  exited with code 1
        not usable
          nat-gateway/a  pending
        ");
    }
}
