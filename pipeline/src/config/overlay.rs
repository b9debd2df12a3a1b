//! Environments: tables of the file that are merged into the rest of it, table by table, before the keys are read.
//!
//! Values keep their place in the text, so that a diagnostic of an environment points at its own line.

use std::borrow::Cow;
use std::collections::BTreeSet;

use landfall_provider::{ResourceName, StackName};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;
use toml_span::value::{Key, Table, ValueInner};
use toml_span::{Span, Value};

use super::collection::Name;
use super::fault::Diagnostic;
use super::reading::{Reading, join};
use super::setting::{Field, LABEL, Setting};
use super::{hints, mode};

/// The environments of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environments(pub BTreeSet<ResourceName>);

impl Setting for Environments {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let table = reading.table(value, &field.at, "a table of environments")?;
        let mut all = BTreeSet::new();
        for (key, mut value) in table {
            let at = join(&field.at, &key.name);
            // An environment is read after the merge.
            if value.as_table().is_none() {
                let hint = "a variable of the container belongs in `env` of the service's table";
                let found = value.take();
                reading.unfit(
                    value.span,
                    &at,
                    "an environment's table",
                    &found,
                    Some(hint.to_owned()),
                );
                continue;
            }
            match <ResourceName as Name>::read(&key.name) {
                Ok(name) => {
                    all.insert(name);
                }
                Err(mut problem) => {
                    problem.at = vec![at];
                    reading.fault(key.span, problem);
                }
            }
        }
        Some(Self(all))
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "patternProperties": { LABEL: { "$ref": "#/definitions/environment" } },
            "additionalProperties": false,
        })
    }

    fn json(&self) -> Json {
        Json::Null
    }
}

/// The schema of an environment: all keys of the file, all of them optional.
pub(super) fn schema(file: &Json) -> Json {
    let mut schema = file.clone();
    leave_out_needs(&mut schema);
    if let Some(top) = schema.as_object_mut() {
        top.retain(|key, _| ["type", "properties", "additionalProperties"].contains(&key.as_str()));
        if let Some(keys) = top.get_mut("properties").and_then(Json::as_object_mut) {
            keys.remove("env");
        }
    }
    schema
}

fn leave_out_needs(schema: &mut Json) {
    match schema {
        Json::Object(keys) => {
            if keys.get("required").is_some_and(Json::is_array) {
                keys.remove("required");
            }
            keys.values_mut().for_each(leave_out_needs);
        }
        Json::Array(elements) => elements.iter_mut().for_each(leave_out_needs),
        _ => {}
    }
}

/// The environments of the document.
pub(super) fn names(root: &Value<'_>) -> Vec<String> {
    let table = root.as_table().and_then(|table| table.get("env"));
    let names = table.and_then(Value::as_table).map(|table| table.keys());
    names
        .into_iter()
        .flatten()
        .map(|key| key.name.to_string())
        .collect()
}

/// The diagnostic of an unknown environment, and its place.
pub(super) fn unknown(root: &Value<'_>, name: &str, known: &[String]) -> (Span, Diagnostic) {
    let table = root.as_table();
    let key = table.and_then(|table| table.keys().find(|key| key.name == "env"));
    let span = key.map_or(Span::new(0, 0), |key| key.span);
    let message = format!("there is no environment `{name}` in this file");
    let problem = Diagnostic::new("env", message);
    if known.is_empty() {
        let hint = format!(
            "the file has no environments; [env.{name}] defines one, with the keys that differ"
        );
        return (span, problem.hint(hint));
    }
    let quoted: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let there = format!("there are {}", quoted.join(", "));
    let hint = match hints::for_name(name, known) {
        meant if meant.starts_with("did you mean") => format!("{meant} {there}"),
        _ => there,
    };
    (span, problem.hint(hint))
}

/// Merges an environment into the rest of the document.
///
/// Unless the environment sets `stack`, its name is added to the stack's name, so that each environment has its own stack.
pub(super) fn lay<'de>(root: &mut Value<'de>, name: &str, reading: &mut Reading) {
    let mut inner = root.take();
    if let ValueInner::Table(table) = &mut inner
        && let Some((key, mut over)) = take_environment(table, name)
    {
        if let Some((nested, _)) = over.remove_entry("env") {
            let problem = Diagnostic::new("env", "an environment cannot contain environments");
            reading.fault(nested.span, problem.hint(format_args!("write [env.NAME]")));
        }
        if !over.contains_key("stack") {
            name_stack(table, &key, reading);
        }
        mode::make_way(table, &over);
        lay_table(table, over);
    }
    root.set(inner);
}

/// Takes the table of an environment; its name stays.
fn take_environment<'de>(table: &mut Table<'de>, name: &str) -> Option<(Key<'de>, Table<'de>)> {
    let all = table.get_mut("env")?;
    let mut inner = all.take();
    let mut taken = None;
    if let ValueInner::Table(all) = &mut inner
        && let Some((key, mut value)) = all.remove_entry(name)
    {
        let span = value.span;
        let left = match value.take() {
            ValueInner::Table(over) => {
                taken = Some((key.clone(), over));
                ValueInner::Table(Table::new())
            }
            other => other,
        };
        all.insert(key, Value::with_span(left, span));
    }
    all.set(inner);
    taken
}

fn name_stack(table: &mut Table<'_>, environment: &Key<'_>, reading: &mut Reading) {
    let is_named = ResourceName::new(environment.name.as_ref()).is_ok();
    let Some(value) = table.get_mut("stack").filter(|_| is_named) else {
        return;
    };
    let Some(stack) = value
        .as_str()
        .filter(|stack| StackName::new(*stack).is_ok())
    else {
        return;
    };
    let name = format!("{stack}-{}", environment.name);
    if let Err(error) = StackName::new(&name) {
        let problem = Diagnostic::new("stack", error).hint(format_args!(
            "the name of the environment's stack combines both names; set it in [env.{}]: stack = \"…\"",
            environment.name
        ));
        reading.fault(environment.span, problem);
        return;
    }
    *value = Value::with_span(ValueInner::String(Cow::Owned(name)), value.span);
}

fn lay_table<'de>(under: &mut Table<'de>, over: Table<'de>) {
    for (key, mut value) in over {
        let Some((old_key, mut old)) = under.remove_entry(&key) else {
            under.insert(key, value);
            continue;
        };
        if value.as_table().is_none() || old.as_table().is_none() {
            under.insert(key, value);
            continue;
        }
        let mut inner = old.take();
        if let (ValueInner::Table(under), ValueInner::Table(over)) = (&mut inner, value.take()) {
            lay_table(under, over);
        }
        old.set(inner);
        under.insert(old_key, old);
    }
}
