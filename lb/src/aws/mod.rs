//! The AWS implementation of load balancers and their parts: one file per kind, the same operations
//! in the same order.

mod certificate;
mod inventory;
mod listener;
mod listener_rule;
mod load_balancer;
mod target_group;
mod target_health;

pub use certificate::check;

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::Builder;
use aws_sdk_elasticloadbalancingv2::types::{Tag, TargetGroupTuple};
use landfall_aws::{Aws, NonIdempotentRetryGuard, Owner, short_name, short_prefix};
use landfall_provider::{Key, StackName};

/// The maximum length of a name of a balancer and of a target group.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html>
const LONGEST: usize = 32;

/// The prefix that AWS reserves: no balancer's name may have it.
const RESERVED: &str = "internal-";

/// The prefix for balancers of stacks whose names have the reserved prefix.
const INSTEAD: &str = "lf-";

/// The name of a balancer: its [`short_name`], except for a stack with a [reserved](RESERVED)
/// prefix.
fn balancer_name(stack: &StackName, key: &Key, generation: &str) -> String {
    let name = short_name(LONGEST, stack, key, generation);
    if name.starts_with(RESERVED) {
        let name = short_name(LONGEST - INSTEAD.len(), stack, key, generation);
        format!("{INSTEAD}{name}")
    } else {
        name
    }
}

/// The prefix of every [`balancer_name`] of a stack.
fn balancer_prefix(stack: &StackName) -> String {
    let prefix = short_prefix(LONGEST, stack);
    if prefix.starts_with(RESERVED) {
        let prefix = short_prefix(LONGEST - INSTEAD.len(), stack);
        format!("{INSTEAD}{prefix}")
    } else {
        prefix
    }
}

/// How to turn off deletion protection, in the terms of the file.
const PROTECTED: &str = "`protect = false` in landfall.toml, then `deploy`";

fn client(aws: &Aws) -> Client {
    aws.client(|config| {
        Client::from_conf(
            Builder::from(config)
                .interceptor(NonIdempotentRetryGuard)
                .build(),
        )
    })
}

/// An owner's tags in this service's form.
fn tags(owner: &Owner) -> Vec<Tag> {
    owner
        .tags()
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// Converts an AWS number to the spec's type; AWS's are signed and never negative.
fn count(number: Option<i32>) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_default()
}

/// Converts a spec's number to AWS's type; every range here is far below the limit.
fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Converts a port from a listing.
fn port(number: Option<i32>) -> Option<landfall_provider::Port> {
    landfall_provider::Port::new(u16::try_from(number?).ok()?).ok()
}

/// A forward to one group, in the form of actions.
fn tuple(group: &str) -> TargetGroupTuple {
    TargetGroupTuple::builder().target_group_arn(group).build()
}

/// Attributes by name, in the answers for balancers and for target groups.
type Attributes = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_balancer_has_a_name_that_aws_keeps_to_itself() {
        for stack in [
            "internal",
            "internal-tools",
            "internal-tools-of-all-us",
            "internals",
            "digipay",
        ] {
            let stack: StackName = stack.parse().unwrap();
            let name = balancer_name(&stack, &"load-balancer/main".parse().unwrap(), "vpc-1");
            assert!(!name.starts_with(RESERVED), "{name}");
            assert!(name.len() <= LONGEST && !name.contains("--"), "{name}");
            let prefix = balancer_prefix(&stack);
            assert!(name.starts_with(&prefix), "{name} {prefix}");
        }
        let name = balancer_name(
            &"digipay".parse().unwrap(),
            &"load-balancer/main".parse().unwrap(),
            "vpc-1",
        );
        assert!(name.starts_with("digipay-main-"), "{name}");
    }
}
