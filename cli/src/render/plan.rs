//! A plan as a diff that people read.

use std::collections::BTreeMap;

use anstyle::Style;
use landfall_provider::{Action, FieldChange, Key, Plan, Reason, Schema, Step};
use serde_json::Value;

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, paint};

/// Longer values are cut: a plan is read, not parsed (`--json` has all of them).
const LONGEST_VALUE: usize = 90;

/// How many resources a plan makes, changes, replaces, ends and leaves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) create: usize,
    pub(crate) update: usize,
    pub(crate) replace: usize,
    pub(crate) delete: usize,
    pub(crate) keep: usize,
}

/// What a plan does to one key; an ending and a making of the same key are one replacement.
enum Entry<'a> {
    Keep,
    Create(&'a Value, Option<&'a Reason>),
    Update(&'a str, &'a [FieldChange]),
    Replace(&'a str, &'a Reason),
    Delete(&'a str, &'a Reason),
}

/// The entries in the order of the plan's steps.
fn entries(plan: &Plan) -> Vec<(&Key, Entry<'_>)> {
    let remade: BTreeMap<&Key, &Reason> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Create {
                because: Some(because),
                ..
            } => Some((&step.key, because)),
            _ => None,
        })
        .collect();
    let ended = |key: &Key| {
        plan.steps
            .iter()
            .any(|step| &step.key == key && matches!(step.action, Action::Delete { .. }))
    };
    let mut entries = Vec::new();
    for Step { key, action, .. } in &plan.steps {
        let entry = match action {
            Action::Keep { .. } => Entry::Keep,
            Action::Create {
                because: Some(_), ..
            } if ended(key) => continue,
            Action::Create { want, because } => Entry::Create(want, because.as_ref()),
            Action::Update { live, fields, .. } => Entry::Update(&live.id, fields),
            Action::Delete { live, because } => match remade.get(key) {
                // An interrupted run's double is ended beside the replacement.
                Some(reason) if *reason == because => Entry::Replace(&live.id, because),
                _ => Entry::Delete(&live.id, because),
            },
        };
        entries.push((key, entry));
    }
    entries
}

/// Counts what the plan does.
pub(crate) fn counts(plan: &Plan) -> Counts {
    let mut counts = Counts::default();
    for (_, entry) in entries(plan) {
        *match entry {
            Entry::Keep => &mut counts.keep,
            Entry::Create(..) => &mut counts.create,
            Entry::Update(..) => &mut counts.update,
            Entry::Replace(..) => &mut counts.replace,
            Entry::Delete(..) => &mut counts.delete,
        } += 1;
    }
    counts
}

/// The plan, a line for each resource that changes, and a line of counts.
pub(crate) fn render(plan: &Plan, schema: &Schema) -> String {
    let mut table = Table::default();
    // The lines that stand under a row of the table.
    let mut under: Vec<Vec<String>> = Vec::new();
    for (key, entry) in entries(plan) {
        let forces = |field: &str| {
            schema
                .get(&key.kind)
                .is_some_and(|facts| facts.forces_replacement.contains(&field))
        };
        let (style, sign, note, lines) = match entry {
            Entry::Keep => continue,
            Entry::Create(want, None) => (GOOD, "+", summary(want), Vec::new()),
            Entry::Create(_, Some(because)) => {
                let (note, fields) = why(because, &forces);
                let lines = changes(fields, &forces);
                (GOOD, "+", format!("{note}; the old one is kept"), lines)
            }
            Entry::Update(id, fields) => (CHANGED, "~", id.to_owned(), changes(fields, &|_| false)),
            Entry::Replace(id, because) => {
                let (note, fields) = why(because, &forces);
                (
                    BAD,
                    "-/+",
                    format!("{id}  {note}"),
                    changes(fields, &forces),
                )
            }
            Entry::Delete(id, because) => {
                let (note, _) = why(because, &forces);
                (BAD, "-", format!("{id}  {note}"), Vec::new())
            }
        };
        table.row(
            format!("{} ", paint_sign(style, sign)),
            [(Style::new(), key.to_string()), (DIM, note)],
        );
        under.push(lines);
    }
    let mut text = String::new();
    for (row, lines) in table.lines().into_iter().zip(under) {
        text.push_str(&row);
        text.push('\n');
        for line in lines {
            text.push_str("      ");
            text.push_str(&line);
            text.push('\n');
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&count_line(plan));
    text.push('\n');
    text
}

fn paint_sign(style: Style, sign: &str) -> String {
    paint(style, format_args!("{sign:>3}"))
}

/// The last line: what the plan comes to.
pub(crate) fn count_line(plan: &Plan) -> String {
    let counts = counts(plan);
    if plan.is_empty() {
        return format!(
            "{}: {} are as they should be",
            paint(STRONG, "Nothing to do"),
            super::count(counts.keep, "resource")
        );
    }
    let parts: Vec<String> = [
        (counts.create, "to create", GOOD),
        (counts.update, "to change", CHANGED),
        (counts.replace, "to replace", BAD),
        (counts.delete, "to delete", BAD),
        (counts.keep, "unchanged", DIM),
    ]
    .into_iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, style)| paint(style, format_args!("{number} {what}")))
    .collect();
    format!("{}: {}", paint(STRONG, "Plan"), parts.join(", "))
}

/// Why a resource cannot stay, and the fields behind it.
fn why<'a>(reason: &'a Reason, forces: &dyn Fn(&str) -> bool) -> (String, &'a [FieldChange]) {
    match reason {
        Reason::NotWanted => ("no longer wanted".to_owned(), &[]),
        Reason::Ending => ("the old one is on its way out".to_owned(), &[]),
        Reason::Surplus => ("a double that an interrupted run left".to_owned(), &[]),
        Reason::Failed(why) => (format!("it failed: {}", super::tame(why)), &[]),
        Reason::Replaced(fields) => {
            let names: Vec<&str> = fields
                .iter()
                .map(|change| change.field.as_str())
                .filter(|field| forces(field))
                .collect();
            (
                format!("{} cannot change in place", names.join(", ")),
                fields,
            )
        }
    }
}

fn changes(fields: &[FieldChange], forces: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for change in fields {
        let forced = if forces(&change.field) {
            paint(BAD, "  forces replacement")
        } else {
            String::new()
        };
        let mut leaves = Vec::new();
        differ(&change.field, &change.have, &change.want, &mut leaves);
        lines.extend(leaves.into_iter().map(|leaf| leaf + &forced));
    }
    lines
}

/// Walks down to what differs; lists are told by what leaves them and what joins them.
fn differ(path: &str, have: &Value, want: &Value, lines: &mut Vec<String>) {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            let mut names: Vec<&String> = have.keys().chain(want.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (have, want) = (
                    have.get(name).unwrap_or(&Value::Null),
                    want.get(name).unwrap_or(&Value::Null),
                );
                if have != want {
                    differ(&format!("{path}.{name}"), have, want, lines);
                }
            }
        }
        (Value::Array(have), Value::Array(want)) => {
            let missing = |from: &[Value], other: &[Value]| -> Vec<Value> {
                let mut other = other.to_vec();
                from.iter()
                    .filter(|value| match other.iter().position(|one| one == *value) {
                        Some(at) => {
                            other.swap_remove(at);
                            false
                        }
                        None => true,
                    })
                    .cloned()
                    .collect()
            };
            let (gone, come) = (missing(have, want), missing(want, have));
            if gone.is_empty() && come.is_empty() {
                lines.push(format!("{path}: in another order"));
            }
            for value in gone {
                lines.push(format!(
                    "{path}: {}",
                    paint(BAD, format_args!("- {}", short(&value)))
                ));
            }
            for value in come {
                lines.push(format!(
                    "{path}: {}",
                    paint(GOOD, format_args!("+ {}", short(&value)))
                ));
            }
        }
        _ => lines.push(format!("{path}: {} → {}", short(have), short(want))),
    }
}

/// A value in one line; nothing is `(none)`.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".to_owned(),
        Value::String(text) => super::tame(text),
        other => other.to_string(),
    };
    if text.chars().count() > LONGEST_VALUE {
        let cut: String = text.chars().take(LONGEST_VALUE - 1).collect();
        format!("{cut}…")
    } else {
        text
    }
}

/// The plain values of a new resource, in the order of its fields.
fn summary(spec: &Value) -> String {
    let Value::Object(fields) = spec else {
        return String::new();
    };
    let parts: Vec<String> = fields
        .iter()
        .filter_map(|(name, value)| match value {
            Value::String(text) if text.starts_with("${") || text.is_empty() => None,
            // Ids and hashes are for machines.
            Value::String(text) if text.len() > 40 => None,
            Value::String(text) => Some(format!("{name} {}", super::tame(text))),
            Value::Number(number) => Some(format!("{name} {number}")),
            _ => None,
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
