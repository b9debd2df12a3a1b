//! Rules of one's own that cannot be, with the text that is told.

use super::tests::{GOOD, refused, table};

#[test]
fn rules_of_ones_own_that_cannot_be() {
    let own = |text: &str| format!("stack = 'a'\n[service.web]\nport = 8000\n{text}\n");
    let group = |rule: &str| own(&format!("[[network.security-group.web.rule]]\n{rule}"));
    let entry = |entry: &str| own(&format!("[[network.acl.public.entry]]\n{entry}"));
    let route =
        |tier: &str, rest: &str| own(&format!("[[network.route-table.{tier}.route]]\n{rest}"));
    let cases = [
        (
            "a group that is not there",
            own("[[network.security-group.wbe.rule]]\nfrom = 'balancer'\nports = 80"),
        ),
        (
            "a bastion that is not there",
            own("[network.security-group.bastion]\nderive = false"),
        ),
        (
            "a peer that is not there",
            group("from = 'balancr'\nports = 8000"),
        ),
        (
            "a peer that is nothing",
            group("from = 'The balancer'\nports = 8000"),
        ),
        (
            "a peer without a prefix length",
            group("from = '203.0.113.9'\nports = 8000"),
        ),
        (
            "a peer with host bits",
            group("from = '203.0.113.9/24'\nports = 8000"),
        ),
        (
            "both directions",
            group("from = 'balancer'\nto = 'balancer'\nports = 8000"),
        ),
        ("no direction", group("ports = 8000")),
        ("no ports", group("from = 'balancer'")),
        (
            "ports of ICMP",
            group("from = 'balancer'\nprotocol = 'icmp'\nports = 8000"),
        ),
        (
            "a protocol",
            group("from = 'balancer'\nprotocol = 'http'\nports = 8000"),
        ),
        ("port 0", group("from = 'balancer'\nports = 0")),
        (
            "a port in quotes",
            group("from = 'balancer'\nports = '8000'"),
        ),
        (
            "ports the wrong way round",
            group("from = 'balancer'\nports = '8100-8000'"),
        ),
        (
            "ports that are none",
            group("from = 'balancer'\nports = '8000-80000'"),
        ),
        ("a list of ports", group("from = 'balancer'\nports = [80]")),
        (
            "a description",
            group("from = 'balancer'\nports = 80\ndescription = 'für alle'"),
        ),
        ("another tool's word", group("peer = 'balancer'\nport = 80")),
        (
            "a rule in the group itself",
            own("[network.security-group.web]\nfrom = 'balancer'"),
        ),
        (
            "no number, no action",
            entry("from = '0.0.0.0/0'\nports = 80"),
        ),
        (
            "number 0",
            entry("number = 0\naction = 'deny'\nfrom = '0.0.0.0/0'\nports = 80"),
        ),
        (
            "an action",
            entry("number = 1\naction = 'drop'\nfrom = '0.0.0.0/0'\nports = 80"),
        ),
        (
            "a group in an ACL",
            entry("number = 1\naction = 'deny'\nfrom = 'balancer'\nports = 80"),
        ),
        (
            "a derived number",
            entry("number = 100\naction = 'deny'\nfrom = '0.0.0.0/0'\nports = 80"),
        ),
        (
            "a number twice",
            own(
                "[network.acl.private]\nentry = [\n{ number = 1, action = 'deny', from = '10.0.0.0/8', protocol = 'all' },\n{ number = 1, action = 'allow', from = '10.0.0.0/8', protocol = 'all' },\n]",
            ),
        ),
        ("another tier", own("[network.acl.intern]\nderive = false")),
        (
            "a route inside",
            route(
                "private",
                "destination = '10.0.1.0/24'\nvia = 'nat-gateway'",
            ),
        ),
        (
            "a route through itself",
            route(
                "public",
                "destination = '198.51.100.0/24'\nvia = 'nat-gateway'",
            ),
        ),
        (
            "a route without NAT",
            own(
                "[network]\nnat = 'none'\n[[network.route-table.private.route]]\ndestination = '198.51.100.0/24'\nvia = 'nat-gateway'",
            ),
        ),
        (
            "a route to a bastion",
            route(
                "private",
                "destination = '198.51.100.0/24'\nvia = 'bastion'",
            ),
        ),
        (
            "a route twice",
            own(
                "[network.route-table.private]\nroute = [\n{ destination = '198.51.100.0/24', via = 'nat-gateway' },\n{ destination = '198.51.100.0/24', via = 'internet-gateway' },\n]",
            ),
        ),
        (
            "a service called internet",
            "stack = 'a'\n[service.internet]\nport = 8000\n".to_owned(),
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(title, source)| (*title, source.as_str()))
        .collect();
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn too_many_acl_entries_are_refused_with_their_number() {
    let entries: Vec<String> = (1..=40)
        .map(|n| {
            format!("{{ number = {n}, action = 'deny', from = '203.0.113.{n}/32', ports = 80 }}")
        })
        .collect();
    let source = format!(
        "{GOOD}[network.acl.public]\nentry = [\n{}\n]\n",
        entries.join(",\n")
    );
    let errors = refused(&source);
    assert!(
        errors.contains("the public subnets would have 45 ingress entries"),
        "{errors}"
    );
}
