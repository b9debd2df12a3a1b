//! The diagnosis of a service: its unhealthy instances, the probable cause, and their last output.

use std::collections::BTreeSet;

use landfall_compute::InstanceState;
use landfall_lb::TargetState;
use landfall_provider::InstanceId;

use super::cause::Cause;
use super::{Observation, Verdict, Watched, current, desired, healthy, late, verdict};
use crate::cloud::{Cloud, RequestTimeout};
use crate::outcome::{Failure, Stage, UnhealthyTarget};

/// The number of quoted lines per instance.
const QUOTED: usize = 20;

/// Observes a service whose autoscaling group failed or missed its deadline, and diagnoses it.
pub(crate) async fn diagnose_group<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    is_late: bool,
) -> Box<Failure> {
    let what = match is_late {
        true => late(watched),
        false => format!("the service {} does not start", watched.name),
    };
    match Observation::at(cloud, watched).await {
        Ok(look) => {
            let before = watched.before.clone().unwrap_or_default();
            let why = match verdict(watched, &before, &look) {
                Verdict::NotYet(why) => why,
                Verdict::Healthy | Verdict::Hopeless(_) => {
                    "its autoscaling group is not done".to_owned()
                }
            };
            diagnose(cloud, watched, &look, &what, &why).await
        }
        Err(error) => {
            let message = format!("{what}: cannot read its state");
            Failure::of(Stage::Health, &message, error)
        }
    }
}

/// Diagnoses an unhealthy service: the observed cause, otherwise `why`.
pub(crate) async fn diagnose<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    look: &Observation,
    what: &str,
    why: &str,
) -> Box<Failure> {
    let targets = sick(watched, look);
    let cause = targets.iter().find_map(|sick| sick.cause.as_deref());
    let message = match cause {
        Some(cause) => {
            let before = watched.before.clone().unwrap_or_default();
            let healthy = healthy(look, current(watched, &before, look));
            let desired = desired(watched.service, look);
            format!("{what}: {cause} ({healthy} of {desired} targets are healthy)")
        }
        None => format!("{what}: {why}"),
    };
    let mut failure = Failure::new(Stage::Health, message);
    failure.targets = targets;
    for sick in &failure.targets {
        let id = InstanceId::from(sick.id.clone());
        // The reason is known; without the output the diagnosis is shorter, but still correct.
        let output = RequestTimeout::default().answer(cloud.last_output(&id, QUOTED));
        let output = output.await.unwrap_or_default();
        if !output.is_empty() {
            failure.output = output;
            break;
        }
    }
    if failure.output.is_empty() && failure.targets.iter().any(ended_silently) {
        failure.hint = Some(SILENT.to_owned());
    }
    if failure.targets.is_empty() && look.instances.is_empty() {
        failure.hint = Some(
            "no instance was launched in time; check the activity of the autoscaling group"
                .to_owned(),
        );
    }
    failure
}

/// The hint for a container that ended without output.
const SILENT: &str =
    "the container wrote no output before it ended: write errors to standard error";

/// Whether its container started and ended, and no hint is known yet.
fn ended_silently(sick: &UnhealthyTarget) -> bool {
    let never_started = |how: &String| how.starts_with("did not start");
    sick.state == FAILED && sick.advice.is_none() && !sick.seen.as_ref().is_some_and(never_started)
}

/// The state of an instance whose container ended unexpectedly.
const FAILED: &str = "failed";

/// The unhealthy instances: ended ones first, because they show the most.
pub(super) fn sick(watched: &Watched<'_>, look: &Observation) -> Vec<UnhealthyTarget> {
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
            InstanceState::Failed(how) if !known.contains(&instance.id) => {
                let Cause { text, advice } = Cause::ended(how);
                Some(UnhealthyTarget {
                    service: service.clone(),
                    id: instance.id.to_string(),
                    zone: Some(instance.zone.clone()),
                    state: FAILED.to_owned(),
                    reason: None,
                    seen: Some(how.clone()),
                    cause: Some(text),
                    advice,
                })
            }
            _ => None,
        });
    // Other unhealthy instances only wait for replacements, and have no cause of their own.
    let ended: Vec<UnhealthyTarget> = ended.collect();
    let is_told = !ended.is_empty();
    let unhealthy = look
        .targets
        .iter()
        .filter(|target| target.state != TargetState::Healthy && !is_told)
        // In a rollout, draining instances are being replaced.
        .filter(|target| target.state != TargetState::Draining || watched.rollout.is_none());
    let unhealthy = unhealthy.map(|target| {
        let seen = target.description.as_deref();
        let cause = Cause::of_target(target.reason, seen, watched.name, watched.service);
        let (cause, advice) = cause.map(|it| (it.text, it.advice)).unzip();
        UnhealthyTarget {
            service: service.clone(),
            id: target.id.clone(),
            zone: target.zone.clone(),
            state: target.state.to_string(),
            reason: target.reason,
            seen: target.description.clone(),
            cause,
            advice: advice.flatten(),
        }
    });
    let mut reported = BTreeSet::new();
    ended
        .into_iter()
        .chain(unhealthy)
        .filter(|sick| reported.insert(sick.id.clone()))
        .collect()
}
