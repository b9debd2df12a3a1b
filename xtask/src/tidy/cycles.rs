//! Top-level modules of a crate use each other in one direction: no module uses itself by way of others. The same holds
//! inside the folders of [`INSIDE`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::allowed::{Allowed, Uses};
use super::scan::{scan, tokens};
use super::{Finding, Tree};

/// Folders whose modules are checked like those of a crate.
const INSIDE: &[&str] = &["local/src/daemon"];

/// Where a module uses another one for the first time: file and line.
pub(super) type Edges = BTreeMap<(String, String), (String, usize)>;

/// Compares the modules in cycles, crate by crate, with the table.
pub(super) fn check(tree: &Tree, allowed: &Allowed) -> Vec<Finding> {
    let uses = in_cycles(tree);
    let mut findings = allowed.check("cycle", &uses);
    for root in roots(tree) {
        if allowed.rows("cycle").any(|row| row.term == root.name) {
            continue;
        }
        let edges = edges(tree, &root);
        for module in cyclic(&edges) {
            if let Some((path, (file, line))) = cycle(&edges, &module) {
                findings.push(Finding::new(&file, line, "cycle", path.join(" -> ")));
            }
        }
    }
    findings
}

/// The modules in cycles, by the folder of their crate. The place is where a module uses the next of the cycle.
pub(super) fn in_cycles(tree: &Tree) -> Uses {
    let mut uses = Uses::new();
    for root in roots(tree) {
        let edges = edges(tree, &root);
        let cycles = cyclic(&edges);
        let places = cycles.iter().filter_map(|module| cycle(&edges, module));
        uses.insert(root.name, places.map(|(_, place)| place).collect());
    }
    uses
}

/// The root of a crate, or of a folder of [`INSIDE`].
pub(super) struct Root {
    /// The crate's folder: `local/fabric`, or the folder itself.
    pub(super) name: String,
    /// `local/fabric/src/`.
    src: String,
    /// The path of the module from the crate's root: empty for a crate.
    path: Vec<String>,
    modules: BTreeSet<String>,
    /// The names that the root takes from its modules: `crate::Config` is `config`'s.
    names: BTreeMap<String, String>,
}

pub(super) fn roots(tree: &Tree) -> Vec<Root> {
    let mut roots: BTreeMap<String, Root> = BTreeMap::new();
    let inside = INSIDE.iter().flat_map(|folder| {
        let files = tree.ending("/mod.rs");
        files.filter(move |(path, _)| path.strip_suffix("/mod.rs") == Some(folder))
    });
    let files = tree
        .ending("/src/lib.rs")
        .chain(tree.ending("/src/main.rs"))
        .chain(inside);
    for (path, source) in files {
        let Some((name, file)) = path.rsplit_once("/src/") else {
            continue;
        };
        let (name, src, module) = match file.strip_suffix("/mod.rs") {
            Some(module) => {
                let folder = path.trim_end_matches("/mod.rs");
                (folder, format!("{folder}/"), module)
            }
            None => (name, path.trim_end_matches(file).to_owned(), ""),
        };
        let code = without_tests(source);
        let tokens: Vec<&str> = code.iter().flat_map(|line| tokens(line)).collect();
        let root = roots.entry(name.to_owned()).or_insert_with(|| Root {
            name: name.to_owned(),
            src,
            path: module
                .split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            modules: BTreeSet::new(),
            names: BTreeMap::new(),
        });
        let declared = tokens
            .windows(3)
            .filter(|three| three[0] == "mod" && three[2] == ";");
        root.modules
            .extend(declared.map(|three| three[1].to_owned()));
        for statement in tokens.split(|token| *token == ";") {
            let Some(at) = statement.iter().position(|token| *token == "use") else {
                continue;
            };
            let path = statement[at + 1..].iter().copied();
            let mut path = path.skip_while(|token| ["crate", "self", "::"].contains(token));
            let Some(module) = path.next().filter(|name| root.modules.contains(*name)) else {
                continue;
            };
            let names = path.map(|name| (name.to_owned(), module.to_owned()));
            root.names.extend(names);
        }
    }
    roots.into_values().collect()
}

/// The code of a file up to its tests.
fn without_tests(source: &str) -> Vec<String> {
    let lines = scan(source);
    let is_tests = |line: usize| {
        let next = lines.get(line + 1).map_or("", |next| next.code.trim());
        lines[line].code.trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
    };
    let end = (0..lines.len()).find(|line| is_tests(*line));
    let code = lines.iter().take(end.unwrap_or(lines.len()));
    code.map(|line| line.code.clone()).collect()
}

pub(super) fn edges(tree: &Tree, root: &Root) -> Edges {
    let mut edges = Edges::new();
    for (path, source) in tree.ending(".rs") {
        let Some(inner) = path.strip_prefix(&root.src) else {
            continue;
        };
        let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        let segments: Vec<&str> = inner.split('/').collect();
        let of_tests = |part: &&str| *part == "tests" || part.ends_with("_tests");
        if !root.modules.contains(segments[0]) || segments.iter().any(of_tests) {
            continue;
        }
        for (name, line) in from_root(&without_tests(source), segments.len(), &root.path) {
            let module = if root.modules.contains(&name) {
                &name
            } else if let Some(module) = root.names.get(&name) {
                module
            } else {
                continue;
            };
            if module != segments[0] {
                let edge = (segments[0].to_owned(), module.clone());
                edges.entry(edge).or_insert_with(|| (path.to_owned(), line));
            }
        }
    }
    edges
}

/// The names that code takes from the root, by `crate::` and the root's path or by so many `super::` as the module is
/// deep.
fn from_root(code: &[String], depth: usize, path: &[String]) -> Vec<(String, usize)> {
    let tokens: Vec<(&str, usize)> = code
        .iter()
        .enumerate()
        .flat_map(|(index, line)| {
            tokens(line)
                .into_iter()
                .map(move |token| (token, index + 1))
        })
        .collect();
    let token = |at: usize| tokens.get(at).map_or("", |(token, _)| *token);
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut supers = 0;
        while token(at) == "super" && token(at + 1) == "::" {
            (supers, at) = (supers + 1, at + 2);
        }
        let is_root = if supers > 0 {
            supers == depth
        } else if token(at) == "crate" && token(at + 1) == "::" {
            at += 2;
            let below = path.iter().enumerate().all(|(step, part)| {
                token(at + 2 * step) == part && token(at + 2 * step + 1) == "::"
            });
            if below {
                at += 2 * path.len();
            }
            below
        } else {
            at += 1;
            false
        };
        if !is_root {
            continue;
        }
        if token(at) != "{" {
            names.push((
                token(at).to_owned(),
                tokens.get(at).map_or(0, |(_, line)| *line),
            ));
            continue;
        }
        let mut open = 0;
        while at < tokens.len() {
            match token(at) {
                "{" => open += 1,
                "}" => open -= 1,
                _ => {}
            }
            let starts = ["{", ","].contains(&token(at)) && open == 1;
            at += 1;
            if starts {
                names.push((
                    token(at).to_owned(),
                    tokens.get(at).map_or(0, |(_, line)| *line),
                ));
            }
            if open == 0 {
                break;
            }
        }
    }
    names
}

/// The modules that use themselves by way of others.
fn cyclic(edges: &Edges) -> BTreeSet<String> {
    let from: BTreeSet<&String> = edges.keys().map(|(from, _)| from).collect();
    let in_cycle = from
        .into_iter()
        .filter(|module| cycle(edges, module).is_some());
    in_cycle.cloned().collect()
}

/// A shortest way from a module back to itself, and the place of its first step.
fn cycle(edges: &Edges, module: &str) -> Option<(Vec<String>, (String, usize))> {
    let mut ahead = VecDeque::from([vec![module.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = ahead.pop_front() {
        let last = path.last()?;
        for (_, next) in edges.keys().filter(|(from, _)| from == last) {
            let mut path = path.clone();
            path.push(next.clone());
            if next == module {
                let place = edges.get(&(path[0].clone(), path[1].clone()))?;
                return Some((path, place.clone()));
            }
            if seen.insert(next) {
                ahead.push_back(path);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    const LIB: &str = "//! Lib.\nmod a;\nmod b;\npub mod c;\npub use b::{B, inner::C as D};\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut files = files.to_vec();
        files.push(("x/src/lib.rs", LIB));
        let findings = check(&Tree::made_of(&files), &Allowed::parse(""));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cycle_of_three_is_found() {
        let findings = found(&[
            ("x/src/a.rs", "//! A.\nuse crate::b::B;\n"),
            (
                "x/src/b/mod.rs",
                "use std::fmt;\nfn f() { super::c::g(); }\n",
            ),
            (
                "x/src/c/deep.rs",
                "use std::fmt;\n\nuse super::super::{fmt, a::A};\n",
            ),
        ]);
        assert_eq!(
            findings,
            [
                "x/src/a.rs:2: cycle: a -> b -> c -> a",
                "x/src/b/mod.rs:2: cycle: b -> c -> a -> b",
                "x/src/c/deep.rs:3: cycle: c -> a -> b -> c",
            ]
        );
    }

    #[test]
    fn names_of_the_root_count_for_their_module() {
        let findings = found(&[
            ("x/src/a.rs", "use crate::{\n    Other,\n    D,\n};\n"),
            ("x/src/b.rs", "use crate::a;\n"),
        ]);
        assert_eq!(findings[0], "x/src/a.rs:3: cycle: a -> b -> a");
    }

    #[test]
    fn one_direction_and_tests_pass() {
        let findings = found(&[
            (
                "x/src/a.rs",
                "use crate::b::B; // crate::a\nuse super::c;\n",
            ),
            (
                "x/src/b.rs",
                "use super::c;\n\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
            ),
            ("x/src/b/tests.rs", "use crate::a;\n"),
            ("x/src/c/d.rs", "use super::a;\n"),
            ("y/src/lib.rs", "mod a;\nmod b;\n"),
            ("y/src/b.rs", "use crate::a;\n"),
        ]);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn checkout_has_no_more_cycles_than_stated() {
        let tree = Tree::of_checkout().unwrap();
        assert!(roots(&tree).len() >= 10);
        expect_none(&check(&tree, &Allowed::of_checkout()));
    }
}
