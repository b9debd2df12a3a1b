//! What gets through to whom: tried with connections from the internet and from instances.

use std::net::Ipv4Addr;
use std::time::Duration;

use bed::{Bed, SERVICE_PORT, Shape};
use landfall_local::{Reached, Vantage};
use landfall_provider::InstanceId;
use landfall_testkit::http;

use crate::bed;

const MOMENT: Duration = Duration::from_millis(300);

/// The first public addresses of a cloud: two gateways and two nodes have them, in any order.
const PUBLIC: [Ipv4Addr; 4] = [
    Ipv4Addr::new(203, 0, 113, 10),
    Ipv4Addr::new(203, 0, 113, 11),
    Ipv4Addr::new(203, 0, 113, 12),
    Ipv4Addr::new(203, 0, 113, 13),
];

async fn from_internet(bed: &Bed, to: Ipv4Addr, port: u16) -> Reached {
    bed.local
        .reach(Vantage::Internet, to, port, MOMENT)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_internet_reaches_the_listeners_port_and_nothing_else() {
    let bed = Bed::new();
    bed.deploy(&Shape::named("moat")).await;
    let mut open = 0;
    for address in PUBLIC {
        open += usize::from(from_internet(&bed, address, 80).await == Reached::Open);
        for port in [22, 81, 443, SERVICE_PORT, 65535] {
            let reached = from_internet(&bed, address, port).await;
            assert!(
                matches!(reached, Reached::Silent(_)),
                "{address}:{port} is {reached:?}"
            );
        }
    }
    assert_eq!(open, 2, "the two nodes of the balancer");
    for target in bed.targets("moat").await {
        for port in [22, 80, SERVICE_PORT] {
            let address = *target.address.unwrap().ip();
            let reached = from_internet(&bed, address, port).await;
            assert!(
                matches!(reached, Reached::Silent(_)),
                "{address}:{port} is {reached:?}"
            );
        }
    }
}

#[tokio::test]
async fn instances_do_not_reach_each_other() {
    let bed = Bed::new();
    bed.deploy(&Shape::named("alone")).await;
    let targets = bed.targets("alone").await;
    let from = Vantage::Instance(InstanceId::from(targets[0].id.clone()));
    let reached = bed
        .local
        .reach(
            from,
            *targets[1].address.unwrap().ip(),
            SERVICE_PORT,
            MOMENT,
        )
        .await
        .unwrap();
    assert!(matches!(reached, Reached::Silent(_)), "{reached:?}");
}

#[tokio::test]
async fn outbound_address_is_the_zones_nat_gateway() {
    let bed = Bed::new();
    let url = bed.deploy(&Shape::named("outward")).await;
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..2 {
        // Requests alternate, so each instance is asked once for who it is and once for how it looks.
        let first = http::get(&url, "/whoami").unwrap().body;
        let second = http::get(&url, "/whoami").unwrap().body;
        let outside = http::get(&url, "/fetch/203.0.113.250:80").unwrap();
        assert_eq!(outside.status, 200, "{outside:?}");
        let other = http::get(&url, "/fetch/203.0.113.250:80").unwrap();
        seen.insert(zone(&first), outside.body);
        seen.insert(zone(&second), other.body);
    }
    for letter in ["a", "b"] {
        let gateway = bed
            .output("outward", &format!("nat-gateway/{letter}"))
            .await;
        assert_eq!(
            seen.get(&format!("local-1{letter}")).map(String::as_str),
            gateway["public_address"].as_str(),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn ssh_passes_allowed_addresses_and_the_bastion_only() {
    let bed = Bed::new();
    // Tries on the internet come from this address.
    let allowed = Shape {
        bastion: Some("203.0.113.250/32"),
        ..Shape::named("gate")
    };
    bed.deploy(&allowed).await;
    let output = bed.output("gate", "instance/bastion").await;
    let bastion: Ipv4Addr = output["public_address"].as_str().unwrap().parse().unwrap();
    // Its SSH server.
    assert_eq!(from_internet(&bed, bastion, 22).await, Reached::Open);
    assert!(matches!(
        from_internet(&bed, bastion, 80).await,
        Reached::Silent(_)
    ));

    let snapshot = bed.snapshot("gate").await;
    let id = snapshot
        .get(&"instance/bastion".parse().unwrap())
        .unwrap()
        .id
        .clone();
    let instance = *bed.targets("gate").await[0].address.unwrap().ip();
    let onward = |port| {
        bed.local.reach(
            Vantage::Instance(InstanceId::from(id.clone())),
            instance,
            port,
            MOMENT,
        )
    };
    // No key opens the instances, so nobody listens there: the packet is let through and refused.
    assert_eq!(onward(22).await.unwrap(), Reached::Refused);
    assert!(matches!(
        onward(SERVICE_PORT).await.unwrap(),
        Reached::Silent(_)
    ));

    bed.deploy(&Shape {
        bastion: Some("203.0.113.251/32"),
        ..allowed
    })
    .await;
    assert!(matches!(
        from_internet(&bed, bastion, 22).await,
        Reached::Silent(_)
    ));
}

fn zone(whoami: &str) -> String {
    let said: serde_json::Value = serde_json::from_str(whoami).unwrap();
    said["zone"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_stacks_with_the_same_addresses_do_not_disturb_each_other() {
    let bed = Bed::new();
    let one = Shape::named("one").env("GREETING", "from one");
    let two = Shape::named("two").env("GREETING", "from two");
    let (first, second) = tokio::join!(bed.deploy(&one), bed.deploy(&two));
    assert_ne!(first, second);
    for _ in 0..4 {
        assert!(
            http::get(&first, "/whoami")
                .unwrap()
                .body
                .contains("from one")
        );
        assert!(
            http::get(&second, "/whoami")
                .unwrap()
                .body
                .contains("from two")
        );
    }
    bed.destroy("one").await;
    assert!(http::get(&first, "/whoami").is_err());
    assert!(
        http::get(&second, "/whoami")
            .unwrap()
            .body
            .contains("from two")
    );
}
