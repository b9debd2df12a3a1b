//! The rules of a VPC's router.
//!
//! A router evaluates these maps for every forwarded packet, in this order:
//!
//! 1. `from`, by the incoming link: the source must be the interface's own address, and a packet that leaves its
//!    subnet must be allowed by the subnet's ACL.
//! 2. `into`, by the destination's subnet: a packet from another subnet must be allowed by the ACL.
//! 3. The state of the connection: responses pass.
//! 4. `egress`, by link: the security groups of the sender.
//! 5. `ingress`, by link: the security groups of the receiver.
//!
//! The first two are stateless and also apply to responses. All of them see private addresses: the internet gateway
//! translates destinations before them and sources after them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::{Direction, PortRange};
use landfall_provider::{NetworkAclId, SecurityGroupId, SubnetId, VpcId};

use super::{FORWARD, SOURCE_NAT, nat, states};
use crate::netlink::ruleset::{
    Action, Chain, Field, Hook, Key, KeyType, Match, Rule, Ruleset, Set, Value, ValueType, Verdict,
};
use crate::numbers::{ENDPOINT_LINK, INTERNET_GROUP, INTERNET_LINK, group_of, link_index};
use crate::topology::{GroupRule, GroupRulePeer, Interface, LoweredAclEntry, Topology, Traffic};

/// The kernel's priority of destination translation.
const DESTINATION_NAT: i32 = -100;

/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// The type of an ICMP echo request.
const ECHO_REQUEST: u8 = 8;

/// The rules of a VPC's router.
pub(crate) fn router(topology: &Topology, vpc: &VpcId) -> Ruleset {
    let mut compiler = Compiler {
        topology,
        vpc,
        ruleset: Ruleset::default(),
    };
    compiler.states();
    for name in ["from", "egress", "ingress"] {
        compiler.add_map(name, KeyType::Link);
    }
    compiler.add_map("into", KeyType::Group);
    compiler.subnets();
    compiler.nat_gateways();
    compiler.interfaces();
    compiler.internet_gateway();
    compiler.endpoint();
    let forward = Chain {
        base: Some(FORWARD),
        rules: vec![
            Rule::dispatch(Field::IncomingLink, "from"),
            Rule::dispatch(Field::OutgoingGroup, "into"),
            Rule::dispatch(Field::State, "states"),
            Rule::dispatch(Field::IncomingLink, "egress"),
            Rule::dispatch(Field::OutgoingLink, "ingress"),
        ],
    };
    compiler
        .ruleset
        .chains
        .insert("forward".to_owned(), forward);
    compiler.ruleset
}

/// The compiler of one router's ruleset.
struct Compiler<'a> {
    topology: &'a Topology,
    vpc: &'a VpcId,
    ruleset: Ruleset,
}

impl Compiler<'_> {
    fn cidr(&self) -> Ipv4Net {
        self.topology.vpcs[self.vpc].cidr
    }

    fn is_here(&self, subnet: &SubnetId) -> bool {
        self.topology.vpc_of(subnet) == Some(self.vpc)
    }

    fn states(&mut self) {
        self.ruleset.sets.insert("states".to_owned(), states());
    }

    fn add_map(&mut self, name: &str, key: KeyType) {
        let map = Set::map(key, ValueType::Verdict);
        self.ruleset.sets.insert(name.to_owned(), map);
    }

    fn map(&mut self, name: &str, key: Key, verdict: Verdict) {
        let map = self.ruleset.sets.get_mut(name);
        map.expect("the maps are added first")
            .insert(key, Value::Verdict(verdict));
    }

    fn chain(&mut self, name: String, rules: Vec<Rule>) {
        let chain = Chain { base: None, rules };
        self.ruleset.chains.insert(name, chain);
    }

    /// The rules for traffic into each subnet.
    fn subnets(&mut self) {
        let topology = self.topology;
        for (id, subnet) in &topology.subnets {
            if subnet.vpc != *self.vpc {
                continue;
            }
            if let Some(acl) = self.acl(subnet.network_acl.as_ref(), Direction::Ingress) {
                let group = group_of(topology, id);
                let name = format!("into-{id}");
                let same_subnet = [Match::Is(Field::IncomingGroup, group)];
                let rules = vec![
                    Rule::new(same_subnet, Verdict::Return),
                    Rule::new([], Verdict::Goto(acl)),
                ];
                self.chain(name.clone(), rules);
                self.map("into", Key::Group(group), Verdict::Jump(name));
            }
        }
    }

    /// The rules for traffic from an interface out of its subnet.
    fn from(&mut self, subnet: &SubnetId, address: Ipv4Addr, checked: bool) {
        let mut rules = Vec::new();
        if checked {
            let foreign = [Match::IsNot(Field::Source, address)];
            rules.push(Rule::new(foreign, Verdict::Drop));
        }
        let acl = self.topology.subnets[subnet].network_acl.as_ref();
        if let Some(acl) = self.acl(acl, Direction::Egress) {
            let group = group_of(self.topology, subnet);
            let same_subnet = [Match::Is(Field::OutgoingGroup, group)];
            rules.push(Rule::new(same_subnet, Verdict::Return));
            rules.push(Rule::new([], Verdict::Goto(acl)));
        }
        if !rules.is_empty() {
            let name = format!("from-{address}");
            let key = Key::Link(link_index(self.cidr(), address));
            self.chain(name.clone(), rules);
            self.map("from", key, Verdict::Jump(name));
        }
    }

    /// The chain of an ACL's entries for one direction; `None` if they allow all traffic.
    fn acl(&mut self, id: Option<&NetworkAclId>, direction: Direction) -> Option<String> {
        let id = id?;
        let acl = &self.topology.network_acls[id];
        let (entries, name) = match direction {
            Direction::Ingress => (&acl.inbound, format!("{id}-inbound")),
            Direction::Egress => (&acl.outbound, format!("{id}-outbound")),
        };
        let everything = |entry: &LoweredAclEntry| {
            entry.allow && entry.traffic == Traffic::All && entry.cidr.prefix_len() == 0
        };
        if entries.values().next().is_some_and(everything) {
            return None;
        }
        if !self.ruleset.chains.contains_key(&name) {
            let field = match direction {
                Direction::Ingress => Field::Source,
                Direction::Egress => Field::Destination,
            };
            let mut rules: Vec<Rule> = entries
                .values()
                .map(|entry| {
                    let mut matches = network(field, entry.cidr);
                    matches.extend(traffic(&entry.traffic));
                    let verdict = if entry.allow {
                        Verdict::Return
                    } else {
                        Verdict::Drop
                    };
                    Rule::new(matches, verdict)
                })
                .collect();
            rules.push(Rule::new([], Verdict::Drop));
            self.chain(name.clone(), rules);
        }
        Some(name)
    }

    /// NAT gateways forward traffic of others and have no security groups.
    fn nat_gateways(&mut self) {
        let topology = self.topology;
        for gateway in topology.nat_gateways.values() {
            if self.is_here(&gateway.subnet) {
                let key = Key::Link(link_index(self.cidr(), gateway.address));
                self.from(&gateway.subnet, gateway.address, false);
                self.map("ingress", key, Verdict::Accept);
            }
        }
    }

    fn interfaces(&mut self) {
        let topology = self.topology;
        for interface in topology.interfaces.values() {
            if self.is_here(&interface.subnet) {
                let key = Key::Link(link_index(self.cidr(), interface.address));
                self.from(&interface.subnet, interface.address, true);
                let egress = self.groups(interface, Direction::Egress);
                self.map("egress", key, Verdict::Jump(egress));
                let ingress = self.groups(interface, Direction::Ingress);
                self.map("ingress", key, Verdict::Goto(ingress));
            }
        }
    }

    /// The chain of the traffic that an interface's groups allow. Interfaces with the same groups share it.
    fn groups(&mut self, interface: &Interface, direction: Direction) -> String {
        let (prefix, allowed) = match direction {
            Direction::Ingress => ("ingress", Verdict::Accept),
            Direction::Egress => ("egress", Verdict::Return),
        };
        let ids: Vec<&str> = interface
            .security_groups
            .iter()
            .map(AsRef::as_ref)
            .collect();
        let mut name = format!("{prefix}-{}", ids.join("_"));
        if name.len() > LONGEST_NAME {
            name = format!("{prefix}-{}", interface.address);
        }
        if !self.ruleset.chains.contains_key(&name) {
            let mut rules = Vec::new();
            let of_all: BTreeSet<&GroupRule> = interface
                .security_groups
                .iter()
                .map(|id| &self.topology.security_groups[id])
                .flat_map(|group| match direction {
                    Direction::Ingress => &group.ingress,
                    Direction::Egress => &group.egress,
                })
                .collect();
            for rule in of_all {
                let mut matches = self.peer(&rule.peer, direction);
                matches.extend(traffic(&rule.traffic));
                rules.push(Rule::new(matches, allowed.clone()));
            }
            rules.push(Rule::new([], Verdict::Drop));
            self.chain(name.clone(), rules);
        }
        name
    }

    fn peer(&mut self, peer: &GroupRulePeer, direction: Direction) -> Vec<Match> {
        let field = match direction {
            Direction::Ingress => Field::Source,
            Direction::Egress => Field::Destination,
        };
        match peer {
            GroupRulePeer::Cidr(cidr) => network(field, *cidr),
            GroupRulePeer::Group(group) => vec![Match::InSet(field, self.members(group))],
        }
    }

    /// The set of the private addresses of a group's members.
    fn members(&mut self, group: &SecurityGroupId) -> String {
        let name = format!("members-{group}");
        if !self.ruleset.sets.contains_key(&name) {
            let interfaces = self.topology.interfaces.values();
            let members = interfaces
                .filter(|interface| interface.security_groups.contains(group))
                .filter(|interface| self.is_here(&interface.subnet))
                .map(|interface| interface.address);
            let members = Set::addresses(members);
            self.ruleset.sets.insert(name.clone(), members);
        }
        name
    }

    /// The internet gateway: each public address belongs to one private address. Packets of an interface without a
    /// public address are dropped in both directions.
    fn internet_gateway(&mut self) {
        if !self.topology.vpcs[self.vpc].internet_gateway {
            return;
        }
        let mut private = Set::map(KeyType::Address, ValueType::Address);
        let mut public = Set::map(KeyType::Address, ValueType::Address);
        let interfaces = self.topology.interfaces.values();
        let gateways = self.topology.nat_gateways.values();
        let pairs = interfaces
            .filter_map(|it| Some((&it.subnet, it.address, it.public_address?)))
            .chain(gateways.map(|it| (&it.subnet, it.address, it.public_address)));
        for (subnet, address, outside) in pairs {
            if self.is_here(subnet) {
                private.insert(Key::Address(outside), Value::Address(address));
                public.insert(Key::Address(address), Value::Address(outside));
            }
        }
        // The kernel translates once per connection. The rule checks the public address for every packet, so that
        // removing it ends open connections.
        let translated = Set::addresses(public.elements.keys().filter_map(Key::address));
        self.ruleset
            .sets
            .insert("translated".to_owned(), translated);
        for (map, key, field) in [
            ("from", Key::Link(INTERNET_LINK), Field::Destination),
            ("into", Key::Group(INTERNET_GROUP), Field::Source),
        ] {
            let name = format!("{map}-internet");
            let known = [Match::InSet(field, "translated".to_owned())];
            let rules = vec![
                Rule::new(known, Verdict::Return),
                Rule::new([], Verdict::Drop),
            ];
            self.chain(name.clone(), rules);
            self.map(map, key, Verdict::Jump(name));
        }
        self.ruleset.sets.insert("private".to_owned(), private);
        self.ruleset.sets.insert("public".to_owned(), public);
        let incoming = Match::Is(Field::IncomingLink, INTERNET_LINK);
        let forged = Match::In(Field::Source, self.cidr());
        let prerouting = vec![
            Rule::new([incoming.clone(), forged], Verdict::Drop),
            Rule {
                matches: vec![incoming.clone()],
                action: Action::TranslateDestination("private".to_owned()),
            },
            Rule::new([incoming], Verdict::Drop),
        ];
        let outgoing = Match::Is(Field::OutgoingLink, INTERNET_LINK);
        let postrouting = vec![
            Rule {
                matches: vec![outgoing.clone()],
                action: Action::TranslateSource("public".to_owned()),
            },
            Rule::new([outgoing], Verdict::Drop),
        ];
        let chains = &mut self.ruleset.chains;
        chains.insert(
            "prerouting".to_owned(),
            nat(Hook::Prerouting, DESTINATION_NAT, prerouting),
        );
        chains.insert(
            "postrouting".to_owned(),
            nat(Hook::Postrouting, SOURCE_NAT, postrouting),
        );
        self.map("ingress", Key::Link(INTERNET_LINK), Verdict::Accept);
    }

    /// Gateway endpoints carry TCP and ICMP echoes; connections start only in the VPC.
    ///
    /// See `VPCE_GATEWAY_PROTOCOL_RESTRICTION` in
    /// <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>
    fn endpoint(&mut self) {
        if self.topology.has_endpoint(self.vpc) {
            let key = Key::Link(ENDPOINT_LINK);
            let name = "to-endpoint".to_owned();
            let echo = [Match::Protocol(ICMP), Match::IcmpType(ECHO_REQUEST)];
            let rules = vec![
                Rule::new([Match::Protocol(TCP)], Verdict::Accept),
                Rule::new(echo, Verdict::Accept),
            ];
            self.chain(name.clone(), rules);
            self.map("egress", key, Verdict::Drop);
            self.map("ingress", key, Verdict::Goto(name));
        }
    }
}

/// The limit on the length of a chain's name, below the kernel's limit.
const LONGEST_NAME: usize = 200;

fn network(field: Field, cidr: Ipv4Net) -> Vec<Match> {
    if cidr.prefix_len() == 0 {
        return Vec::new();
    }
    vec![Match::In(field, cidr)]
}

fn traffic(traffic: &Traffic) -> Vec<Match> {
    let (protocol, ports) = match traffic {
        Traffic::All => return Vec::new(),
        Traffic::Tcp(ports) => (TCP, *ports),
        Traffic::Udp(ports) => (UDP, *ports),
        Traffic::Protocol(number) => return vec![Match::Protocol(*number)],
        Traffic::Icmp(kind, code) => {
            let mut matches = vec![Match::Protocol(ICMP)];
            matches.extend(kind.map(Match::IcmpType));
            matches.extend(code.map(Match::IcmpCode));
            return matches;
        }
    };
    let mut matches = vec![Match::Protocol(protocol)];
    if ports != PortRange::ALL {
        matches.push(Match::Ports(ports.from..=ports.to));
    }
    matches
}
