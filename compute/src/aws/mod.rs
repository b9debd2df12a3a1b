//! The AWS implementation of instances: one file per kind, the same operations in the same order.

mod autoscaling_group;
mod capacity;
mod check;
mod image;
mod instance;
mod instance_profile;
mod key_pair;
mod launch_template;
mod policy;
mod provider;
mod refresh;
mod releases;
mod scaling_policy;
mod single;
mod way_out;

pub use check::{Capacity, check};

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use aws_sdk_ec2::types::{Filter, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use landfall_aws::ec2::{filter, of_stack};
use landfall_aws::{Aws, OWNER_NAME, Owner};
use landfall_provider::{Error, ErrorKind, ImageId, Input, Port, Resource, Result};

use crate::{Limits, Workload, boot};

/// A spec as text, the input of tokens and names.
fn as_text<R: Resource>(spec: &R) -> Result<String> {
    serde_json::to_string(spec).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a spec does not go into JSON").caused_by(error)
    })
}

/// This crate's own clients: another crate may configure the same service differently.
#[derive(Clone)]
struct Clients {
    ec2: aws_sdk_ec2::Client,
    autoscaling: aws_sdk_autoscaling::Client,
}

fn clients(aws: &Aws) -> Clients {
    aws.client(|config| Clients {
        ec2: aws_sdk_ec2::Client::new(config),
        autoscaling: aws_sdk_autoscaling::Client::new(config),
    })
}

fn ec2(aws: &Aws) -> aws_sdk_ec2::Client {
    clients(aws).ec2
}

fn autoscaling(aws: &Aws) -> aws_sdk_autoscaling::Client {
    clients(aws).autoscaling
}

/// User data that starts the workload, in EC2's form.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>
fn user_data(aws: &Aws, workload: &Workload) -> Result<String> {
    Ok(STANDARD.encode(boot::user_data(aws.region(), workload)?))
}

/// The workload of user data. User data from elsewhere differs from every desired workload.
fn workload_of(user_data: Option<&str>) -> Workload {
    let script = user_data.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    script
        .and_then(|script| boot::read(&script))
        .unwrap_or_else(|| Workload {
            image: Input::Known(ImageId::from("unknown")),
            port: Port::from_non_zero(NonZeroU16::MIN),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            logs: None,
            limits: Limits::default(),
            init: false,
        })
}

/// The filter for this owner's resources in EC2's listings.
fn of_owner(owner: &Owner) -> [Filter; 2] {
    let name = filter(&format!("tag:{OWNER_NAME}"), [owner.name.as_str()]);
    [of_stack(&owner.stack), name]
}

/// An owner's tags in EC2's form.
fn ec2_tags(owner: &Owner) -> Vec<Tag> {
    let tag = |(key, value): (&str, String)| Tag::builder().key(key).value(value).build();
    owner.tags().into_iter().map(tag).collect()
}

/// The owner in these tags.
fn owner_of(tags: &[Tag]) -> Option<Owner> {
    Owner::of(
        tags.iter()
            .filter_map(|tag| Some((tag.key()?, tag.value()?))),
    )
}

/// The value of a tag.
fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter()
        .find(|tag| tag.key() == Some(key))
        .and_then(Tag::value)
}

/// Converts a count from AWS's signed numbers.
fn count(number: Option<i32>) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_default()
}

/// Converts a count to AWS's type.
fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
