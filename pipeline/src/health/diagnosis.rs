//! Who is not healthy, what is most likely behind it, and what they wrote last.

use std::collections::BTreeSet;

use landfall_compute::InstanceState;
use landfall_lb::{HealthReason, TargetState};
use landfall_provider::InstanceId;

use super::{Look, Verdict, Watched, late, verdict};
use crate::answer::Patience;
use crate::cloud::Cloud;
use crate::config::{Health, Service};
use crate::outcome::{Failure, Sick, Stage};

/// How many of its last lines an instance is quoted with.
const QUOTED: usize = 20;

/// A look at a service whose time is up, and what it shows.
pub(crate) async fn diagnose_late<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
) -> Box<Failure> {
    match Look::at(cloud, watched).await {
        Ok(look) => {
            let before = watched.before.clone().unwrap_or_default();
            let why = match verdict(watched, &before, &look) {
                Verdict::NotYet(why) => why,
                Verdict::Healthy | Verdict::Hopeless(_) => {
                    "its autoscaling group is not done".to_owned()
                }
            };
            diagnose(cloud, watched, &look, late(watched, &why)).await
        }
        Err(error) => {
            let message = late(watched, "how it is cannot be found out");
            Failure::of(Stage::Health, &message, error)
        }
    }
}

/// Tells who is not healthy, what is likely behind it, and what they wrote last.
pub(crate) async fn diagnose<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    look: &Look,
    message: String,
) -> Box<Failure> {
    let mut failure = Failure::new(Stage::Health, message);
    failure.targets = sick(watched, look);
    for sick in &failure.targets {
        let id = InstanceId::from(sick.id.clone());
        // Why the service is not healthy is told already; without its output that is less, and still true.
        let output = Patience::default().answer(cloud.last_output(&id, QUOTED));
        let output = output.await.unwrap_or_default();
        if !output.is_empty() {
            failure.output = output;
            break;
        }
    }
    if failure.targets.is_empty() && look.instances.is_empty() {
        failure.hint = Some(
            "no instance was launched in time; see what the provider says of the autoscaling group"
                .to_owned(),
        );
    }
    failure
}

/// The instances that are not healthy: those that ended by themselves first, since they tell the most.
pub(super) fn sick(watched: &Watched<'_>, look: &Look) -> Vec<Sick> {
    let service = watched.name.to_string();
    let known = watched
        .before
        .as_ref()
        .map(|before| before.failed.clone())
        .unwrap_or_default();
    let ended = look
        .instances
        .iter()
        .filter_map(|instance| match &instance.state {
            InstanceState::Failed(how) if !known.contains(&instance.id) => Some(Sick {
                service: service.clone(),
                id: instance.id.to_string(),
                zone: Some(instance.zone.clone()),
                state: "failed".to_owned(),
                reason: None,
                seen: Some(how.clone()),
                likely: Some("the service ended by itself; its last output says why".to_owned()),
            }),
            _ => None,
        });
    let unhealthy = look
        .targets
        .iter()
        .filter(|target| target.state != TargetState::Healthy)
        // In a rollout, those that drain make room for others.
        .filter(|target| target.state != TargetState::Draining || watched.rollout.is_none());
    let unhealthy = unhealthy.map(|target| Sick {
        service: service.clone(),
        id: target.id.clone(),
        zone: target.zone.clone(),
        state: target.state.to_string(),
        reason: target.reason,
        seen: target.description.clone(),
        likely: target
            .reason
            .and_then(|reason| likely(reason, target.description.as_deref(), watched.service)),
    });
    let mut told = BTreeSet::new();
    ended
        .chain(unhealthy)
        .filter(|sick| told.insert(sick.id.clone()))
        .collect()
}

/// What is most often behind a reason, in the words of the file.
fn likely(reason: HealthReason, seen: Option<&str>, service: &Service) -> Option<String> {
    let (port, health) = (service.port, &service.health);
    Some(match reason {
        HealthReason::Timeout => format!(
            "nothing answers on port {port} within {} s: the service is too slow or hangs, or a security group is in the way",
            health.timeout
        ),
        HealthReason::FailedHealthChecks => format!(
            "nothing speaks HTTP on port {port}: the service listens on another port (it is told the right one in PORT), \
             or only on 127.0.0.1 instead of 0.0.0.0"
        ),
        HealthReason::ResponseCodeMismatch => mismatch(seen.and_then(status), health),
        HealthReason::RegistrationInProgress | HealthReason::InitialHealthChecking => {
            "it was still being started or checked: a longer `deadline` may be all it needs"
                .to_owned()
        }
        HealthReason::InvalidState => "the instance does not run".to_owned(),
        HealthReason::NotInUse => "no listener leads to its target group".to_owned(),
        HealthReason::InternalError => "the balancer has an error of its own: try again".to_owned(),
        HealthReason::NotRegistered | HealthReason::DeregistrationInProgress => return None,
    })
}

/// What a health check that is answered with another status points to.
fn mismatch(status: Option<u16>, health: &Health) -> String {
    let Health { path, matcher, .. } = health;
    match status {
        Some(status @ 500..) => format!(
            "GET {path} fails inside the service with status {status}: what it wrote last may say why"
        ),
        Some(404) => {
            format!("there is no {path} (status 404): see `path` in the service's `health`")
        }
        Some(status @ (401 | 403)) => format!(
            "GET {path} is not allowed (status {status}): health checks bring no credentials, so `path` in the \
             service's `health` has to do without"
        ),
        Some(status @ 300..=399) => format!(
            "GET {path} leads elsewhere (status {status}): see `path` in the service's `health`, or let `matcher` take it"
        ),
        _ => format!(
            "GET {path} does not answer with {matcher}: see `path` and `matcher` in the service's `health`"
        ),
    }
}

/// The first status that a description names: `Health checks failed with these codes: [500]`.
fn status(seen: &str) -> Option<u16> {
    let mut numbers = seen.split(|c: char| !c.is_ascii_digit());
    numbers.find_map(|number| {
        number
            .parse()
            .ok()
            .filter(|status| (100..600).contains(status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_points_to_its_own_mistake() {
        let service = Service::new(landfall_provider::Port::new(8000).unwrap());
        let told = |status: u16| {
            let seen = format!("Health checks failed with these codes: [{status}]");
            likely(HealthReason::ResponseCodeMismatch, Some(&seen), &service).unwrap()
        };
        for (status, part) in [
            (500, "fails inside the service with status 500"),
            (503, "fails inside the service with status 503"),
            (404, "there is no / (status 404)"),
            (401, "health checks bring no credentials"),
            (302, "leads elsewhere (status 302)"),
            (204, "does not answer with 200"),
        ] {
            assert!(told(status).contains(part), "{status}: {}", told(status));
        }
        let unseen = likely(HealthReason::ResponseCodeMismatch, None, &service).unwrap();
        assert!(unseen.contains("does not answer with 200"), "{unseen}");
    }
}
