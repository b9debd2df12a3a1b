//! Typed ids, by which independent crates refer to each other's resources.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::name::Kind;

/// The id that a provider assigned to a resource: opaque text with a type.
pub trait ResourceId:
    Clone
    + Ord
    + fmt::Debug
    + fmt::Display
    + From<String>
    + AsRef<str>
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The kind of resource that the id names.
    const KIND: Kind;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $konst:ident $kind:literal;)*) => {
        /// The kinds that Landfall's own crates define.
        ///
        /// They are defined here because a crate may order itself after a kind of a crate that it
        /// does not depend on: a balancer is created after the internet gateway, and `lb` does not
        /// depend on `network`.
        pub mod kind {
            use super::Kind;
            $(
                #[doc = concat!("`", $kind, "`")]
                pub const $konst: Kind = Kind::new($kind);
            )*
        }

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(String);

            impl ResourceId for $name {
                const KIND: Kind = kind::$konst;
            }

            impl From<String> for $name {
                fn from(id: String) -> Self {
                    Self(id)
                }
            }

            impl From<&str> for $name {
                fn from(id: &str) -> Self {
                    Self(id.to_owned())
                }
            }

            impl AsRef<str> for $name {
                fn as_ref(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(&self.0)
                }
            }
        )*
    };
}

ids! {
    /// A VPC: `vpc-…`.
    VpcId = VPC "vpc";
    /// An internet gateway: `igw-…`.
    InternetGatewayId = INTERNET_GATEWAY "internet-gateway";
    /// A subnet: `subnet-…`.
    SubnetId = SUBNET "subnet";
    /// The allocation of an Elastic IP: `eipalloc-…`.
    AllocationId = ELASTIC_IP "elastic-ip";
    /// A NAT gateway: `nat-…`.
    NatGatewayId = NAT_GATEWAY "nat-gateway";
    /// A route table: `rtb-…`.
    RouteTableId = ROUTE_TABLE "route-table";
    /// A network ACL: `acl-…`.
    NetworkAclId = NETWORK_ACL "network-acl";
    /// A security group: `sg-…`.
    SecurityGroupId = SECURITY_GROUP "security-group";
    /// The rules of one security group: `sg-…/rules`, because a group has one set of rules.
    SecurityGroupRulesId = SECURITY_GROUP_RULES "security-group-rules";
    /// A gateway endpoint: `vpce-…`.
    GatewayEndpointId = GATEWAY_ENDPOINT "gateway-endpoint";
    /// A key pair, by its name.
    KeyPairId = KEY_PAIR "key-pair";
    /// An instance profile, by its name.
    InstanceProfileId = INSTANCE_PROFILE "instance-profile";
    /// A launch template: `lt-…`.
    LaunchTemplateId = LAUNCH_TEMPLATE "launch-template";
    /// An autoscaling group, by its name.
    AutoscalingGroupId = AUTOSCALING_GROUP "autoscaling-group";
    /// A scaling policy, by its ARN.
    ScalingPolicyId = SCALING_POLICY "scaling-policy";
    /// An instance: `i-…`.
    InstanceId = INSTANCE "instance";
    /// A load balancer, by its ARN.
    LoadBalancerId = LOAD_BALANCER "load-balancer";
    /// A target group, by its ARN.
    TargetGroupId = TARGET_GROUP "target-group";
    /// A listener, by its ARN.
    ListenerId = LISTENER "listener";
    /// A rule of a listener, by its ARN.
    ListenerRuleId = LISTENER_RULE "listener-rule";
    /// A repository, by the address of its images: `digipay/web`, or with the registry's host in
    /// front.
    RepositoryId = REPOSITORY "repository";
    /// An image, by reference and digest: `digipay/web@sha256:…`.
    ImageId = IMAGE "image";
}
