//! The rules as text, and the same rules as `nft` reads them back from the kernel.

use std::process::{Command, Stdio};

use super::support::{isolated_test, two_zones};
use crate::fabric::Fabric;
use crate::fabric::layout::{self, NodeId};
use crate::netlink::ruleset::Ruleset;
use crate::sys::netns::Namespace;

#[test]
fn the_rules_of_two_zones() {
    let topology = two_zones("a", 0);
    let slots = layout::slots(&layout::Slots::new(), &topology);
    let layout = layout::layout(&topology, &slots);
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
            let ruleset = &node.have().ruleset;
            // Numbers of links are printed as names where a link has that number.
            let (copy, mut netlink) = Namespace::create(|| {
                Ok(crate::netlink::Netlink::open().unwrap().with_nftables().unwrap())
            })
            .unwrap();
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
