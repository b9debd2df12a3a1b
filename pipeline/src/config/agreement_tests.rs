//! The reader, the JSON schema, the copy of it in the repository and the page about the file say the same.

use serde_json::Value;

use super::tests::{GOOD, refused};
use super::*;

/// Puts a value at a path of the schema into the good file.
fn file_with(table: &str, key: &str, value: &str) -> String {
    let table = table.replace("NAME", "web");
    let path = reading::join(&table, key);
    if let Some((list, key)) = path.split_once("[].") {
        return format!("{GOOD}[[{list}]]\n{key} = {value}\n");
    }
    match path.as_str() {
        "service.web.port" => GOOD.replace("port = 8000", &format!("port = {value}")),
        _ => match path.strip_prefix("service.web.") {
            Some(key) => format!("{GOOD}{key} = {value}\n"),
            None => format!("{path} = {value}\n{GOOD}"),
        },
    }
}

#[test]
fn the_reader_refuses_what_lies_outside_the_schemas_ranges() {
    let (schema, mut found) = (json_schema(), Vec::new());
    keys(&schema, "", &mut found);
    let mut ranges = 0;
    for (table, key, schema) in found {
        let Some((low, high)) = schema["minimum"].as_i64().zip(schema["maximum"].as_i64()) else {
            continue;
        };
        ranges += 1;
        for (number, good) in [
            (low - 1, false),
            (low, true),
            (high, true),
            (high + 1, false),
        ] {
            let source = file_with(&table, key, &number.to_string());
            let reported = Config::parse(&source, "landfall.toml")
                .err()
                .is_some_and(|errors| {
                    let range = [
                        format!("is {low} to {high}, not"),
                        "ports are 1 to 65535".to_owned(),
                    ];
                    errors
                        .faults
                        .iter()
                        .any(|fault| range.iter().any(|range| fault.message.contains(range)))
                });
            assert_eq!(!reported, good, "{table}.{key} = {number}");
        }
    }
    assert!(ranges > 12, "{ranges}");
}

#[test]
fn the_schema_has_the_keys_that_the_reader_takes() {
    // Whatever the schema has, the reader knows: as a boolean, no key of any type is called unknown.
    let mut keys = 0;
    hints::walk(&json_schema(), "", &mut |table, key| {
        let source = file_with(table, key, "1979");
        if let Err(errors) = Config::parse(&source, "landfall.toml") {
            assert!(
                !errors.to_string().contains("unknown key"),
                "{source}\n{errors}"
            );
        }
        keys += 1;
    });
    // Whatever the reader knows, the schema has: it names its keys when it is given one that is like none.
    for table in [
        "",
        "network",
        "network.bastion",
        "network.security-group.NAME",
        "network.security-group.NAME.rule[]",
        "network.acl",
        "network.acl.public",
        "network.acl.public.entry[]",
        "network.acl.private",
        "network.acl.private.entry[]",
        "network.route-table",
        "network.route-table.public",
        "network.route-table.public.route[]",
        "network.route-table.private",
        "network.route-table.private.route[]",
        "network.expect[]",
        "load-balancer",
        "single",
        "local",
        "service.NAME",
        "service.NAME.image",
        "service.NAME.health",
        "service.NAME.scale",
    ] {
        let errors = refused(&file_with(table, "qqqqqqqqqqqqqqqqqq", "1"));
        let (_, list) = errors.split_once("the keys here are ").unwrap();
        let list = list.lines().next().unwrap();
        keys -= list.split(", ").count();
    }
    assert_eq!(keys, 0);
}

#[test]
fn the_schema_in_the_repository_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../landfall.schema.json");
    let schema = format!("{:#}\n", json_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == schema,
        "landfall.schema.json is out of date; UPDATE_SCHEMA=1 writes it anew"
    );
}

/// Every key of a schema with its table and its own schema.
fn keys<'a>(schema: &'a Value, table: &str, found: &mut Vec<(String, &'a str, &'a Value)>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        found.push((table.to_owned(), key, schema));
        keys(schema, &reading::join(table, key), found);
    }
    for schema in schema["patternProperties"]
        .as_object()
        .into_iter()
        .flat_map(|all| all.values())
    {
        keys(schema, &reading::join(table, "NAME"), found);
    }
    if let Some(element) = schema.get("items") {
        keys(element, &format!("{table}[]"), found);
    }
}

#[test]
fn reference_page_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/landfall-toml.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (schema, mut found, mut missing) = (json_schema(), Vec::new(), Vec::new());
    keys(&schema, "", &mut found);
    for (table, key, schema) in found {
        // Both tiers have the same keys, and one section says them.
        let tier = |path: String| path.replace(".private", ".public");
        let (table, path) = (tier(table.clone()), tier(reading::join(&table, key)));
        if schema["type"] == "object" && !["args", "env", "secrets"].contains(&key)
            || schema["items"].get("properties").is_some()
        {
            // A table that has nothing but tables needs no section of its own.
            let has_tables_only = schema["properties"]
                .as_object()
                .is_some_and(|keys| keys.values().all(|key| key["type"] == "object"));
            if has_tables_only {
                continue;
            }
            let headed = [
                format!("[{path}]\n"),
                format!("[{path}.NAME]\n"),
                format!("[[{path}]]\n"),
            ];
            if !headed
                .iter()
                .any(|header| page.contains(&format!("# {header}")))
            {
                missing.push(path);
            }
            continue;
        }
        let section = match table.as_str() {
            "" => page.split("## At the top\n").nth(1),
            table => match table.strip_suffix("[]") {
                Some(list) => page.split(&format!("# [[{list}]]\n")).nth(1),
                None => page.split(&format!("# [{table}]\n")).nth(1),
            },
        };
        let section = section
            .unwrap_or_default()
            .split("\n#")
            .next()
            .unwrap_or_default();
        let Some(row) = section
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
        else {
            missing.push(path);
            continue;
        };
        let number = |field: &str| {
            schema[field].as_i64().map(|number| match number {
                // As it is written for people.
                1_000_000_000 => "1,000,000,000".to_owned(),
                number => number.to_string(),
            })
        };
        if let Some(range) = number("minimum")
            .zip(number("maximum"))
            .map(|(low, high)| format!("| {low} to {high}"))
            && !row.contains(&range)
        {
            missing.push(format!("{path}: {range}"));
        }
        let default = match schema.get("default") {
            None => continue,
            Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        if !row.contains(&format!("| {default} |")) {
            missing.push(format!("{path} = {default}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_examples_on_the_pages_are_accepted() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let pages = ["landfall-toml.md", "single.md"];
    let page = pages.map(|page| std::fs::read_to_string(format!("{docs}/{page}")).unwrap());
    let page = page.concat();
    let examples: Vec<_> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(examples.len(), 8);
    for example in examples {
        let config = Config::parse(example, "landfall.toml");
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        for environment in config.env.0 {
            Config::parse_for(example, "landfall.toml", Some(environment.as_str()))
                .unwrap_or_else(|errors| panic!("{environment}: {errors}"));
        }
    }
}
