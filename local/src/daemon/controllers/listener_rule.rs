//! Listener rules: part of a load balancer's configuration.

use std::sync::Arc;

use landfall_lb::ListenerRule;
use landfall_provider::{ListenerRuleId, LoadBalancerId, Result};

use super::hooks::Hooks;
use crate::daemon::controllers::load_balancer;
use crate::daemon::records::state::State;
use crate::daemon::runtime::cloud::Cloud;

impl Hooks for ListenerRule {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        Self::updated(cloud, id).await
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balancer_of(&cloud.lock().state, id);
        match balancer {
            Some(balancer) => load_balancer::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balancer_of(&cloud.lock().state, id);
        cloud.change(|state| state.end::<Self>(id))?;
        match balancer {
            Some(balancer) => load_balancer::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }
}

/// The load balancer of a rule.
fn balancer_of(state: &State, rule: &ListenerRuleId) -> Option<LoadBalancerId> {
    let rule = state.tables.listener_rules.get(rule)?;
    load_balancer::balancer_of(state, rule.spec.listener.known()?)
}
