//! The review of a plan for people: the change of each resource, field by field, and the irreversible losses.
//!
//! **Invariant:** pure: the same plan has the same review. It contains no values that look like secrets.

mod fields;
mod secrets;

use std::collections::BTreeMap;

use landfall_compute::ReleaseState;
use landfall_provider::{
    Action, FieldChange, Found, IrreversibleChange, Key, Plan, Reason, ResourceName, Retention,
    Schema, StackName, Step, losses,
};
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::fields::leaves;
pub(crate) use self::secrets::concealed;

/// The review of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Review {
    /// The stack of the plan.
    pub stack: StackName,
    /// The changes, in the order of the plan's steps.
    pub resources: Vec<Reviewed>,
    /// The number of unchanged resources.
    pub unchanged: usize,
    /// The irreversible losses.
    pub losses: Vec<IrreversibleChange>,
    /// Existing releases that are rolled out: a failed one is tried again, an interrupted one
    /// continues.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<PendingRollout>,
}

/// An existing release that a deploy rolls out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingRollout {
    /// The service.
    pub service: ResourceName,
    /// The serving release.
    pub from: u32,
    /// The new release.
    pub to: u32,
    /// The state of the new release.
    pub state: ReleaseState,
}

/// The change of a resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reviewed {
    /// Its key.
    pub key: Key,
    /// The type of the change.
    pub action: ChangeKind,
    /// The id of the current resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The reason why the current resource cannot stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// The differences, down to the innermost fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Leaf>,
    /// The spec of a new resource; `${kind/name}` is the id of another new resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Value>,
}

/// The type of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Created.
    Create,
    /// Created, and the current one is kept: an image.
    CreateBeside,
    /// Changed in place.
    Update,
    /// Replaced: the new one is created first, its users are moved to it, and the old one is deleted last.
    CreateThenDelete,
    /// Replaced: the old one is deleted first, because both cannot exist at once.
    DeleteThenCreate,
    /// Deleted.
    Delete,
}

/// The reason why a resource cannot stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It is not in the desired state.
    NotWanted,
    /// These top-level fields cannot be changed in place.
    Forced(Vec<String>),
    /// It has failed, with this reason.
    Failed(String),
    /// It is already being deleted.
    Ending,
    /// It is a duplicate of an interrupted run.
    Duplicate,
}

/// A difference of an innermost field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaf {
    /// Its path: `health_check.path`; elements of a list have the path of the list.
    pub path: String,
    /// The current value; missing for an added element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The desired value; missing for a removed element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether this difference forces a replacement.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forces_replacement: bool,
}

impl Review {
    /// Creates the review of a plan.
    pub fn of(plan: &Plan, schema: &Schema) -> Self {
        let mut unchanged = 0;
        let ends = Ends::of(plan);
        let mut resources = Vec::new();
        for step in &plan.steps {
            match Reviewed::of(step, &ends, schema) {
                Some(reviewed) => resources.push(reviewed),
                None if matches!(step.action, Action::Keep { .. }) => unchanged += 1,
                // A replacement is one change, at its delete step.
                None => {}
            }
        }
        Self {
            stack: plan.stack.clone(),
            resources,
            unchanged,
            losses: losses(plan, schema),
            rollouts: Vec::new(),
        }
    }

    /// Whether the plan has no changes.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.rollouts.is_empty()
    }
}

/// The two halves of replacements.
struct Ends<'a> {
    /// The create steps of replacements: the index and the reason.
    remade: BTreeMap<&'a Key, (usize, &'a Reason)>,
    /// The delete steps of replacements.
    ended: BTreeMap<&'a Key, usize>,
    steps: &'a [Step],
}

impl<'a> Ends<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut ends = Self {
            remade: BTreeMap::new(),
            ended: BTreeMap::new(),
            steps: &plan.steps,
        };
        for (index, step) in plan.steps.iter().enumerate() {
            if let Action::Create {
                because: Some(because),
                ..
            } = &step.action
            {
                ends.remade.insert(&step.key, (index, because));
            }
        }
        for (index, step) in plan.steps.iter().enumerate() {
            // A duplicate of an interrupted run is deleted for a reason of its own.
            if let Action::Delete { because, .. } = &step.action
                && ends
                    .remade
                    .get(&step.key)
                    .is_some_and(|(_, why)| *why == because)
            {
                ends.ended.entry(&step.key).or_insert(index);
            }
        }
        ends
    }

    /// The order of a replacement's steps.
    fn order(&self, old: usize, new: usize) -> ChangeKind {
        let waits = self.steps[new].after.iter().any(|after| after.step == old);
        if waits {
            ChangeKind::DeleteThenCreate
        } else {
            ChangeKind::CreateThenDelete
        }
    }
}

impl Reviewed {
    /// The change of a step; `None` for unchanged resources, and for the create step of a replacement.
    fn of(step: &Step, ends: &Ends<'_>, schema: &Schema) -> Option<Self> {
        let metadata = schema.get(&step.key.kind);
        let forces = |field: &str| {
            metadata.is_some_and(|metadata| metadata.forces_replacement.contains(&field))
        };
        let reviewed = Self {
            key: step.key.clone(),
            action: ChangeKind::Create,
            id: None,
            because: None,
            fields: Vec::new(),
            spec: None,
        };
        Some(match &step.action {
            Action::Keep { .. } => return None,
            Action::Create {
                desired,
                because: None,
            } => Self {
                spec: Some(concealed("", desired)),
                ..reviewed
            },
            Action::Create { .. } if ends.ended.contains_key(&step.key) => return None,
            Action::Create {
                desired,
                because: Some(because),
            } => {
                let outlives =
                    metadata.is_some_and(|metadata| metadata.retention == Retention::Outlives);
                Self {
                    action: if outlives {
                        ChangeKind::CreateBeside
                    } else {
                        ChangeKind::Create
                    },
                    because: Some(Because::of(because, &forces)),
                    fields: differing(because, &forces),
                    spec: Some(concealed("", desired)),
                    ..reviewed
                }
            }
            Action::Update { live, fields, .. } => Self {
                action: ChangeKind::Update,
                id: Some(live.id.clone()),
                fields: fields
                    .iter()
                    .flat_map(|field| reported(field, false))
                    .collect(),
                ..reviewed
            },
            Action::Delete { live, because } => reviewed.ended(live, because, ends, &forces),
        })
    }

    fn ended(
        self,
        live: &Found,
        because: &Reason,
        ends: &Ends<'_>,
        forces: &dyn Fn(&str) -> bool,
    ) -> Self {
        let id = Some(live.id.clone());
        let why = Some(Because::of(because, forces));
        let old = ends.ended.get(&self.key).copied();
        let is_it = |index: usize| matches!(&ends.steps[index].action, Action::Delete { live: other, .. } if other.id == live.id);
        match (old.filter(|&old| is_it(old)), ends.remade.get(&self.key)) {
            (Some(old), Some(&(new, because))) => {
                let spec = match &ends.steps[new].action {
                    Action::Create { desired, .. } => Some(concealed("", desired)),
                    _ => None,
                };
                Self {
                    action: ends.order(old, new),
                    id,
                    because: why,
                    fields: differing(because, forces),
                    spec,
                    ..self
                }
            }
            _ => Self {
                action: ChangeKind::Delete,
                id,
                because: why,
                ..self
            },
        }
    }
}

impl Because {
    fn of(reason: &Reason, forces: &dyn Fn(&str) -> bool) -> Self {
        match reason {
            Reason::NotWanted => Self::NotWanted,
            Reason::Ending => Self::Ending,
            Reason::Duplicate => Self::Duplicate,
            Reason::Failed(why) => Self::Failed(why.clone()),
            Reason::Replaced(fields) => Self::Forced(
                forcing(fields, forces)
                    .filter(|(_, forces)| *forces)
                    .map(|(field, _)| field.field.clone())
                    .collect(),
            ),
        }
    }
}

/// The fields, and whether each forces the replacement; if none does alone, all do together.
fn forcing<'a>(
    fields: &'a [FieldChange],
    forces: &'a dyn Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a FieldChange, bool)> {
    let together = !fields.iter().any(|field| forces(&field.field));
    fields
        .iter()
        .map(move |field| (field, together || forces(&field.field)))
}

/// The fields that force a replacement.
fn differing(reason: &Reason, forces: &dyn Fn(&str) -> bool) -> Vec<Leaf> {
    match reason {
        Reason::Replaced(fields) => forcing(fields, forces)
            .flat_map(|(field, forces)| reported(field, forces))
            .collect(),
        _ => Vec::new(),
    }
}

/// The innermost differences of a field, without secrets.
fn reported(change: &FieldChange, forces_replacement: bool) -> Vec<Leaf> {
    leaves(&change.field, &change.before, &change.after)
        .into_iter()
        .map(|leaf| Leaf {
            before: leaf.before.map(|value| concealed(&leaf.path, &value)),
            after: leaf.after.map(|value| concealed(&leaf.path, &value)),
            forces_replacement,
            path: leaf.path,
        })
        .collect()
}
