//! The modules of a crate import each other in one direction: this test finds cycles in the
//! sources.
//!
//! A path counts when it starts with `crate::` or `super::`, in a `use` or anywhere else. A name
//! that the crate's root re-exports counts for its original module. Tests may use higher modules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The number of top-level modules of a crate that may still be part of a cycle. A crate without a
/// row has none. The numbers only go down.
const KNOWN: &[(&str, usize)] = &[
    ("aws", 3),
    ("cli", 6),
    ("container", 10),
    ("local", 3),
    ("local/balancer", 7),
    ("local/vnet", 2),
    ("network", 2),
    ("provider", 2),
];

/// The top-level modules of `pipeline` with their allowed imports: a lower module imports no higher
/// one.
const PIPELINE: &[(&str, &[&str])] = &[
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

/// A crate's top-level modules, each with its imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The code as words and signs, without comments, literals and inline test modules.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match c {
            '/' if next == '/' => at = until(&chars, at, |c| c == '\n'),
            '/' if next == '*' => {
                at += 2;
                while at < chars.len() && !(chars[at] == '*' && chars.get(at + 1) == Some(&'/')) {
                    at += 1;
                }
                at += 2;
            }
            'r' if matches!(next, '"' | '#') && is_raw_string(&chars[at + 1..]) => {
                at = end_of_raw_string(&chars, at + 1);
            }
            '"' => at = end_of_quoted(&chars, at, '"'),
            // A character, and not a lifetime.
            '\'' if next == '\\' || chars.get(at + 2) == Some(&'\'') => {
                at = end_of_quoted(&chars, at, '\'');
            }
            c if is_word(c) => {
                let end = until(&chars, at, |c| !is_word(c));
                tokens.push(chars[at..end].iter().collect());
                at = end;
            }
            ':' if next == ':' => {
                tokens.push("::".to_owned());
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                at += 1;
            }
        }
    }
    without_tests(&tokens)
}

fn until(chars: &[char], from: usize, ends: impl Fn(char) -> bool) -> usize {
    let rest = chars[from..].iter().position(|c| ends(*c));
    rest.map_or(chars.len(), |length| from + length)
}

fn end_of_quoted(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_raw_string(chars: &[char]) -> bool {
    let hashes = until(chars, 0, |c| c != '#');
    chars.get(hashes) == Some(&'"')
}

fn end_of_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = until(chars, from, |c| c != '#') - from;
    let mut at = from + hashes + 1;
    while at < chars.len() {
        let closes =
            chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        at += 1;
        if closes {
            return at + hashes;
        }
    }
    at
}

/// Drops each item after `#[cfg(test)]`: up to its semicolon or the end of its block.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_mark = tokens[at..]
            .iter()
            .zip(MARK)
            .filter(|(a, b)| a == b)
            .count()
            == MARK.len();
        if !is_mark {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += MARK.len();
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(token.as_str(), ";" | "}") {
                break;
            }
        }
    }
    kept
}

/// The first names of a path, or of every path in braces: for `{a::b, c}` these are `a` and `c`.
fn first_names(tokens: &[String]) -> Vec<&str> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().map(String::as_str).into_iter().collect();
    }
    let mut names = Vec::new();
    let (mut depth, mut is_first) = (0, false);
    for token in tokens {
        match token.as_str() {
            "{" => {
                depth += 1;
                is_first = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => is_first = depth == 1,
            name => {
                if is_first {
                    names.push(name);
                }
                is_first = false;
            }
        }
    }
    names
}

/// The names at the crate's root that a module exports:
/// `pub use config::{Config, Fault as Problem};`
fn exported<'a>(root: &'a [String], modules: &BTreeSet<String>) -> BTreeMap<&'a str, &'a str> {
    let mut exported = BTreeMap::new();
    let starts = root.iter().enumerate().filter(|(_, token)| *token == "use");
    for (start, _) in starts {
        let statement = root[start + 1..].iter().take_while(|token| *token != ";");
        let mut words = statement.map(String::as_str);
        let Some(module) = words.find(|word| modules.contains(*word)) else {
            continue;
        };
        exported.extend(words.map(|word| (word, module)));
    }
    exported
}

/// Reads the files of a crate's `src` directory, by their paths in it.
fn graph(files: &BTreeMap<String, String>) -> Graph {
    let modules: BTreeSet<String> = files
        .keys()
        .filter_map(|path| path_of(path)?.first().cloned())
        .collect();
    let roots = ["lib.rs", "main.rs"].map(|name| files.get(name));
    let root: Vec<String> = roots
        .into_iter()
        .flatten()
        .flat_map(|it| tokens(it))
        .collect();
    let exported = exported(&root, &modules);
    let mut graph = Graph::new();
    for (file, text) in files {
        let Some(module) = path_of(file) else {
            continue;
        };
        let imports = graph.entry(module[0].clone()).or_default();
        let tokens = tokens(text);
        for at in 0..tokens.len() {
            let is_inside = at > 0 && tokens[at - 1] == "::";
            // One step up for each `super`; `crate` is the top.
            let mut ups = 0;
            let mut end = at;
            match tokens[at].as_str() {
                "crate" => {
                    ups = module.len();
                    end += 2;
                }
                "super" if !is_inside => {
                    while tokens.get(end).is_some_and(|token| token == "super") {
                        ups += 1;
                        end += 2;
                    }
                }
                _ => continue,
            }
            let is_path = tokens.get(end - 1).is_some_and(|token| token == "::");
            if !is_path || ups < module.len() {
                continue;
            }
            for name in first_names(&tokens[end..]) {
                let name = exported.get(name).copied().unwrap_or(name);
                if modules.contains(name) && name != module[0] {
                    imports.insert(name.to_owned());
                }
            }
        }
    }
    graph
}

/// A file's module path; `None` for the crate's root, and for tests.
fn path_of(file: &str) -> Option<Vec<String>> {
    let path = file.strip_suffix(".rs")?;
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let is_test = |part: &String| part == "tests" || part.ends_with("_tests");
    if parts.iter().any(is_test) || parts[0] == "bin" {
        return None;
    }
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    (parts != ["lib"] && parts != ["main"]).then_some(parts)
}

/// The modules that import themselves through others, in groups.
fn circles(graph: &Graph) -> Vec<BTreeSet<&str>> {
    let reached = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut ahead: Vec<&str> = vec![from];
        while let Some(module) = ahead.pop() {
            for next in graph.get(module).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    ahead.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|module| (module.as_str(), reached(module)))
        .collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (module, reached) in &all {
        let back = reached.iter().filter(|other| all[**other].contains(module));
        let circle: BTreeSet<&str> = back.copied().collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The Rust files below a directory, by their paths in it.
fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(ahead) = folders.pop() {
        for entry in fs::read_dir(&ahead).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let short = path.strip_prefix(folder).unwrap().to_string_lossy();
                if let Ok(text) = fs::read_to_string(&path) {
                    files.insert(short.into_owned(), text);
                }
            }
        }
    }
    files
}

/// The directories of the workspace's crates, from its root.
fn crates() -> Vec<String> {
    let mut crates = Vec::new();
    let mut folders = vec![workspace()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !path.is_dir() || name.starts_with('.') || name == "target" || name == "src" {
                continue;
            }
            if path.join("Cargo.toml").is_file() && path.join("src").is_dir() {
                let short = path.strip_prefix(workspace()).unwrap();
                crates.push(short.to_string_lossy().into_owned());
            }
            folders.push(path);
        }
    }
    crates.sort();
    crates
}

fn tree(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let files = files.iter();
    files
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

mod rule {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let graph = graph(&tree(files));
        let edges = graph
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
        edges.map(|(from, to)| format!("{from} {to}")).collect()
    }

    #[test]
    fn sees_a_circle() {
        let mut files = tree(&[
            ("lib.rs", "mod config; mod stack; mod reach;"),
            ("config/mod.rs", "mod rules;"),
            ("config/rules.rs", "fn check() {}"),
            ("stack.rs", "use crate::config;"),
            ("reach/mod.rs", "use crate::{config::Config, stack};"),
        ]);
        assert!(circles(&graph(&files)).is_empty());
        let upward = "fn check() { crate::reach::check() }".to_owned();
        files.insert("config/rules.rs".to_owned(), upward);
        let graph = graph(&files);
        assert_eq!(
            circles(&graph),
            [BTreeSet::from(["config", "reach", "stack"])]
        );
    }

    #[test]
    fn sees_every_way_to_name_a_module() {
        let others = [
            ("lib.rs", "mod a; mod b; pub use b::{Thing, inner::Other};"),
            ("b.rs", ""),
        ];
        for import in [
            "use crate::b;",
            "use crate::b::Thing;",
            "use crate::{std, b::{x, y}};",
            "fn f() -> crate::b::Thing {}",
            "use crate::Thing;",
            "use crate::{Other};",
            "use super::super::b;",
            "use super::super::{x, b::y};",
            "macro_rules! m { () => { $crate::b::f() } }",
            "const Q: char = '\"'; use crate::b;",
        ] {
            let files = [others[0], others[1], ("a/deep.rs", import)];
            assert_eq!(imports(&files), ["a b"], "{import}");
        }
        for no_import in [
            "use super::b;",
            "use crate::{x::b, y};",
            "// crate::b",
            "/* crate::b */ const T: &str = \"crate::b\"; const R: &str = r#\"crate::b \" \"#;",
            "#[cfg(test)] mod tests { fn f() { crate::b::f() } }",
            "#[cfg(test)] use crate::b;",
        ] {
            let files = [others[0], others[1], ("a/deep.rs", no_import)];
            assert_eq!(imports(&files), [""; 0], "{no_import}");
        }
        let in_tests = [others[0], others[1], ("a/tests.rs", "use crate::b;")];
        assert_eq!(imports(&in_tests), [""; 0]);
    }
}

#[test]
fn modules_import_in_one_direction() {
    let known: BTreeMap<&str, usize> = KNOWN.iter().copied().collect();
    let crates = crates();
    assert!(crates.iter().any(|name| name == "pipeline"), "{crates:?}");
    let mut broken = Vec::new();
    for name in &crates {
        let graph = graph(&files_in(&workspace().join(name).join("src")));
        let circles = circles(&graph);
        let found: usize = circles.iter().map(BTreeSet::len).sum();
        let allowed = known.get(name.as_str()).copied().unwrap_or(0);
        println!(
            "{name}: {found} of {} modules are part of a circle",
            graph.len()
        );
        if found > allowed {
            broken.push(format!(
                "{name}: {found} modules, {allowed} allowed: {circles:?}"
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pipeline_keeps_its_directions() {
    let may: BTreeMap<&str, BTreeSet<&str>> = PIPELINE
        .iter()
        .map(|(name, others)| (*name, others.iter().copied().collect()))
        .collect();
    let graph = graph(&files_in(&workspace().join("pipeline/src")));
    let modules: BTreeSet<&str> = graph.keys().map(String::as_str).collect();
    assert_eq!(
        modules,
        may.keys().copied().collect(),
        "each module has a row"
    );
    for (module, imports) in &graph {
        for import in imports {
            let allowed = may[module.as_str()].contains(import.as_str());
            assert!(allowed, "{module} must not import {import}");
        }
    }
    // A check that read nothing would prove nothing.
    assert!(graph["ops"].contains("validate") && graph["stack"].contains("config"));
}
