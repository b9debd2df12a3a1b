//! The rules as text, and the same rules as `nft` reads them back from the kernel.

use std::process::{Command, Stdio};

use super::support::{isolated_test, two_zones};
use crate::Fabric;
use crate::layout::{self, NodeId};
use crate::netlink::Netlink;
use crate::netlink::ruleset::{Chain, Field, Match, Rule, Ruleset, Set, Verdict};
use landfall_kernel::netns::Namespace;

#[test]
fn the_rules_of_two_zones() {
    let topology = two_zones("a", 0);
    let vpc_numbers = layout::vpc_numbers(&layout::VpcNumbers::new(), &topology);
    let layout = layout::layout(&topology, &vpc_numbers);
    insta::assert_snapshot!("router", layout[&NodeId::Router("vpc-a".into())].ruleset);
    insta::assert_snapshot!(
        "nat_gateway",
        layout[&NodeId::NatGateway("nat-a-0".into())].ruleset
    );
    insta::assert_snapshot!("internet", layout[&NodeId::Internet].ruleset);
}

/// What `nft` says that a namespace has.
fn listed(namespace: &Namespace) -> String {
    nft(namespace, &["list", "ruleset"], None)
}

fn nft(namespace: &Namespace, arguments: &[&str], input: Option<&str>) -> String {
    let run = || {
        let mut child = Command::new("nft")
            .args(arguments)
            // It is where an ordinary user does not search.
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nft is installed");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.unwrap_or("").as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let output = namespace.enter(run).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    // Elements of a set come in no order, and in several lines if they are many.
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Option<String> = None;
    for line in text.lines() {
        let collected = elements.get_or_insert_default();
        collected.push_str(line.trim());
        let open = collected.contains("elements = {") && !collected.contains('}');
        if open {
            collected.push(' ');
            continue;
        }
        let mut line = elements.take().unwrap();
        if let Some((_, inside)) = line.split_once("elements = {") {
            let mut sorted: Vec<_> = inside
                .trim_end_matches('}')
                .split(',')
                .map(str::trim)
                .collect();
            sorted.sort_unstable();
            line = format!("elements = {{ {} }}", sorted.join(", "));
        }
        lines.push(line);
    }
    // Neither do sets and chains: those that changed come last.
    let text = lines.join("\n");
    let text = text
        .strip_prefix("table ip fabric {\n")
        .and_then(|text| text.strip_suffix("\n}"))
        .unwrap_or(&text);
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    blocks.sort_unstable();
    blocks.join("\n\n")
}

/// An empty namespace.
fn open() -> (Namespace, Netlink) {
    Namespace::create(|| Ok(Netlink::open().unwrap().with_nftables().unwrap())).unwrap()
}

/// Loads the printed rules with `nft` into an empty namespace that has the same links.
fn loaded(ruleset: &Ruleset) -> String {
    let (namespace, ()) = Namespace::create(|| Ok(())).unwrap();
    nft(&namespace, &["-f", "-"], Some(&ruleset.to_string()));
    listed(&namespace)
}

isolated_test! {
    fn needs_nft_the_kernel_has_the_rules_that_are_printed() {
        let topology = two_zones("a", 0);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&topology).unwrap();
        for (id, node) in &fabric.nodes {
            let ruleset = &node.current().ruleset;
            // In another namespace, for numbers of links are printed as names where there are links.
            let (copy, mut netlink) = open();
            netlink.install(&Ruleset::default(), ruleset).unwrap();
            let listed = listed(&copy);
            if *ruleset == Ruleset::default() {
                assert_eq!(listed, "");
            } else {
                assert_eq!(listed, loaded(ruleset), "{id}");
            }
        }
    }
}

isolated_test! {
    fn needs_nft_a_change_ends_at_the_same_rules_as_a_fresh_start() {
        let mut steps = vec![two_zones("a", 0)];
        let mut step = two_zones("a", 0);
        step.interfaces.remove(&"eni-a-web-1".into());
        step.security_groups.get_mut(&"sg-a-web".into()).unwrap().egress.clear();
        steps.push(step.clone());
        step.network_acls.get_mut(&"acl-a-private".into()).unwrap().inbound.clear();
        step.vpcs.get_mut(&"vpc-a".into()).unwrap().internet_gateway = false;
        steps.push(step);
        steps.push(two_zones("a", 0));
        let mut fabric = Fabric::new().unwrap();
        for step in steps {
            fabric.apply(&step).unwrap();
            let router = &fabric.nodes[&NodeId::Router("vpc-a".into())];
            let mut fresh = Fabric::new().unwrap();
            fresh.apply(&step).unwrap();
            let fresh = &fresh.nodes[&NodeId::Router("vpc-a".into())];
            assert_eq!(listed(router.namespace()), listed(fresh.namespace()));
        }
    }
}

/// A ruleset with one of everything that can be asked and done.
fn everything() -> Ruleset {
    let conditions = [
        Match::Is(Field::IncomingLink, 1),
        Match::Is(Field::OutgoingGroup, 300),
        Match::IsNot(Field::Source, [10, 0, 0, 4].into()),
        Match::In(Field::Destination, "10.0.0.4/32".parse().unwrap()),
        Match::In(Field::Destination, "10.0.128.0/17".parse().unwrap()),
        Match::In(Field::Source, "10.0.0.0/8".parse().unwrap()),
        Match::In(Field::Source, "10.0.0.4/30".parse().unwrap()),
        Match::InSet(Field::Source, "some".to_owned()),
        Match::Protocol(47),
    ];
    let single = conditions.map(|condition| Rule::new([condition], Verdict::Return));
    let ports = |protocol, ports| [Match::Protocol(protocol), Match::Ports(ports)];
    let mut rules = single.to_vec();
    rules.extend([
        Rule::new(ports(6, 80..=80), Verdict::Accept),
        Rule::new(ports(6, 1024..=65535), Verdict::Drop),
        Rule::new(ports(17, 0..=53), Verdict::Accept),
        Rule::new(
            [Match::Protocol(1), Match::IcmpType(3), Match::IcmpCode(4)],
            Verdict::Accept,
        ),
        Rule::new([Match::Protocol(1), Match::IcmpType(8)], Verdict::Accept),
    ]);
    let some = Set::addresses([[10, 0, 0, 4].into(), [10, 0, 0, 5].into()]);
    let chain = Chain { base: None, rules };
    Ruleset {
        sets: [("some".to_owned(), some)].into(),
        chains: [("conditions".to_owned(), chain)].into(),
    }
}

isolated_test! {
    fn needs_nft_every_condition_is_encoded_as_it_is_printed() {
        let ruleset = everything();
        let (copy, mut netlink) = open();
        netlink.install(&Ruleset::default(), &ruleset).unwrap();
        assert_eq!(listed(&copy), loaded(&ruleset));
    }
}

isolated_test! {
    fn a_refused_transaction_is_noticed_whatever_its_length() {
        let (_, mut netlink) = open();
        for length in 0..140 {
            let drop = Rule::new([], Verdict::Drop);
            let mut chain = Chain { base: None, rules: vec![drop; length] };
            let ruleset = |chain: &Chain| Ruleset {
                sets: [].into(),
                chains: [("some".to_owned(), chain.clone())].into(),
            };
            let good = ruleset(&chain);
            let missing = Match::InSet(Field::Source, "missing".to_owned());
            let place = length / 2;
            chain.rules.insert(place, Rule::new([missing], Verdict::Drop));
            let error = netlink.install(&Ruleset::default(), &ruleset(&chain)).unwrap_err();
            assert!(error.to_string().contains("os error 2)"), "{length}: {error}");
            netlink.install(&Ruleset::default(), &good).unwrap();
            netlink.install(&good, &Ruleset::default()).unwrap();
        }
    }
}
