//! Security groups with the minimal rules for the declared ports.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use landfall_provider::{Handle, Input, NameTaken, Port, ResourceName, Stack, VpcId};

use crate::acls::ANYWHERE;
use crate::ports::{OpenPorts, SSH, set};
use crate::{
    Direction, Peer, PortRange, Protocol, SecurityGroup, SecurityGroupRules, SecurityRule,
};

/// The security groups of a deployment.
#[derive(Debug, Clone)]
pub struct Groups {
    /// The group of the balancer.
    pub balancer: Handle<SecurityGroup>,
    /// The groups of the services' instances, by service.
    pub services: BTreeMap<ResourceName, Handle<SecurityGroup>>,
    /// The group of the bastion, if there is one.
    pub bastion: Option<Handle<SecurityGroup>>,
}

/// Adds a security group for the balancer, each service and the bastion, and the rules of each.
///
/// The internet reaches the balancer's listeners, the balancer reaches the services' ports, the
/// bastion reaches SSH on the instances; each of these connections has one rule on either side, and
/// its peer is a group instead of an address wherever possible. Instances reach
/// [`OpenPorts::egress`] at any address. No other connection is allowed.
///
/// ```
/// use landfall_network::{OpenPorts, ServicePort, add_groups};
/// use landfall_provider::{Port, ResourceName, Stack, StackName, VpcId};
///
/// let web = ResourceName::new("web")?;
/// let ports = OpenPorts {
///     bastion_allow: Some(vec!["203.0.113.7/32".parse()?]),
///     ..OpenPorts::new(
///         vec![Port::new(80)?],
///         vec![ServicePort { name: web.clone(), port: Port::new(8000)? }],
///     )
/// };
/// let mut stack = Stack::new(StackName::new("digipay")?);
/// // In an existing VPC:
/// let groups = add_groups(&mut stack, &VpcId::from("vpc-0abc").into(), &ports)?;
/// assert_eq!(groups.services[&web].key().to_string(), "security-group/web");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NameTaken`] when two services have the same name, or a service is called `balancer` or
/// `bastion`.
pub fn add_groups(
    stack: &mut Stack,
    vpc: &Input<VpcId>,
    ports: &OpenPorts,
) -> Result<Groups, NameTaken> {
    let mut group = |name: &ResourceName, description: String| {
        stack.try_add(
            name.clone(),
            SecurityGroup {
                vpc: vpc.clone(),
                description,
            },
        )
    };
    let balancer_name = literal("balancer");
    let bastion_name = literal("bastion");
    let balancer = group(&balancer_name, "The load balancer".to_owned())?;
    let bastion = ports
        .bastion_allow
        .as_ref()
        .map(|_| group(&bastion_name, "The bastion".to_owned()))
        .transpose()?;
    let mut services = BTreeMap::new();
    for service in &ports.services {
        let name = &service.name;
        services.insert(name.clone(), group(name, format!("Instances of {name}"))?);
    }
    let groups = Groups {
        balancer,
        services,
        bastion,
    };

    add_rules(
        stack,
        &balancer_name,
        &groups.balancer,
        groups.of_balancer(ports),
    )?;
    if let (Some(bastion), Some(allow)) = (&groups.bastion, &ports.bastion_allow) {
        add_rules(stack, &bastion_name, bastion, groups.of_bastion(allow))?;
    }
    for service in &ports.services {
        let rules = groups.of_service(service.port, &ports.egress);
        add_rules(stack, &service.name, &groups.services[&service.name], rules)?;
    }
    Ok(groups)
}

impl Groups {
    fn of_balancer(&self, ports: &OpenPorts) -> Vec<SecurityRule> {
        let from_clients = set(&ports.listeners).into_iter().map(|listener| {
            rule(
                Direction::Ingress,
                listener,
                Peer::Cidr(ANYWHERE),
                format!("Clients to the listener on {listener}"),
            )
        });
        let to_services = ports.services.iter().map(|service| {
            rule(
                Direction::Egress,
                service.port,
                Peer::Group(self.services[&service.name].id()),
                format!("Requests and health checks to {}", service.name),
            )
        });
        from_clients.chain(to_services).collect()
    }

    fn of_service(&self, port: Port, egress: &[Port]) -> Vec<SecurityRule> {
        let from_balancer = rule(
            Direction::Ingress,
            port,
            Peer::Group(self.balancer.id()),
            "Requests and health checks from the load balancer".to_owned(),
        );
        let from_bastion = self.bastion.as_ref().map(|bastion| {
            rule(
                Direction::Ingress,
                SSH,
                Peer::Group(bastion.id()),
                "SSH from the bastion".to_owned(),
            )
        });
        [from_balancer]
            .into_iter()
            .chain(from_bastion)
            .chain(to_internet(egress))
            .collect()
    }

    fn of_bastion(&self, allow: &[Ipv4Net]) -> Vec<SecurityRule> {
        let allow: BTreeSet<Ipv4Net> = allow.iter().map(Ipv4Net::trunc).collect();
        let from_operators = allow.into_iter().map(|cidr| {
            rule(
                Direction::Ingress,
                SSH,
                Peer::Cidr(cidr),
                format!("SSH from {cidr}"),
            )
        });
        let to_instances = self.services.iter().map(|(name, group)| {
            rule(
                Direction::Egress,
                SSH,
                Peer::Group(group.id()),
                format!("SSH to instances of {name}"),
            )
        });
        from_operators.chain(to_instances).collect()
    }
}

/// Rules from instances to the internet.
pub(crate) fn to_internet(egress: &[Port]) -> impl Iterator<Item = SecurityRule> + use<> {
    set(egress).into_iter().map(|port| {
        rule(
            Direction::Egress,
            port,
            Peer::Cidr(ANYWHERE),
            format!("Port {port} of the internet: images, packages, other services"),
        )
    })
}

/// Rules from clients to an instance that they connect to directly.
pub(crate) fn from_clients(port: Port, allow: &[Ipv4Net]) -> impl Iterator<Item = SecurityRule> {
    allow.iter().map(move |&net| {
        let who = match net.prefix_len() {
            0 => "Clients".to_owned(),
            _ => format!("Clients in {net}"),
        };
        rule(
            Direction::Ingress,
            port,
            Peer::Cidr(net),
            format!("{who} to the service on {port}"),
        )
    })
}

fn rule(direction: Direction, port: Port, peer: Peer, description: String) -> SecurityRule {
    SecurityRule {
        direction,
        protocol: Protocol::Tcp,
        ports: PortRange::one(port),
        peer,
        description,
    }
}

pub(crate) fn add_rules(
    stack: &mut Stack,
    name: &ResourceName,
    group: &Handle<SecurityGroup>,
    rules: Vec<SecurityRule>,
) -> Result<(), NameTaken> {
    stack.try_add(
        name.clone(),
        SecurityGroupRules {
            group: group.id(),
            rules,
        },
    )?;
    Ok(())
}

fn literal(text: &str) -> ResourceName {
    ResourceName::new(text).expect("a literal resource name follows the rule")
}
