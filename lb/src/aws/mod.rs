//! How AWS holds load balancers and what belongs to them: one file a kind, the same verbs in the same order.

mod listener;
mod listener_rule;
mod load_balancer;
mod survey;
mod target_group;
mod target_health;

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::Builder;
use aws_sdk_elasticloadbalancingv2::types::{Tag, TargetGroupTuple};
use landfall_aws::{Aws, NotTwice, Owner};

/// The longest name of a balancer and of a target group.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html>
const LONGEST: usize = 32;

/// What a deletion protection is lifted by, in the words of the file.
const PROTECTED: &str = "`protect = false` in landfall.toml, then `deploy`";

fn client(aws: &Aws) -> Client {
    aws.client(|config| Client::from_conf(Builder::from(config).interceptor(NotTwice).build()))
}

/// An owner's tags as this service takes them.
fn tags(owner: &Owner) -> Vec<Tag> {
    owner
        .tags()
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// A number of AWS's as the specs have it; AWS's are signed and never negative.
fn count(number: Option<i32>) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_default()
}

/// A number of a spec as AWS takes it; every range here is far below the limit.
fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A port as a listing gives it.
fn port(number: Option<i32>) -> Option<landfall_provider::Port> {
    landfall_provider::Port::new(u16::try_from(number?).ok()?).ok()
}

/// A forward to one group, as actions have it.
fn tuple(group: &str) -> TargetGroupTuple {
    TargetGroupTuple::builder().target_group_arn(group).build()
}

/// Attributes by name, as the answers about balancers and about target groups both give them.
type Attributes = BTreeMap<String, String>;
