//! The rollback to the serving version, after a new one did not become healthy.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_provider::{
    ApplyOptions, Error, ErrorKind, Event, Key, Operation, Probe, Result, kind,
};
use tokio::time::Instant;

use super::{Observation, Rollout, SHORTEST_PAUSE, Watched, is_alive};
use crate::cloud::{Cloud, RequestTimeout};
use crate::outcome::{Failure, PostFailureState, RolledBackService, millis};

/// Rolls a rollout back, and waits until only the previous version serves; the failure contains the result.
///
/// If the run is stopped, the provider completes the rollback by itself.
pub(super) async fn go_back<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    rollout: &Rollout,
    options: &ApplyOptions,
    mut failure: Box<Failure>,
) -> Box<Failure> {
    let key = Key::new(kind::AUTOSCALING_GROUP, watched.name.clone());
    let id = watched.group.to_string();
    let verb = Operation::Await;
    let start = Instant::now();
    options.events.emit(Event::Started {
        key: key.clone(),
        verb,
    });
    let why = in_short(&failure);
    match the_way(cloud, watched, rollout, options, &why, &key).await {
        Ok(version) => {
            options.events.emit(Event::Done {
                key,
                verb,
                id,
                took_ms: millis(start.elapsed()),
            });
            failure.remains = PostFailureState::RolledBackServices {
                services: vec![RolledBackService {
                    service: watched.name.clone(),
                    from: rollout.version,
                    to: version,
                }],
            };
        }
        Err(error) => {
            options.events.emit(Event::Failed {
                key,
                verb,
                error: error.to_string(),
            });
            failure.errors.push(error);
        }
    }
    failure
}

/// The failure with the reason code of its first instance, for `releases`.
fn in_short(failure: &Failure) -> String {
    let message = &failure.message;
    match failure.targets.first().and_then(|sick| sick.reason) {
        Some(reason) => format!("{message}; {reason}"),
        None => message.clone(),
    }
}

/// The version that serves in the end.
async fn the_way<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    rollout: &Rollout,
    options: &ApplyOptions,
    why: &str,
    key: &Key,
) -> Result<u32> {
    let service = watched.service;
    let request_timeout = service.health.deadline + service.deregistration_delay;
    let deadline = Instant::now() + Duration::from_secs(request_timeout.into());
    let mut pause = options.poll_interval.first.max(SHORTEST_PAUSE);
    let mut is_asked = false;
    let mut reported = String::new();
    loop {
        let step = one_step(cloud, watched, rollout, why, &mut is_asked).await;
        let waits_for = match step {
            Ok(Ok(version)) => return Ok(version),
            Ok(Err(waits_for)) => waits_for,
            Err(error) if error.kind().is_transient() || error.kind() == ErrorKind::InUse => {
                error.to_string()
            }
            Err(error) => {
                return Err(error.doing("going back to the version before of", key));
            }
        };
        if Instant::now() >= deadline {
            let error = format!("it was not back within {request_timeout} s: {waits_for}");
            return Err(Error::new(ErrorKind::Timeout, error)
                .doing("going back to the version before of", key));
        }
        if reported != waits_for {
            options.events.emit(Event::Waiting {
                key: key.clone(),
                id: watched.group.to_string(),
                why: waits_for.clone(),
            });
            reported = waits_for;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = options.stop.cancelled() => {
                return Err(Error::new(
                    ErrorKind::Other,
                    "interrupted during the rollback to the previous version; the provider continues the rollback",
                ));
            }
        }
        pause = (pause * 3 / 2).min(options.poll_interval.longest.max(SHORTEST_PAUSE));
    }
}

/// Requests the rollback unless it runs, and returns its progress: the only serving version, or the awaited state.
async fn one_step<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    rollout: &Rollout,
    why: &str,
    is_asked: &mut bool,
) -> Result<std::result::Result<u32, String>> {
    let request_timeout = RequestTimeout::default();
    let mut state = request_timeout
        .answer(cloud.rolling(&watched.group))
        .await?;
    if !*is_asked && matches!(state, Probe::Pending(_) | Probe::Absent) {
        match request_timeout
            .answer(cloud.roll_back(&watched.group, why))
            .await
        {
            // It ended in the meantime; the next observation shows how.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => outcome?,
        }
        state = request_timeout
            .answer(cloud.rolling(&watched.group))
            .await?;
    }
    *is_asked = true;
    match state {
        Probe::Pending(waits_for) | Probe::Ending(waits_for) => return Ok(Err(waits_for)),
        Probe::Absent => return Ok(Err("the rollback is about to start".to_owned())),
        Probe::Usable(()) | Probe::Failed(_) => {}
    }
    let look = Observation::at(cloud, watched).await?;
    let alive: BTreeSet<u32> = look
        .instances
        .iter()
        .filter(|instance| is_alive(instance))
        .map(|instance| instance.template_version)
        .collect();
    match alive.last() {
        Some(version) if !alive.contains(&rollout.version) => Ok(Ok(*version)),
        _ => {
            let reported = match state {
                Probe::Failed(why) => why,
                _ => "the new version took over after all".to_owned(),
            };
            let error = format!(
                "instances of version {} still run: {reported}",
                rollout.version
            );
            Err(Error::new(ErrorKind::Other, error)
                .hint("`landfall rollback` brings the service to an earlier release"))
        }
    }
}
