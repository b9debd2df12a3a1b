//! A VPC on AWS, with DNS host names and a default security group that allows nothing.

use async_trait::async_trait;
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Tag, Vpc as Found, VpcState};
use landfall_aws::ec2::{vpcs, vpcs_changed};
use landfall_aws::{Aws, during, until_visible};
use landfall_provider::{
    Error, ErrorKind, Key, Live, Probe, Provider, Resource as _, Result, StackName, VpcId,
};

use super::{
    Described, ResourceFilter, cidr, earlier, ec2, filter, given, gone, half_made, interfaces,
    name_in, probe, tag, tags,
};
use crate::Vpc;

/// Set from the creation until all settings are applied: nothing refers to a VPC with this tag.
const UNFINISHED: &str = "landfall:unfinished";

/// This session has made the settings of a VPC. AWS may show the [mark](UNFINISHED) for a while after it was removed.
struct Finished;

fn is_finished(aws: &Aws, id: &str) -> bool {
    let finished = aws.take_note::<Finished>(id).is_some();
    if finished {
        aws.note(id, Finished);
    }
    finished
}

#[async_trait]
impl Described for Vpc {
    const IDS: &'static str = "vpc-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let vpcs: Vec<_> = ec2(aws)
            .describe_vpcs()
            .set_filters(which.filters())
            .set_vpc_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeVpcs"))?;
        live(aws, &vpcs)
    }
}

fn live(aws: &Aws, vpcs: &[Found]) -> Result<Vec<Live<Vpc>>> {
    let mut live = Vec::new();
    for vpc in vpcs {
        let Some(name) = name_in(vpc.tags()) else {
            continue;
        };
        let id = given(vpc.vpc_id.clone(), "a VPC's id")?;
        let is_marked = vpc.tags().iter().any(|tag| tag.key() == Some(UNFINISHED));
        let unfinished = is_marked && !is_finished(aws, &id);
        let mut state = match vpc.state() {
            Some(VpcState::Pending) => Probe::Pending("pending".to_owned()),
            _ if unfinished => {
                Probe::Failed("it was interrupted before its settings were made".to_owned())
            }
            _ => Probe::Usable(()),
        };
        live.push(Live {
            id: VpcId::from(id),
            name,
            spec: Vpc {
                cidr: cidr(vpc.cidr_block(), &mut state),
            },
            state,
        });
    }
    Ok(live)
}

#[async_trait]
impl Provider<Vpc> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Vpc>>> {
        let found = live(self, &vpcs(self, stack).await?)?;
        self.listed(stack, Vpc::KIND, found.iter().map(|live| live.name.clone()));
        Ok(found)
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &Vpc) -> Result<VpcId> {
        let id = match earlier(self, stack, key, desired).await? {
            Some(live) if matches!(live.state, Probe::Failed(_)) => live.id,
            Some(live) => return Ok(live.id),
            None => make(self, stack, key, desired).await?,
        };
        let finished = finish(self, &id).await;
        vpcs_changed(self);
        finished.map_err(half_made(self, stack, key, &id))?;
        self.note(id.as_ref(), Finished);
        Ok(id)
    }

    async fn update(&self, _: &Live<Vpc>, _: &Vpc) -> Result<()> {
        // Its only field forces a replacement.
        Ok(())
    }

    async fn probe(&self, id: &VpcId) -> Result<Probe<()>> {
        probe::<Vpc>(self, id).await
    }

    async fn delete(&self, live: &Live<Vpc>) -> Result<()> {
        let outcome = ec2(self)
            .delete_vpc()
            .vpc_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteVpc"));
        vpcs_changed(self);
        let outcome = outcome.map(|_| ());
        let outcome = interfaces::explain(self, "vpc-id", live.id.as_ref(), outcome).await;
        gone::<Vpc>(self, &live.id, outcome)
    }
}

async fn make(aws: &Aws, stack: &StackName, key: &Key, desired: &Vpc) -> Result<VpcId> {
    let mut tags = tags(ResourceType::Vpc, stack, &key.name);
    tags.tags
        .get_or_insert_default()
        .push(tag(UNFINISHED, "true"));
    let made = ec2(aws)
        .create_vpc()
        .cidr_block(desired.cidr.to_string())
        .tag_specifications(tags)
        .send()
        .await
        .map_err(during("ec2:CreateVpc"))
        .map_err(until_visible);
    vpcs_changed(aws);
    let made = made?;
    let id = made.vpc.and_then(|vpc| vpc.vpc_id);
    Ok(given(id, "the new VPC's id")?.into())
}

async fn finish(aws: &Aws, id: &VpcId) -> Result<()> {
    name_hosts(aws, id).await?;
    close_default_group(aws, id).await?;
    ec2(aws)
        .delete_tags()
        .resources(id.as_ref())
        .tags(Tag::builder().key(UNFINISHED).build())
        .send()
        .await
        .map_err(during("ec2:DeleteTags"))?;
    Ok(())
}

/// DNS resolution is on by default, host names are not.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html>
async fn name_hosts(aws: &Aws, id: &VpcId) -> Result<()> {
    let on = AttributeBooleanValue::builder().value(true).build();
    ec2(aws)
        .modify_vpc_attribute()
        .vpc_id(id.as_ref())
        .enable_dns_hostnames(on)
        .send()
        .await
        .map_err(during("ec2:ModifyVpcAttribute"))?;
    Ok(())
}

/// An instance without a security group gets the VPC's default group, which lets its members reach
/// each other and the internet. AWS does not allow its deletion.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html>
async fn close_default_group(aws: &Aws, id: &VpcId) -> Result<()> {
    let groups = ec2(aws)
        .describe_security_groups()
        .filters(filter("vpc-id", [id.as_ref()]))
        .filters(filter("group-name", ["default"]))
        .send()
        .await
        .map_err(during("ec2:DescribeSecurityGroups"))?;
    if groups.security_groups().is_empty() {
        // Every VPC has one. If it stays open now, it stays open for ever: no later step checks it.
        return Err(Error::new(
            ErrorKind::Unavailable,
            format_args!("the default security group of {id} is not visible to AWS yet"),
        ));
    }
    for group in groups.security_groups() {
        let ingress = group.ip_permissions();
        if !ingress.is_empty() {
            ec2(aws)
                .revoke_security_group_ingress()
                .set_group_id(group.group_id.clone())
                .set_ip_permissions(Some(ingress.to_vec()))
                .send()
                .await
                .map_err(during("ec2:RevokeSecurityGroupIngress"))?;
        }
        let egress = group.ip_permissions_egress();
        if !egress.is_empty() {
            ec2(aws)
                .revoke_security_group_egress()
                .set_group_id(group.group_id.clone())
                .set_ip_permissions(Some(egress.to_vec()))
                .send()
                .await
                .map_err(during("ec2:RevokeSecurityGroupEgress"))?;
        }
    }
    Ok(())
}
