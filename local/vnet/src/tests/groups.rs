//! Security groups: who reaches whom.

use super::support::{
    CLIENT, Outcome, add_group, add_interface, add_public_vpc, address, answers_ping, ask_udp,
    connect, everything, internet, isolated_test, serve, serve_udp, tcp, tcp_group,
};
use landfall_network::PortRange;

use crate::{Fabric, GroupRule, GroupRulePeer, Traffic};

isolated_test! {
    fn a_rule_lets_in_its_port_and_no_other() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-web", &[tcp(8000, "10.0.0.0/16")], &[everything()]);
        add_interface(&mut topology, "one", "a", "10.0.0.4", None, &["sg-web"]);
        add_interface(&mut topology, "two", "a", "10.0.0.5", None, &["sg-web"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let one = fabric.namespace(&"eni-one".into()).unwrap();
        let two = fabric.namespace(&"eni-two".into()).unwrap();
        serve(two, 8000);
        serve(two, 8001);
        serve_udp(two, 8000);
        let target = address("10.0.0.5");
        assert_eq!(connect(one, target, 8000), Outcome::Seen(address("10.0.0.4")));
        assert_eq!(connect(one, target, 8001), Outcome::Silence);
        assert_eq!(ask_udp(one, target, 8000), Outcome::Silence);
        // Allowed, and nobody listens; and an address that nobody has.
        assert_eq!(connect(two, address("10.0.0.4"), 8000), Outcome::Refused);
        assert_eq!(connect(one, address("10.0.0.6"), 8000), Outcome::Silence);
    }
}

isolated_test! {
    fn a_range_of_ports_ends_where_it_says() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        let range = GroupRule {
            traffic: Traffic::Tcp(PortRange { from: 8000, to: 8010 }),
            peer: GroupRulePeer::Cidr("10.0.0.4/30".parse().unwrap()),
        };
        add_group(&mut topology, "sg-web", &[range], &[everything()]);
        for (name, at) in [("one", "10.0.0.4"), ("two", "10.0.0.7"), ("far", "10.0.0.8"), ("web", "10.0.0.20")] {
            add_interface(&mut topology, name, "a", at, None, &["sg-web"]);
        }
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        let target = address("10.0.0.20");
        for (port, outcome) in [
            (7999, Outcome::Silence),
            (8000, Outcome::Refused),
            (8010, Outcome::Refused),
            (8011, Outcome::Silence),
        ] {
            assert_eq!(connect(namespace("eni-one"), target, port), outcome, "port {port}");
        }
        assert_eq!(connect(namespace("eni-two"), target, 8000), Outcome::Refused);
        assert_eq!(connect(namespace("eni-far"), target, 8000), Outcome::Silence);
    }
}

isolated_test! {
    fn a_reference_to_a_group_means_its_members() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-lb", &[], &[tcp_group(8000, "sg-web")]);
        add_group(&mut topology, "sg-web", &[tcp_group(8000, "sg-lb")], &[everything()]);
        add_group(&mut topology, "sg-other", &[], &[everything()]);
        add_interface(&mut topology, "lb", "a", "10.0.0.4", None, &["sg-lb"]);
        add_interface(&mut topology, "web", "a", "10.0.0.5", None, &["sg-web"]);
        add_interface(&mut topology, "other", "a", "10.0.0.6", None, &["sg-other"]);
        add_interface(&mut topology, "both", "a", "10.0.0.7", None, &["sg-other", "sg-lb"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        serve(namespace("eni-web"), 8000);
        let target = address("10.0.0.5");
        assert_eq!(
            connect(namespace("eni-lb"), target, 8000),
            Outcome::Seen(address("10.0.0.4"))
        );
        assert_eq!(connect(namespace("eni-other"), target, 8000), Outcome::Silence);
        assert_eq!(
            connect(namespace("eni-both"), target, 8000),
            Outcome::Seen(address("10.0.0.7"))
        );
        // Its egress rule names the group, and other members of no group are not in it.
        assert_eq!(connect(namespace("eni-lb"), address("10.0.0.6"), 8000), Outcome::Silence);
    }
}

isolated_test! {
    fn what_no_egress_rule_allows_does_not_leave_and_answers_do() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-closed", &[tcp(80, "0.0.0.0/0")], &[]);
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        add_group(&mut topology, "sg-none", &[], &[]);
        add_interface(&mut topology, "closed", "a", "10.0.0.4", Some("203.0.113.4"), &["sg-closed"]);
        add_interface(&mut topology, "open", "a", "10.0.0.5", None, &["sg-open"]);
        add_interface(&mut topology, "mute", "a", "10.0.0.6", None, &["sg-none"]);
        add_interface(&mut topology, "bare", "a", "10.0.0.7", None, &[]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let namespace = |name: &str| fabric.namespace(&name.into()).unwrap();
        serve(namespace("eni-closed"), 80);
        serve(namespace("eni-open"), 80);
        serve(fabric.internet(), 80);
        assert_eq!(
            connect(namespace("eni-open"), address("10.0.0.4"), 80),
            Outcome::Seen(address("10.0.0.5"))
        );
        assert_eq!(connect(namespace("eni-closed"), address("10.0.0.5"), 80), Outcome::Silence);
        assert_eq!(connect(fabric.internet(), address("203.0.113.4"), 80), Outcome::Seen(CLIENT));
        assert_eq!(connect(namespace("eni-closed"), CLIENT, 80), Outcome::Silence);
        for name in ["eni-mute", "eni-bare"] {
            assert_eq!(connect(namespace(name), address("10.0.0.5"), 80), Outcome::Silence);
        }
        assert_eq!(connect(namespace("eni-open"), address("10.0.0.7"), 80), Outcome::Silence);
    }
}

isolated_test! {
    fn spoofed_source_address_is_dropped() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        add_group(&mut topology, "sg-open", &[everything()], &[everything()]);
        add_interface(&mut topology, "liar", "a", "10.0.0.4", None, &["sg-open"]);
        add_interface(&mut topology, "web", "a", "10.0.0.5", None, &["sg-open"]);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let liar = fabric.namespace(&"eni-liar".into()).unwrap();
        let web = fabric.namespace(&"eni-web".into()).unwrap();
        let received = web.enter(|| std::net::UdpSocket::bind("0.0.0.0:9000")).unwrap().unwrap();
        received.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let send = |from: &str| {
            let from: std::net::SocketAddr = from.parse().unwrap();
            liar.enter(|| {
                let mut netlink = crate::netlink::Netlink::open().unwrap();
                // A second address on the link is the liar's own business.
                let _ = netlink.add_address(2, address("10.0.0.9"));
                std::net::UdpSocket::bind(from).unwrap().send_to(b"!", "10.0.0.5:9000").unwrap();
            })
            .unwrap();
            received.recv_from(&mut [0; 8]).map(|(_, peer)| peer.ip())
        };
        assert_eq!(send("10.0.0.4:0").unwrap(), address("10.0.0.4"));
        assert!(send("10.0.0.9:0").is_err());
    }
}

isolated_test! {
    fn icmp_is_let_in_by_its_type() {
        let mut topology = internet();
        add_public_vpc(&mut topology, "a");
        let icmp = |kind, code| GroupRule {
            traffic: Traffic::Icmp(kind, code),
            peer: GroupRulePeer::Cidr("0.0.0.0/0".parse().unwrap()),
        };
        add_group(&mut topology, "sg-all", &[icmp(None, None)], &[everything()]);
        add_group(&mut topology, "sg-echo", &[icmp(Some(8), Some(0))], &[everything()]);
        add_group(&mut topology, "sg-other", &[icmp(Some(3), None)], &[everything()]);
        add_group(&mut topology, "sg-tcp", &[tcp(80, "0.0.0.0/0")], &[everything()]);
        let groups = ["sg-all", "sg-echo", "sg-other", "sg-tcp"];
        for (group, host) in groups.into_iter().zip(4..) {
            let at = format!("10.0.0.{host}");
            let public = format!("203.0.113.{host}");
            add_interface(&mut topology, group, "a", &at, Some(&public), &[group]);
        }
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        let from = fabric.namespace(&"eni-sg-tcp".into()).unwrap();
        for (host, answers) in [(4, true), (5, true), (6, false), (7, false)] {
            let public = address(&format!("203.0.113.{host}"));
            assert_eq!(answers_ping(fabric.internet(), public), answers, "{public}");
            if host < 7 {
                let private = address(&format!("10.0.0.{host}"));
                assert_eq!(answers_ping(from, private), answers, "{private}");
            }
        }
        assert!(answers_ping(from, CLIENT));
    }
}
