use std::fmt::Write;

use landfall_provider::{
    Action, Plan, PlanError, Port, Resource, Schema, Snapshot, StackName, plan,
};
use proptest::prelude::*;

use super::*;
use crate::{SecurityGroup, SecurityGroupRules};
use crate::{ServicePort, add_groups};

fn zones(count: usize) -> Vec<Zone> {
    "abcdef"
        .chars()
        .take(count)
        .map(|letter| Zone::new(format!("ap-south-1{letter}")).unwrap())
        .collect()
}

fn ports(bastion: bool) -> OpenPorts {
    OpenPorts {
        bastion_allow: bastion.then(|| vec!["203.0.113.7/32".parse().unwrap()]),
        ..OpenPorts::new(
            vec![Port::new(80).unwrap()],
            vec![ServicePort {
                name: ResourceName::new("web").unwrap(),
                port: Port::new(8000).unwrap(),
            }],
        )
    }
}

fn two_tier(count: usize, nat: NatMode, s3_endpoint: bool, open_ports: OpenPorts) -> TwoTier {
    TwoTier {
        cidr: "10.0.0.0/16".parse().unwrap(),
        zones: zones(count),
        nat,
        s3_endpoint,
        open_ports,
    }
}

fn empty() -> Stack {
    Stack::new(StackName::new("digipay").unwrap())
}

fn stack(blueprint: &TwoTier) -> Stack {
    let mut stack = empty();
    let network = blueprint.add_to(&mut stack).unwrap();
    add_groups(&mut stack, &network.vpc.id(), &blueprint.open_ports).unwrap();
    stack
}

/// One line per resource, and one per entry, rule and route.
fn text(stack: &Stack) -> String {
    let mut text = String::new();
    for (key, desired) in stack.resources() {
        writeln!(text, "{key}").unwrap();
        for (field, value) in desired.spec.as_object().unwrap() {
            match value.as_array() {
                Some(list) => {
                    writeln!(text, "  {field}:").unwrap();
                    for element in list {
                        writeln!(text, "    {element}").unwrap();
                    }
                }
                None => writeln!(text, "  {field}: {value}").unwrap(),
            }
        }
    }
    text
}

fn schema() -> Schema {
    Schema::new()
        .with::<Vpc>()
        .with::<InternetGateway>()
        .with::<Subnet>()
        .with::<ElasticIp>()
        .with::<NatGateway>()
        .with::<RouteTable>()
        .with::<NetworkAcl>()
        .with::<SecurityGroup>()
        .with::<SecurityGroupRules>()
        .with::<GatewayEndpoint>()
}

fn plan_from_nothing(stack: &Stack) -> Result<Plan, PlanError> {
    plan(stack, &Snapshot::default(), &schema())
}

#[test]
fn one_zone() {
    insta::assert_snapshot!(text(&stack(&two_tier(
        1,
        NatMode::PerZone,
        true,
        ports(false)
    ))));
}

#[test]
fn two_zones_with_a_bastion() {
    insta::assert_snapshot!(text(&stack(&two_tier(
        2,
        NatMode::PerZone,
        true,
        ports(true)
    ))));
}

#[test]
fn three_zones_with_one_nat_gateway() {
    insta::assert_snapshot!(text(&stack(&two_tier(
        3,
        NatMode::Single,
        true,
        ports(false)
    ))));
}

#[test]
fn two_zones_without_nat() {
    insta::assert_snapshot!(text(&stack(&two_tier(
        2,
        NatMode::None,
        true,
        ports(false)
    ))));
}

#[test]
fn two_zones_without_any_way_out() {
    insta::assert_snapshot!(text(&stack(&two_tier(
        2,
        NatMode::None,
        false,
        ports(true)
    ))));
}

#[test]
fn a_zone_more_changes_nothing_that_forces_replacement() {
    let (two, three) = (
        stack(&two_tier(2, NatMode::PerZone, true, ports(true))),
        stack(&two_tier(3, NatMode::PerZone, true, ports(true))),
    );
    for (key, before) in two.resources() {
        let after = &three.resources()[key];
        let change = schema()
            .get(&key.kind)
            .unwrap()
            .change(&before.spec, &after.spec)
            .unwrap();
        assert!(
            !matches!(change, landfall_provider::Change::Replace(_)),
            "{key}: {change:?}"
        );
    }
}

#[test]
fn a_change_of_nat_mode_keeps_every_table() {
    let tables = |nat| {
        let stack = stack(&two_tier(3, nat, true, ports(false)));
        stack
            .resources()
            .keys()
            .filter(|key| key.kind == RouteTable::KIND)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(tables(NatMode::PerZone), tables(NatMode::Single));
    assert_eq!(tables(NatMode::PerZone), tables(NatMode::None));
}

#[test]
fn what_cannot_be_laid_out_is_an_error() {
    let mut same = two_tier(2, NatMode::PerZone, true, ports(false));
    same.zones[1] = Zone::new("us-east-1a").unwrap();
    assert_eq!(
        same.add_to(&mut empty()).unwrap_err().to_string(),
        "ap-south-1a and us-east-1a have the same letter: what is made per zone is named after it"
    );

    let mut many = two_tier(2, NatMode::PerZone, true, ports(false));
    many.open_ports.listeners = (1..=40).map(|port| Port::new(port).unwrap()).collect();
    assert_eq!(
        many.add_to(&mut empty()).unwrap_err().to_string(),
        "the network ACL of the public subnets would need 44 entries for ingress, and can have 40: \
         declare fewer ports or fewer address blocks"
    );

    let twice = two_tier(2, NatMode::PerZone, true, ports(false));
    let mut stack = empty();
    twice.add_to(&mut stack).unwrap();
    assert_eq!(
        twice.add_to(&mut stack).unwrap_err().to_string(),
        "the stack already contains vpc/main"
    );
}

#[test]
fn a_service_cannot_take_the_name_of_another_group() {
    for name in ["balancer", "bastion", "web"] {
        let mut ports = ports(true);
        ports.services.push(ServicePort {
            name: ResourceName::new(name).unwrap(),
            port: Port::new(9000).unwrap(),
        });
        let vpc = landfall_provider::VpcId::from("vpc-1").into();
        let taken = add_groups(&mut empty(), &vpc, &ports).unwrap_err();
        assert_eq!(
            taken.to_string(),
            format!("the stack already contains security-group/{name}")
        );
    }
}

prop_compose! {
    fn any_blueprint()(
        count in 1_usize..=6,
        nat in prop_oneof![Just(NatMode::PerZone), Just(NatMode::Single), Just(NatMode::None)],
        s3 in any::<bool>(),
        bastion in any::<bool>(),
        listeners in prop::collection::vec(1_u16.., 0..4),
        services in prop::collection::btree_map("[a-z]{5}", 1_u16.., 0..5),
    ) -> TwoTier {
        let mut open_ports = ports(bastion);
        open_ports.listeners = listeners.into_iter().map(|port| Port::new(port).unwrap()).collect();
        open_ports.services = services
            .into_iter()
            .map(|(name, port)| ServicePort {
                name: ResourceName::new(name).unwrap(),
                port: Port::new(port).unwrap(),
            })
            .collect();
        two_tier(count, nat, s3, open_ports)
    }
}

proptest! {
    #[test]
    fn every_network_can_be_planned(blueprint in any_blueprint()) {
        let stack = stack(&blueprint);
        let plan = plan_from_nothing(&stack).unwrap();
        prop_assert_eq!(plan.steps.len(), stack.resources().len());
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert!(matches!(step.action, Action::Create { .. }), "{}", step.key);
            prop_assert!(step.after.iter().all(|after| after.step < index));
            let before: Vec<_> = plan.steps[..index].iter().map(|step| &step.key).collect();
            for need in &stack.resources()[&step.key].needs {
                prop_assert!(before.contains(&need), "{} before {need}", step.key);
            }
        }
    }

    #[test]
    fn acl_numbers_are_unique_and_legal(blueprint in any_blueprint()) {
        let stack = stack(&blueprint);
        for tier in ["public", "private"] {
            let acl: NetworkAcl = stack.get(&name(tier)).unwrap().unwrap();
            let mut numbers: Vec<_> =
                acl.entries.iter().map(|entry| (entry.direction, entry.number)).collect();
            prop_assert!(numbers.iter().all(|(_, number)| (100..=32766).contains(number) && number % 10 == 0));
            numbers.sort();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), acl.entries.len());
        }
    }
}
