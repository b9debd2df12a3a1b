//! Files with their mistakes, and what is said about them before anything is made.

use std::fmt::Write as _;

use super::*;
use crate::stack::with_stand_ins;

fn config(text: &str) -> Config {
    let source = format!("stack = 'shop'\n{text}\n");
    Config::parse(&source, "landfall.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn found(text: &str) -> Vec<Broken> {
    let config = config(text);
    broken(&config, &with_stand_ins(&config).unwrap())
}

/// Everything that is broken, as text.
fn told(text: &str) -> String {
    let mut out = String::new();
    for broken in found(text) {
        writeln!(out, "{}", broken.invariants.join("\n")).unwrap();
        if let Some(block) = broken.block() {
            writeln!(out, "  {block} [{}]", block.at).unwrap();
        }
        for change in broken.changes {
            let (Change::File(change) | Change::Other(change)) = change;
            writeln!(out, "  | {}", change.replace('\n', "\n  | ")).unwrap();
        }
    }
    out
}

const WEB: &str = "[service.web]\nport = 8000\n";

#[test]
fn what_follows_from_declared_ports_keeps_to_all_of_it() {
    for text in [
        String::new(),
        "network.nat = 'single'\n".to_owned(),
        "network = { nat = 'none', s3-endpoint = false }\n".to_owned(),
        "network = { nat = 'none', zones = 6 }\n".to_owned(),
        "network.bastion = { allow = ['203.0.113.7/32', '192.0.2.0/24'] }\n".to_owned(),
    ] {
        assert_eq!(told(&format!("{text}{WEB}")), "", "{text}");
    }
}

#[test]
fn mistakes() {
    insta::assert_snapshot!([
        "[network.security-group.web]\nderive = false\n",
        "[network.security-group.balancer]\nderive = false\nrule = [{ to = 'web', ports = 8000 }]",
        "[[network.acl.private.entry]]\nnumber = 50\naction = 'deny'\nfrom = '10.0.0.0/16'\nports = 8000",
        "[network.acl.public]\nderive = false\nentry = [{ number = 1, action = 'allow', from = '0.0.0.0/0', protocol = 'all' }]",
        "[network.route-table.private]\nderive = false",
        "[network]\nbastion = { allow = ['203.0.113.7/32'] }\n[[network.security-group.bastion.rule]]\nfrom = '0.0.0.0/0'\nports = 22\n[network.acl.public]\nderive = false\nentry = [{ number = 1, action = 'allow', from = '0.0.0.0/0', protocol = 'all' }, { number = 1, action = 'allow', to = '0.0.0.0/0', protocol = 'all' }]",
        "[[network.expect]]\nfrom = 'web'\nto = 's3'\nport = 80",
        "[[network.expect]]\nfrom = '203.0.113.9'\nto = 'lb'\nport = 80\nreachable = false",
    ]
    .map(|text| format!("== {text}\n{}", told(&format!("{WEB}{text}"))))
    .join("\n"));
}
