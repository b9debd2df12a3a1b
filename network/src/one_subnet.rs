//! The single-instance blueprint: a VPC with one public subnet, for an instance that clients
//! connect to directly.

use ipnet::Ipv4Net;
use landfall_provider::{Handle, Port, ResourceName, Stack, Zone};

use crate::acls::{ANYWHERE, of_one_subnet};
use crate::blueprint::{Network, Tier};
use crate::groups::{add_rules, from_clients, to_internet};
use crate::layout::{LayoutError, layout};
use crate::ports::{OpenPorts, ServicePort};
use crate::{
    InternetGateway, NetworkAcl, Route, RouteTable, RouteTarget, SecurityGroup, Subnet, Vpc,
};

/// A VPC with a public subnet in one zone and a security group that allows clients to reach one
/// port.
///
/// Every resource has the name and the addresses that it has in a [`TwoTier`](crate::TwoTier)
/// network, so that a stack can move from one to the other: this subnet is the first public subnet
/// of the two-tier network.
///
/// ```
/// use landfall_network::{OneSubnet, ServicePort};
/// use landfall_provider::{Port, ResourceName, Stack, StackName, Zone};
///
/// let web = ServicePort { name: ResourceName::new("web")?, port: Port::new(8000)? };
/// let mut stack = Stack::new(StackName::new("digipay")?);
/// let zone = Zone::new("ap-south-1a")?;
/// let (network, group) = OneSubnet::new("10.0.0.0/16".parse()?, zone, web).add_to(&mut stack)?;
/// assert_eq!(network.public[0].subnet.key().to_string(), "subnet/public-a");
/// assert_eq!(group.key().to_string(), "security-group/web");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneSubnet {
    /// The VPC's block, between /16 and /28.
    pub cidr: Ipv4Net,
    /// The zone.
    pub zone: Zone,
    /// The service, and its port for clients.
    pub service: ServicePort,
    /// The addresses of the clients.
    pub allow: Vec<Ipv4Net>,
    /// The ports that the instance may connect to on the internet.
    pub egress: Vec<Port>,
}

impl OneSubnet {
    /// For a service that is open to all clients; the instance reaches HTTPS and HTTP on the
    /// internet.
    pub fn new(cidr: Ipv4Net, zone: Zone, service: ServicePort) -> Self {
        Self {
            cidr,
            zone,
            service,
            allow: vec![ANYWHERE],
            egress: OpenPorts::new(Vec::new(), Vec::new()).egress,
        }
    }

    /// Adds the network to a stack.
    ///
    /// # Errors
    /// [`LayoutError`] when the block or the ports are not valid for a network; the stack may then
    /// contain a part of it and must be discarded.
    pub fn add_to(
        &self,
        stack: &mut Stack,
    ) -> Result<(Network, Handle<SecurityGroup>), LayoutError> {
        let block = layout(self.cidr, 1)?.public[0];
        let vpc = stack.try_add(name("main"), Vpc { cidr: self.cidr })?;
        let internet_gateway = stack.try_add(name("main"), InternetGateway { vpc: vpc.id() })?;
        let subnet = Subnet {
            vpc: vpc.id(),
            zone: self.zone.clone(),
            cidr: block,
        };
        let subnet = stack.try_add(name(&format!("public-{}", self.zone.letter())), subnet)?;
        let table = RouteTable {
            vpc: vpc.id(),
            routes: vec![Route {
                destination: ANYWHERE,
                via: RouteTarget::InternetGateway(internet_gateway.id()),
            }],
            subnets: vec![subnet.id()],
        };
        stack.try_add(name("public"), table)?;
        let allow = Ipv4Net::aggregate(&self.allow);
        let acl = NetworkAcl {
            vpc: vpc.id(),
            entries: of_one_subnet(self.service.port, &allow, &self.egress)?,
            subnets: vec![subnet.id()],
        };
        stack.try_add(name("public"), acl)?;

        let service = &self.service.name;
        let group = SecurityGroup {
            vpc: vpc.id(),
            description: format!("Instances of {service}"),
        };
        let group = stack.try_add(service.clone(), group)?;
        let rules = from_clients(self.service.port, &allow).chain(to_internet(&self.egress));
        add_rules(stack, service, &group, rules.collect())?;
        let network = Network {
            vpc,
            internet_gateway,
            public: vec![Tier {
                zone: self.zone.clone(),
                cidr: block,
                subnet,
            }],
            private: Vec::new(),
            nat_gateways: Vec::new(),
        };
        Ok((network, group))
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).expect("the blueprint's words and a zone's letter make a name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NatMode, SecurityGroupRules, TwoTier};
    use landfall_provider::StackName;

    fn web() -> ServicePort {
        ServicePort {
            name: name("web"),
            port: Port::new(8000).unwrap(),
        }
    }

    fn stack(allow: &[&str]) -> Stack {
        let mut stack = Stack::new(StackName::new("digipay").unwrap());
        let zone = Zone::new("local-1a").unwrap();
        let mut one = OneSubnet::new("10.0.0.0/16".parse().unwrap(), zone, web());
        if !allow.is_empty() {
            one.allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        }
        one.add_to(&mut stack).unwrap();
        stack
    }

    #[test]
    fn one_port_is_open_and_nothing_else() {
        let stack = stack(&["203.0.113.0/25", "203.0.113.128/25"]);
        let rules: SecurityGroupRules = stack.get(&name("web")).unwrap().unwrap();
        let said: Vec<String> = rules
            .rules
            .iter()
            .map(|rule| format!("{} {} {:?}", rule.direction, rule.ports, rule.peer))
            .collect();
        assert_eq!(
            said,
            [
                "ingress 8000 Cidr(203.0.113.0/24)",
                "egress 80 Cidr(0.0.0.0/0)",
                "egress 443 Cidr(0.0.0.0/0)"
            ]
        );
        let acl: NetworkAcl = stack.get(&name("public")).unwrap().unwrap();
        let said: Vec<String> = acl
            .entries
            .iter()
            .map(|entry| {
                format!(
                    "{} {} {} {}",
                    entry.number, entry.direction, entry.ports, entry.cidr
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "100 ingress 8000 203.0.113.0/24",
                "300 ingress 1024-65535 0.0.0.0/0",
                "400 ingress 0-65535 0.0.0.0/0",
                "200 egress 80 0.0.0.0/0",
                "210 egress 443 0.0.0.0/0",
                "300 egress 1024-65535 0.0.0.0/0"
            ]
        );
        assert_eq!(stack.resources().len(), 7);
    }

    #[test]
    fn it_grows_into_two_tiers_without_moving() {
        let small = stack(&[]);
        let mut large = Stack::new(StackName::new("digipay").unwrap());
        let ports = OpenPorts::new(vec![Port::new(80).unwrap()], vec![web()]);
        let network = TwoTier {
            cidr: "10.0.0.0/16".parse().unwrap(),
            zones: ["local-1a", "local-1b"]
                .map(|zone| zone.parse().unwrap())
                .into(),
            nat: NatMode::PerZone,
            s3_endpoint: true,
            open_ports: ports.clone(),
        };
        let network = network.add_to(&mut large).unwrap();
        crate::add_groups(&mut large, &network.vpc.id(), &ports).unwrap();
        for (key, desired) in small.resources() {
            let there = large.resources().get(key);
            assert!(there.is_some(), "{key} is not in both");
            let moves = ["vpc", "internet-gateway", "subnet", "security-group"];
            if moves.contains(&key.kind.as_str()) {
                assert_eq!(Some(&desired.spec), there.map(|there| &there.spec), "{key}");
            }
        }
    }
}
