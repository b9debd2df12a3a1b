//! Irreversible changes of a plan: pure, from the plan alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::Key;
use crate::plan::{Action, Plan, Reason};
use crate::provider::Probe;
use crate::resource::DataLoss;
use crate::schema::Schema;
use crate::snapshot::Found;

/// A loss that cannot be undone after the plan is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrreversibleChange {
    /// The resource whose deletion causes the loss.
    pub key: Key,
    /// The resource's id.
    pub id: String,
    /// The lost thing: `address 203.0.113.7`, `what is on its disk`.
    pub what: String,
}

/// Every irreversible change of the plan, in the order of its steps.
///
/// Leftovers of an interrupted run, failed resources and resources that are being deleted have
/// nothing to lose: they are removed so that the plan can continue.
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
            // For a spec that cannot be read, use the default of its kind.
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
        // Not known yet.
        (DataLoss::Output { .. }, _) => None,
    }
}
