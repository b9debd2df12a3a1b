//! Who reaches whom, and with which source address.

use super::support::{
    CLIENT, Outcome, add_group, add_interface, add_public_vpc, address, connect, everything,
    internet, isolated_test, serve, tcp,
};
use crate::fabric::Fabric;

isolated_test! {
    fn a_group_lets_in_what_its_rule_says_and_nothing_else() {
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
        let target = address("10.0.0.5");
        assert_eq!(connect(one, target, 8000), Outcome::Seen(address("10.0.0.4")));
        assert_eq!(connect(one, target, 8001), Outcome::Silence);
        assert_eq!(connect(one, address("10.0.0.6"), 8000), Outcome::Silence);
        assert_eq!(connect(two, address("10.0.0.4"), 8000), Outcome::Refused);
    }
}

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
        let public = address("203.0.113.10");
        assert_eq!(connect(fabric.internet(), public, 80), Outcome::Seen(CLIENT));
        assert_eq!(connect(fabric.internet(), public, 81), Outcome::Silence);
        assert_eq!(connect(one, CLIENT, 80), Outcome::Seen(public));
        assert_eq!(connect(two, CLIENT, 80), Outcome::Silence);
    }
}
