//! Rollouts that a deploy starts although no resource changes: the newest release of a service is not the
//! serving one, because it failed or its deploy was interrupted.

use landfall_compute::{AutoscalingGroupOutput, LaunchTemplateOutput, ReleaseState};
use landfall_provider::{
    Action, AutoscalingGroupId, Found, Key, Kind, LaunchTemplateId, Plan, Probe, ResourceName, kind,
};
use serde::de::DeserializeOwned;

use crate::cloud::Cloud;
use crate::outcome::{Failure, Stage};
use crate::review::PendingRollout;
use crate::run::Run;

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// The rollouts of existing releases that a deploy of this plan starts or continues.
    pub(crate) async fn pending_rollouts(
        &self,
        plan: &Plan,
    ) -> Result<Vec<PendingRollout>, Box<Failure>> {
        let mut pending = Vec::new();
        for (service, template, group) in kept_services(plan) {
            let versions = (
                output::<LaunchTemplateOutput>(template).map(|output| output.version),
                output::<AutoscalingGroupOutput>(group).map(|output| output.version),
            );
            let (Some(to), Some(from)) = versions else {
                continue;
            };
            if to == from {
                continue;
            }
            let doing = format!("cannot list the releases of {service}");
            let (template, group) = (
                LaunchTemplateId::from(template.id.clone()),
                AutoscalingGroupId::from(group.id.clone()),
            );
            let releases = self.cloud.releases(&template, &group);
            let releases = self.ask(Stage::Look, &doing, releases).await?;
            let newest = releases.into_iter().find(|release| release.version == to);
            pending.push(PendingRollout {
                service: service.clone(),
                from,
                to,
                state: newest.map_or(ReleaseState::Waiting, |release| release.state),
            });
        }
        Ok(pending)
    }
}

/// The services with an unchanged template, with template and group. A changed template is a new release, and the
/// plan shows it.
fn kept_services(plan: &Plan) -> Vec<(&ResourceName, &Found, &Found)> {
    let kept = |of: Kind, name: &ResourceName| {
        let key = Key::new(of, name.clone());
        let step = plan.steps.iter().find(|step| step.key == key)?;
        match &step.action {
            Action::Keep { live } | Action::Update { live, .. } => Some(live),
            Action::Create { .. } | Action::Delete { .. } => None,
        }
    };
    let templates = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Keep { live } if step.key.kind == kind::LAUNCH_TEMPLATE => {
            Some((&step.key.name, live))
        }
        _ => None,
    });
    let services = templates.filter_map(|(name, template)| {
        Some((name, template, kept(kind::AUTOSCALING_GROUP, name)?))
    });
    services.collect()
}

fn output<T: DeserializeOwned>(found: &Found) -> Option<T> {
    match &found.state {
        Probe::Usable(output) => T::deserialize(output).ok(),
        _ => None,
    }
}
