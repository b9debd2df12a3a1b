//! A security group on AWS, without the rule that AWS adds to a new one.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, ResourceType, SecurityGroup as Found};
use landfall_aws::{Aws, Singleflight, during, input, known, short_name, until_visible};
use landfall_provider::{
    Key, Live, Probe, Provider, Resource as _, Result, SecurityGroupId, StackName,
};

use super::security_group_rules::{revoke, rules_id, rules_of};
use super::{
    Described, ResourceFilter, UNKNOWN, earlier, ec2, given, gone, half_made, has_none, interfaces,
    name_in, of_stack, probe, shown, tags,
};
use crate::{Direction, SecurityGroup, SecurityGroupRules};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html>
const LONGEST_NAME: usize = 255;

#[async_trait]
impl Described for SecurityGroup {
    const IDS: &'static str = "sg-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let groups: Vec<_> = ec2(aws)
            .describe_security_groups()
            .set_filters(which.filters())
            .set_group_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeSecurityGroups"))?;
        live(&groups)
    }
}

fn live(groups: &[Found]) -> Result<Vec<Live<SecurityGroup>>> {
    let mut live = Vec::new();
    for group in groups {
        let Some(name) = name_in(group.tags()) else {
            continue;
        };
        let mut state = Probe::Usable(());
        live.push(Live {
            id: given(group.group_id.clone(), "a security group's id")?.into(),
            name,
            spec: SecurityGroup {
                vpc: input(shown(group.vpc_id(), "its VPC", UNKNOWN, &mut state)),
                description: group.description.clone().unwrap_or_default(),
            },
            state,
        });
    }
    Ok(live)
}

/// The groups of a stack; concurrent listings of groups and rules share the answer.
pub(super) async fn of_this_stack(aws: &Aws, stack: &StackName) -> Result<Arc<Vec<Found>>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<Vec<Found>>>>::default());
    let (aws, own) = (aws.clone(), of_stack(stack));
    singleflight
        .join(stack.as_str(), move || async move {
            described(&aws, own).await.map(Arc::new)
        })
        .await
}

/// The groups that match a filter.
pub(super) async fn described(aws: &Aws, by: Filter) -> Result<Vec<Found>> {
    ec2(aws)
        .describe_security_groups()
        .filters(by)
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeSecurityGroups"))
}

#[async_trait]
impl Provider<SecurityGroup> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<SecurityGroup>>> {
        let found = match has_none(self, stack, SecurityGroup::IDS).await? {
            true => Vec::new(),
            false => live(&of_this_stack(self, stack).await?)?,
        };
        let names = found.iter().map(|live| live.name.clone());
        self.listed(stack, SecurityGroup::KIND, names);
        Ok(found)
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &SecurityGroup,
    ) -> Result<SecurityGroupId> {
        let id = match earlier(self, stack, key, desired).await? {
            Some(live) => {
                take_undescribed(self, &live.id).await?;
                live.id
            }
            None => {
                let id = make(self, stack, key, desired).await?;
                take_initial(self, &id)
                    .await
                    .map_err(half_made(self, stack, key, &id))?;
                // The step that sets its rules need not look for any.
                self.seen::<SecurityGroupRules>(&rules_id(id.as_ref()), Probe::Absent);
                id
            }
        };
        self.seen::<SecurityGroup>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, _: &Live<SecurityGroup>, _: &SecurityGroup) -> Result<()> {
        // Both fields force a replacement.
        Ok(())
    }

    async fn probe(&self, id: &SecurityGroupId) -> Result<Probe<()>> {
        probe::<SecurityGroup>(self, id).await
    }

    async fn delete(&self, live: &Live<SecurityGroup>) -> Result<()> {
        let outcome = ec2(self)
            .delete_security_group()
            .group_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteSecurityGroup"));
        let outcome = outcome.map(|_| ());
        let outcome = interfaces::explain(self, "group-id", live.id.as_ref(), outcome).await;
        gone::<SecurityGroup>(self, &live.id, outcome)
    }
}

async fn make(
    aws: &Aws,
    stack: &StackName,
    key: &Key,
    desired: &SecurityGroup,
) -> Result<SecurityGroupId> {
    // Unique in its VPC, so a successor with another description has another name.
    let mut name = short_name(LONGEST_NAME, stack, key, &desired.description);
    if name.starts_with("sg-") {
        // Reserved for ids.
        name.insert(0, '_');
    }
    let made = ec2(aws)
        .create_security_group()
        .group_name(name)
        .description(&desired.description)
        .vpc_id(known(&desired.vpc)?)
        .tag_specifications(tags(ResourceType::SecurityGroup, stack, &key.name))
        .send()
        .await
        .map_err(during("ec2:CreateSecurityGroup"))
        .map_err(until_visible)?;
    Ok(given(made.group_id, "the new security group's id")?.into())
}

/// A new group allows all outbound traffic.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>
async fn take_initial(aws: &Aws, id: &SecurityGroupId) -> Result<()> {
    let anywhere = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let outcome = ec2(aws)
        .revoke_security_group_egress()
        .group_id(id.as_ref())
        .ip_permissions(
            IpPermission::builder()
                .ip_protocol("-1")
                .ip_ranges(anywhere)
                .build(),
        )
        .send()
        .await
        .map_err(during("ec2:RevokeSecurityGroupEgress"));
    match outcome {
        // An earlier call, whose answer was lost, has removed it. For a group that is not visible
        // yet, the state is unknown.
        Err(error) if error.to_string().ends_with("(InvalidPermission.NotFound)") => {
            take_undescribed(aws, id).await
        }
        outcome => outcome.map(|_| ()),
    }
}

/// The same for a group that may already have rules of its stack: AWS's own rule is the one that
/// allows all outbound traffic and has no description.
async fn take_undescribed(aws: &Aws, id: &SecurityGroupId) -> Result<()> {
    let rules = rules_of(aws, [id.as_ref()]).await?;
    let initial = rules
        .into_iter()
        .filter(|rule| rule.is_egress() == Some(true) && rule.ip_protocol() == Some("-1"))
        .filter(|rule| rule.tags().is_empty())
        .filter(|rule| rule.description().unwrap_or_default().is_empty())
        .filter_map(|rule| rule.security_group_rule_id)
        .collect();
    revoke(aws, id.as_ref(), Direction::Egress, initial).await
}
