//! A listener rule is a rule of a balancer.

use std::sync::Arc;

use landfall_lb::ListenerRule;
use landfall_provider::{ListenerRuleId, LoadBalancerId, Result};

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::balance;
use crate::daemon::records::state::State;

impl Hooks for ListenerRule {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        Self::updated(cloud, id).await
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balancer_of(&cloud.lock().state, id);
        match balancer {
            Some(balancer) => balance::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balancer_of(&cloud.lock().state, id);
        cloud.change(|state| state.end::<Self>(id))?;
        match balancer {
            Some(balancer) => balance::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }
}

/// The balancer that a rule is part of.
fn balancer_of(state: &State, rule: &ListenerRuleId) -> Option<LoadBalancerId> {
    let rule = state.tables.listener_rules.get(rule)?;
    balance::balancer_of(state, rule.spec.listener.known()?)
}
