//! Failures as text: the operation, the reason, the evidence, the remaining resources, the hint.

use std::error::Error as StdError;

use landfall_lb::HealthReason;
use landfall_pipeline::{
    ConfigErrors, Failure, PostFailureState, RolledBackService, UnhealthyTarget,
};
use landfall_provider::{Error, Key, Left};

use super::{BAD, CHANGED, DIM, STRONG, Table, count, or_dash, paint, tame};

/// A message without further data.
pub(crate) fn message(text: &str, hint: Option<&str>) -> String {
    let mut lines = headline(text);
    lines.extend(hint.map(|hint| self::hint(hint, "")).unwrap_or_default());
    joined(lines)
}

/// The text of a provider's error.
pub(crate) fn error(error: &Error) -> String {
    joined(error_lines(error))
}

fn error_lines(error: &Error) -> Vec<String> {
    let mut lines = headline(&error.to_string());
    lines.extend(evidence(error, "  "));
    lines.extend(left(error, "  "));
    lines.extend(advice(error, "  "));
    lines
}

/// All faults of a file, each with its position.
pub(crate) fn config(errors: &ConfigErrors) -> String {
    let mut lines = Vec::new();
    for fault in &errors.faults {
        let source = errors.line_of(fault);
        let place = match source {
            None if errors.source_text.is_empty() => errors.file.clone(),
            _ => format!("{}:{}:{}", errors.file, fault.line, fault.column),
        };
        lines.push(format!(
            "{}: {} {}",
            paint(STRONG, place),
            paint(BAD.bold(), "error:"),
            tame(&fault.message)
        ));
        if let Some(source) = source {
            let number = fault.line.to_string();
            let margin = " ".repeat(number.len());
            let before: String = source
                .chars()
                .take(fault.column.saturating_sub(1))
                // A tab before the position is kept, so that the marker is aligned at any tab
                // width.
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let marked = errors
                .source_text
                .get(fault.span.clone())
                .and_then(|text| text.lines().next())
                .map_or(0, |text| text.chars().count());
            lines.push(format!(
                "  {} {source}",
                paint(DIM, format_args!("{number} │"))
            ));
            lines.push(format!(
                "  {} {before}{}",
                paint(DIM, format_args!("{margin} │")),
                paint(BAD, "^".repeat(marked.max(1)))
            ));
        }
        if let Some(hint) = &fault.hint {
            lines.extend(self::hint(hint, ""));
        }
    }
    if errors.more > 0 {
        lines.push(format!("and {} more", errors.more));
    }
    let faults = count(errors.count(), "error");
    lines.push(format!("{faults} in {}; nothing was changed", errors.file));
    joined(lines)
}

/// The reason of a failed deploy, plan or destroy, and the resulting state.
///
/// For an announced failure, only what followed the announcement.
pub(crate) fn failure(failure: &Failure) -> String {
    let mut lines = match failure.reported {
        None => reason(failure),
        Some(reported) => {
            let later = failure.errors.iter().skip(reported);
            later.flat_map(error_lines).collect()
        }
    };
    lines.extend(remains(failure));
    joined(lines)
}

/// A failure as announced before the run cleans up.
pub(crate) fn announced(failure: &Failure) -> String {
    reason(failure).join("\n")
}

/// The reason, the evidence, and the hint.
fn reason(failure: &Failure) -> Vec<String> {
    let mut lines = headline(&failure.message);
    // The remaining resources are listed once, at the end, for the whole run.
    let is_known = matches!(
        failure.remains,
        PostFailureState::Unchanged
            | PostFailureState::RolledBack { .. }
            | PostFailureState::RolledBackServices { .. }
    );
    for error in &failure.errors {
        let mut text = error.to_string();
        if text == failure.message {
            text.clear();
        }
        lines.extend(text.lines().map(|line| format!("  {}", tame(line))));
        lines.extend(evidence(error, "    "));
        match error.left_behind() {
            Left::Unknown if !is_known => lines.push(left_unknown("    ")),
            _ => {}
        }
        lines.extend(advice(error, "    "));
    }
    lines.extend(sick(&failure.targets));
    if !failure.output.is_empty() {
        lines.push(format!("  {}", paint(DIM, "its last output:")));
        lines.extend(quoted(&failure.output, "  "));
    }
    lines.extend(
        failure
            .details
            .iter()
            .map(|line| format!("  {}", tame(line))),
    );
    lines.extend(super::reach::broken(&failure.broken));
    lines.extend(super::plan::losses(&failure.losses));
    for text in advised(&failure.targets) {
        lines.extend(hint(&tame(text), ""));
    }
    if let Some(hint) = &failure.hint {
        lines.extend(self::hint(hint, ""));
    }
    lines
}

fn headline(text: &str) -> Vec<String> {
    let mut text = text.lines();
    let mut lines = vec![format!(
        "{} {}",
        paint(BAD.bold(), "error:"),
        tame(text.next().unwrap_or_default())
    )];
    lines.extend(text.map(|line| format!("  {}", tame(line))));
    lines
}

/// Causes and quoted lines: the evidence of an error.
fn evidence(error: &Error, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for cause in causes(error) {
        let mut cause = cause.lines();
        let first = tame(cause.next().unwrap_or_default());
        lines.push(format!("{indent}{} {first}", paint(DIM, "because:")));
        lines.extend(cause.map(|line| format!("{indent}         {}", tame(line))));
    }
    lines.extend(quoted(error.detail_lines(), indent));
    lines
}

/// The remaining resource of an error, unless another part lists it.
fn left(error: &Error, indent: &str) -> Option<String> {
    match error.left_behind() {
        Left::Nothing => None,
        Left::Resource(id) => Some(format!("{indent}{} {id}", paint(DIM, "left behind:"))),
        Left::Unknown => Some(left_unknown(indent)),
    }
}

fn left_unknown(indent: &str) -> String {
    format!(
        "{indent}{} unknown; the next run lists it",
        paint(DIM, "left behind:")
    )
}

fn advice(error: &Error, indent: &str) -> Vec<String> {
    let text = error.hint_text();
    text.map(|text| hint(text, indent)).unwrap_or_default()
}

/// The causes of an error. An error that contains its source's text is printed once.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut shown = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !shown.ends_with(&text) {
            causes.push(text.clone());
        }
        shown = text;
        next = cause.source();
    }
    causes
}

fn quoted(lines: &[String], indent: &str) -> Vec<String> {
    lines
        .iter()
        .map(|line| format!("{indent}{} {}", paint(DIM, "│"), tame(line)))
        .collect()
}

fn hint(text: &str, indent: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .map(|(index, line)| match index {
            0 => format!("{indent}{} {line}", paint(CHANGED, "hint:")),
            _ => format!("{indent}      {line}"),
        })
        .collect()
}

/// The maximum number of listed instances; further ones would only repeat them.
const LISTED: usize = 6;

/// A line for each instance that keeps its service unhealthy. A cause shared by all of them is
/// already in the headline.
fn sick(targets: &[UnhealthyTarget]) -> Vec<String> {
    let first = targets.first().and_then(|sick| sick.cause.as_ref());
    let is_shared = first.is_some() && targets.iter().all(|sick| sick.cause.as_ref() == first);
    let mut table = Table::default();
    for sick in targets.iter().take(LISTED) {
        // That its first checks had not ended says less than the cause that they showed.
        let reason = sick.reason.filter(|reason| {
            sick.cause.is_none() || *reason != HealthReason::InitialHealthChecking
        });
        let reason = reason.map_or(String::new(), |reason| reason.to_string());
        let what = match is_shared {
            true => None,
            false => sick.cause.as_deref().or(sick.seen.as_deref()),
        };
        table.row(
            "  ",
            [
                (STRONG, sick.service.clone()),
                (DIM, sick.id.clone()),
                (DIM, or_dash(sick.zone.as_ref())),
                (BAD, sick.state.clone()),
                (CHANGED, reason),
                (anstyle::Style::new(), what.map(tame).unwrap_or_default()),
            ],
        );
    }
    let mut lines = table.lines();
    if let more @ 1.. = targets.len().saturating_sub(LISTED) {
        lines.push(format!("  and {}", count(more, "more instance")));
    }
    lines
}

/// The hints, each one once.
fn advised(targets: &[UnhealthyTarget]) -> Vec<&str> {
    let mut reported: Vec<&str> = Vec::new();
    for advice in targets.iter().filter_map(|sick| sick.advice.as_deref()) {
        if !reported.contains(&advice) {
            reported.push(advice);
        }
    }
    reported
}

/// The state after a failure.
fn remains(failure: &Failure) -> Vec<String> {
    match &failure.remains {
        PostFailureState::Unchanged => vec!["nothing was changed".to_owned()],
        PostFailureState::RolledBack { deleted } => vec![format!(
            "nothing is left: it was the stack's first deploy, and its resources were deleted again ({})",
            count(deleted.len(), "resource")
        )],
        PostFailureState::RolledBackServices { services } => {
            services.iter().map(went_back).collect()
        }
        PostFailureState::Resources { keys, next } => {
            let mut lines = vec![format!("the stack has {}:", count(keys.len(), "resource"))];
            lines.extend(listed(keys));
            lines.extend(undone(failure));
            lines.push(next.clone());
            lines
        }
        PostFailureState::EndedWithProvider => {
            vec!["nothing is left of the stack".to_owned()]
        }
        PostFailureState::Unknown { why } => {
            let mut lines = undone(failure);
            lines.push(format!(
                "the remaining resources are unknown ({}); the next run lists them",
                tame(why)
            ));
            lines
        }
    }
}

/// The unfinished operations of the run.
fn undone(failure: &Failure) -> Vec<String> {
    let mut lines = Vec::new();
    let (going, waiting) = (&failure.on_its_way, &failure.not_started);
    if !going.is_empty() {
        let (go, are) = match going.len() {
            1 => ("goes", "is"),
            _ => ("go", "are"),
        };
        lines.push(format!(
            "{} {go} on at the provider, and {are} no longer waited for:",
            count(going.len(), "step")
        ));
        lines.extend(listed(going));
    }
    if !waiting.is_empty() {
        let were = if waiting.len() == 1 { "was" } else { "were" };
        lines.push(format!(
            "{} {were} not started:",
            count(waiting.len(), "step")
        ));
        lines.extend(listed(waiting));
    }
    lines
}

/// Keys, four to a line; a key with two steps once.
fn listed(keys: &[Key]) -> Vec<String> {
    let mut names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    names.dedup();
    let lines = names
        .chunks(4)
        .map(|names| format!("  {}", names.join("  ")));
    lines.collect()
}

fn went_back(back: &RolledBackService) -> String {
    let RolledBackService { service, from, to } = back;
    format!(
        "{service} was rolled back from release {from} to release {to}, which serves; `deploy` tries again"
    )
}

fn joined(lines: Vec<String>) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
