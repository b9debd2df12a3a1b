//! Hints: the nearest valid key or word, or a suitable block of addresses.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::schema::json_schema;

/// The minimum similarity of a typing error and the intended word: 0 is no similarity, 1 is equality.
const ALIKE: f64 = 0.6;

/// The maximum length of compared words.
const LONGEST_WORD: usize = 100;

/// The names of the same keys in other tools.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("name", "stack"),
    ("services", "service"),
    ("vpc", "network"),
    ("environment", "env"),
    ("build", "image"),
    ("replicas", "desired"),
    ("count", "desired"),
    ("azs", "zones"),
    ("availability-zones", "zones"),
    ("instance-type", "instance"),
    ("build-args", "args"),
    ("stage", "target"),
    ("status", "matcher"),
    ("command", "before"),
    ("public-key", "key"),
    ("ssh-key", "key"),
    ("logs", "log-group"),
    ("secret", "secrets"),
    ("security-groups", "security-group"),
    ("network-acl", "acl"),
    ("acls", "acl"),
    ("rules", "rule"),
    ("entries", "entry"),
    ("routes", "route"),
    ("port", "ports"),
    ("peer", "from"),
    ("cidr", "from"),
];

/// The hint for an unknown key, and the intended key if it is clear.
pub(crate) fn for_unknown(key: &str, table: &str, known: &[String]) -> (String, Option<String>) {
    let key = key.to_lowercase().replace('_', "-");
    let words = || known.iter().map(String::as_str);
    let synonym = OTHER_NAMES.iter().find(|(other, _)| *other == key);
    let synonym = synonym
        .map(|(_, ours)| *ours)
        .filter(|ours| words().any(|word| word == *ours));
    if let Some(meant) = synonym.or_else(|| nearest(&key, words(), 0.8)) {
        return (format!("did you mean `{meant}`?"), Some(meant.to_owned()));
    }
    if let Some(home) = tables_with(&key, table).iter().find(|home| *home != table) {
        let hint = match home.as_str() {
            "" => format!("`{key}` belongs at the top of the file, before the first [table]"),
            home => match home.strip_suffix("[]") {
                Some(list) => format!("`{key}` belongs in [[{list}]]"),
                None => format!("`{key}` belongs in [{home}]"),
            },
        };
        return (hint, Some(key));
    }
    match nearest(&key, words(), ALIKE) {
        Some(meant) => (format!("did you mean `{meant}`?"), Some(meant.to_owned())),
        None => {
            let quoted: Vec<_> = words().map(|word| format!("`{word}`")).collect();
            (format!("the keys here are {}", quoted.join(", ")), None)
        }
    }
}

/// The hint for an invalid word.
pub(crate) fn for_word(word: &str, known: &[&str]) -> String {
    match nearest(
        &word.to_lowercase().replace('_', "-"),
        known.iter().copied(),
        ALIKE,
    ) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => {
            let quoted: Vec<_> = known.iter().map(|word| format!("\"{word}\"")).collect();
            format!("it is one of {}", quoted.join(", "))
        }
    }
}

/// The hint for a missing key.
pub(crate) fn for_missing(at: &str) -> String {
    match at {
        "stack" => "name the stack in the first line: stack = \"my-app\"".to_owned(),
        "service" => "describe the service:\n\n  [service.web]\n  port = 8000".to_owned(),
        at if at.contains(".expect[") => {
            "write source, destination and port: from = \"internet\", to = \"bastion\", port = 22"
                .to_owned()
        }
        at if at.ends_with(".number") => {
            "give it a number: number = 50 precedes the derived entries".to_owned()
        }
        at if at.ends_with(".action") => "write action = \"deny\" or \"allow\"".to_owned(),
        at if at.ends_with(".port") => {
            "set the port on which the container listens: port = 8000".to_owned()
        }
        at => format!("add `{at}`"),
    }
}

/// The hint for a string in place of a table, if the string belongs to one of the table's keys.
pub(crate) fn for_text_as_table(key: &str, text: &str) -> Option<String> {
    match key {
        "health" if text.starts_with('/') => {
            Some(format!("write health = {{ path = \"{text}\" }}"))
        }
        "image" if text.starts_with(['.', '/']) => {
            Some(format!("write image = {{ context = \"{text}\" }}"))
        }
        "image" => Some(format!(
            "an image is built from a Dockerfile: write the line `FROM {text}` into the file Dockerfile, and leave \
             `image` out"
        )),
        _ => None,
    }
}

/// The hint for a path without a leading slash; for a URL, its path.
pub(crate) fn for_path(text: &str) -> String {
    match text.split_once("://") {
        Some((_, rest)) => {
            let path = rest.find('/').map_or("/", |at| &rest[at..]);
            format!(
                "write only the path, which the balancer requests from every instance: path = \"{path}\""
            )
        }
        None => format!("path = \"/{text}\""),
    }
}

/// The hint for an invalid IPv4 block.
pub(crate) fn for_cidr(text: &str) -> String {
    if text.parse::<Ipv4Addr>().is_ok() {
        return format!(
            "add a prefix length: \"{text}/32\" is this one address, \"{text}/16\" are 65,536"
        );
    }
    if text.contains(':') {
        return "only IPv4 is supported".to_owned();
    }
    "write an address and a prefix length, such as \"10.0.0.0/16\"".to_owned()
}

/// The hint for an invalid reference to a secret: probably it is the secret itself.
pub(crate) fn for_secret(text: &str) -> String {
    match text.strip_prefix("ssm:") {
        Some(name) if name.contains('/') && !name.starts_with('/') => {
            format!("write \"ssm:/{name}\"")
        }
        _ => "do not write the secret itself into the file: put it into Parameter Store, and write its name here"
            .to_owned(),
    }
}

/// A valid name (lower-case letters, digits and single hyphens) that is similar to the text.
pub(crate) fn as_label(text: &str, longest: usize) -> Option<String> {
    let plain: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let words: Vec<_> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    let label = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let label = &label[..label.len().min(longest)];
    let label = label.trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

/// The hint for a name that does not exist in the stack.
pub(crate) fn for_name(name: &str, known: &[String]) -> String {
    match nearest(
        &name.to_lowercase(),
        known.iter().map(String::as_str),
        ALIKE,
    ) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("there are {}", quoted.join(", "))
        }
    }
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>, alike: f64) -> Option<&'a str> {
    // No key is this long, and the comparison takes quadratic time.
    if word.len() > LONGEST_WORD {
        return None;
    }
    known
        .map(|one| {
            let alike = strsim::normalized_damerau_levenshtein(word, one);
            // `health-check` is not similar to `health` by its letters, but means it.
            let starts =
                one.len() > 2 && word.starts_with(one) || word.len() > 2 && one.starts_with(word);
            (if starts { alike.max(0.9) } else { alike }, one)
        })
        .filter(|(likeness, _)| *likeness >= alike)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, one)| one)
}

/// The tables that have a key with this name: the nearest to the given table first, then the
/// outermost, for example `network`, `service.NAME.scale`.
fn tables_with(key: &str, near: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&json_schema(), "", &mut |table, name| {
        if name == key {
            found.push(table.to_owned());
        }
    });
    let shared = |table: &String| {
        let both = table.split('.').zip(near.split('.'));
        both.take_while(|(a, b)| a == b).count()
    };
    found.sort_by_key(|table| (Reverse(shared(table)), table.matches('.').count()));
    found
}

/// Visits every key of a schema, with the path of its table.
pub(crate) fn walk(schema: &Value, table: &str, visit: &mut impl FnMut(&str, &str)) {
    let inside = |key: &str| super::reading::join(table, key);
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        visit(table, key);
        walk(schema, &inside(key), visit);
    }
    for schema in schema["patternProperties"]
        .as_object()
        .into_iter()
        .flat_map(|all| all.values())
    {
        walk(schema, &inside("NAME"), visit);
    }
    if let Some(element) = schema.get("items") {
        walk(element, &format!("{table}[]"), visit);
    }
}
