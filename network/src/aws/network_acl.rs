//! A network ACL on AWS, its entries and its subnets. A subnet always has an ACL: subnets that
//! leave this one get the VPC's default ACL.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ec2::types::PortRange as Ports;
use aws_sdk_ec2::types::{
    IcmpTypeCode, NetworkAcl as DescribedAcl, NetworkAclEntry as DescribedEntry, ResourceType,
    RuleAction,
};
use landfall_aws::{Aws, Singleflight, all_known, during, input, known, until_visible};
use landfall_provider::{
    Error, ErrorKind, Input, Key, Live, NetworkAclId, Probe, Provider, Result, StackName, SubnetId,
};

use super::traffic::{has_ports, ports, protocol, protocol_number};
use super::{
    Described, ResourceFilter, UNKNOWN, by_id, earlier, ec2, filter, given, gone, half_made,
    is_outdated, list, name_in, once, probe, shown, tags,
};
use crate::{AclAction, AclEntry, Direction, NetworkAcl, Protocol};

#[async_trait]
impl Described for NetworkAcl {
    const IDS: &'static str = "acl-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let mut found = Vec::new();
        for acl in describe(aws, which).await? {
            let Some(name) = name_in(acl.tags()) else {
                continue;
            };
            let mut entries: Vec<AclEntry> = acl.entries().iter().filter_map(entry).collect();
            entries.sort_by_key(|entry| (entry.direction, entry.number));
            let mut state = Probe::Usable(());
            found.push(Live {
                id: given(acl.network_acl_id.clone(), "a network ACL's id")?.into(),
                name,
                spec: Self {
                    vpc: input(shown(acl.vpc_id(), "its VPC", UNKNOWN, &mut state)),
                    entries,
                    subnets: acl
                        .associations()
                        .iter()
                        .filter_map(|association| association.subnet_id())
                        .map(input)
                        .collect(),
                },
                state,
            });
        }
        Ok(found)
    }
}

async fn describe(aws: &Aws, which: ResourceFilter) -> Result<Vec<DescribedAcl>> {
    let acls: Vec<DescribedAcl> = ec2(aws)
        .describe_network_acls()
        .set_filters(which.filters())
        .set_network_acl_ids(which.ids())
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeNetworkAcls"))?;
    for acl in &acls {
        note(aws, acl);
    }
    Ok(acls)
}

/// Records the association ids, which are not in the spec: they are needed to associate a subnet
/// and to return it.
fn note(aws: &Aws, acl: &DescribedAcl) {
    let Some(id) = acl.network_acl_id() else {
        return;
    };
    for one in acl.associations() {
        if let (Some(subnet), Some(association)) =
            (one.subnet_id(), one.network_acl_association_id())
        {
            let (acl, association) = (id.to_owned(), association.to_owned());
            aws.note(subnet, Seat { acl, association });
        }
    }
    if let (Some(true), Some(vpc)) = (acl.is_default(), acl.vpc_id()) {
        aws.note(vpc, DefaultAcl(id.to_owned()));
    }
}

/// An entry that a spec can express. The last one, which denies all, has a number that no spec
/// uses.
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
        desired: &NetworkAcl,
    ) -> Result<NetworkAclId> {
        if let Some(live) = earlier(self, stack, key, desired).await? {
            self.update(&live, desired).await?;
            return Ok(live.id);
        }
        let made = ec2(self)
            .create_network_acl()
            .vpc_id(known(&desired.vpc)?)
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
                vpc: desired.vpc.clone(),
                entries: Vec::new(),
                subnets: Vec::new(),
            },
            state: Probe::Usable(()),
        };
        self.update(&live, desired)
            .await
            .map_err(half_made(self, stack, key, &live.id))?;
        Ok(live.id)
    }

    async fn update(&self, live: &Live<NetworkAcl>, desired: &NetworkAcl) -> Result<()> {
        match reconcile(self, &live.id, &live.spec, desired).await {
            Err(error) if is_outdated(&error) => {
                let now = by_id::<NetworkAcl>(self, &live.id).await?.ok_or(error)?;
                reconcile(self, &live.id, &now.spec, desired).await?;
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

/// Applies the difference: new entries first, so that no traffic is cut off in between. Subnets are
/// associated after the entries exist.
async fn reconcile(
    aws: &Aws,
    id: &NetworkAclId,
    current: &NetworkAcl,
    desired: &NetworkAcl,
) -> Result<()> {
    let place = |entry: &AclEntry| (entry.direction, entry.number);
    for entry in &desired.entries {
        match current
            .entries
            .iter()
            .find(|other| place(other) == place(entry))
        {
            Some(same) if same == entry => {}
            Some(_) => replace_entry(aws, id, entry).await?,
            None => create_entry(aws, id, entry).await?,
        }
    }
    for entry in &current.entries {
        if !desired
            .entries
            .iter()
            .any(|other| place(other) == place(entry))
        {
            delete_entry(aws, id, entry).await?;
        }
    }
    let come: Vec<Input<SubnetId>> = desired
        .subnets
        .iter()
        .filter(|subnet| !current.subnets.contains(subnet))
        .cloned()
        .collect();
    if !come.is_empty() {
        take_over(aws, id, &come).await?;
    }
    let leave = |subnet: &Input<SubnetId>| !desired.subnets.contains(subnet);
    if current.subnets.iter().any(leave) {
        give_back(aws, id, current, |subnet| leave(&input(subnet))).await?;
    }
    Ok(())
}

/// An entry's ports, or its ICMP type and code, or neither: -1 is every type and code.
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

/// The ACL of a subnet, as last read.
struct Seat {
    acl: String,
    association: String,
}

/// The VPC's default ACL.
struct DefaultAcl(String);

/// Associates subnets with this ACL, whichever ACL they have. Every subnet has one; that of a new
/// subnet may not be visible yet.
async fn take_over(aws: &Aws, id: &NetworkAclId, subnets: &[Input<SubnetId>]) -> Result<()> {
    let hidden = give(aws, all_known(subnets)?, id.as_ref(), |_| true).await?;
    if hidden.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format_args!(
            "which network ACL {} had until now is not visible to AWS yet",
            hidden.join(", ")
        ),
    ))
}

/// Returns subnets to the VPC's default ACL.
async fn give_back(
    aws: &Aws,
    id: &NetworkAclId,
    current: &NetworkAcl,
    which: impl Fn(&str) -> bool + Send + Sync,
) -> Result<()> {
    let vpc = known(&current.vpc)?;
    let mut subnets = all_known(&current.subnets)?;
    subnets.retain(|subnet| which(subnet));
    let default = match aws.take_note(vpc) {
        Some(DefaultAcl(default)) => default,
        None => {
            note_all_of(aws, vpc).await?;
            let DefaultAcl(default) = aws.take_note(vpc).ok_or_else(|| {
                let why = format_args!("{vpc} has no default network ACL");
                Error::new(ErrorKind::NotFound, why)
            })?;
            default
        }
    };
    aws.note(vpc, DefaultAcl(default.clone()));
    // A subnet that is not listed any more is gone, and with it its association.
    give(aws, subnets, &default, |holder| holder == id.as_ref()).await?;
    Ok(())
}

/// Records all ACLs of a VPC; concurrent deletions make one call.
async fn note_all_of(aws: &Aws, vpc: &str) -> Result<()> {
    let singleflight = aws.client(|_| Arc::<Singleflight<()>>::default());
    let (aws, of_vpc) = (aws.clone(), filter("vpc-id", [vpc]));
    let question = format!("ec2:DescribeNetworkAcls {vpc}");
    singleflight
        .join(&question, move || async move {
            describe(&aws, ResourceFilter::Passing(vec![of_vpc]))
                .await
                .map(drop)
        })
        .await
}

/// Associates subnets with an ACL, if their present ACL is one of those meant; returns the subnets
/// whose ACL is not listed. A recorded association may be outdated: then it is read again.
async fn give(
    aws: &Aws,
    mut subnets: Vec<String>,
    to: &str,
    from: impl Fn(&str) -> bool + Send + Sync,
) -> Result<Vec<String>> {
    for is_fresh in [false, true] {
        if subnets.is_empty() {
            break;
        }
        if is_fresh {
            let by_subnet = filter("association.subnet-id", subnets.iter().map(String::as_str));
            describe(aws, ResourceFilter::Passing(vec![by_subnet])).await?;
        }
        let mut unmoved = Vec::new();
        for subnet in subnets {
            let Some(seat) = aws.take_note::<Seat>(&subnet) else {
                unmoved.push(subnet);
                continue;
            };
            if seat.acl == to || !from(&seat.acl) {
                // Another ACL has it by now, or the record is outdated: read it again to decide.
                if !is_fresh {
                    unmoved.push(subnet);
                }
                continue;
            }
            match reassociate(aws, &seat.association, to).await {
                Err(error) if error.kind() == ErrorKind::NotFound && !is_fresh => {
                    unmoved.push(subnet);
                }
                outcome => outcome?,
            }
        }
        subnets = unmoved;
    }
    Ok(subnets)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceNetworkAclAssociation.html>
async fn reassociate(aws: &Aws, association: &str, acl: &str) -> Result<()> {
    ec2(aws)
        .replace_network_acl_association()
        .association_id(association)
        .network_acl_id(acl)
        .send()
        .await
        .map_err(during("ec2:ReplaceNetworkAclAssociation"))?;
    Ok(())
}
