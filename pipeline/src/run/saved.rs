//! Saved plans: the decision, its inputs and its provider. A saved plan is applied unchanged, or not at all.
//!
//! A plan is a pure function of the desired and the current state. A saved plan contains both, and the deploy that
//! applies it plans again: if both are unchanged, so is the plan. Otherwise
//! the differences are reported, and nothing is changed.

use std::collections::BTreeMap;

use landfall_provider::{
    Action, DesiredResource, Found, Key, Plan, Probe, Schema, Snapshot, Stack, StackName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::outcome::{Failure, Stage};
use crate::review::{concealed, leaves};

/// The version of the format. It is raised when older files could be misread.
const FORMAT: u64 = 1;

/// A saved plan.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedPlan(Content);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Content {
    /// The version of Landfall that wrote it.
    landfall: String,
    /// The provider: [`provider_identity`](landfall_provider::ProviderIdentity::provider_identity).
    place: String,
    /// The desired state, without values that look like secrets.
    wanted: Stack,
    /// The current state at that time, likewise.
    live: Snapshot,
    /// The steps, likewise.
    plan: Plan,
    /// The hash over the complete data: it also detects changes of values that are not shown.
    fingerprint: String,
}

/// An unusable plan file.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is not a saved plan.
    #[error("this is no saved plan: {0}")]
    Other(String),
    /// It was written by an older or newer Landfall.
    #[error("this plan has format {found}, and this Landfall reads format {FORMAT}")]
    Format {
        /// The format of the file.
        found: u64,
    },
    /// It was changed after it was written.
    #[error("this plan is damaged: its contents do not match its checksum")]
    Damaged,
}

impl SavedPlan {
    /// A plan as a saved plan.
    pub(crate) fn of(wanted: &Stack, live: &Snapshot, plan: &Plan, place: &str) -> Self {
        let whole = json!([wanted, comparable(live), place]);
        Self(Content {
            landfall: env!("CARGO_PKG_VERSION").to_owned(),
            place: place.to_owned(),
            wanted: without_secrets(wanted),
            live: without_secrets(live),
            plan: without_secrets(plan),
            fingerprint: sum(&whole),
        })
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let content = json!(self.0);
        let file = json!({ "format": FORMAT, "checksum": sum(&content), "content": content });
        format!("{file:#}\n")
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is not a saved plan, or was changed.
    pub fn parse(text: &str) -> Result<Self, SavedPlanError> {
        let other = |error: serde_json::Error| SavedPlanError::Other(error.to_string());
        let file: Value = serde_json::from_str(text).map_err(other)?;
        let Some(found) = file["format"].as_u64() else {
            return Err(SavedPlanError::Other("it has no `format`".to_owned()));
        };
        if found != FORMAT {
            return Err(SavedPlanError::Format { found });
        }
        let content = &file["content"];
        if file["checksum"] != sum(content) {
            return Err(SavedPlanError::Damaged);
        }
        Content::deserialize(content).map(Self).map_err(other)
    }

    /// Fails unless it is for this stack.
    pub(crate) fn check_stack(&self, stack: &StackName) -> Result<(), Box<Failure>> {
        let mine = self.0.wanted.name();
        if mine == stack {
            return Ok(());
        }
        let why = format!("this plan is for the stack {mine}, not for {stack}");
        refused(why, Vec::new())
    }

    /// Fails unless the current plan is equal to the saved one.
    pub(crate) fn check(&self, now: &Self, schema: &Schema) -> Result<(), Box<Failure>> {
        let (saved, fresh) = (&self.0, &now.0);
        let stack = saved.wanted.name();
        if saved.place != fresh.place {
            let why = format!("this plan was made for another provider: {}", saved.place);
            return refused(why, vec![format!("this is {}", fresh.place)]);
        }
        let live = changed_live(&saved.live, &fresh.live, schema);
        if !live.is_empty() {
            let why = format!("the resources of {stack} have changed since the plan was made");
            return refused(why, live);
        }
        let wanted = changed_wishes(&saved.wanted, &fresh.wanted, schema);
        if !wanted.is_empty() {
            let why = "the desired state has changed since the plan was made".to_owned();
            return refused(why, wanted);
        }
        if saved.fingerprint != fresh.fingerprint {
            let why = "a hidden value has changed since the plan was made".to_owned();
            return refused(why, Vec::new());
        }
        if outline(&saved.plan) != outline(&fresh.plan) {
            let why = format!(
                "Landfall {} has planned otherwise than this one",
                saved.landfall
            );
            return refused(why, Vec::new());
        }
        Ok(())
    }
}

fn refused(why: String, details: Vec<String>) -> Result<(), Box<Failure>> {
    let mut failure = Failure::new(Stage::Stale, why);
    failure.details = details;
    Err(failure.hint("create a new plan with `plan --out`"))
}

/// The hash of a value's JSON, with objects in the order of their keys.
fn sum(value: &Value) -> String {
    let hash = Sha256::digest(value.to_string());
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// The same value without values that look like secrets.
fn without_secrets<T: Serialize + for<'de> Deserialize<'de>>(whole: &T) -> T {
    let shown = concealed("", &json!(whole));
    T::deserialize(shown).expect("texts in place of texts leave the shape as it is")
}

/// The part of a state that plans depend on: progress is not a difference; a failure or a deletion is.
fn state(found: &Found) -> &'static str {
    match &found.state {
        Probe::Absent => "absent",
        Probe::Pending(_) | Probe::Usable(_) => "there",
        Probe::Failed(_) => "failed",
        Probe::Ending(_) => "ending",
    }
}

fn comparable(live: &Snapshot) -> Value {
    let found = live.found().iter();
    found
        .map(|one| json!([one.key, one.id, one.spec, state(one)]))
        .collect()
}

/// The keys, their changes, and the order.
fn outline(plan: &Plan) -> Value {
    let steps = plan.steps.iter().map(|step| {
        let action = match &step.action {
            Action::Keep { .. } => "keep",
            Action::Create { .. } => "create",
            Action::Update { .. } => "update",
            Action::Delete { .. } => "delete",
        };
        json!([step.key, action, step.after])
    });
    steps.collect()
}

fn changed_live<'a>(saved: &'a Snapshot, now: &'a Snapshot, schema: &Schema) -> Vec<String> {
    let by_id = |snapshot: &'a Snapshot| -> BTreeMap<(&'a Key, &'a str), &'a Found> {
        let found = snapshot.found().iter();
        found
            .map(|one| ((&one.key, one.id.as_str()), one))
            .collect()
    };
    let (before, after) = (by_id(saved), by_id(now));
    let mut lines = Vec::new();
    for (which, old) in &before {
        let Some(new) = after.get(which) else {
            lines.push(format!("{} {} is gone", old.key, old.id));
            continue;
        };
        if state(old) != state(new) {
            lines.push(format!("{}: {} → {}", old.key, state(old), state(new)));
        }
        lines.extend(changed_spec(&old.key, &old.spec, &new.spec, schema));
    }
    let joined = after.keys().filter(|which| !before.contains_key(which));
    lines.extend(joined.map(|(key, id)| format!("{key} {id} is new")));
    lines
}

fn changed_wishes(saved: &Stack, now: &Stack, schema: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, DesiredResource { spec, .. }) in saved.resources() {
        match now.resources().get(key) {
            Some(desired) => lines.extend(changed_spec(key, spec, &desired.spec, schema)),
            None => lines.push(format!("{key} is no longer desired")),
        }
    }
    let joined = now
        .resources()
        .keys()
        .filter(|key| !saved.resources().contains_key(key));
    lines.extend(joined.map(|key| format!("{key} is desired too")));
    lines
}

/// The differences between two specs, as far as plans compare them.
fn changed_spec(key: &Key, old: &Value, new: &Value, schema: &Schema) -> Vec<String> {
    use landfall_provider::Change;

    let fields = match schema
        .get(&key.kind)
        .map(|metadata| metadata.change(old, new))
    {
        Some(Ok(Change::Keep)) => Vec::new(),
        Some(Ok(Change::Update(fields) | Change::Replace(fields))) => fields,
        Some(Err(_)) | None => return vec![format!("{key} has another format")],
    };
    let show = |value: Option<Value>| match value {
        None | Some(Value::Null) => "(none)".to_owned(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    fields
        .iter()
        .flat_map(|field| leaves(&field.field, &field.before, &field.after))
        .map(|leaf| {
            format!(
                "{key}: {}: {} → {}",
                leaf.path,
                show(leaf.before),
                show(leaf.after)
            )
        })
        .collect()
}
