//! A plan as a readable diff.

use anstyle::Style;
use landfall_compute::ReleaseState;
use landfall_pipeline::{Because, ChangeKind, Changes, Leaf, PendingRollout, Review, Reviewed};
use landfall_provider::IrreversibleChange;
use serde_json::Value;

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, paint, tame};

/// Longer values are cut: a plan is for reading, not for parsing (`--json` has the complete
/// values).
const LONGEST_VALUE: usize = 160;

/// The plan: a line for each changed resource with its fields below, the irreversible changes, and
/// a line of counts.
pub(crate) fn render(review: &Review) -> String {
    let mut table = Table::default();
    for resource in &review.resources {
        let (style, sign) = sign(resource.action);
        table.row(
            format!("{} ", paint(style, format_args!("{sign:>3}"))),
            [
                (Style::new(), resource.key.to_string()),
                (DIM, note(resource)),
            ],
        );
    }
    let mut lines = Vec::new();
    for (row, resource) in table.lines().into_iter().zip(&review.resources) {
        lines.push(row);
        lines.extend(resource.fields.iter().map(field));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    let losses = losses(&review.losses);
    if !losses.is_empty() {
        lines.extend(losses);
        lines.push(String::new());
    }
    if !review.rollouts.is_empty() {
        lines.extend(review.rollouts.iter().map(rollout));
        lines.push(String::new());
    }
    lines.push(count_line(review));
    lines.join("\n") + "\n"
}

/// The irreversible changes, a line for each; none if there are none.
pub(crate) fn losses(losses: &[IrreversibleChange]) -> Vec<String> {
    if losses.is_empty() {
        return Vec::new();
    }
    let mut table = Table::default();
    for lost in losses {
        table.row(
            "  ",
            [
                (Style::new(), lost.key.to_string()),
                (DIM, lost.id.clone()),
                (BAD, tame(&lost.what)),
            ],
        );
    }
    let mut lines = vec![format!("{}:", paint(BAD.bold(), "Lost for good"))];
    lines.extend(table.lines());
    lines
}

/// An existing release that will be rolled out to the instances.
fn rollout(rollout: &PendingRollout) -> String {
    let PendingRollout {
        service,
        from,
        to,
        state,
    } = rollout;
    let (what, why) = match state {
        ReleaseState::Failed(why) => (
            format!("release {to} of {service} is tried again"),
            format!("it failed: {}", tame(why)),
        ),
        ReleaseState::Rolling => (
            format!("the rollout of release {to} of {service} continues"),
            "its rollout is in progress".to_owned(),
        ),
        ReleaseState::Waiting | ReleaseState::Current | ReleaseState::Superseded => (
            format!("release {to} of {service} is rolled out"),
            "no instance runs it yet".to_owned(),
        ),
    };
    let serves = format!("release {from} serves; {why}");
    format!("{} {what}  {}", paint(CHANGED, "  ~"), paint(DIM, serves))
}

/// The last line: the total changes.
pub(crate) fn count_line(review: &Review) -> String {
    let changes = Changes::of(review);
    if review.is_empty() {
        return format!(
            "{}: {} unchanged",
            paint(STRONG, "Nothing to do"),
            super::count(changes.keep, "resource")
        );
    }
    let parts: Vec<String> = [
        (review.rollouts.len(), "to roll out", CHANGED),
        (changes.create.len(), "to create", GOOD),
        (changes.update.len(), "to change", CHANGED),
        (changes.replace.len(), "to replace", BAD),
        (changes.delete.len(), "to delete", BAD),
        (changes.keep, "unchanged", DIM),
    ]
    .into_iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, style)| paint(style, format_args!("{number} {what}")))
    .collect();
    format!("{}: {}", paint(STRONG, "Plan"), parts.join(", "))
}

fn sign(does: ChangeKind) -> (Style, &'static str) {
    match does {
        ChangeKind::Create | ChangeKind::CreateBeside => (GOOD, "+"),
        ChangeKind::Update => (CHANGED, "~"),
        ChangeKind::CreateThenDelete => (BAD, "+/-"),
        ChangeKind::DeleteThenCreate => (BAD, "-/+"),
        ChangeKind::Delete => (BAD, "-"),
    }
}

/// The note beside a resource: its id, or the fields of a new one, and the reason for a
/// replacement.
fn note(resource: &Reviewed) -> String {
    let mut parts = Vec::new();
    parts.extend(resource.id.clone());
    if resource.action == ChangeKind::Create && resource.because.is_none() {
        parts.extend(resource.spec.as_ref().map(summary));
    }
    parts.extend(resource.because.as_ref().map(why));
    if resource.action == ChangeKind::CreateBeside {
        parts.push("the old one is kept".to_owned());
    }
    parts.join("  ")
}

fn why(because: &Because) -> String {
    match because {
        Because::NotWanted => "no longer wanted".to_owned(),
        Because::Ending => "the old one is being deleted".to_owned(),
        Because::Duplicate => "a duplicate that an interrupted run left".to_owned(),
        Because::Failed(why) => format!("it failed: {}", tame(why)),
        Because::Forced(fields) => format!("{} cannot change in place", fields.join(", ")),
    }
}

fn field(leaf: &Leaf) -> String {
    let change = match (&leaf.before, &leaf.after) {
        // Both are hidden.
        (Some(before), Some(after)) if before == after => format!("{}, another one", short(before)),
        (Some(before), Some(after)) => format!("{} → {}", short(before), short(after)),
        (Some(before), None) => paint(BAD, format_args!("- {}", short(before))),
        (None, Some(after)) => paint(GOOD, format_args!("+ {}", short(after))),
        (None, None) => String::new(),
    };
    let forces = if leaf.forces_replacement {
        paint(BAD, "  forces replacement")
    } else {
        String::new()
    };
    format!("      {}: {change}{forces}", tame(&leaf.path))
}

/// A value in one line, truncated if it is long.
fn short(value: &Value) -> String {
    let text = words(value);
    if text.chars().count() > LONGEST_VALUE {
        let cut: String = text.chars().take(LONGEST_VALUE - 1).collect();
        format!("{cut}…")
    } else {
        text
    }
}

/// A value as text; an empty one is `(none)`, and the id of a planned resource is `(new vpc/main)`.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => match text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(key) => format!("(new {})", tame(key)),
            None => tame(text),
        },
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::Object(_) | Value::Array(_) => format!("{name} ({})", words(value)),
                _ => format!("{name} {}", words(value)),
            });
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(elements) => elements.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
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
            // Ids and hashes are not readable.
            Value::String(text) if text.len() > 40 => None,
            Value::String(text) => Some(format!("{name} {}", tame(text))),
            Value::Number(number) => Some(format!("{name} {number}")),
            _ => None,
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
