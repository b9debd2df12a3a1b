//! Detects addresses that can log in now, and cannot after a plan.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_network::{Direction, Peer, SecurityGroupRules};
use landfall_provider::{Action, Key, Plan, Resource as _};
use serde::Deserialize as _;
use serde_json::Value;

/// The name of the bastion and of its rules.
const BASTION: &str = "bastion";

/// The addresses that may connect to the bastion, and that neither the file nor the caller names. A deleted
/// bastion locks out no address in particular.
pub(crate) fn lockouts(plan: &Plan) -> BTreeSet<Ipv4Net> {
    let (mut now, mut then) = (BTreeSet::new(), None);
    for step in plan.steps.iter().filter(|step| is_bastions(&step.key)) {
        match &step.action {
            Action::Create { desired, .. } => then = Some(sources(desired)),
            Action::Update { live, desired, .. } => {
                now.extend(sources(&live.spec));
                then = Some(sources(desired));
            }
            Action::Delete { live, .. } => now.extend(sources(&live.spec)),
            Action::Keep { .. } => {}
        }
    }
    let Some(then) = then else {
        return BTreeSet::new();
    };
    let may_still = |net: &Ipv4Net| then.iter().any(|allowed| allowed.contains(net));
    now.into_iter().filter(|net| !may_still(net)).collect()
}

fn is_bastions(key: &Key) -> bool {
    key.kind == SecurityGroupRules::KIND && key.name.as_str() == BASTION
}

/// The sources of SSH in these rules. Other rules are in the file, and the plan shows them.
fn sources(rules: &Value) -> BTreeSet<Ipv4Net> {
    let rules = SecurityGroupRules::deserialize(rules).map(|it| it.rules);
    let of_ssh = rules.unwrap_or_default().into_iter().filter(|rule| {
        rule.direction == Direction::Ingress && rule.description.starts_with("SSH from ")
    });
    of_ssh
        .filter_map(|rule| match rule.peer {
            Peer::Cidr(net) => Some(net),
            Peer::Group(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use landfall_network::{PortRange, Protocol, SecurityRule};
    use landfall_provider::{Found, Input, Probe, Reason, SecurityGroupId, Step};

    use super::*;

    fn rules(sources: &[&str]) -> Value {
        let rule = |cidr: &&str| SecurityRule {
            direction: Direction::Ingress,
            protocol: Protocol::Tcp,
            ports: PortRange { from: 22, to: 22 },
            peer: Peer::Cidr(cidr.parse().unwrap()),
            description: format!("SSH from {cidr}"),
        };
        let rules = SecurityGroupRules {
            group: Input::Known(SecurityGroupId::from("sg-1")),
            rules: sources.iter().map(rule).collect(),
        };
        serde_json::to_value(rules).unwrap()
    }

    fn reported(actions: impl IntoIterator<Item = Action>) -> Vec<String> {
        let step = |action| Step {
            key: Key::new(SecurityGroupRules::KIND, BASTION.parse().unwrap()),
            action,
            after: Vec::new(),
        };
        let plan = Plan {
            stack: "digipay".parse().unwrap(),
            steps: actions.into_iter().map(step).collect(),
        };
        lockouts(&plan).iter().map(ToString::to_string).collect()
    }

    fn live(sources: &[&str]) -> Found {
        Found {
            key: Key::new(SecurityGroupRules::KIND, BASTION.parse().unwrap()),
            id: "sg-1/rules".to_owned(),
            spec: rules(sources),
            state: Probe::Usable(Value::Null),
        }
    }

    #[test]
    fn who_is_in_no_allowed_network_any_more_is_locked_out() {
        let update = Action::Update {
            live: live(&["203.0.113.7/32", "198.51.100.1/32", "192.0.2.0/24"]),
            desired: rules(&["203.0.113.0/24", "192.0.2.9/32"]),
            fields: Vec::new(),
        };
        assert_eq!(reported([update]), ["192.0.2.0/24", "198.51.100.1/32"]);
    }

    #[test]
    fn replaced_rules_lock_out_like_changed_ones() {
        let ended = Action::Delete {
            live: live(&["203.0.113.7/32"]),
            because: Reason::NotWanted,
        };
        assert_eq!(reported([ended.clone()]), [""; 0]);
        let made = Action::Create {
            desired: rules(&[]),
            because: Some(Reason::NotWanted),
        };
        assert_eq!(reported([made, ended]), ["203.0.113.7/32"]);
    }
}
