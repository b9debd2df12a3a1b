//! The rules of a security group on AWS: found by their tags, changed by their ids.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, ResourceType, SecurityGroup, SecurityGroupRule as DescribedRule,
    SecurityGroupRuleRequest, SecurityGroupRuleUpdate, TagSpecification, UserIdGroupPair,
};
use landfall_aws::{Aws, during, if_there, input, known};
use landfall_provider::{
    Error, ErrorKind, Key, Live, Probe, Provider, ResourceName, Result, SecurityGroupRulesId,
    StackName,
};

use super::security_group::{described, of_this_stack};
use super::traffic::{has_ports, ports, protocol, protocol_name};
use super::{
    ec2, filter, gone, half_made, has_none, is_outdated, name_in, of_stack, tags, unruled,
};
use crate::{Direction, Peer, SecurityGroupRules, SecurityRule};

/// The id of a group's rules: a group has one set of rules.
pub(super) fn rules_id(group: &str) -> SecurityGroupRulesId {
    format!("{group}{SUFFIX}").into()
}

const SUFFIX: &str = "/rules";

fn group_of(id: &SecurityGroupRulesId) -> Result<&str> {
    id.as_ref().strip_suffix(SUFFIX).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format_args!("{id} is not the id of a security group's rules"),
        )
    })
}

async fn describe(aws: &Aws, by: Filter) -> Result<Vec<DescribedRule>> {
    ec2(aws)
        .describe_security_group_rules()
        .filters(by)
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeSecurityGroupRules"))
}

/// Every rule of these groups, whoever created it.
pub(super) async fn rules_of(
    aws: &Aws,
    groups: impl IntoIterator<Item = &str>,
) -> Result<Vec<DescribedRule>> {
    describe(aws, filter("group-id", groups)).await
}

/// The rules of these groups that a spec can express, with their descriptions.
///
/// One call lists rules with the ids that are needed to change them, another one lists them with
/// their groups.
async fn specs_of(
    aws: &Aws,
    groups: impl IntoIterator<Item = &str>,
) -> Result<BTreeMap<String, Vec<SecurityRule>>> {
    Ok(specs(&described(aws, filter("group-id", groups)).await?))
}

fn specs(groups: &[SecurityGroup]) -> BTreeMap<String, Vec<SecurityRule>> {
    let specs = groups.iter().filter_map(|group| {
        let ingress = group
            .ip_permissions()
            .iter()
            .flat_map(|one| spec(Direction::Ingress, one));
        let egress = group
            .ip_permissions_egress()
            .iter()
            .flat_map(|one| spec(Direction::Egress, one));
        let rules = ingress.chain(egress).collect();
        Some((group.group_id.clone()?, rules))
    });
    specs.collect()
}

/// A permission may contain several rules. No spec can express IPv6 and prefix lists.
fn spec(direction: Direction, permission: &IpPermission) -> Vec<SecurityRule> {
    let Some(protocol) = permission.ip_protocol().and_then(protocol) else {
        return Vec::new();
    };
    let rule = |peer, description: Option<&str>| SecurityRule {
        direction,
        protocol,
        ports: ports(protocol, permission.from_port(), permission.to_port()),
        peer,
        description: description.unwrap_or_default().to_owned(),
    };
    let by_address = permission.ip_ranges().iter().filter_map(|range| {
        let cidr = range.cidr_ip()?.parse().ok()?;
        Some(rule(Peer::Cidr(cidr), range.description()))
    });
    let by_group = permission.user_id_group_pairs().iter().filter_map(|pair| {
        let group = input(pair.group_id()?);
        Some(rule(Peer::Group(group), pair.description()))
    });
    by_address.chain(by_group).collect()
}

/// The traffic that a rule allows, without its description; `None` for a rule that no spec can
/// express.
fn reach_of(rule: &DescribedRule) -> Option<SecurityRule> {
    let protocol = protocol(rule.ip_protocol()?)?;
    let group = rule
        .referenced_group_info()
        .and_then(|group| group.group_id());
    Some(SecurityRule {
        direction: if rule.is_egress()? {
            Direction::Egress
        } else {
            Direction::Ingress
        },
        protocol,
        ports: ports(protocol, rule.from_port(), rule.to_port()),
        peer: match (group, rule.cidr_ipv4()) {
            (Some(group), _) => Peer::Group(input(group)),
            (None, Some(cidr)) => Peer::Cidr(cidr.parse().ok()?),
            (None, None) => return None,
        },
        description: String::new(),
    })
}

#[async_trait]
impl Provider<SecurityGroupRules> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<SecurityGroupRules>>> {
        if has_none(self, stack, "sgr-").await? {
            return Ok(Vec::new());
        }
        // First the groups with rules of this stack, then all rules of those groups: a rule that
        // somebody added by hand has no tags, and must be listed.
        let of_stack_itself = of_this_stack(self, stack).await?;
        let owned = describe(self, of_stack(stack)).await?;
        let mut names: BTreeMap<String, ResourceName> = BTreeMap::new();
        for rule in &owned {
            if let (Some(group), Some(name)) = (rule.group_id(), name_in(rule.tags())) {
                names.entry(group.to_owned()).or_insert(name);
            }
        }
        for group in of_stack_itself.iter() {
            if let (Some(id), Some(name)) = (group.group_id(), unruled::mark(group)) {
                names.entry(id.to_owned()).or_insert(name);
            }
        }
        // The rules may belong to a group of another owner.
        let is_own = |id: &&str| of_stack_itself.iter().any(|own| own.group_id() == Some(id));
        let others: Vec<&str> = names
            .keys()
            .map(String::as_str)
            .filter(|id| !is_own(id))
            .collect();
        for group in of_stack_itself.iter() {
            let rules = Rules {
                ingress: group.ip_permissions().to_vec(),
                egress: group.ip_permissions_egress().to_vec(),
            };
            self.note(group.group_id().unwrap_or_default(), rules);
        }
        let mut found = specs(&of_stack_itself);
        if !others.is_empty() {
            found.extend(specs_of(self, others).await?);
        }
        Ok(found
            .into_iter()
            .filter_map(|(group, rules)| {
                Some(Live {
                    id: rules_id(&group),
                    name: names.get(&group)?.clone(),
                    spec: SecurityGroupRules {
                        group: input(group),
                        rules,
                    },
                    state: Probe::Usable(()),
                })
            })
            .collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &SecurityGroupRules,
    ) -> Result<SecurityGroupRulesId> {
        let group = known(&desired.group)?;
        let id = rules_id(group);
        let owner = tags(ResourceType::SecurityGroupRule, stack, &key.name);
        let current = match self.first_look::<SecurityGroupRules>(&id) {
            Some(Probe::Absent) => Vec::new(),
            _ => spec_of(self, group).await?,
        };
        let made = async {
            reconcile(self, group, &current, desired, &owner).await?;
            match desired.rules.is_empty() {
                true => unruled::put(self, group, &key.name).await,
                false => Ok(()),
            }
        };
        made.await.map_err(half_made(self, stack, key, &id))?;
        self.seen::<SecurityGroupRules>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(
        &self,
        live: &Live<SecurityGroupRules>,
        desired: &SecurityGroupRules,
    ) -> Result<()> {
        let group = known(&desired.group)?;
        let owner = owner_of(self, group).await?;
        if desired.rules.is_empty() {
            // First: without the mark and without rules, the set could not be found.
            unruled::put(self, group, &live.name).await?;
        }
        reconcile(self, group, &live.spec.rules, desired, &owner).await?;
        if live.spec.rules.is_empty() && !desired.rules.is_empty() {
            unruled::take(self, group).await?;
        }
        self.seen::<SecurityGroupRules>(&live.id, Probe::Usable(()));
        Ok(())
    }

    async fn probe(&self, id: &SecurityGroupRulesId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<SecurityGroupRules>(id) {
            return Ok(state);
        }
        let group = group_of(id)?;
        let rules = if_there(rules_of(self, [group]).await)?;
        let is_there = match rules {
            None => false,
            Some(rules) => !rules.is_empty() || unruled::owner(self, group).await?.is_some(),
        };
        Ok(match is_there {
            true => Probe::Usable(()),
            false => Probe::Absent,
        })
    }

    async fn delete(&self, live: &Live<SecurityGroupRules>) -> Result<()> {
        let group = group_of(&live.id)?;
        let outcome = async {
            remove_all(self, group).await?;
            match live.spec.rules.is_empty() {
                true => unruled::take(self, group).await,
                false => Ok(()),
            }
        };
        let outcome = outcome.await;
        gone::<SecurityGroupRules>(self, &live.id, outcome)
    }
}

async fn spec_of(aws: &Aws, group: &str) -> Result<Vec<SecurityRule>> {
    let mut found = specs_of(aws, [group]).await?;
    Ok(found.remove(group).unwrap_or_default())
}

/// The tags of a group's rules, or of the mark of an empty set: new rules get the same.
async fn owner_of(aws: &Aws, group: &str) -> Result<TagSpecification> {
    let rules = rules_of(aws, [group]).await?;
    let tagged = rules
        .into_iter()
        .find(|rule| name_in(rule.tags()).is_some());
    if tagged.is_none()
        && let Some(owner) = unruled::owner(aws, group).await?
    {
        let kind = ResourceType::SecurityGroupRule;
        return Ok(tags(kind, &owner.stack, &owner.name));
    }
    Ok(TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroupRule)
        .set_tags(tagged.and_then(|rule| rule.tags))
        .build())
}

/// Applies the difference: new rules are added before old rules are removed.
async fn reconcile(
    aws: &Aws,
    group: &str,
    current: &[SecurityRule],
    desired: &SecurityGroupRules,
    owner: &TagSpecification,
) -> Result<()> {
    match add(aws, group, current, desired, owner).await {
        Err(error) if is_outdated(&error) => {
            let now = spec_of(aws, group).await?;
            add(aws, group, &now, desired, owner).await?;
        }
        outcome => outcome?,
    }
    let wanted: Vec<SecurityRule> = desired.rules.iter().map(reach).collect();
    if current.iter().any(|rule| !wanted.contains(&reach(rule))) {
        remove(aws, group, |rule| wanted.contains(rule)).await?;
    }
    Ok(())
}

/// The identity of a rule on AWS: two rules for the same traffic cannot coexist, whatever their
/// descriptions.
fn reach(rule: &SecurityRule) -> SecurityRule {
    SecurityRule {
        description: String::new(),
        ..rule.clone()
    }
}

async fn add(
    aws: &Aws,
    group: &str,
    current: &[SecurityRule],
    desired: &SecurityGroupRules,
    owner: &TagSpecification,
) -> Result<()> {
    let mut other_words = Vec::new();
    let (mut ingress, mut egress) = (Vec::new(), Vec::new());
    for wanted in &desired.rules {
        match current
            .iter()
            .find(|current| reach(current) == reach(wanted))
        {
            Some(current) if current == wanted => {}
            Some(_) => other_words.push(wanted),
            None if wanted.direction == Direction::Ingress => ingress.push(permission(wanted)?),
            None => egress.push(permission(wanted)?),
        }
    }
    if !other_words.is_empty() {
        describe_anew(aws, group, &other_words).await?;
    }
    if !ingress.is_empty() {
        ec2(aws)
            .authorize_security_group_ingress()
            .group_id(group)
            .set_ip_permissions(Some(ingress))
            .tag_specifications(owner.clone())
            .send()
            .await
            .map_err(during("ec2:AuthorizeSecurityGroupIngress"))?;
    }
    if !egress.is_empty() {
        ec2(aws)
            .authorize_security_group_egress()
            .group_id(group)
            .set_ip_permissions(Some(egress))
            .tag_specifications(owner.clone())
            .send()
            .await
            .map_err(during("ec2:AuthorizeSecurityGroupEgress"))?;
    }
    Ok(())
}

/// Changes the descriptions of rules, by their ids.
async fn describe_anew(aws: &Aws, group: &str, rules: &[&SecurityRule]) -> Result<()> {
    let current = rules_of(aws, [group]).await?;
    let mut updates = Vec::new();
    for wanted in rules {
        let same = current
            .iter()
            .find(|current| reach_of(current).is_some_and(|current| current == reach(wanted)));
        if let Some(same) = same {
            updates.push(
                SecurityGroupRuleUpdate::builder()
                    .set_security_group_rule_id(same.security_group_rule_id.clone())
                    .security_group_rule(request(wanted)?)
                    .build(),
            );
        }
    }
    ec2(aws)
        .modify_security_group_rules()
        .group_id(group)
        .set_security_group_rules(Some(updates))
        .send()
        .await
        .map_err(during("ec2:ModifySecurityGroupRules"))?;
    Ok(())
}

/// Every rule of a group, as listed.
struct Rules {
    ingress: Vec<IpPermission>,
    egress: Vec<IpPermission>,
}

/// Removes every rule: the listed ones, or, if one of them is gone, all present ones.
async fn remove_all(aws: &Aws, group: &str) -> Result<()> {
    if let Some(Rules { ingress, egress }) = aws.take_note(group) {
        match revoke_listed(aws, group, ingress, egress).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => return outcome,
        }
    }
    remove(aws, group, |_| false).await
}

async fn revoke_listed(
    aws: &Aws,
    group: &str,
    ingress: Vec<IpPermission>,
    egress: Vec<IpPermission>,
) -> Result<()> {
    if !ingress.is_empty() {
        ec2(aws)
            .revoke_security_group_ingress()
            .group_id(group)
            .set_ip_permissions(Some(ingress))
            .send()
            .await
            .map_err(during("ec2:RevokeSecurityGroupIngress"))?;
    }
    if !egress.is_empty() {
        ec2(aws)
            .revoke_security_group_egress()
            .group_id(group)
            .set_ip_permissions(Some(egress))
            .send()
            .await
            .map_err(during("ec2:RevokeSecurityGroupEgress"))?;
    }
    Ok(())
}

/// Removes every rule that is not desired, also those that no spec can express.
async fn remove(
    aws: &Aws,
    group: &str,
    stays: impl Fn(&SecurityRule) -> bool + Send,
) -> Result<()> {
    let (mut ingress, mut egress) = (Vec::new(), Vec::new());
    for rule in rules_of(aws, [group]).await? {
        if !reach_of(&rule).is_some_and(|rule| stays(&rule)) {
            let list = if rule.is_egress() == Some(true) {
                &mut egress
            } else {
                &mut ingress
            };
            list.extend(rule.security_group_rule_id);
        }
    }
    revoke(aws, group, Direction::Ingress, ingress).await?;
    revoke(aws, group, Direction::Egress, egress).await
}

/// Revokes rules by their ids; makes no call for an empty list. An absent rule is no failure.
pub(super) async fn revoke(
    aws: &Aws,
    group: &str,
    direction: Direction,
    rules: Vec<String>,
) -> Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let outcome = match direction {
        Direction::Ingress => ec2(aws)
            .revoke_security_group_ingress()
            .group_id(group)
            .set_security_group_rule_ids(Some(rules))
            .send()
            .await
            .map(|_| ())
            .map_err(during("ec2:RevokeSecurityGroupIngress")),
        Direction::Egress => ec2(aws)
            .revoke_security_group_egress()
            .group_id(group)
            .set_security_group_rule_ids(Some(rules))
            .send()
            .await
            .map(|_| ())
            .map_err(during("ec2:RevokeSecurityGroupEgress")),
    };
    match outcome {
        // An earlier call, whose answer was lost, has revoked it.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The ports of a rule in AWS's form: -1 for a protocol without ports.
fn range(rule: &SecurityRule) -> (i32, i32) {
    if has_ports(rule.protocol) {
        (rule.ports.from.into(), rule.ports.to.into())
    } else {
        (-1, -1)
    }
}

fn permission(rule: &SecurityRule) -> Result<IpPermission> {
    let (from, to) = range(rule);
    let permission = IpPermission::builder()
        .ip_protocol(protocol_name(rule.protocol))
        .from_port(from)
        .to_port(to);
    Ok(match &rule.peer {
        Peer::Cidr(cidr) => permission.ip_ranges(
            IpRange::builder()
                .cidr_ip(cidr.to_string())
                .description(&rule.description)
                .build(),
        ),
        Peer::Group(id) => permission.user_id_group_pairs(
            UserIdGroupPair::builder()
                .group_id(known(id)?)
                .description(&rule.description)
                .build(),
        ),
    }
    .build())
}

fn request(rule: &SecurityRule) -> Result<SecurityGroupRuleRequest> {
    let (from, to) = range(rule);
    let request = SecurityGroupRuleRequest::builder()
        .ip_protocol(protocol_name(rule.protocol))
        .from_port(from)
        .to_port(to)
        .description(&rule.description);
    Ok(match &rule.peer {
        Peer::Cidr(cidr) => request.cidr_ipv4(cidr.to_string()),
        Peer::Group(id) => request.referenced_group_id(known(id)?),
    }
    .build())
}
