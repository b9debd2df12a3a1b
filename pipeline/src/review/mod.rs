//! A plan as it is read before it is carried out: what happens to each resource, field by field, and what is lost.
//!
//! **Invariant:** pure, and the same for the same plan; what looks like a secret is not in it.

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

/// A plan as it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Review {
    /// The stack that the plan is for.
    pub stack: StackName,
    /// What changes, in the order of the plan's steps; what stays as it is is left out.
    pub resources: Vec<Reviewed>,
    /// How many resources stay as they are.
    pub unchanged: usize,
    /// What nobody can bring back once the plan has been carried out.
    pub losses: Vec<IrreversibleChange>,
    /// Releases that exist already and are brought to the instances: a failed one is tried again, an interrupted one
    /// goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<PendingRollout>,
}

/// A release that exists and that a deploy brings to the instances of its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingRollout {
    /// The service.
    pub service: ResourceName,
    /// The release that serves.
    pub from: u32,
    /// The release that the instances are brought to.
    pub to: u32,
    /// What became of that release so far.
    pub state: ReleaseState,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reviewed {
    /// Which.
    pub key: Key,
    /// What happens to it.
    pub action: ChangeKind,
    /// The id of the one that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why the one that is there cannot stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// What differs, down to the innermost fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Leaf>,
    /// The spec of a new one; `${kind/name}` in it is the id of another resource that is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Value>,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It is made, and the one that is there is kept beside it: an image.
    CreateBeside,
    /// It is changed in place.
    Update,
    /// A new one is made first, whoever uses the old one is moved to it, and the old one is ended last.
    CreateThenDelete,
    /// The old one is ended first, since both cannot be there at once.
    DeleteThenCreate,
    /// It is ended.
    Delete,
}

/// Why a resource cannot stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// Nothing in the stack wants it.
    NotWanted,
    /// These top-level fields cannot be changed in place.
    Forced(Vec<String>),
    /// It failed, and says why.
    Failed(String),
    /// It is on its way out already.
    Ending,
    /// An interrupted run has left it beside another one of the same name.
    Duplicate,
}

/// One field that differs, at its innermost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaf {
    /// Where it is: `health_check.path`; a list's elements stand under the list's own path.
    pub path: String,
    /// The value that it has; missing when there is none, as for an element that joins a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value that it is to have; missing when there is to be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether this difference is why the resource has to be made anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forces_replacement: bool,
}

impl Review {
    /// Reads a plan.
    pub fn of(plan: &Plan, schema: &Schema) -> Self {
        let mut unchanged = 0;
        let ends = Ends::of(plan);
        let mut resources = Vec::new();
        for step in &plan.steps {
            match Reviewed::of(step, &ends, schema) {
                Some(reviewed) => resources.push(reviewed),
                None if matches!(step.action, Action::Keep { .. }) => unchanged += 1,
                // The making half of a replacement is told with the ending half.
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

    /// Whether carrying the plan out would change nothing.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.rollouts.is_empty()
    }
}

/// The two halves of replacements.
struct Ends<'a> {
    /// The making of a new one in place of one that is there: its index, and why.
    remade: BTreeMap<&'a Key, (usize, &'a Reason)>,
    /// The ending of the one that it replaces.
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
            // An interrupted run's double is ended beside the replacement, for a reason of its own.
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

    /// In which order an old one and its successor go and come.
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
    /// What a step does; `None` for what is kept, and for the half of a replacement that is told with the other.
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

/// The fields, and whether each forces the replacement; where none does by itself, all do together.
fn forcing<'a>(
    fields: &'a [FieldChange],
    forces: &'a dyn Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a FieldChange, bool)> {
    let together = !fields.iter().any(|field| forces(&field.field));
    fields
        .iter()
        .map(move |field| (field, together || forces(&field.field)))
}

/// The fields behind a replacement.
fn differing(reason: &Reason, forces: &dyn Fn(&str) -> bool) -> Vec<Leaf> {
    match reason {
        Reason::Replaced(fields) => forcing(fields, forces)
            .flat_map(|(field, forces)| reported(field, forces))
            .collect(),
        _ => Vec::new(),
    }
}

/// One field's leaves, without secrets.
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
