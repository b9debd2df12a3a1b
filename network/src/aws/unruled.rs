//! The mark of a security group with an empty set of rules: a set is found by the tags of its
//! rules, and an empty set has none.

use aws_sdk_ec2::types::{SecurityGroup, Tag};
use landfall_aws::{Aws, Owner, during};
use landfall_provider::{ResourceName, Result};

use super::security_group::described;
use super::{ec2, filter, tag};

/// The tag of the group; its value is the name of the set.
const MARK: &str = "landfall:no-rules";

/// The name of a group's empty set, if it has one.
pub(super) fn mark(group: &SecurityGroup) -> Option<ResourceName> {
    let mark = group.tags().iter().find(|tag| tag.key() == Some(MARK));
    mark.and_then(Tag::value)?.parse().ok()
}

/// The owner of this group's empty set, if it has one.
pub(super) async fn owner(aws: &Aws, group: &str) -> Result<Option<Owner>> {
    let groups = described(aws, filter("group-id", [group])).await?;
    Ok(groups.first().and_then(|group| {
        let tags = group.tags().iter();
        let owner = Owner::of(tags.filter_map(|tag| Some((tag.key()?, tag.value()?))))?;
        let name = mark(group)?;
        Some(Owner { name, ..owner })
    }))
}

/// Marks a group.
pub(super) async fn put(aws: &Aws, group: &str, name: &ResourceName) -> Result<()> {
    ec2(aws)
        .create_tags()
        .resources(group)
        .tags(tag(MARK, name.as_str()))
        .send()
        .await
        .map_err(during("ec2:CreateTags"))?;
    Ok(())
}

/// Removes the mark.
pub(super) async fn take(aws: &Aws, group: &str) -> Result<()> {
    ec2(aws)
        .delete_tags()
        .resources(group)
        .tags(Tag::builder().key(MARK).build())
        .send()
        .await
        .map_err(during("ec2:DeleteTags"))?;
    Ok(())
}
