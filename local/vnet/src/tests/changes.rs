//! Applying over what is there: nothing twice, nothing left, nothing broken.

use std::os::fd::AsFd;
use std::time::Instant;

use super::support::{
    CLIENT, Outcome, Pair, address, connect, internet, isolated_test, links, serve, tcp, two_zones,
};
use crate::layout::{self, NodeId};
use crate::netlink::Netlink;
use crate::netlink::route::{End, Mac};
use crate::node::LiveNode;
use crate::{Error, Fabric, Interface};
use landfall_kernel::netns::Namespace;

/// How many requests the kernel has got.
fn requests(fabric: &mut Fabric) -> u32 {
    fabric.nodes.values_mut().map(LiveNode::requests).sum()
}

isolated_test! {
    fn applying_the_same_again_changes_nothing() {
        let topology = two_zones("a", 0);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let before = requests(&mut fabric);
        fabric.apply(&topology).unwrap();
        assert_eq!(before, requests(&mut fabric));
        let started = Instant::now();
        fabric.apply(&topology).unwrap();
        println!("applying the same again took {:?}", started.elapsed());
    }
}

isolated_test! {
    fn the_record_of_what_was_put_in_is_the_layout() {
        let topology = two_zones("a", 0);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let layout = layout::layout(&topology, &fabric.vpc_numbers);
        for (id, desired) in &layout {
            assert_eq!(fabric.nodes[id].current(), desired, "{id}");
        }
        assert_eq!(fabric.nodes.len(), layout.len());
    }
}

isolated_test! {
    fn removing_everything_leaves_no_link() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = two_zones("a", 0);
        fabric.apply(&topology).unwrap();
        let router = fabric.nodes[&NodeId::Router("vpc-a".into())].namespace().clone();
        assert_eq!(links(&router).len(), 10);
        assert_eq!(links(fabric.internet()), ["endpoint-0", "internet-0", "lo"]);

        topology.interfaces.clear();
        fabric.apply(&topology).unwrap();
        assert_eq!(links(&router), ["10.0.0.5", "10.0.1.5", "endpoint", "internet", "lo"]);
        topology.nat_gateways.clear();
        topology.route_tables.clear();
        for subnet in topology.subnets.values_mut() {
            subnet.route_table = None;
        }
        topology.vpcs.get_mut(&"vpc-a".into()).unwrap().internet_gateway = false;
        fabric.apply(&topology).unwrap();
        assert_eq!(links(&router), ["lo"]);

        fabric.apply(&two_zones("a", 0)).unwrap();
        fabric.apply(&internet()).unwrap();
        assert_eq!(links(fabric.internet()), ["lo"]);
        assert_eq!(fabric.nodes.len(), 1);
    }
}

isolated_test! {
    fn an_open_connection_outlives_changes_around_it() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = two_zones("a", 0);
        fabric.apply(&topology).unwrap();
        let web = fabric.namespace(&"eni-a-web-0".into()).unwrap().clone();
        let lb = fabric.namespace(&"eni-a-lb-0".into()).unwrap().clone();
        let mut inside = Pair::open(&lb, &web, address("10.0.10.6"), 8000);
        let mut outside = Pair::open(&web, fabric.internet(), CLIENT, 443);
        let mut inbound = Pair::open(fabric.internet(), &lb, address("203.0.113.20"), 80);

        topology.interfaces.remove(&"eni-a-web-1".into());
        fabric.apply(&topology).unwrap();
        let fresh = Interface {
            address: address("10.0.11.9"),
            ..topology.interfaces[&"eni-a-web-0".into()].clone()
        };
        let fresh = Interface { subnet: "subnet-a-private-1".into(), ..fresh };
        topology.interfaces.insert("eni-a-web-2".into(), fresh);
        let group = topology.security_groups.get_mut(&"sg-a-web".into()).unwrap();
        group.ingress = [tcp(9000, "10.0.0.0/16")].into();
        fabric.apply(&topology).unwrap();
        fabric.apply(&two_zones("a", 0)).unwrap();
        let mut both = two_zones("a", 0);
        super::support::merge(&mut both, two_zones("b", 100));
        fabric.apply(&both).unwrap();
        for pair in [&mut inside, &mut outside, &mut inbound] {
            assert!(pair.passes());
        }
    }
}

isolated_test! {
    fn an_interface_can_take_over_an_address() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = two_zones("a", 0);
        fabric.apply(&topology).unwrap();
        let old = topology.interfaces.remove(&"eni-a-web-0".into()).unwrap();
        topology.interfaces.insert("eni-a-web-9".into(), old);
        fabric.apply(&topology).unwrap();
        assert!(fabric.namespace(&"eni-a-web-0".into()).is_none());
        let lb = fabric.namespace(&"eni-a-lb-0".into()).unwrap();
        let web = fabric.namespace(&"eni-a-web-9".into()).unwrap();
        serve(web, 8000);
        serve(fabric.internet(), 443);
        assert_eq!(connect(lb, address("10.0.10.6"), 8000), Outcome::Seen(address("10.0.0.6")));
        assert_eq!(connect(web, CLIENT, 443), Outcome::Seen(address("203.0.113.10")));
    }
}

isolated_test! {
    fn a_public_address_can_move() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = two_zones("a", 0);
        fabric.apply(&topology).unwrap();
        serve(fabric.namespace(&"eni-a-lb-0".into()).unwrap(), 80);
        let public = address("203.0.113.20");
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Seen(CLIENT));
        let node = fabric.namespace(&"eni-a-lb-1".into()).unwrap().clone();
        let mut other = Pair::open(fabric.internet(), &node, address("203.0.113.21"), 80);
        topology.interfaces.get_mut(&"eni-a-lb-0".into()).unwrap().public_address = None;
        topology.interfaces.get_mut(&"eni-a-lb-1".into()).unwrap().public_address = None;
        fabric.apply(&topology).unwrap();
        assert!(!other.passes());
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Silence);
        let node = topology.interfaces.get_mut(&"eni-a-lb-1".into()).unwrap();
        node.public_address = Some(public);
        fabric.apply(&topology).unwrap();
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Refused);
    }
}

isolated_test! {
    fn a_topology_that_contradicts_itself_is_refused_whole() {
        let mut fabric = Fabric::new().unwrap();
        let mut topology = two_zones("a", 0);
        topology.security_groups.remove(&"sg-a-lb".into());
        topology.interfaces.get_mut(&"eni-a-web-0".into()).unwrap().address = address("10.0.11.6");
        topology.interfaces.get_mut(&"eni-a-bastion".into()).unwrap().address = address("10.0.0.3");
        let Err(Error::Invalid(faults)) = fabric.apply(&topology) else { panic!("applied") };
        insta::assert_snapshot!(faults.join("\n"));
        assert_eq!(fabric.nodes.len(), 1);
    }
}

isolated_test! {
    fn a_refused_change_can_be_made_again() {
        let topology = two_zones("a", 0);
        let mut fabric = Fabric::new().unwrap();
        let mut empty = topology.clone();
        empty.interfaces.clear();
        fabric.apply(&empty).unwrap();
        let router = fabric.nodes[&NodeId::Router("vpc-a".into())].namespace().clone();
        // Somebody else's link is in the way: the number of an instance's link is taken.
        let (other, ()) = Namespace::create(|| Ok(())).unwrap();
        let end = |index: u32, name: &str| End {
            index,
            name: name.to_owned(),
            mac: Mac([2, 9, 9, 9, 9, index.to_be_bytes()[3]]),
            group: 0,
        };
        let mut netlink = router.enter(Netlink::open).unwrap().unwrap();
        netlink.add_veth(&end(0x0a06, "foreign"), &end(9, "foreign"), other.as_fd()).unwrap();
        let error = fabric.apply(&topology).unwrap_err();
        assert!(matches!(error, Error::Kernel { .. }), "{error:?}");
        netlink.delete_link(0x0a06).unwrap();
        fabric.apply(&topology).unwrap();
        let lb = fabric.namespace(&"eni-a-lb-0".into()).unwrap();
        for name in ["eni-a-web-0", "eni-a-web-1"] {
            serve(fabric.namespace(&name.into()).unwrap(), 8000);
        }
        for target in ["10.0.10.6", "10.0.11.6"] {
            let seen = Outcome::Seen(address("10.0.0.6"));
            assert_eq!(connect(lb, address(target), 8000), seen);
        }
    }
}
