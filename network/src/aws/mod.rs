//! How AWS holds a network: each kind in a file of its own, the verbs in the order of
//! [`Provider`](landfall_provider::Provider).
//!
//! Every resource carries its stack and its name as tags from the call that makes it, and is found again by them. A
//! call whose answer was lost is not repeated by the SDK: the engine calls the verb again, and `create` then looks
//! before it makes another one.

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

pub use check::check;
pub use quota::quotas;

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

/// ResourceFilter resources of a kind are asked for.
enum ResourceFilter {
    /// Those that all of these let through.
    Passing(Vec<Filter>),
    /// The one with this id.
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

/// A kind that one `Describe` call shows.
#[async_trait]
trait Described: Resource {
    /// How its ids begin.
    const IDS: &'static str;

    /// Those of any stack, all pages. It fails with `NotFound` when there is none with a given id.
    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>>;
}

/// What a stack holds of a kind.
async fn list<R: Described>(aws: &Aws, stack: &StackName) -> Result<Vec<Live<R>>> {
    let found = match has_none(aws, stack, R::IDS).await? {
        true => Vec::new(),
        false => R::find(aws, ResourceFilter::Passing(vec![of_stack(stack)])).await?,
    };
    aws.listed(stack, R::KIND, found.iter().map(|live| live.name.clone()));
    Ok(found)
}

/// What a stack holds under a key; nothing is asked where a listing has shown that there is nothing.
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

/// What an earlier try to create this has made, or half made. One that differs in what cannot be changed is a
/// predecessor and stays where it is.
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

/// What was found by its tags, or else what this session has begun to make under that key: AWS may not find it by its
/// tags yet, and another one would be a double.
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
        let why = format_args!("{id} is made and not visible to AWS yet");
        return Err(Error::new(ErrorKind::Unavailable, why));
    }
    Ok(live)
}

/// The one with this id, if it is there.
async fn by_id<R: Described>(aws: &Aws, id: &R::Id) -> Result<Option<Live<R>>> {
    let found = if_there(R::find(aws, ResourceFilter::Only(id.to_string())).await)?;
    Ok(found.unwrap_or_default().into_iter().next())
}

/// How one is: by what the call before said of it, or by asking.
async fn probe<R: Described>(aws: &Aws, id: &R::Id) -> Result<Probe<R::Output>> {
    match aws.first_look::<R>(id) {
        Some(state) => Ok(state),
        None => Ok(by_id::<R>(aws, id)
            .await?
            .map_or(Probe::Absent, |live| live.state)),
    }
}

/// The end of a kind that is gone as soon as AWS says so. What is gone already is no failure.
fn gone<R: Resource>(aws: &Aws, id: &R::Id, outcome: Result<()>) -> Result<()> {
    unless(ErrorKind::NotFound, outcome)?;
    aws.seen::<R>(id, Probe::Absent);
    Ok(())
}

/// For a failure after the call that made something: it is there, and the next try is to finish it.
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

/// Whether a change met something that it did not expect: the effect of a call whose answer was lost, or somebody
/// else's. What is there has to be read again.
fn is_outdated(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

/// For a call with a token that AWS knows it by, and an emulator does not: one attempt. The next one is the engine's,
/// after a look.
fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

fn of_name(name: &ResourceName) -> Filter {
    filter(&format!("tag:{OWNER_NAME}"), [name.as_str()])
}

fn tag(key: &str, value: impl Into<String>) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The tags that a resource gets by the call that makes it.
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

/// The name that a resource carries; `None` for what is not a stack's.
fn name_in(tags: &[Tag]) -> Option<ResourceName> {
    let pairs = tags
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value()?)));
    Owner::of(pairs).map(|owner| owner.name)
}

/// What an answer has to hold by AWS's own description of it.
fn given<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| lacks("ec2", what))
}

fn cidr(text: Option<&str>) -> Result<Ipv4Net> {
    given(
        text.and_then(|text| text.parse().ok()),
        "an IPv4 block where one belongs",
    )
}
