//! Rollback: a service runs again what an earlier release of it ran.
//!
//! The way back goes forward: what the earlier release ran becomes a new one, and takes over as any other does.

use landfall_compute::{LaunchTemplate, Release, ReleaseNote, ReleaseState};
use landfall_container::Image;
use landfall_lb::{TargetGroup, TargetHealth};
use landfall_provider::{
    Error, ErrorKind, Found, Input, Key, Live, Probe, Provider, Resource, ResourceName, Result,
    Snapshot, StackName, TargetGroupId, kind,
};
use serde::Deserialize as _;
use tokio::time::Instant;

use super::releases::Released;
use super::single::needs_groups;
use crate::cloud::Cloud;
use crate::config::{Config, Service};
use crate::health::{self, Baseline, Rollout, Watched};
use crate::outcome::{Failure, PostFailureState, Stage, millis};
use crate::run::{Options, Run};

/// Which release of which service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollbackTo {
    /// The service; the only one if not given.
    pub service: Option<ResourceName>,
    /// The release; the last one that served before the current one if not given.
    pub release: Option<u32>,
}

/// A service that runs what an earlier release of it ran.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledBack {
    /// The stack.
    pub stack: StackName,
    /// The service.
    pub service: ResourceName,
    /// The release that served before.
    pub from: u32,
    /// The release whose content serves now.
    pub to: u32,
    /// The release that it was made into; `from`, if that has the same content.
    pub release: u32,
    /// The service's targets, by zone and id.
    pub targets: Vec<TargetHealth>,
    /// From the call to the answer, in milliseconds.
    pub duration_ms: u64,
}

impl RolledBack {
    /// Whether nothing was to be done.
    pub fn is_same(&self) -> bool {
        self.release == self.from
    }
}

/// Brings a service back to an earlier release, and waits until it is healthy; if it does not become so, what served
/// before comes back.
///
/// What it belongs to stays as it is: only what instances run goes back, and the instance type. The file still says
/// what it says, so that the next plan shows the difference.
///
/// # Errors
/// A [`Failure`] of [`Stage::Plan`] if there is no such service or release, or nothing to go back to; of
/// [`Stage::Preflight`] if it cannot run any more; else as a deploy.
pub async fn rollback<P: Cloud + ?Sized>(
    cloud: &P,
    config: &Config,
    to: &RollbackTo,
    options: &Options,
) -> std::result::Result<RolledBack, Box<Failure>> {
    let run = Run::new(cloud, &config.stack, options);
    let (name, service) = chosen(config, to)?;
    let rollback = Rollback {
        run: &run,
        name,
        service,
        release: to.release,
    };
    run.locked("rollback", rollback.while_locked()).await
}

/// The service that is meant.
fn chosen<'a>(
    config: &'a Config,
    to: &RollbackTo,
) -> std::result::Result<(&'a ResourceName, &'a Service), Box<Failure>> {
    let names: Vec<&str> = config.service.keys().map(ResourceName::as_str).collect();
    let names = names.join(", ");
    let refused = |message: String| Failure::new(Stage::Plan, message);
    match &to.service {
        Some(name) => config.service.get_key_value(name).ok_or_else(|| {
            refused(format!("there is no service {name} in the file"))
                .hint(format_args!("it has {names}"))
        }),
        None => match config.service.len() {
            1 => Ok(config.service.first_key_value().expect("one is the first")),
            _ => Err(
                refused("which service is to go back?".to_owned()).hint(format_args!(
                    "name one of {names}: `landfall rollback SERVICE`"
                )),
            ),
        },
    }
}

struct Rollback<'a, P: Cloud + ?Sized> {
    run: &'a Run<'a, P>,
    name: &'a ResourceName,
    service: &'a Service,
    release: Option<u32>,
}

impl<P: Cloud + ?Sized> Rollback<'_, P> {
    async fn while_locked(&self) -> std::result::Result<RolledBack, Box<Failure>> {
        let started = Instant::now();
        let live = self.run.look().await?;
        needs_groups(&live, self.run.stack, "landfall rollback")?;
        let there = (
            Released::of(&live, self.name),
            live.get(&Key::new(kind::TARGET_GROUP, self.name.clone())),
        );
        let (Some(released), Some(target_group)) = there else {
            let message = format!("{} does not hold the service {}", self.run.stack, self.name);
            return Err(Failure::new(Stage::Plan, message).hint("`deploy` creates it"));
        };
        let cloud = self.run.cloud;
        let releases = cloud.releases(&released.template, &released.group);
        let releases = self.ask(releases).await?;
        let (current, wanted) = self.choose(&releases)?;
        let mut back = RolledBack {
            stack: self.run.stack.clone(),
            service: self.name.clone(),
            from: current.version,
            to: wanted.version,
            release: current.version,
            targets: Vec::new(),
            duration_ms: 0,
        };
        let is_rolling = releases
            .iter()
            .any(|release| release.state == ReleaseState::Rolling);
        if same(current, wanted) && !is_rolling {
            back.duration_ms = millis(started.elapsed());
            return Ok(back);
        }
        self.can_run(wanted, target_group).await?;
        if self.run.is_stopped() {
            return Err(Failure::interrupted());
        }
        let instances = self.ask(cloud.group_instances(&released.group)).await?;
        let version = self.make(&live, wanted).await?;
        let watched = Watched {
            name: self.name,
            service: self.service,
            target_group: TargetGroupId::from(target_group.id.clone()),
            group: released.group,
            before: Some(Baseline::of(&instances, true)),
            rollout: Some(Rollout {
                template: released.template,
                version,
            }),
        };
        let options = &self.run.options.apply;
        match health::wait(cloud, &[watched], options).await {
            Ok(targets) => {
                back.release = version;
                back.targets = targets.into_iter().map(|(_, target)| target).collect();
                back.duration_ms = millis(started.elapsed());
                Ok(back)
            }
            Err(mut failure) => {
                if !matches!(failure.remains, PostFailureState::RolledBackServices { .. }) {
                    let next = "`rollback` and `deploy` go on from here";
                    failure.remains = self.run.remains(next).await;
                }
                Err(failure)
            }
        }
    }

    /// Awaits an answer before anything is changed.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Box<Failure>> {
        let doing = format!("cannot list the releases of {}", self.name);
        self.run.ask(Stage::Look, &doing, call).await
    }

    fn refused(&self, message: impl std::fmt::Display) -> Box<Failure> {
        Failure::new(Stage::Plan, message)
    }

    /// The release that serves, and the one that is to.
    fn choose<'r>(
        &self,
        releases: &'r [Release],
    ) -> std::result::Result<(&'r Release, &'r Release), Box<Failure>> {
        let name = self.name;
        let current = releases
            .iter()
            .find(|release| release.state == ReleaseState::Current)
            .ok_or_else(|| self.refused(format_args!("no release of {name} serves now")))?;
        let find = |version: u32| releases.iter().find(|release| release.version == version);
        if let Some(version) = self.release {
            let wanted = find(version).ok_or_else(|| {
                let there: Vec<String> = releases
                    .iter()
                    .map(|release| release.version.to_string())
                    .collect();
                self.refused(format_args!("{name} has no release {version}"))
                    .hint(format_args!(
                        "there are {}; `landfall releases` lists them",
                        there.join(", ")
                    ))
            })?;
            return Ok((current, wanted));
        }
        // Who has gone back stands where that release stood: the next step back goes further.
        let mut stand = current;
        while let Some(earlier) = stand.note.back_to.and_then(find) {
            if earlier.version >= stand.version {
                break;
            }
            stand = earlier;
        }
        let before = releases.iter().rev().find(|release| {
            release.version < stand.version
                && release.state == ReleaseState::Superseded
                && !same(release, current)
        });
        let wanted = before.ok_or_else(|| {
            self.refused(format_args!(
                "no earlier release: no other release of {name} has served before release {}",
                stand.version
            ))
            .hint(
                "`landfall releases` lists the releases; `landfall rollback SERVICE N` selects one",
            )
        })?;
        Ok((current, wanted))
    }

    /// Whether a release can still run where the service is now.
    async fn can_run(
        &self,
        release: &Release,
        target_group: &Found,
    ) -> std::result::Result<(), Box<Failure>> {
        let (name, version) = (self.name, release.version);
        let workload = &release.spec.workload;
        let asked = live::<TargetGroup>(target_group).map_err(|error| {
            let doing = format!("cannot find the port of {name}");
            Failure::of(Stage::Look, &doing, error)
        })?;
        let asked = asked.spec;
        if asked.port != workload.port {
            let message = format!(
                "release {version} of {name} listens on port {}, and its target group uses port {}",
                workload.port, asked.port
            );
            return Err(Failure::new(Stage::Preflight, message).hint(format_args!(
                "put what it was made from and `port = {}` into the file and deploy that: the target group, the rules \
                 and the service change together",
                workload.port
            )));
        }
        let Input::Known(image) = &workload.image else {
            return Ok(());
        };
        match self.ask(Provider::<Image>::probe(self.run.cloud, image)).await? {
            Probe::Absent => Err(Failure::new(
                Stage::Preflight,
                format_args!("the image of release {version} of {name} is gone: {image}"),
            )
            .hint(
                "check out what it was made from and deploy that, or go back to another release; `keep` in the \
                 service's `image` says how many images are kept",
            )),
            _ => Ok(()),
        }
    }

    /// Makes the template's newest version run what the release ran; gives that version.
    async fn make(
        &self,
        snapshot: &Snapshot,
        release: &Release,
    ) -> std::result::Result<u32, Box<Failure>> {
        let key = Key::new(kind::LAUNCH_TEMPLATE, self.name.clone());
        let made = match snapshot.get(&key) {
            Some(found) => {
                let made = self.version_of(found, release);
                self.run.options.request_timeout.answer(made).await
            }
            None => Err(Error::new(ErrorKind::NotFound, "it is gone")),
        };
        made.map_err(|error| {
            let message = format!(
                "cannot create a release of {} from {}",
                self.name, release.version
            );
            Failure::of(Stage::Apply, &message, error.doing("updating", &key))
        })
    }

    async fn version_of(&self, found: &Found, release: &Release) -> Result<u32> {
        let cloud = self.run.cloud;
        let live = live::<LaunchTemplate>(found)?;
        let desired = LaunchTemplate {
            instance_type: release.spec.instance_type.clone(),
            workload: release.spec.workload.clone(),
            ..live.spec.clone()
        };
        // An interrupted rollback may have made it.
        if live.spec != desired {
            cloud.note_releases(ReleaseNote {
                who: self.run.options.who.clone(),
                commit: release.note.commit.clone(),
                back_to: Some(release.version),
            });
            Provider::<LaunchTemplate>::update(cloud, &live, &desired).await?;
        }
        match Provider::<LaunchTemplate>::probe(cloud, &live.id).await? {
            Probe::Usable(output) => Ok(output.version),
            _ => Err(Error::new(ErrorKind::NotFound, "it is gone")),
        }
    }
}

/// Whether two releases run the same.
fn same(one: &Release, other: &Release) -> bool {
    one.spec.workload == other.spec.workload && one.spec.instance_type == other.spec.instance_type
}

/// What was found, in the terms of its kind.
fn live<R: Resource>(found: &Found) -> Result<Live<R>> {
    let spec_mismatch = |error: serde_json::Error| {
        let why = format_args!("{} does not match its kind", found.key);
        Error::new(ErrorKind::Invalid, why).caused_by(error)
    };
    Ok(Live {
        id: R::Id::from(found.id.clone()),
        name: found.key.name.clone(),
        spec: R::deserialize(&found.spec).map_err(spec_mismatch)?,
        state: found
            .state
            .clone()
            .try_map(R::Output::deserialize)
            .map_err(spec_mismatch)?,
    })
}
