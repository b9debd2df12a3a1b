//! A network ACL on AWS, its entries and the subnets that it guards. A subnet always has one: those that leave it
//! get the VPC's default one.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types::PortRange as Ports;
use aws_sdk_ec2::types::{
    IcmpTypeCode, NetworkAcl as DescribedAcl, NetworkAclEntry as DescribedEntry, ResourceType,
    RuleAction,
};
use landfall_aws::{Aws, all_known, during, input, known, until_visible};
use landfall_provider::{
    Error, ErrorKind, Input, Key, Live, NetworkAclId, Probe, Provider, Result, StackName, SubnetId,
};

use super::traffic::{has_ports, ports, protocol, protocol_number};
use super::{
    Described, Which, by_id, earlier, ec2, filter, given, gone, half_made, is_outdated, list,
    name_in, once, probe, tags,
};
use crate::{AclAction, AclEntry, Direction, NetworkAcl, Protocol};

#[async_trait]
impl Described for NetworkAcl {
    async fn find(aws: &Aws, which: Which) -> Result<Vec<Live<Self>>> {
        let mut found = Vec::new();
        for acl in describe(aws, which).await? {
            let Some(name) = name_in(acl.tags()) else {
                continue;
            };
            let mut entries: Vec<AclEntry> = acl.entries().iter().filter_map(entry).collect();
            entries.sort_by_key(|entry| (entry.direction, entry.number));
            found.push(Live {
                id: given(acl.network_acl_id.clone(), "a network ACL's id")?.into(),
                name,
                spec: Self {
                    vpc: input(given(acl.vpc_id(), "a network ACL's VPC")?),
                    entries,
                    subnets: acl
                        .associations()
                        .iter()
                        .filter_map(|association| association.subnet_id())
                        .map(input)
                        .collect(),
                },
                state: Probe::Usable(()),
            });
        }
        Ok(found)
    }
}

async fn describe(aws: &Aws, which: Which) -> Result<Vec<DescribedAcl>> {
    ec2(aws)
        .describe_network_acls()
        .set_filters(which.filters())
        .set_network_acl_ids(which.ids())
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeNetworkAcls"))
}

/// An entry that a spec can say. The last one, which denies all, has a number of its own that no spec has.
fn entry(entry: &DescribedEntry) -> Option<AclEntry> {
    let number = entry
        .rule_number()
        .and_then(|number| u16::try_from(number).ok())?;
    if number > 32766 {
        return None;
    }
    let protocol = protocol(entry.protocol()?)?;
    let range = entry.port_range();
    Some(AclEntry {
        number,
        direction: if entry.egress()? {
            Direction::Egress
        } else {
            Direction::Ingress
        },
        action: match entry.rule_action()? {
            RuleAction::Allow => AclAction::Allow,
            _ => AclAction::Deny,
        },
        protocol,
        ports: ports(
            protocol,
            range.and_then(|range| range.from()),
            range.and_then(|range| range.to()),
        ),
        cidr: entry.cidr_block()?.parse().ok()?,
    })
}

#[async_trait]
impl Provider<NetworkAcl> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<NetworkAcl>>> {
        list(self, stack).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        want: &NetworkAcl,
    ) -> Result<NetworkAclId> {
        if let Some(live) = earlier(self, stack, key, want).await? {
            self.update(&live, want).await?;
            return Ok(live.id);
        }
        let made = ec2(self)
            .create_network_acl()
            .vpc_id(known(&want.vpc)?)
            .tag_specifications(tags(ResourceType::NetworkAcl, stack, &key.name))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(during("ec2:CreateNetworkAcl"))
            .map_err(until_visible)?;
        let id = made.network_acl.and_then(|acl| acl.network_acl_id);
        let live = Live {
            id: NetworkAclId::from(given(id, "the new network ACL's id")?),
            name: key.name.clone(),
            spec: NetworkAcl {
                vpc: want.vpc.clone(),
                entries: Vec::new(),
                subnets: Vec::new(),
            },
            state: Probe::Usable(()),
        };
        self.update(&live, want)
            .await
            .map_err(half_made(self, stack, key, &live.id))?;
        Ok(live.id)
    }

    async fn update(&self, live: &Live<NetworkAcl>, want: &NetworkAcl) -> Result<()> {
        match bring(self, &live.id, &live.spec, want).await {
            Err(error) if is_outdated(&error) => {
                let now = by_id::<NetworkAcl>(self, &live.id).await?.ok_or(error)?;
                bring(self, &live.id, &now.spec, want).await?;
            }
            outcome => outcome?,
        }
        self.seen::<NetworkAcl>(&live.id, Probe::Usable(()));
        Ok(())
    }

    async fn probe(&self, id: &NetworkAclId) -> Result<Probe<()>> {
        probe::<NetworkAcl>(self, id).await
    }

    async fn delete(&self, live: &Live<NetworkAcl>) -> Result<()> {
        if !live.spec.subnets.is_empty() {
            give_back(self, &live.id, &live.spec, |_| true).await?;
        }
        let outcome = ec2(self)
            .delete_network_acl()
            .network_acl_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteNetworkAcl"));
        gone::<NetworkAcl>(self, &live.id, outcome.map(|_| ()))
    }
}

/// Makes the difference: entries that are new first, so that nothing is cut off in between. The subnets come when
/// the entries stand.
async fn bring(aws: &Aws, id: &NetworkAclId, have: &NetworkAcl, want: &NetworkAcl) -> Result<()> {
    let place = |entry: &AclEntry| (entry.direction, entry.number);
    for entry in &want.entries {
        match have
            .entries
            .iter()
            .find(|other| place(other) == place(entry))
        {
            Some(same) if same == entry => {}
            Some(_) => replace_entry(aws, id, entry).await?,
            None => create_entry(aws, id, entry).await?,
        }
    }
    for entry in &have.entries {
        if !want
            .entries
            .iter()
            .any(|other| place(other) == place(entry))
        {
            delete_entry(aws, id, entry).await?;
        }
    }
    let come: Vec<Input<SubnetId>> = want
        .subnets
        .iter()
        .filter(|subnet| !have.subnets.contains(subnet))
        .cloned()
        .collect();
    if !come.is_empty() {
        take_over(aws, id, &come).await?;
    }
    let leave = |subnet: &Input<SubnetId>| !want.subnets.contains(subnet);
    if have.subnets.iter().any(leave) {
        give_back(aws, id, have, |subnet| leave(&input(subnet))).await?;
    }
    Ok(())
}

/// An entry's ports and its type and code of ICMP, of which it has one, or neither: every type and code is -1.
fn details(entry: &AclEntry) -> (Option<Ports>, Option<IcmpTypeCode>) {
    let ports = has_ports(entry.protocol).then(|| {
        Ports::builder()
            .from(entry.ports.from.into())
            .to(entry.ports.to.into())
            .build()
    });
    let icmp = (entry.protocol == Protocol::Icmp)
        .then(|| IcmpTypeCode::builder().r#type(-1).code(-1).build());
    (ports, icmp)
}

fn action(entry: &AclEntry) -> RuleAction {
    match entry.action {
        AclAction::Allow => RuleAction::Allow,
        AclAction::Deny => RuleAction::Deny,
    }
}

async fn create_entry(aws: &Aws, id: &NetworkAclId, entry: &AclEntry) -> Result<()> {
    let (ports, icmp) = details(entry);
    ec2(aws)
        .create_network_acl_entry()
        .network_acl_id(id.as_ref())
        .rule_number(entry.number.into())
        .egress(entry.direction == Direction::Egress)
        .rule_action(action(entry))
        .protocol(protocol_number(entry.protocol))
        .set_port_range(ports)
        .set_icmp_type_code(icmp)
        .cidr_block(entry.cidr.to_string())
        .send()
        .await
        .map_err(during("ec2:CreateNetworkAclEntry"))?;
    Ok(())
}

async fn replace_entry(aws: &Aws, id: &NetworkAclId, entry: &AclEntry) -> Result<()> {
    let (ports, icmp) = details(entry);
    ec2(aws)
        .replace_network_acl_entry()
        .network_acl_id(id.as_ref())
        .rule_number(entry.number.into())
        .egress(entry.direction == Direction::Egress)
        .rule_action(action(entry))
        .protocol(protocol_number(entry.protocol))
        .set_port_range(ports)
        .set_icmp_type_code(icmp)
        .cidr_block(entry.cidr.to_string())
        .send()
        .await
        .map_err(during("ec2:ReplaceNetworkAclEntry"))?;
    Ok(())
}

async fn delete_entry(aws: &Aws, id: &NetworkAclId, entry: &AclEntry) -> Result<()> {
    ec2(aws)
        .delete_network_acl_entry()
        .network_acl_id(id.as_ref())
        .rule_number(entry.number.into())
        .egress(entry.direction == Direction::Egress)
        .send()
        .await
        .map_err(during("ec2:DeleteNetworkAclEntry"))?;
    Ok(())
}

/// Takes subnets over from whichever ACL has them. Every subnet has one: of a new one it may not be visible yet.
async fn take_over(aws: &Aws, id: &NetworkAclId, subnets: &[Input<SubnetId>]) -> Result<()> {
    let mut subnets: BTreeSet<String> = all_known(subnets)?.into_iter().collect();
    let by_subnet = filter("association.subnet-id", subnets.iter().map(String::as_str));
    for holder in describe(aws, Which::Passing(vec![by_subnet])).await? {
        for association in holder.associations() {
            let concerned = association
                .subnet_id()
                .is_some_and(|subnet| subnets.remove(subnet));
            if concerned && holder.network_acl_id() != Some(id.as_ref()) {
                reassociate(aws, association.network_acl_association_id(), id.as_ref()).await?;
            }
        }
    }
    if subnets.is_empty() {
        return Ok(());
    }
    let subnets: Vec<String> = subnets.into_iter().collect();
    Err(Error::new(
        ErrorKind::Unavailable,
        format_args!(
            "which network ACL {} had until now is not visible to AWS yet",
            subnets.join(", ")
        ),
    ))
}

/// Gives subnets back to the VPC's default ACL.
async fn give_back(
    aws: &Aws,
    id: &NetworkAclId,
    have: &NetworkAcl,
    which: impl Fn(&str) -> bool + Send + Sync,
) -> Result<()> {
    let vpc = known(&have.vpc)?;
    let all = describe(aws, Which::Passing(vec![filter("vpc-id", [vpc])])).await?;
    let default = all
        .iter()
        .find(|acl| acl.is_default() == Some(true))
        .and_then(|acl| acl.network_acl_id());
    let own = all
        .iter()
        .filter(|acl| acl.network_acl_id() == Some(id.as_ref()))
        .flat_map(|acl| acl.associations());
    for association in own {
        if !association.subnet_id().is_some_and(&which) {
            continue;
        }
        let default = default.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format_args!("{vpc} has no default network ACL"),
            )
        })?;
        reassociate(aws, association.network_acl_association_id(), default).await?;
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceNetworkAclAssociation.html>
async fn reassociate(aws: &Aws, association: Option<&str>, acl: &str) -> Result<()> {
    ec2(aws)
        .replace_network_acl_association()
        .association_id(given(association, "an association's id")?)
        .network_acl_id(acl)
        .send()
        .await
        .map_err(during("ec2:ReplaceNetworkAclAssociation"))?;
    Ok(())
}
