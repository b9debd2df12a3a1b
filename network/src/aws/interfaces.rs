//! Describes the network interfaces that prevent the deletion of a subnet, a group or a VPC.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::NetworkInterface;
use landfall_aws::{Aws, during};
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
