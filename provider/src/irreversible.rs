//! What a plan would lose for good: pure, from the plan alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::Key;
use crate::plan::{Action, Plan, Reason};
use crate::provider::Probe;
use crate::resource::DataLoss;
use crate::schema::Schema;
use crate::snapshot::Found;

/// Something that nobody can bring back once the plan has been carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrreversibleChange {
    /// The resource that it goes with.
    pub key: Key,
    /// The resource's id.
    pub id: String,
    /// What it is: `address 203.0.113.7`, `what is on its disk`.
    pub what: String,
}

/// Everything that the plan would lose, in the order of its steps.
///
/// What an interrupted run has left, what has failed and what is ending already has nothing to lose: it is cleared
/// away so that the plan can go on.
pub fn losses(plan: &Plan, schema: &Schema) -> Vec<IrreversibleChange> {
    let ended = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Delete {
            live,
            because: Reason::NotWanted | Reason::Replaced(_),
        } => Some(live),
        _ => None,
    });
    ended
        .filter_map(|live| {
            let metadata = schema.get(&live.key.kind)?;
            // Of one that is not understood, what holds for its kind.
            let loss = metadata.loss_of(&live.spec).unwrap_or(metadata.loss);
            Some(IrreversibleChange {
                key: live.key.clone(),
                id: live.id.clone(),
                what: lost(loss, live)?,
            })
        })
        .collect()
}

fn lost(loss: DataLoss, live: &Found) -> Option<String> {
    if matches!(live.state, Probe::Failed(_) | Probe::Ending(_)) {
        return None;
    }
    match (loss, &live.state) {
        (DataLoss::Nothing, _) => None,
        (DataLoss::Words(what), _) => Some(what.to_owned()),
        (DataLoss::Output { field, called }, Probe::Usable(output)) => {
            let value = match output.get(field)? {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some(format!("{called} {value}"))
        }
        // Nobody can know it yet.
        (DataLoss::Output { .. }, _) => None,
    }
}
