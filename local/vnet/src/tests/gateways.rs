//! Internet gateways, NAT gateways, gateway endpoints and route tables.

use super::support::{
    CLIENT, Outcome, add_group, add_interface, add_nat, add_public_vpc, add_subnet, address,
    answering, answers_ping, ask_udp, connect, entry, everything, internet, isolated_test, network,
    only, serve, serve_at, serve_udp, tcp, two_zones,
};
use crate::layout::S3_ADDRESS;
use landfall_network::PortRange;

use crate::{Fabric, NetworkAcl, NextHop, RouteTable, Traffic};

isolated_test! {
    fn a_public_address_stands_for_one_interface() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-web", &[tcp(80, "0.0.0.0/0")], &[everything()]);
        add_interface(&mut topology, "one", "a", "10.0.0.4", Some("203.0.113.10"), &["sg-web"]);
        add_interface(&mut topology, "two", "a", "10.0.0.5", None, &["sg-web"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let one = fabric.namespace(&"eni-one".into()).unwrap();
        let two = fabric.namespace(&"eni-two".into()).unwrap();
        serve(one, 80);
        serve(one, 81);
        serve(fabric.internet(), 80);
        serve_udp(fabric.internet(), 53);
        let public = address("203.0.113.10");
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Seen(CLIENT));
        assert_eq!(connect(fabric.internet(), public, 81), Outcome::Silence);
        assert_eq!(connect(fabric.internet(), address("203.0.113.11"), 80), Outcome::Silence);
        assert_eq!(connect(fabric.internet(), address("10.0.0.4"), 80), Outcome::Silence);
        assert_eq!(connect(one, CLIENT, 80), Outcome::Seen(public));
        assert_eq!(ask_udp(one, CLIENT, 53), Outcome::Seen(public));
        assert_eq!(connect(two, CLIENT, 80), Outcome::Silence);
        // Within the VPC a public address leads out and back in, and so shows public ones.
        assert_eq!(connect(one, public, 80), Outcome::Seen(public));
        assert_eq!(connect(two, public, 80), Outcome::Silence);
    }
}

isolated_test! {
    fn groups_see_private_addresses_behind_the_internet_gateway() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-web", &[tcp(80, "203.0.113.251/32")], &[tcp(80, "203.0.113.250/32")]);
        add_interface(&mut topology, "web", "a", "10.0.0.4", Some("203.0.113.10"), &["sg-web"]);
        let acl = NetworkAcl {
            inbound: [
                (100, entry(true, Traffic::Tcp(only(80)), "203.0.113.0/24")),
                (110, entry(true, Traffic::Tcp(PortRange { from: 1024, to: u16::MAX }), "203.0.113.250/32")),
            ]
            .into(),
            outbound: [(100, entry(true, Traffic::All, "203.0.113.0/24"))].into(),
        };
        topology.network_acls.insert("acl-a".into(), acl);
        topology.subnets.get_mut(&"subnet-a".into()).unwrap().network_acl = Some("acl-a".into());
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let web = fabric.namespace(&"eni-web".into()).unwrap();
        serve(web, 80);
        serve(fabric.internet(), 80);
        let public = address("203.0.113.10");
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Silence);
        assert_eq!(connect(web, CLIENT, 80), Outcome::Seen(public));
        assert_eq!(connect(web, address("203.0.113.251"), 80), Outcome::Silence);
        let from = address("203.0.113.251");
        assert_eq!(
            super::support::connect_from(fabric.internet(), from, public, 80),
            Outcome::Seen(from)
        );
    }
}

isolated_test! {
    fn private_interfaces_leave_by_their_zones_nat() {
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&two_zones("a", 0)).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        serve(fabric.internet(), 443);
        serve_udp(fabric.internet(), 443);
        serve(fabric.internet(), 25);
        for (name, seen) in [("eni-a-web-0", "203.0.113.10"), ("eni-a-web-1", "203.0.113.11")] {
            let seen = Outcome::Seen(address(seen));
            assert_eq!(connect(namespace(name), CLIENT, 443), seen, "{name}");
            assert_eq!(connect(namespace(name), CLIENT, 25), Outcome::Silence, "{name}");
        }
        // A NAT gateway lets nobody in, and answers nobody.
        let none: Vec<u16> = Vec::new();
        for public in ["203.0.113.10", "203.0.113.11"] {
            assert_eq!(answering(fabric.internet(), public, &[80, 443, 8000]), none);
        }
        assert_eq!(connect(namespace("eni-a-web-0"), address("10.0.0.5"), 443), Outcome::Silence);
    }
}

isolated_test! {
    fn the_whole_of_two_zones() {
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&two_zones("a", 0)).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        for name in ["eni-a-web-0", "eni-a-web-1", "eni-a-lb-0", "eni-a-lb-1", "eni-a-bastion"] {
            for port in [22, 80, 8000, 9999] {
                serve(namespace(name), port);
            }
        }
        let answers = |from, to| answering(from, to, &[22, 80, 8000, 9999]);
        let none: Vec<u16> = Vec::new();
        let internet = fabric.internet();
        assert_eq!(answers(internet, "203.0.113.20"), [80]);
        assert_eq!(answers(internet, "203.0.113.21"), [80]);
        assert_eq!(answers(internet, "203.0.113.30"), [22]);
        let lb = namespace("eni-a-lb-0");
        assert_eq!(answers(lb, "10.0.10.6"), [8000]);
        assert_eq!(answers(lb, "10.0.11.6"), [8000]);
        assert_eq!(answers(lb, "10.0.0.7"), none);
        let bastion = namespace("eni-a-bastion");
        assert_eq!(answers(bastion, "10.0.10.6"), [22]);
        assert_eq!(answers(bastion, "10.0.1.6"), none);
        let web = namespace("eni-a-web-0");
        assert_eq!(answers(web, "10.0.11.6"), none);
        assert_eq!(answers(web, "10.0.0.6"), none);
        assert_eq!(answers(web, "203.0.113.20"), none);
    }
}

isolated_test! {
    fn a_subnet_without_a_route_reaches_the_vpc_and_nothing_else() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_subnet(&mut topology, "b", "a", "10.0.1.0/24", None);
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        add_interface(&mut topology, "public", "a", "10.0.0.4", Some("203.0.113.4"), &["sg-open"]);
        add_interface(&mut topology, "lost", "b", "10.0.1.4", Some("203.0.113.5"), &["sg-open"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        serve(fabric.internet(), 80);
        serve(fabric.namespace(&"eni-public".into()).unwrap(), 80);
        let lost = fabric.namespace(&"eni-lost".into()).unwrap().clone();
        serve(&lost, 80);
        assert_eq!(connect(&lost, CLIENT, 80), Outcome::Silence);
        assert_eq!(connect(&lost, address("10.0.0.4"), 80), Outcome::Seen(address("10.0.1.4")));
        // Packets reach it from the internet, and its answers find no way back.
        assert_eq!(connect(fabric.internet(), address("203.0.113.5"), 80), Outcome::Silence);

        let table = RouteTable {
            routes: [
                (network("0.0.0.0/0"), NextHop::InternetGateway),
                (network("203.0.113.251/32"), NextHop::Blackhole),
            ]
            .into(),
        };
        topology.route_tables.insert("rtb-b".into(), table);
        topology.subnets.get_mut(&"subnet-b".into()).unwrap().route_table = Some("rtb-b".into());
        fabric.apply(&topology).unwrap();
        assert_eq!(connect(&lost, CLIENT, 80), Outcome::Seen(address("203.0.113.5")));
        assert_eq!(connect(&lost, address("203.0.113.251"), 80), Outcome::Silence);
    }
}

isolated_test! {
    fn an_endpoint_leads_to_the_service_with_the_private_address() {
        // Two VPCs with the same addresses, each with an endpoint and with no way to the internet.
        let mut topology = internet();
        for suffix in ["a", "b"] {
            add_public_vpc(&mut topology, suffix);
            topology.vpcs.get_mut(&format!("vpc-{suffix}").as_str().into()).unwrap().internet_gateway = false;
            let table = topology.route_tables.get_mut(&format!("rtb-{suffix}").as_str().into()).unwrap();
            table.routes.insert(network("198.51.100.0/24"), NextHop::GatewayEndpoint);
            add_interface(&mut topology, suffix, suffix, "10.0.0.4", None, &["sg-open"]);
        }
        add_subnet(&mut topology, "c", "a", "10.0.1.0/24", None);
        add_interface(&mut topology, "c", "c", "10.0.1.4", None, &["sg-open"]);
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        serve_at(fabric.internet(), S3_ADDRESS, 443);
        serve_udp(fabric.internet(), 443);
        for name in ["eni-a", "eni-b", "eni-a"] {
            assert_eq!(
                connect(namespace(name), S3_ADDRESS, 443),
                Outcome::Seen(address("10.0.0.4"))
            );
        }
        assert_eq!(connect(namespace("eni-a"), S3_ADDRESS, 80), Outcome::Refused);
        assert_eq!(ask_udp(namespace("eni-a"), S3_ADDRESS, 443), Outcome::Silence);
        assert!(answers_ping(namespace("eni-a"), S3_ADDRESS));
        assert_eq!(connect(namespace("eni-a"), CLIENT, 443), Outcome::Silence);
        assert_eq!(connect(namespace("eni-c"), S3_ADDRESS, 443), Outcome::Silence);
    }
}

isolated_test! {
    fn vpcs_with_the_same_addresses_do_not_see_each_other() {
        let mut topology = internet();
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        for (suffix, public) in [("a", "203.0.113.4"), ("b", "203.0.113.5")] {
            add_public_vpc(&mut topology, suffix);
            add_interface(&mut topology, suffix, suffix, "10.0.0.4", Some(public), &["sg-open"]);
        }
        add_interface(&mut topology, "only-b", "b", "10.0.0.9", None, &["sg-open"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let a = fabric.namespace(&"eni-a".into()).unwrap();
        let b = fabric.namespace(&"eni-b".into()).unwrap();
        serve(b, 80);
        serve(fabric.namespace(&"eni-only-b".into()).unwrap(), 80);
        assert_eq!(connect(a, address("10.0.0.4"), 80), Outcome::Refused);
        assert_eq!(connect(a, address("10.0.0.9"), 80), Outcome::Silence);
        assert_eq!(connect(b, address("10.0.0.9"), 80), Outcome::Seen(address("10.0.0.4")));
        // Over the internet they meet, as strangers.
        assert_eq!(
            connect(a, address("203.0.113.5"), 80),
            Outcome::Seen(address("203.0.113.4"))
        );
    }
}

isolated_test! {
    fn a_nat_gateway_crosses_the_acls_of_both_subnets() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_nat(&mut topology, "a", "a", "10.0.0.5", "203.0.113.9");
        let table = RouteTable {
            routes: [(network("0.0.0.0/0"), NextHop::NatGateway("nat-a".into()))].into(),
        };
        topology.route_tables.insert("rtb-b".into(), table);
        add_subnet(&mut topology, "b", "a", "10.0.1.0/24", Some("rtb-b"));
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        add_interface(&mut topology, "web", "b", "10.0.1.4", None, &["sg-open"]);
        add_interface(&mut topology, "public", "a", "10.0.0.4", Some("203.0.113.4"), &["sg-open"]);
        topology.subnets.get_mut(&"subnet-a".into()).unwrap().network_acl = Some("acl-a".into());
        let all = entry(true, Traffic::All, "0.0.0.0/0");
        let https = entry(true, Traffic::Tcp(only(443)), "0.0.0.0/0");
        let answers = |cidr| entry(true, Traffic::Tcp(PortRange { from: 1024, to: u16::MAX }), cidr);
        let mut fabric = Fabric::new().unwrap();
        let mut outcome = |acl: NetworkAcl| {
            topology.network_acls.insert("acl-a".into(), acl);
            fabric.apply(&topology).unwrap();
            connect(fabric.namespace(&"eni-web".into()).unwrap(), CLIENT, 443)
        };
        let seen = Outcome::Seen(address("203.0.113.9"));
        let whole = NetworkAcl {
            inbound: [(100, https.clone()), (110, answers("203.0.113.0/24"))].into(),
            outbound: [(100, https), (110, answers("10.0.1.0/24"))].into(),
        };
        assert_eq!(outcome(whole.clone()), Outcome::Refused);
        for missing in [100, 110] {
            let mut acl = whole.clone();
            acl.inbound.remove(&missing);
            assert_eq!(outcome(acl), Outcome::Silence, "without inbound {missing}");
            let mut acl = whole.clone();
            acl.outbound.remove(&missing);
            assert_eq!(outcome(acl), Outcome::Silence, "without outbound {missing}");
        }
        let open = NetworkAcl { inbound: [(1, all.clone())].into(), outbound: [(1, all)].into() };
        assert_eq!(outcome(open), Outcome::Refused);
        serve(fabric.internet(), 443);
        let web = fabric.namespace(&"eni-web".into()).unwrap();
        assert_eq!(connect(web, CLIENT, 443), seen);
        // The way to a public address of the own VPC leads over the internet, too.
        let public = fabric.namespace(&"eni-public".into()).unwrap();
        serve(public, 443);
        assert_eq!(connect(web, address("203.0.113.4"), 443), seen);
    }
}
