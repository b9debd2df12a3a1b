//! The AWS implementation of a network: one file per kind, with the operations in the order of
//! [`Provider`](landfall_provider::Provider).
//!
//! Every resource gets its stack and its name as tags in the call that creates it, and is found by
//! them. The SDK does not retry a call whose answer was lost: the engine repeats the operation, and
//! `create` then looks before it creates another resource.

mod check;
mod elastic_ip;
mod gateway_endpoint;
mod interfaces;
mod internet_gateway;
mod nat_gateway;
mod network_acl;
mod quota;
mod route_table;
mod security_group;
mod security_group_rules;
mod subnet;
mod traffic;
mod unruled;
mod vpc;
mod zones;

pub use check::check;
pub use quota::quotas;
pub use zones::{zones_in_use, zones_offering};

use async_trait::async_trait;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use ipnet::Ipv4Net;
use landfall_aws::ec2::{client as ec2, filter, has_none, of_stack};
use landfall_aws::{Aws, OWNER_NAME, Owner, if_there, lacks, unless, until_visible};
use landfall_provider::{
    Change, Error, ErrorKind, Key, Left, Live, Probe, Resource, ResourceId, ResourceName, Result,
    StackName,
};

/// Selects resources of a kind.
enum ResourceFilter {
    /// The resources that match all of these filters.
    Passing(Vec<Filter>),
    /// The resource with this id.
    Only(String),
}

impl ResourceFilter {
    fn filters(&self) -> Option<Vec<Filter>> {
        match self {
            Self::Passing(filters) => Some(filters.clone()),
            Self::Only(_) => None,
        }
    }

    fn ids(&self) -> Option<Vec<String>> {
        match self {
            Self::Passing(_) => None,
            Self::Only(id) => Some(vec![id.clone()]),
        }
    }
}

/// A kind that one `Describe` call lists.
#[async_trait]
trait Described: Resource {
    /// The prefix of its ids.
    const IDS: &'static str;

    /// Matching resources of any stack, all pages. Fails with `NotFound` when no resource has a
    /// given id.
    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>>;
}

/// The resources of a kind in a stack.
async fn list<R: Described>(aws: &Aws, stack: &StackName) -> Result<Vec<Live<R>>> {
    let found = match has_none(aws, stack, R::IDS).await? {
        true => Vec::new(),
        false => R::find(aws, ResourceFilter::Passing(vec![of_stack(stack)])).await?,
    };
    aws.listed(stack, R::KIND, found.iter().map(|live| live.name.clone()));
    Ok(found)
}

/// The resources of a stack under a key; makes no call if a listing has shown that there are none.
async fn under<R: Described>(aws: &Aws, stack: &StackName, key: &Key) -> Result<Vec<Live<R>>> {
    if !aws.may_hold(stack, key) {
        return Ok(Vec::new());
    }
    R::find(
        aws,
        ResourceFilter::Passing(vec![of_stack(stack), of_name(&key.name)]),
    )
    .await
}

/// The complete or partial result of an earlier attempt to create this. A resource with a different
/// value in a field that cannot be updated is a predecessor, and is left alone.
async fn earlier<R: Described>(
    aws: &Aws,
    stack: &StackName,
    key: &Key,
    desired: &R,
) -> Result<Option<Live<R>>> {
    let found = under::<R>(aws, stack, key).await?;
    let earlier = found.into_iter().find(|live| {
        !matches!(live.state, Probe::Absent | Probe::Ending(_))
            && !matches!(R::change(&live.spec, desired), Change::Replace(_))
    });
    begun(aws, stack, key, earlier).await
}

/// A resource found by its tags, or the resource that this session has started to create under that
/// key: AWS may not find it by its tags yet, and a second one would be a duplicate.
async fn begun<R: Described>(
    aws: &Aws,
    stack: &StackName,
    key: &Key,
    found: Option<Live<R>>,
) -> Result<Option<Live<R>>> {
    let Some(id) = aws.take_begun(stack, key).filter(|_| found.is_none()) else {
        return Ok(found);
    };
    let live = by_id::<R>(aws, &R::Id::from(id.clone())).await?;
    if live.is_none() {
        aws.begun(stack, key, &id);
        let why = format_args!("{id} was created and is not visible yet");
        return Err(Error::new(ErrorKind::Unavailable, why));
    }
    Ok(live)
}

/// The resource with this id, if it exists.
async fn by_id<R: Described>(aws: &Aws, id: &R::Id) -> Result<Option<Live<R>>> {
    let found = if_there(R::find(aws, ResourceFilter::Only(id.to_string())).await)?;
    Ok(found.unwrap_or_default().into_iter().next())
}

/// Its state: from the previous call's answer, or from a new call.
async fn probe<R: Described>(aws: &Aws, id: &R::Id) -> Result<Probe<R::Output>> {
    match aws.first_look::<R>(id) {
        Some(state) => Ok(state),
        None => Ok(by_id::<R>(aws, id)
            .await?
            .map_or(Probe::Absent, |live| live.state)),
    }
}

/// The deletion of a kind that is gone as soon as AWS accepts it. An absent resource is no failure.
fn gone<R: Resource>(aws: &Aws, id: &R::Id, outcome: Result<()>) -> Result<()> {
    unless(ErrorKind::NotFound, outcome)?;
    aws.seen::<R>(id, Probe::Absent);
    Ok(())
}

/// For a failure after the create call: the resource exists, and the next attempt has to finish it.
fn half_made<I: ResourceId>(
    aws: &Aws,
    stack: &StackName,
    key: &Key,
    id: &I,
) -> impl FnOnce(Error) -> Error {
    move |error| {
        aws.begun(stack, key, id.as_ref());
        until_visible(error).left(Left::Resource(id.to_string()))
    }
}

/// Whether an update met an unexpected state: the effect of a call whose answer was lost, or of
/// somebody else's. The present state has to be read again.
fn is_outdated(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

/// For a call with an idempotency token that AWS recognises and an emulator does not: one attempt.
/// The engine makes the next one, after a look.
fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

fn of_name(name: &ResourceName) -> Filter {
    filter(&format!("tag:{OWNER_NAME}"), [name.as_str()])
}

fn tag(key: &str, value: impl Into<String>) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The tags that a resource gets from the call that creates it.
fn tags(of: ResourceType, stack: &StackName, name: &ResourceName) -> TagSpecification {
    let tags = Owner::new(stack, name).tags();
    TagSpecification::builder()
        .resource_type(of)
        .set_tags(Some(
            tags.into_iter()
                .map(|(key, value)| tag(key, value))
                .collect(),
        ))
        .build()
}

/// The name of a resource in its stack; `None` for a resource without a stack.
fn name_in(tags: &[Tag]) -> Option<ResourceName> {
    let pairs = tags
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value()?)));
    Owner::of(pairs).map(|owner| owner.name)
}

/// A field that an answer must have by AWS's documentation.
fn given<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| lacks("ec2", what))
}

/// A part of a listed resource. One that AWS does not tell, or tells in a way that Landfall does not understand, keeps
/// nobody from listing and deleting the rest: the resource is shown as failed, and why.
fn shown<T, O>(value: Option<T>, what: &str, otherwise: T, state: &mut Probe<O>) -> T {
    value.unwrap_or_else(|| {
        if !matches!(state, Probe::Absent | Probe::Ending(_)) {
            *state = Probe::Failed(format!("AWS shows it without {what}"));
        }
        otherwise
    })
}

/// What stands in the place of an id that AWS does not tell.
const UNKNOWN: &str = "unknown";

fn cidr<O>(text: Option<&str>, state: &mut Probe<O>) -> Ipv4Net {
    let cidr = text.and_then(|text| text.parse().ok());
    shown(cidr, "an IPv4 block", Ipv4Net::default(), state)
}
