//! The modules of a crate or of a folder use each other only in the directions that a table states.

use std::collections::BTreeMap;

use super::cycles::{edges, roots};
use super::{Finding, Tree};

/// The modules that each module of a crate may use. A module without a line is a finding.
type Directions = &'static [(&'static str, &'static [&'static str])];

/// The crates whose directions are stated, each by its folder.
const STATED: &[(&str, Directions)] = &[("pipeline", PIPELINE), ("local/src/daemon", DAEMON)];

/// From the records to the control socket: a lower layer does not know a higher one.
const DAEMON: Directions = &[
    ("records", &[]),
    ("runtime", &["records"]),
    ("controllers", &["records", "runtime"]),
    ("control", &["records", "runtime", "controllers"]),
    ("differential", &["records"]),
];

/// From the file to a healthy service: a lower module does not know a higher one.
const PIPELINE: Directions = &[
    ("cloud", &[]),
    ("config", &[]),
    ("review", &[]),
    ("stack", &["config"]),
    ("reach", &["cloud", "config"]),
    ("validate", &["config", "stack", "reach"]),
    ("outcome", &["reach", "review"]),
    ("run", &["cloud", "review", "outcome"]),
    ("health", &["cloud", "config", "outcome"]),
    (
        "ops",
        &[
            "cloud", "config", "review", "stack", "reach", "validate", "outcome", "run", "health",
        ],
    ),
];

/// Compares what the modules use with the table.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in roots(tree) {
        let Some((_, stated)) = STATED.iter().find(|(name, _)| *name == root.name) else {
            continue;
        };
        let may_use: BTreeMap<&str, &[&str]> = stated.iter().copied().collect();
        for ((module, used), (file, line)) in edges(tree, &root) {
            let reason = match may_use.get(module.as_str()) {
                Some(allowed) if allowed.contains(&used.as_str()) => continue,
                Some(_) => format!("{module} may not use {used}"),
                None => format!("{module} has no line in xtask/src/tidy/directions.rs"),
            };
            findings.push(Finding::new(&file, line, "direction", reason));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    const LIB: &str = "//! Lib.\nmod config;\nmod extra;\nmod stack;\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut files = files.to_vec();
        files.push(("pipeline/src/lib.rs", LIB));
        let findings = check(&Tree::made_of(&files));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_upward_use_is_found() {
        assert_eq!(
            found(&[
                ("pipeline/src/stack/mod.rs", "use crate::config::Config;\n"),
                (
                    "pipeline/src/config/rules.rs",
                    "//! R.\nuse super::super::stack;\n"
                ),
            ]),
            ["pipeline/src/config/rules.rs:2: direction: config may not use stack"]
        );
    }

    #[test]
    fn a_module_without_a_line_is_found() {
        assert_eq!(
            found(&[("pipeline/src/extra.rs", "use crate::config;\n")]),
            ["pipeline/src/extra.rs:1: direction: extra has no line in \
                 xtask/src/tidy/directions.rs"]
        );
    }

    #[test]
    fn downward_uses_and_other_crates_pass() {
        let findings = found(&[
            ("pipeline/src/stack.rs", "use crate::config::Config;\n"),
            ("pipeline/src/config/tests.rs", "use crate::stack;\n"),
            ("other/src/lib.rs", "mod config;\nmod stack;\n"),
            ("other/src/config.rs", "use crate::stack;\n"),
        ]);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn an_upward_use_in_a_folder_is_found() {
        let tree = Tree::made_of(&[
            ("local/src/lib.rs", "//! L.\nmod daemon;\nmod wire;\n"),
            (
                "local/src/daemon/mod.rs",
                "//! D.\nmod controllers;\nmod records;\nmod runtime;\n",
            ),
            (
                "local/src/daemon/records/state.rs",
                "//! S.\nuse crate::wire::Extras;\nuse crate::daemon::runtime::cloud::Cloud;\n",
            ),
            (
                "local/src/daemon/controllers/group.rs",
                "//! G.\nuse super::super::records::State;\nuse super::lifecycle;\n",
            ),
        ]);
        let findings: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            ["local/src/daemon/records/state.rs:3: direction: records may not use runtime"]
        );
    }

    #[test]
    fn checkout_keeps_the_directions() {
        let tree = Tree::of_checkout().unwrap();
        for (name, stated) in STATED {
            let root = roots(&tree).into_iter().find(|root| root.name == *name);
            let uses = edges(&tree, &root.unwrap()).len();
            assert!(uses >= stated.len(), "{name}: {uses} uses");
        }
        expect_none(&check(&tree));
    }
}
