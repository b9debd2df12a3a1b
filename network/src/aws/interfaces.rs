//! The network interfaces that keep a subnet, a group, a gateway or a VPC from being deleted: named, and deleted where
//! their owner is gone.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{NetworkInterface, NetworkInterfaceStatus};
use landfall_aws::{Aws, OWNER_STACK, during};
use landfall_provider::{Error, ErrorKind, Result};

use super::{ec2, filter};

/// The maximum number of interfaces in a message.
const NAMED: usize = 4;

/// Adds the remaining users of a resource that AWS refused to delete: balancers, NAT gateways and
/// terminating instances leave their interfaces behind for minutes.
///
/// The filter is one of `DescribeNetworkInterfaces`: `subnet-id`, `group-id`, `vpc-id`.
pub(super) async fn explain(aws: &Aws, by: &str, id: &str, outcome: Result<()>) -> Result<()> {
    let refused = match outcome {
        Err(error) if error.kind() == ErrorKind::InUse => error,
        outcome => return outcome,
    };
    let answer = ec2(aws)
        .describe_network_interfaces()
        .filters(filter(by, [id]))
        .send()
        .await
        .map_err(during("ec2:DescribeNetworkInterfaces"));
    // The list is optional: without it, AWS's refusal is returned as it is.
    let interfaces = answer
        .ok()
        .and_then(|answer| answer.network_interfaces)
        .unwrap_or_default();
    if interfaces.is_empty() {
        return Err(refused);
    }
    delete_orphans(aws, &interfaces).await;
    let users: BTreeSet<String> = interfaces.iter().map(user).collect();
    let mut named: Vec<String> = users.iter().take(NAMED).cloned().collect();
    if users.len() > NAMED {
        named.push(format!("{} more", users.len() - NAMED));
    }
    Err(Error::new(
        ErrorKind::InUse,
        format_args!("{id} is still used by {}", named.join(", ")),
    )
    .caused_by(refused))
}

/// How AWS describes the interfaces that it makes for a balancer and for a NAT gateway.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html>
const OF_A_SERVICE: [&str; 2] = ["ELB ", "Interface for NAT Gateway "];

/// Deletes interfaces that a balancer or a NAT gateway has left behind: attached to nothing, and inside a VPC of a
/// stack. AWS takes most of them away by itself within minutes and refuses others; the wait goes on either way.
async fn delete_orphans(aws: &Aws, interfaces: &[NetworkInterface]) {
    for orphan in interfaces.iter().filter(|one| is_orphan(one)) {
        let (Some(id), Some(vpc)) = (orphan.network_interface_id(), orphan.vpc_id()) else {
            continue;
        };
        if !is_of_a_stack(aws, vpc).await {
            continue;
        }
        let deleted = ec2(aws)
            .delete_network_interface()
            .network_interface_id(id)
            .send()
            .await
            .map_err(during("ec2:DeleteNetworkInterface"));
        // The caller reports the refusal of the delete.
        drop(deleted);
    }
}

fn is_orphan(interface: &NetworkInterface) -> bool {
    let description = interface.description().unwrap_or_default();
    interface.status() == Some(&NetworkInterfaceStatus::Available)
        && interface.attachment().is_none()
        && OF_A_SERVICE
            .iter()
            .any(|start| description.starts_with(start))
}

async fn is_of_a_stack(aws: &Aws, vpc: &str) -> bool {
    let found = ec2(aws).describe_vpcs().vpc_ids(vpc).send().await;
    found.is_ok_and(|found| {
        let mut tags = found.vpcs().iter().flat_map(|vpc| vpc.tags());
        tags.any(|tag| tag.key() == Some(OWNER_STACK))
    })
}

/// The owner of an interface. AWS describes the interfaces that it creates for a service:
/// `ELB app/…`, `Interface for NAT Gateway nat-…`.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html>
fn user(interface: &NetworkInterface) -> String {
    let instance = interface
        .attachment()
        .and_then(|attachment| attachment.instance_id());
    let described = interface.description().filter(|text| !text.is_empty());
    match (described, instance) {
        (Some(description), _) => description.to_owned(),
        (None, Some(instance)) => format!("instance {instance}"),
        (None, None) => format!(
            "network interface {}",
            interface.network_interface_id().unwrap_or("without an id")
        ),
    }
}
