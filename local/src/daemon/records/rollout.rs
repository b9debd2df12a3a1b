//! Rollouts: the template version that a group runs, the change to a new one, and the automatic rollback.
//!
//! **Invariant:** nothing here launches or terminates an instance. The version is a desired state;
//! [`group`](super::group) derives the actions.

use std::collections::BTreeMap;

use landfall_compute::{AutoscalingGroup, LaunchTemplate, Release, ReleaseState};
use landfall_provider::{AutoscalingGroupId, Error, ErrorKind, LaunchTemplateId, Probe, Result};
use tokio::time::Instant;

use super::group::HOPELESS;
use super::kinds::known;
use super::machine::InstanceRecord;
use super::state::State;
use super::table::find;

/// The rollout of a group.
#[derive(Debug, Clone)]
pub(crate) struct Rollout {
    /// The version of new instances.
    version: u32,
    course: Course,
    /// The abandoned versions, with the reason.
    failed: BTreeMap<u32, String>,
}

#[derive(Debug, Clone)]
enum Course {
    /// All instances have the version.
    Stable,
    /// A new version is being rolled out; after this deadline it is rolled back.
    Forward { from: u32, until: Instant },
    /// The new version was abandoned; the previous one is being restored.
    Back { given_up: u32, why: String },
    /// The previous version is restored.
    GoneBack { given_up: u32, why: String },
}

/// The progress of the desired version.
#[derive(Debug)]
pub(crate) struct RolloutProgress {
    pub(crate) desired: usize,
    /// The number of healthy instances of the version.
    pub(crate) proven: usize,
    /// The number of instances of other versions, or in subnets that the group no longer has.
    pub(crate) others: usize,
    /// The number of consecutive failed launches, and the end of the last one.
    pub(crate) failures: u32,
    pub(crate) last_end: Option<String>,
    /// Why instances are unhealthy.
    pub(crate) ailing: Option<String>,
}

impl RolloutProgress {
    fn has_taken_over(&self) -> bool {
        self.proven >= self.desired && self.others == 0
    }
}

impl Rollout {
    pub(crate) fn at(version: u32) -> Self {
        Self {
            version,
            course: Course::Stable,
            failed: BTreeMap::new(),
        }
    }

    /// The version of new instances.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The version for clients: during a rollout, the previous one.
    pub(crate) fn reliable(&self) -> u32 {
        match self.course {
            Course::Forward { from, .. } => from,
            _ => self.version,
        }
    }

    /// Whether a new version is being rolled out: its failure is not a failure of the group.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.course, Course::Forward { .. })
    }

    /// Whether instances of two versions exist on purpose.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.course, Course::Forward { .. } | Course::Back { .. })
    }

    /// The deadline of the rollout.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.course {
            Course::Forward { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Starts a rollout. The version for a rollback is the last one that was completely rolled out.
    fn begin(&mut self, version: u32, until: Instant) {
        if version == self.version {
            // It runs this version, or is already being changed to it.
            if matches!(self.course, Course::GoneBack { .. }) {
                self.course = Course::Stable;
            }
            return;
        }
        let from = self.reliable();
        if self.is_trying() {
            let why = format!("version {version} was tried before it was healthy");
            self.failed.insert(self.version, why);
        }
        self.failed.remove(&version);
        self.version = version;
        self.course = Course::Forward { from, until };
    }

    /// Starts the rollback.
    fn give_up(&mut self, why: String) {
        if let Course::Forward { from, .. } = self.course {
            let given_up = self.version;
            self.failed.insert(given_up, why.clone());
            self.version = from;
            self.course = Course::Back { given_up, why };
        }
    }

    /// Records the progress; starts the rollback if the rollout has failed. True if the rollback has just started.
    pub(crate) fn advance(&mut self, standing: &RolloutProgress, now: Instant) -> bool {
        match &self.course {
            Course::Forward { .. } | Course::Back { .. } if standing.has_taken_over() => {
                self.course = match &self.course {
                    Course::Back { given_up, why } => Course::GoneBack {
                        given_up: *given_up,
                        why: why.clone(),
                    },
                    _ => Course::Stable,
                };
                false
            }
            Course::Forward { until, .. } => {
                let why = if standing.failures >= HOPELESS {
                    let how = standing.last_end.as_deref().unwrap_or("ended");
                    format!(
                        "{} instances in a row never became healthy; the last one {how}",
                        standing.failures
                    )
                } else if now >= *until && standing.proven < standing.desired {
                    let RolloutProgress {
                        desired, proven, ..
                    } = standing;
                    let ailing = standing.ailing.as_deref();
                    let ailing = ailing.map_or(String::new(), |what| format!(": {what}"));
                    format!("{proven} of {desired} instances became healthy in time{ailing}")
                } else {
                    return false;
                };
                self.give_up(why);
                true
            }
            _ => false,
        }
    }

    /// The progress, for clients.
    fn progress(&self, standing: &RolloutProgress) -> Probe<()> {
        let RolloutProgress {
            desired,
            proven,
            others,
            ..
        } = standing;
        let version = self.version;
        match &self.course {
            Course::Stable => Probe::Usable(()),
            Course::Forward { .. } => Probe::Pending(format!(
                "{proven} of {desired} instances of version {version} are healthy, {others} of others left"
            )),
            Course::Back { given_up, why } => Probe::Ending(format!(
                "version {given_up} failed ({why}); \
                 {proven} of {desired} instances of version {version} are healthy, {others} of others left"
            )),
            Course::GoneBack { given_up, why } => Probe::Failed(format!(
                "version {given_up} failed, and version {version} was restored: {why}"
            )),
        }
    }

    fn state_of(&self, version: u32) -> ReleaseState {
        if let Some(why) = self.failed.get(&version) {
            ReleaseState::Failed(why.clone())
        } else if version == self.reliable() {
            ReleaseState::Current
        } else if version == self.version {
            ReleaseState::Rolling
        } else if version < self.version {
            ReleaseState::Superseded
        } else {
            ReleaseState::Waiting
        }
    }
}

/// Starts the rollout of a template version.
pub(crate) fn roll(
    state: &mut State,
    group: &AutoscalingGroupId,
    template: &LaunchTemplateId,
    version: u32,
    now: Instant,
) -> Result<()> {
    let entry = find::<AutoscalingGroup>(state, group)?;
    if known(&entry.spec.template)? != template {
        let why = format_args!("{group} does not use {template}");
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    let grace = std::time::Duration::from_secs(entry.spec.health_check_grace_period.into());
    let versions = &find::<LaunchTemplate>(state, template)?.facts.versions;
    if !versions.contains_key(&version) {
        let why = format_args!("{template} has no version {version}");
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    if let Some(rollout) = state.rollouts.get_mut(group) {
        rollout.begin(version, now + grace);
        // Earlier failures do not count against the new version.
        state.histories.remove(group);
    }
    Ok(())
}

/// Rolls the current rollout back.
pub(crate) fn roll_back(state: &mut State, group: &AutoscalingGroupId, why: &str) -> Result<()> {
    find::<AutoscalingGroup>(state, group)?;
    let Some(rollout) = state.rollouts.get_mut(group) else {
        return Ok(());
    };
    match rollout.course {
        Course::Back { .. } | Course::GoneBack { .. } => Ok(()),
        Course::Stable => Err(Error::new(
            ErrorKind::NotFound,
            format_args!("{group} has no rollout in progress"),
        )),
        Course::Forward { .. } => {
            rollout.give_up(why.to_owned());
            state.histories.remove(group);
            Ok(())
        }
    }
}

/// The progress of a rollout.
pub(crate) fn rolling(
    state: &State,
    group: &AutoscalingGroupId,
    standing: &RolloutProgress,
) -> Result<Probe<()>> {
    find::<AutoscalingGroup>(state, group)?;
    let rollout = state.rollouts.get(group);
    Ok(rollout.map_or(Probe::Absent, |rollout| rollout.progress(standing)))
}

/// All versions of a group's template, with their states.
pub(crate) fn releases(
    state: &State,
    template: &LaunchTemplateId,
    group: &AutoscalingGroupId,
) -> Result<Vec<Release>> {
    let versions = &find::<LaunchTemplate>(state, template)?.facts.versions;
    let rollout = state.rollouts.get(group);
    let releases = versions.iter().map(|(number, version)| Release {
        version: *number,
        spec: version.spec.clone(),
        made: Some(version.made),
        who: Some(version.note.who.clone()).filter(|who| !who.is_empty()),
        note: version.note.clone(),
        state: rollout.map_or(ReleaseState::Waiting, |rollout| rollout.state_of(*number)),
    });
    Ok(releases.collect())
}

/// Changes groups that never had a healthy instance to the new version at once.
pub(crate) fn follow(state: &mut State, template: &LaunchTemplateId) {
    let Some(newest) = state.tables.launch_templates.get(template) else {
        return;
    };
    let newest = newest.facts.version;
    for (group, entry) in &state.tables.autoscaling_groups {
        let mut machines = state.machines.values();
        let has_served =
            machines.any(|machine| machine.group.as_ref() == Some(group) && machine.was_healthy);
        if entry.spec.template.known() == Some(template)
            && !has_served
            && let Some(rollout) = state.rollouts.get_mut(group)
            && matches!(rollout.course, Course::Stable)
        {
            rollout.version = newest;
        }
    }
}

/// Adds the end of an instance to its group's history, if it has the desired version.
pub(crate) fn record_exit(state: &mut State, machine: &InstanceRecord, how: &str) {
    let Some(group) = &machine.group else {
        return;
    };
    let version = state.rollouts.get(group).map(Rollout::version);
    if version.is_none_or(|version| version == machine.template_version) {
        let history = state.histories.entry(group.clone()).or_default();
        history.ended(how, machine.was_healthy, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn standing(proven: usize, others: usize) -> RolloutProgress {
        RolloutProgress {
            desired: 2,
            proven,
            others,
            failures: 0,
            last_end: None,
            ailing: None,
        }
    }

    fn words(rollout: &Rollout, of: &[u32]) -> Vec<&'static str> {
        of.iter()
            .map(|version| rollout.state_of(*version).word())
            .collect()
    }

    #[test]
    fn a_version_that_takes_over_is_the_one_that_is_run() {
        let now = Instant::now();
        let mut rollout = Rollout::at(1);
        rollout.begin(2, now + Duration::from_secs(30));
        assert_eq!((rollout.version(), rollout.reliable()), (2, 1));
        assert_eq!(words(&rollout, &[1, 2]), ["current", "rolling"]);
        assert!(!rollout.advance(&standing(1, 2), now));
        assert!(matches!(
            rollout.progress(&standing(1, 2)),
            Probe::Pending(_)
        ));
        assert!(!rollout.advance(&standing(2, 0), now));
        assert_eq!(rollout.progress(&standing(2, 0)), Probe::Usable(()));
        assert_eq!(rollout.reliable(), 2);
        assert_eq!(
            words(&rollout, &[1, 2, 3]),
            ["superseded", "current", "waiting"]
        );
    }

    #[test]
    fn what_is_not_healthy_in_time_is_given_up_and_remembered() {
        let now = Instant::now();
        let until = now + Duration::from_secs(30);
        let mut rollout = Rollout::at(1);
        rollout.begin(2, until);
        let mut late = standing(1, 2);
        late.ailing = Some("Target.Timeout".to_owned());
        assert!(rollout.advance(&late, until));
        assert_eq!(rollout.version(), 1);
        assert!(matches!(
            rollout.progress(&standing(1, 1)),
            Probe::Ending(_)
        ));
        rollout.advance(&standing(2, 0), until);
        let why = "1 of 2 instances became healthy in time: Target.Timeout";
        assert_eq!(
            rollout.progress(&standing(2, 0)),
            Probe::Failed(format!(
                "version 2 failed, and version 1 was restored: {why}"
            ))
        );
        assert_eq!(rollout.state_of(2), ReleaseState::Failed(why.to_owned()));
        assert_eq!(rollout.state_of(1), ReleaseState::Current);
    }

    #[test]
    fn draining_instances_do_not_cause_a_rollback() {
        let now = Instant::now();
        let mut rollout = Rollout::at(1);
        rollout.begin(2, now);
        assert!(!rollout.advance(&standing(2, 1), now + Duration::from_secs(3600)));
        assert_eq!(rollout.version(), 2);
    }

    #[test]
    fn three_failed_instances_end_the_rollout() {
        let now = Instant::now();
        let mut rollout = Rollout::at(4);
        rollout.begin(5, now + Duration::from_secs(300));
        let mut hopeless = standing(0, 2);
        hopeless.failures = 3;
        hopeless.last_end = Some("exited with code 1".to_owned());
        assert!(rollout.advance(&hopeless, now));
        assert_eq!(
            rollout.state_of(5),
            ReleaseState::Failed(
                "3 instances in a row never became healthy; the last one exited with code 1"
                    .to_owned()
            )
        );
    }

    #[test]
    fn superseding_version_rolls_back_to_the_serving_one() {
        let now = Instant::now();
        let mut rollout = Rollout::at(1);
        rollout.begin(2, now);
        rollout.begin(3, now);
        assert_eq!(rollout.reliable(), 1);
        assert_eq!(
            words(&rollout, &[1, 2, 3]),
            ["current", "failed", "rolling"]
        );
        rollout.give_up("asked to".to_owned());
        assert_eq!(rollout.version(), 1);
        // A new rollout may start during a rollback.
        rollout.begin(3, now);
        assert_eq!((rollout.version(), rollout.reliable()), (3, 1));
        assert_eq!(rollout.state_of(3), ReleaseState::Rolling);
    }
}
