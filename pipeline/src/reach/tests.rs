//! Files with their mistakes, and what is said about them before anything is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use landfall_network::reach::Code;

use super::*;
use crate::Bastion;
use crate::validate::{ValidatedStack, planned_topology};

fn config(text: &str) -> Config {
    let source = format!("stack = 'shop'\n{text}\n");
    Config::parse(&source, "landfall.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn found(text: &str) -> Vec<Violation> {
    let config = config(text);
    let proof = ValidatedStack::new(&config).unwrap().check_reachability();
    assert_eq!(proof.undetermined, [""; 0], "{text}");
    proof.broken
}

/// Everything that is broken, as text.
pub(super) fn reported(text: &str) -> String {
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
        assert_eq!(reported(&format!("{text}{WEB}")), "", "{text}");
    }
}

/// Files in which something cannot be reached that has to be.
const STOPPED: &[&str] = &[
    "[network.security-group.web]\nderive = false\n",
    "[network.security-group.balancer]\nderive = false\n[[network.security-group.balancer.rule]]\nto = 'web'\nports = 8000\n",
    "[[network.acl.private.entry]]\nnumber = 50\naction = 'deny'\nfrom = '10.0.0.0/16'\nports = 8000\n",
    "[network.acl.public]\nderive = false\n[[network.acl.public.entry]]\nnumber = 1\naction = 'allow'\nfrom = '0.0.0.0/0'\nprotocol = 'all'\n",
    "[network.acl.private]\nderive = false\n[network.security-group.web]\nderive = false\n",
    "[network.route-table.private]\nderive = false\n",
    "[network.route-table.public]\nderive = false\n",
    "[[network.expect]]\nfrom = 'web'\nto = 'internet'\nport = 25\n",
];

#[test]
fn blocked_connections_are_grouped_by_cause() {
    let all = STOPPED
        .iter()
        .map(|text| format!("== {text}\n{}", reported(&format!("{WEB}{text}"))));
    insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"));
}

/// Files in which something can be reached that must not be.
const OPEN: &[&str] = &[
    "[network]\nbastion = { allow = ['203.0.113.7/32'] }\n[[network.security-group.bastion.rule]]\nfrom = '0.0.0.0/0'\nports = 22\n[[network.acl.public.entry]]\nnumber = 1\naction = 'allow'\nfrom = '0.0.0.0/0'\nports = 22\n",
    "[[network.security-group.web.rule]]\nto = '0.0.0.0/0'\nports = 25\n[[network.acl.private.entry]]\nnumber = 1\naction = 'allow'\nto = '0.0.0.0/0'\nports = 25\n[[network.acl.public.entry]]\nnumber = 1\naction = 'allow'\nfrom = '10.0.0.0/16'\nports = 25\n[[network.acl.public.entry]]\nnumber = 1\naction = 'allow'\nto = '0.0.0.0/0'\nports = 25\n[[network.expect]]\nfrom = 'web'\nto = 'internet'\nport = 25\nreachable = false\n",
    "[[network.expect]]\nfrom = '203.0.113.9'\nto = 'lb'\nport = 80\nreachable = false\n",
];

#[test]
fn what_is_open_is_told_with_the_rule_that_lets_it_through() {
    let all = OPEN
        .iter()
        .map(|text| format!("== {text}\n{}", reported(&format!("{WEB}{text}"))));
    insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"));
}

#[test]
fn services_keep_to_themselves() {
    let two = format!("{WEB}[service.api]\nport = 9000\nroute = '/api/*'\n");
    assert_eq!(reported(&two), "");
    let shortcut = "[[network.security-group.web.rule]]\nto = 'api'\nports = 9000\n\
         [[network.security-group.api.rule]]\nfrom = 'web'\nports = 9000\n\
         [[network.acl.private.entry]]\nnumber = 1\naction = 'allow'\nfrom = '10.0.0.0/16'\nports = 9000\n\
         [[network.acl.private.entry]]\nnumber = 1\naction = 'allow'\nto = '10.0.0.0/16'\nprotocol = 'all'\n\
         [[network.acl.private.entry]]\nnumber = 2\naction = 'allow'\nfrom = '10.0.0.0/16'\nports = '1024-65535'\n";
    let reported = reported(&format!("{two}{shortcut}"));
    assert!(
        reported.contains("web/1 must not reach api/2 on port 9000"),
        "{reported}"
    );
    assert!(reported.contains("[[network.security-group."), "{reported}");
    assert!(
        !reported.contains("api/1 must not reach web/1"),
        "{reported}"
    );
}

#[test]
fn a_declared_expectation_overrules_what_always_holds() {
    let closed = "[[network.acl.public.entry]]\nnumber = 1\naction = 'deny'\nfrom = '0.0.0.0/0'\nports = 80\n";
    let open = format!("{WEB}{closed}");
    assert!(reported(&open).contains("internet has to reach balancer on port 80"));
    let meant = "[[network.expect]]\nfrom = 'internet'\nto = 'lb'\nport = 80\nreachable = false\n";
    assert_eq!(reported(&format!("{open}{meant}")), "");
}

#[test]
fn the_changes_that_are_told_mend_what_is_stopped() {
    for text in STOPPED {
        let text = format!("{WEB}{text}");
        let broken = found(&text);
        assert!(!broken.is_empty(), "{text}");
        let changes = broken.into_iter().flat_map(|broken| broken.changes);
        let blocks = changes.map(|change| match change {
            Change::File(block) => block,
            Change::Other(other) => panic!("{text}: the file cannot say: {other}"),
        });
        let blocks: Vec<String> = blocks.collect();
        let mended = format!("{text}\n{}\n", blocks.join("\n\n"));
        assert_eq!(reported(&mended), "", "{mended}");
    }
}

#[test]
fn what_cannot_be_found_out_is_told_and_hides_nothing() {
    // No file can say this; whoever puts a stack together himself can.
    for nobody in ["192.168.1.10/32", "10.8.0.0/16", "10.0.1.0/24"] {
        let allow = ["203.0.113.7/32", nobody].map(|net| net.parse().unwrap());
        let proof = |text: &str| {
            let mut config = config(&format!(
                "network.bastion = {{ allow = ['203.0.113.7/32'] }}\n{WEB}{text}"
            ));
            let topology = planned_topology(&config).unwrap();
            config.network.bastion = Some(Bastion::new(allow));
            check(&config, &topology)
        };
        let undetermined = proof("");
        assert!(!undetermined.holds());
        let [reported] = &undetermined.undetermined[..] else {
            panic!("{nobody}: {:?}", undetermined.undetermined);
        };
        assert!(
            reported.contains("has to reach bastion on port 22: "),
            "{reported}"
        );
        assert!(
            reported.contains(nobody.trim_end_matches("/32")),
            "{reported}"
        );

        let mistake = proof("[network.security-group.web]\nderive = false\n");
        assert_eq!(mistake.undetermined, undetermined.undetermined);
        let broken = mistake.broken.iter();
        let words: Vec<_> = broken.flat_map(|broken| &broken.invariants).collect();
        assert!(
            words
                .iter()
                .any(|it| it.contains("balancer has to reach web/1")),
            "{nobody}: {words:?}"
        );
    }
}

#[test]
fn the_page_about_reachability_has_every_code() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reachability.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let reported: BTreeSet<&str> = rows.filter(|word| word.contains('_')).collect();
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(reported, codes);
}

mod left_out {
    use landfall_provider::{Found, Probe, Snapshot, Stack};
    use serde_json::{Value, json};

    use super::*;

    /// What is said about the stack of one service after a change to its resources.
    fn undetermined(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let config = config(WEB);
        let sources = [("web".parse().unwrap(), "0".repeat(64).parse().unwrap())];
        let stack = crate::stack(&config, &sources.into()).unwrap();
        let mut stack = serde_json::to_value(stack).unwrap();
        change(&mut stack["resources"]);
        let stack: Stack = serde_json::from_value(stack).unwrap();
        let check = check_reachability(&config, &stack);
        assert!(!check.holds());
        check.undetermined
    }

    #[test]
    fn unreadable_rules_are_reported() {
        let said = undetermined(|resources| {
            resources["security-group-rules/web"]["spec"]["rules"] = json!("all");
        });
        assert!(
            said[0].starts_with("security-group-rules/web does not have the form of its kind: "),
            "{said:?}"
        );
    }

    #[test]
    fn group_without_its_template_is_reported() {
        let said = undetermined(|resources| {
            resources
                .as_object_mut()
                .unwrap()
                .remove("launch-template/web");
        });
        let expected = "autoscaling-group/web starts from launch-template/web, which is not there";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn unreadable_live_resource_is_an_error() {
        let found = Found {
            key: "vpc/main".parse().unwrap(),
            id: "vpc-1".to_owned(),
            spec: json!({ "cidr": "everywhere" }),
            state: Probe::Pending("pending".to_owned()),
        };
        let error = topology::live(&Snapshot::new(vec![found]), &BTreeMap::new()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("vpc/main does not have the form"),
            "{said}"
        );
    }
}
