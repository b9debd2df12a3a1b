//! Makes the changes to a world that verdicts suggest.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::reach::{Remedy, Target, Verdict};
use landfall_network::{Peer, Route, RouteTable, RouteTarget, SecurityRule};
use landfall_provider::{
    InstanceId, InternetGatewayId, Key, NatGatewayId, ResourceId, SecurityGroupId, SubnetId, VpcId,
};

use super::verdicts;
use super::world::{Flow, TestTopology, VPC};

/// A public address that no world gives out.
const SPARE_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 239);

/// How many changes one flow may need: a rule at each group, ACL and route table on both legs.
const CHANGES: usize = 16;

/// Changes the world as the verdict about a flow says, and again, until the flow is reachable; `None`
/// when there is no change left that would help.
pub(super) fn mended(world: &TestTopology, flow: &Flow) -> Option<(TestTopology, Verdict)> {
    let mut world = world.clone();
    for _ in 0..CHANGES {
        let verdict = verdicts(&world, std::slice::from_ref(flow)).remove(0);
        if verdict.reachable() {
            return Some((world, verdict));
        }
        let remedy = verdict.block.and_then(|block| block.remedy)?;
        let before = world.clone();
        change(&mut world, &remedy);
        assert_ne!(
            world, before,
            "{remedy} changes nothing for {}",
            verdict.flow
        );
    }
    panic!("{CHANGES} changes did not make {flow:?} reachable");
}

fn change(world: &mut TestTopology, remedy: &Remedy) {
    match remedy {
        Remedy::AddGroupRule { group, rule } => {
            let peer = match &rule.peer {
                Peer::Cidr(cidr) => Peer::Cidr(*cidr),
                Peer::Group(key) => Peer::Group(id::<SecurityGroupId>(key).into()),
            };
            let rules = world.groups.get_mut(&id(group));
            rules.expect("the group is there").push(SecurityRule {
                direction: rule.direction,
                protocol: rule.protocol,
                ports: rule.ports,
                peer,
                description: rule.description.clone(),
            });
        }
        Remedy::AddAclEntry { acl, entry } => {
            let acl = world.network_acls.get_mut(&id(acl));
            acl.expect("the ACL is there").entries.push(entry.clone());
        }
        Remedy::SetRoute {
            table,
            destination,
            via,
        } => {
            let routes = routes(world, table);
            routes.retain(|route| route.destination != *destination);
            routes.push(route(*destination, via));
        }
        Remedy::RemoveRoute { table, destination } => {
            routes(world, table).retain(|route| route.destination != *destination);
        }
        Remedy::AddRouteTable {
            table,
            subnet,
            destination,
            via,
        } => {
            let new = RouteTable {
                vpc: VpcId::from(VPC).into(),
                routes: vec![route(*destination, via)],
                subnets: vec![id::<SubnetId>(subnet).into()],
            };
            world.route_tables.insert(id(table), new);
        }
        Remedy::AttachInternetGateway { .. } => world.internet_gateway = true,
        Remedy::AddPublicAddress { interface } => {
            let id = InstanceId::from(interface.as_str());
            let host = world.instances.get_mut(&id);
            let host = host.expect("only instances are without");
            host.public_address = Some(SPARE_ADDRESS);
        }
        Remedy::AddTarget { .. } => panic!("the balancers of worlds have no target groups"),
    }
}

fn routes<'a>(world: &'a mut TestTopology, table: &Key) -> &'a mut Vec<Route> {
    let table = world.route_tables.get_mut(&id(table));
    &mut table.expect("the table is there").routes
}

fn route(destination: Ipv4Net, via: &Target) -> Route {
    let via = match via {
        Target::InternetGateway(key) => {
            RouteTarget::InternetGateway(id::<InternetGatewayId>(key).into())
        }
        Target::NatGateway(key) => RouteTarget::NatGateway(id::<NatGatewayId>(key).into()),
    };
    Route { destination, via }
}

/// The id that a key stands for.
fn id<I: ResourceId>(key: &Key) -> I {
    I::from(key.name.to_string())
}
