//! The two-tier blueprint: adds a complete network, from a VPC's block to working subnets, to a
//! stack.

use ipnet::Ipv4Net;
use landfall_provider::{Handle, ResourceName, Stack, Zone};

use crate::acls::{ANYWHERE, Borders};
use crate::layout::{Layout, LayoutError, layout};
use crate::nat_gateway::NatMode;
use crate::ports::OpenPorts;
use crate::{
    ElasticIp, EndpointService, GatewayEndpoint, InternetGateway, NatGateway, NetworkAcl, Route,
    RouteTable, RouteTarget, Subnet, Vpc,
};

/// A VPC over one to six zones, each with a public and a private subnet.
///
/// Public subnets reach the internet through the internet gateway, private ones through NAT
/// gateways and S3 through a gateway endpoint. A network ACL per tier allows the traffic of the
/// declared ports.
///
/// ```
/// use landfall_network::{NatMode, OpenPorts, ServicePort, TwoTier};
/// use landfall_provider::{Port, ResourceName, Stack, StackName, Zone};
///
/// let web = ServicePort { name: ResourceName::new("web")?, port: Port::new(8000)? };
/// let mut stack = Stack::new(StackName::new("digipay")?);
/// let network = TwoTier {
///     cidr: "10.0.0.0/16".parse()?,
///     zones: vec![Zone::new("ap-south-1a")?, Zone::new("ap-south-1b")?],
///     nat: NatMode::PerZone,
///     s3_endpoint: true,
///     open_ports: OpenPorts::new(vec![Port::new(80)?], vec![web]),
/// }
/// .add_to(&mut stack)?;
///
/// assert_eq!(network.private[1].subnet.key().to_string(), "subnet/private-b");
/// assert_eq!(stack.resources().len(), 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoTier {
    /// The VPC's block, between /16 and /28.
    pub cidr: Ipv4Net,
    /// The zones, 1 to 6. A zone added at the end moves no existing subnet.
    pub zones: Vec<Zone>,
    /// The way from private subnets to the internet.
    pub nat: NatMode,
    /// Whether private subnets reach S3 without NAT. The endpoint is free of charge.
    pub s3_endpoint: bool,
    /// The ports that the network ACLs allow.
    pub open_ports: OpenPorts,
}

/// The resources of the blueprint, for others to refer to.
#[derive(Debug, Clone)]
pub struct Network {
    /// The VPC.
    pub vpc: Handle<Vpc>,
    /// Its internet gateway.
    pub internet_gateway: Handle<InternetGateway>,
    /// The public subnets, by zone in the given order.
    pub public: Vec<Tier>,
    /// The private subnets, by zone in the given order.
    pub private: Vec<Tier>,
    /// The NAT gateways: one per zone, one, or none.
    pub nat_gateways: Vec<Handle<NatGateway>>,
}

/// One subnet of a tier.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Its zone.
    pub zone: Zone,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// The subnet.
    pub subnet: Handle<Subnet>,
}

impl TwoTier {
    /// Adds the network to a stack.
    ///
    /// Resources that exist once per zone are named after the zone's letter: `subnet/private-a`,
    /// `nat-gateway/a`. Each private subnet has its own route table in every NAT mode, so that a
    /// change of mode changes routes and no table.
    ///
    /// # Errors
    /// [`LayoutError`] when the block, the zones or the ports are not valid for a network; the
    /// stack may then contain a part of it and must be discarded.
    pub fn add_to(&self, stack: &mut Stack) -> Result<Network, LayoutError> {
        let layout = layout(self.cidr, self.zones.len())?;
        for (index, zone) in self.zones.iter().enumerate() {
            if let Some(other) = self.zones[..index]
                .iter()
                .find(|other| other.letter() == zone.letter())
            {
                return Err(LayoutError::SameLetter(other.clone(), zone.clone()));
            }
        }
        let vpc = stack.try_add(name("main"), Vpc { cidr: self.cidr })?;
        let internet_gateway = stack.try_add(name("main"), InternetGateway { vpc: vpc.id() })?;
        let public = self.add_tier(stack, &vpc, "public", &layout.public)?;
        let private = self.add_tier(stack, &vpc, "private", &layout.private)?;

        let nat_gateways = self.add_nat_gateways(stack, &public)?;
        let to_internet = Route {
            destination: ANYWHERE,
            via: RouteTarget::InternetGateway(internet_gateway.id()),
        };
        stack.try_add(
            name("public"),
            RouteTable {
                vpc: vpc.id(),
                routes: vec![to_internet],
                subnets: public.iter().map(|tier| tier.subnet.id()).collect(),
            },
        )?;
        let private_tables = self.add_private_tables(stack, &vpc, &private, &nat_gateways)?;
        if self.s3_endpoint {
            // The public route tables have no endpoint: nothing there reads from S3.
            stack.try_add(
                name("s3"),
                GatewayEndpoint {
                    vpc: vpc.id(),
                    service: EndpointService::S3,
                    route_tables: private_tables.iter().map(Handle::id).collect(),
                },
            )?;
        }
        self.add_acls(stack, &vpc, &layout, &public, &private)?;
        Ok(Network {
            vpc,
            internet_gateway,
            public,
            private,
            nat_gateways,
        })
    }

    fn add_tier(
        &self,
        stack: &mut Stack,
        vpc: &Handle<Vpc>,
        prefix: &str,
        blocks: &[Ipv4Net],
    ) -> Result<Vec<Tier>, LayoutError> {
        self.zones
            .iter()
            .zip(blocks)
            .map(|(zone, &cidr)| {
                let subnet = Subnet {
                    vpc: vpc.id(),
                    zone: zone.clone(),
                    cidr,
                };
                Ok(Tier {
                    zone: zone.clone(),
                    cidr,
                    subnet: stack.try_add(per_zone(&format!("{prefix}-"), zone), subnet)?,
                })
            })
            .collect()
    }

    fn add_nat_gateways(
        &self,
        stack: &mut Stack,
        public: &[Tier],
    ) -> Result<Vec<Handle<NatGateway>>, LayoutError> {
        let count = match self.nat {
            NatMode::PerZone => public.len(),
            NatMode::Single => 1,
            NatMode::None => 0,
        };
        public
            .iter()
            .take(count)
            .map(|tier| {
                let address = stack.try_add(per_zone("nat-", &tier.zone), ElasticIp {})?;
                let gateway = NatGateway {
                    subnet: tier.subnet.id(),
                    address: address.id(),
                };
                Ok(stack.try_add(per_zone("", &tier.zone), gateway)?)
            })
            .collect()
    }

    fn add_private_tables(
        &self,
        stack: &mut Stack,
        vpc: &Handle<Vpc>,
        private: &[Tier],
        nat_gateways: &[Handle<NatGateway>],
    ) -> Result<Vec<Handle<RouteTable>>, LayoutError> {
        private
            .iter()
            .enumerate()
            .map(|(zone, tier)| {
                // The gateway of its own zone, or the only one.
                let gateway = nat_gateways.get(zone).or(nat_gateways.first());
                let table = RouteTable {
                    vpc: vpc.id(),
                    routes: gateway
                        .map(|gateway| Route {
                            destination: ANYWHERE,
                            via: RouteTarget::NatGateway(gateway.id()),
                        })
                        .into_iter()
                        .collect(),
                    subnets: vec![tier.subnet.id()],
                };
                Ok(stack.try_add(per_zone("private-", &tier.zone), table)?)
            })
            .collect()
    }

    fn add_acls(
        &self,
        stack: &mut Stack,
        vpc: &Handle<Vpc>,
        layout: &Layout,
        public: &[Tier],
        private: &[Tier],
    ) -> Result<(), LayoutError> {
        let borders = Borders {
            layout,
            ports: &self.open_ports,
            nat: self.nat,
            s3_endpoint: self.s3_endpoint,
        };
        for (tier, subnets, entries) in [
            ("public", public, borders.public()?),
            ("private", private, borders.private()?),
        ] {
            let acl = NetworkAcl {
                vpc: vpc.id(),
                entries,
                subnets: subnets.iter().map(|tier| tier.subnet.id()).collect(),
            };
            stack.try_add(name(tier), acl)?;
        }
        Ok(())
    }
}

fn per_zone(prefix: &str, zone: &Zone) -> ResourceName {
    name(&format!("{prefix}{}", zone.letter()))
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).expect("the blueprint's words and a zone's letter make a name")
}

#[cfg(test)]
mod tests;
