//! The health of targets, as AWS reports it.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{self, TargetHealthDescription, TargetHealthStateEnum};
use landfall_aws::{Aws, during};
use landfall_provider::{Result, TargetGroupId};

use super::client;
use crate::{HealthReason, LbProvider, TargetHealth, TargetState};

#[async_trait]
impl LbProvider for Aws {
    async fn target_health(&self, group: &TargetGroupId) -> Result<Vec<TargetHealth>> {
        let answer = client(self)
            .describe_target_health()
            .target_group_arn(group.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DescribeTargetHealth"))?;
        let mut targets: Vec<_> = answer
            .target_health_descriptions()
            .iter()
            .filter_map(target)
            .collect();
        targets.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(targets)
    }
}

fn target(reported: &TargetHealthDescription) -> Option<TargetHealth> {
    let health = reported.target_health()?;
    let reason = health.reason().map(|reason| reason.as_str());
    Some(TargetHealth {
        id: reported.target()?.id()?.to_owned(),
        // AWS reports neither for targets that are instances.
        address: None,
        zone: None,
        state: state(health),
        reason: reason.and_then(HealthReason::from_code),
        description: health.description().map(str::to_owned),
        since: None,
    })
}

fn state(health: &types::TargetHealth) -> TargetState {
    match health.state() {
        Some(TargetHealthStateEnum::Healthy) => TargetState::Healthy,
        Some(TargetHealthStateEnum::Initial) => TargetState::Initial,
        Some(TargetHealthStateEnum::Draining | TargetHealthStateEnum::UnhealthyDraining) => {
            TargetState::Draining
        }
        Some(TargetHealthStateEnum::Unused) => TargetState::Unused,
        // Also `unavailable`: health checks are off, which Landfall never configures.
        _ => TargetState::Unhealthy,
    }
}
