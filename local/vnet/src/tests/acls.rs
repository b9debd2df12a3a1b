//! Network ACLs: stateless, in order, at the border of a subnet.

use super::support::{
    Outcome, add_group, add_interface, add_public_vpc, add_subnet, address, connect, entry,
    everything, internet, isolated_test, only, serve,
};
use landfall_network::PortRange;

use crate::{Fabric, NetworkAcl, Topology, Traffic};

const EPHEMERAL: PortRange = PortRange {
    from: 1024,
    to: u16::MAX,
};

/// Two subnets and three interfaces whose groups let everything pass; the second subnet has the ACL.
fn behind(acl: NetworkAcl) -> Topology {
    let mut topology = internet();
    add_public_vpc(&mut topology, "a");
    add_subnet(&mut topology, "b", "a", "10.0.1.0/24", None);
    add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
    add_interface(&mut topology, "out", "a", "10.0.0.4", None, &["sg-open"]);
    add_interface(&mut topology, "in", "b", "10.0.1.4", None, &["sg-open"]);
    add_interface(&mut topology, "near", "b", "10.0.1.5", None, &["sg-open"]);
    topology.network_acls.insert("acl-b".into(), acl);
    let subnet = topology.subnets.get_mut(&"subnet-b".into()).unwrap();
    subnet.network_acl = Some("acl-b".into());
    topology
}

fn tcp(port: u16) -> Traffic {
    Traffic::Tcp(only(port))
}

isolated_test! {
    fn answers_need_an_entry_of_their_own() {
        let mut acl = NetworkAcl {
            inbound: [(100, entry(true, tcp(80), "0.0.0.0/0"))].into(),
            outbound: [(100, entry(true, tcp(80), "0.0.0.0/0"))].into(),
        };
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&behind(acl.clone())).unwrap();
        let outside = fabric.namespace(&"eni-out".into()).unwrap().clone();
        let inside = fabric.namespace(&"eni-in".into()).unwrap().clone();
        serve(&inside, 80);
        serve(&outside, 80);
        assert_eq!(connect(&outside, address("10.0.1.4"), 80), Outcome::Silence);
        assert_eq!(connect(&inside, address("10.0.0.4"), 80), Outcome::Silence);

        acl.outbound.insert(110, entry(true, Traffic::Tcp(EPHEMERAL), "10.0.0.0/24"));
        fabric.apply(&behind(acl.clone())).unwrap();
        assert_eq!(
            connect(&outside, address("10.0.1.4"), 80),
            Outcome::Seen(address("10.0.0.4"))
        );
        assert_eq!(connect(&inside, address("10.0.0.4"), 80), Outcome::Silence);

        acl.inbound.insert(110, entry(true, Traffic::Tcp(EPHEMERAL), "10.0.0.0/24"));
        fabric.apply(&behind(acl)).unwrap();
        assert_eq!(
            connect(&inside, address("10.0.0.4"), 80),
            Outcome::Seen(address("10.0.1.4"))
        );
    }
}

isolated_test! {
    fn the_first_entry_that_matches_decides() {
        let everything = || entry(true, Traffic::All, "0.0.0.0/0");
        let acl = NetworkAcl {
            inbound: [
                (90, entry(true, tcp(81), "10.0.0.4/32")),
                (100, entry(false, Traffic::Tcp(PortRange { from: 80, to: 82 }), "10.0.0.0/16")),
                (110, everything()),
            ]
            .into(),
            outbound: [(100, everything())].into(),
        };
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&behind(acl)).unwrap();
        let outside = fabric.namespace(&"eni-out".into()).unwrap();
        for (port, outcome) in [
            (79, Outcome::Refused),
            (80, Outcome::Silence),
            (81, Outcome::Refused),
            (82, Outcome::Silence),
            (83, Outcome::Refused),
        ] {
            assert_eq!(connect(outside, address("10.0.1.4"), port), outcome, "port {port}");
        }
    }
}

isolated_test! {
    fn an_acl_without_entries_closes_the_border_and_not_the_subnet() {
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&behind(NetworkAcl::default())).unwrap();
        let outside = fabric.namespace(&"eni-out".into()).unwrap();
        let inside = fabric.namespace(&"eni-in".into()).unwrap();
        let near = fabric.namespace(&"eni-near".into()).unwrap();
        serve(inside, 80);
        assert_eq!(connect(outside, address("10.0.1.4"), 80), Outcome::Silence);
        assert_eq!(connect(inside, address("10.0.0.4"), 80), Outcome::Silence);
        assert_eq!(
            connect(near, address("10.0.1.4"), 80),
            Outcome::Seen(address("10.0.1.5"))
        );
    }
}

isolated_test! {
    fn a_new_entry_stops_a_connection_that_is_open() {
        let open = || [(100, entry(true, Traffic::All, "0.0.0.0/0"))].into();
        let mut acl = NetworkAcl { inbound: open(), outbound: open() };
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&behind(acl.clone())).unwrap();
        let outside = fabric.namespace(&"eni-out".into()).unwrap().clone();
        let inside = fabric.namespace(&"eni-in".into()).unwrap().clone();
        let mut pair = super::support::Pair::open(&outside, &inside, address("10.0.1.4"), 80);
        assert!(pair.passes());
        acl.inbound.insert(90, entry(false, Traffic::All, "10.0.0.4/32"));
        fabric.apply(&behind(acl)).unwrap();
        assert!(!pair.passes());
    }
}
