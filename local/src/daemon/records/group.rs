//! The next actions of an autoscaling group: a pure function of its current state.
//!
//! **Invariant:** nothing here launches or terminates an instance; the controllers do.

use std::time::Duration;

use landfall_compute::AutoscalingGroupOutput;
use landfall_provider::{AutoscalingGroupId, InstanceId, Probe, SubnetId};
use tokio::time::Instant;

use super::machine::{InstanceRecord, Phase};
use super::state::State;

/// A group has failed after this many consecutive instances that never became healthy.
pub(crate) const HOPELESS: u32 = 3;

/// The pause before the replacement of an instance that ended early; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The history of a group's launches.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The number of consecutive instances that ended without becoming healthy.
    pub(crate) failures: u32,
    /// The earliest time of the next launch.
    pub(crate) pause_until: Option<Instant>,
    /// The end of the last instance.
    pub(crate) last_end: Option<String>,
}

impl History {
    /// An instance has become healthy: earlier failures no longer count.
    pub(crate) fn recovered(&mut self) {
        *self = Self::default();
    }

    /// An instance ended unexpectedly.
    pub(crate) fn ended(&mut self, why: &str, was_healthy: bool, now: Instant) {
        self.last_end = Some(why.to_owned());
        if was_healthy {
            // It was healthy, so the next one probably will be.
            return;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_PAUSE);
        self.failures += 1;
        self.pause_until = Some(now + pause);
    }
}

/// An instance of a group, for the decision about its size.
#[derive(Debug, Clone)]
pub(crate) struct GroupMember {
    pub(crate) id: InstanceId,
    pub(crate) subnet: SubnetId,
    /// Whether it has the desired version and is in a subnet of the group.
    pub(crate) is_current: bool,
    pub(crate) is_running: bool,
    pub(crate) health: Health,
    pub(crate) launched: Instant,
}

/// The health of an instance in its target groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Healthy in every target group, or in none at all.
    Healthy,
    /// Not yet known.
    Unknown,
    /// Unhealthy in a target group.
    Unhealthy,
}

/// The current state of a group.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) ending: bool,
    pub(crate) desired: usize,
    /// The subnets of the group, in the order of zones.
    pub(crate) subnets: Vec<SubnetId>,
    /// The running and the starting instances.
    pub(crate) members: Vec<GroupMember>,
    pub(crate) pause_until: Option<Instant>,
    /// The grace period of unhealthy instances.
    pub(crate) grace: Duration,
    pub(crate) now: Instant,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScalingAction {
    /// Launch an instance in this subnet.
    Launch(SubnetId),
    /// Terminate this instance, for this reason.
    Retire(InstanceId, &'static str),
}

/// The actions now, and the time of the next decision if nothing changes.
pub(crate) fn decide(view: &View) -> (Vec<ScalingAction>, Option<Instant>) {
    let retire = |why: &'static str| {
        move |member: &GroupMember| ScalingAction::Retire(member.id.clone(), why)
    };
    if view.ending {
        return (
            view.members
                .iter()
                .map(retire("the group is being deleted"))
                .collect(),
            None,
        );
    }
    let mut again = None;
    let mut acts = Vec::new();
    let mut staying = Vec::new();
    for member in &view.members {
        let grace_ends = member.launched + view.grace;
        if member.is_running && member.health == Health::Unhealthy {
            if view.now >= grace_ends {
                acts.push(ScalingAction::Retire(
                    member.id.clone(),
                    "its target group finds it unhealthy",
                ));
                continue;
            }
            again = earliest(again, grace_ends);
        }
        staying.push(member);
    }
    let (mut current, mut old): (Vec<&GroupMember>, Vec<&GroupMember>) =
        staying.into_iter().partition(|member| member.is_current);

    // The new version replaces the old one instance by instance, as new instances become healthy.
    let proven = current.iter().filter(|member| serves(member)).count();
    let needed = view.desired.saturating_sub(proven);
    while old.len() > needed {
        let Some(index) = first_to_go(&old, &current) else {
            break;
        };
        acts.push(retire("a replacement is running")(old.swap_remove(index)));
    }

    // Too many: from the fullest zone, the youngest first.
    while current.len() > view.desired {
        let in_subnet = |subnet: &SubnetId| {
            current
                .iter()
                .filter(|member| &member.subnet == subnet)
                .count()
        };
        let Some(index) = (0..current.len())
            .max_by_key(|&index| (in_subnet(&current[index].subnet), current[index].launched))
        else {
            break;
        };
        acts.push(retire("the group has more than it needs")(
            current.swap_remove(index),
        ));
    }

    let missing = view.desired.saturating_sub(current.len());
    match view.pause_until {
        Some(pause) if missing > 0 && view.now < pause => again = earliest(again, pause),
        _ => {
            let mut counts: Vec<(usize, usize)> = view
                .subnets
                .iter()
                .enumerate()
                .map(|(place, subnet)| {
                    (
                        current
                            .iter()
                            .filter(|member| &member.subnet == subnet)
                            .count(),
                        place,
                    )
                })
                .collect();
            for _ in 0..missing {
                let Some(fewest) = counts.iter_mut().min() else {
                    break;
                };
                fewest.0 += 1;
                acts.push(ScalingAction::Launch(view.subnets[fewest.1].clone()));
            }
        }
    }
    (acts, again)
}

fn serves(member: &GroupMember) -> bool {
    member.is_running && member.health == Health::Healthy
}

/// The surplus instance to terminate: an unhealthy one, else one in the fullest zone, else the oldest.
fn first_to_go(old: &[&GroupMember], current: &[&GroupMember]) -> Option<usize> {
    let serving_in = |subnet: &SubnetId| {
        let all = old.iter().chain(current);
        all.filter(|member| serves(member) && &member.subnet == subnet)
            .count()
    };
    (0..old.len()).max_by_key(|&index| {
        let member = old[index];
        let age = std::cmp::Reverse(member.launched);
        (!serves(member), serving_in(&member.subnet), age)
    })
}

fn earliest(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// The probe of a group: ready when the desired number of instances runs, and no surplus one.
pub(crate) fn progress(state: &State, id: &AutoscalingGroupId) -> Probe<AutoscalingGroupOutput> {
    let (Some(entry), Some(rollout)) = (
        state.tables.autoscaling_groups.get(id),
        state.rollouts.get(id),
    ) else {
        return Probe::Absent;
    };
    let desired = entry.facts.capacity as usize;
    let members = || {
        let machines = state.machines.values();
        machines.filter(|machine| machine.group.as_ref() == Some(id))
    };
    let running = || members().filter(|machine| machine.phase == Phase::Running);
    if let Some(history) = state.histories.get(id)
        && history.failures >= HOPELESS
        && !rollout.is_trying()
    {
        let how = history.last_end.as_deref().unwrap_or("ended");
        return Probe::Failed(format!(
            "{} instances in a row never became healthy; the last one {how}",
            history.failures
        ));
    }
    let output = AutoscalingGroupOutput {
        version: rollout.reliable(),
    };
    if rollout.is_under_way() {
        // The progress of a rollout has a call of its own.
        return match running().count() {
            enough if enough >= desired => Probe::Usable(output),
            running => Probe::Pending(format!("{running} of {desired} instances run")),
        };
    }
    let is_current = |machine: &&InstanceRecord| machine.template_version == rollout.version();
    let old = members().filter(|machine| machine.is_alive() && !is_current(machine));
    match (running().filter(is_current).count(), old.count()) {
        (running, 0) if running == desired => Probe::Usable(output),
        (running, 0) => Probe::Pending(format!("{running} of {desired} instances run")),
        (running, old) => Probe::Pending(format!(
            "{running} of {desired} instances run its version, {old} run another"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, subnet: &str, is_current: bool, health: Health) -> GroupMember {
        GroupMember {
            id: InstanceId::from(id),
            subnet: SubnetId::from(subnet),
            is_current,
            is_running: true,
            health,
            launched: Instant::now() - Duration::from_secs(60),
        }
    }

    fn view(desired: usize, members: Vec<GroupMember>) -> View {
        View {
            ending: false,
            desired,
            subnets: vec![SubnetId::from("a"), SubnetId::from("b")],
            members,
            pause_until: None,
            grace: Duration::from_secs(30),
            now: Instant::now(),
        }
    }

    fn launch(subnet: &str) -> ScalingAction {
        ScalingAction::Launch(SubnetId::from(subnet))
    }

    fn retired(acts: &[ScalingAction]) -> Vec<&str> {
        let retired = acts.iter().filter_map(|act| match act {
            ScalingAction::Retire(id, _) => Some(id.as_ref()),
            ScalingAction::Launch(_) => None,
        });
        retired.collect()
    }

    #[test]
    fn an_empty_group_starts_one_instance_in_each_zone() {
        assert_eq!(decide(&view(2, vec![])).0, [launch("a"), launch("b")]);
        assert_eq!(
            decide(&view(3, vec![])).0,
            [launch("a"), launch("b"), launch("a")]
        );
    }

    #[test]
    fn what_died_is_replaced_in_its_zone() {
        let left = vec![member("i-1", "a", true, Health::Healthy)];
        assert_eq!(decide(&view(2, left)).0, [launch("b")]);
    }

    #[test]
    fn nothing_is_done_when_all_is_well() {
        let members = vec![
            member("i-1", "a", true, Health::Healthy),
            member("i-2", "b", true, Health::Unknown),
        ];
        assert_eq!(decide(&view(2, members)), (vec![], None));
    }

    #[test]
    fn unhealthy_instance_ends_after_its_grace_period() {
        let members = vec![
            member("i-1", "a", true, Health::Unhealthy),
            member("i-2", "b", true, Health::Healthy),
        ];
        let mut patient = view(2, members.clone());
        patient.grace = Duration::from_secs(120);
        let (acts, again) = decide(&patient);
        assert!(acts.is_empty());
        assert_eq!(again, Some(patient.members[0].launched + patient.grace));
        let (acts, _) = decide(&view(2, members));
        assert_eq!(retired(&acts), ["i-1"]);
        assert!(acts.contains(&launch("a")));
    }

    #[test]
    fn a_new_version_is_started_before_the_old_one_ends() {
        let old = || {
            vec![
                member("i-1", "a", false, Health::Healthy),
                member("i-2", "b", false, Health::Healthy),
            ]
        };
        assert_eq!(decide(&view(2, old())).0, [launch("a"), launch("b")]);

        let mut half = old();
        half.push(member("i-3", "a", true, Health::Healthy));
        half.push(member("i-4", "b", true, Health::Unknown));
        assert_eq!(
            retired(&decide(&view(2, half)).0).len(),
            1,
            "as many take requests as are desired"
        );

        let mut half = old();
        half.push(member("i-3", "b", true, Health::Healthy));
        half.push(member("i-4", "a", true, Health::Unknown));
        assert_eq!(
            retired(&decide(&view(2, half)).0),
            ["i-2"],
            "no zone is left without one that takes requests"
        );

        let mut done = old();
        done.push(member("i-3", "a", true, Health::Healthy));
        done.push(member("i-4", "b", true, Health::Healthy));
        assert_eq!(retired(&decide(&view(2, done)).0), ["i-1", "i-2"]);
    }

    #[test]
    fn what_is_taken_back_ends_at_once_where_it_is_not_needed() {
        // Version 2 was abandoned while one of its instances was already serving.
        let members = || {
            vec![
                member("i-1", "a", true, Health::Healthy),
                member("i-3", "b", false, Health::Healthy),
                member("i-4", "a", false, Health::Unknown),
            ]
        };
        let (acts, _) = decide(&view(2, members()));
        assert_eq!(retired(&acts), ["i-4"]);
        assert!(acts.contains(&launch("b")));
        let mut back = members();
        back.push(member("i-5", "b", true, Health::Healthy));
        assert_eq!(retired(&decide(&view(2, back)).0).len(), 2);
    }

    #[test]
    fn a_smaller_group_gives_up_the_youngest_where_there_are_most() {
        let mut members = vec![
            member("i-1", "a", true, Health::Healthy),
            member("i-2", "b", true, Health::Healthy),
            member("i-3", "a", true, Health::Healthy),
        ];
        members[2].launched = Instant::now();
        assert_eq!(retired(&decide(&view(2, members)).0), ["i-3"]);
    }

    #[test]
    fn a_group_that_ends_retires_everyone_and_starts_nobody() {
        let mut ending = view(3, vec![member("i-1", "a", true, Health::Healthy)]);
        ending.ending = true;
        assert_eq!(retired(&decide(&ending).0), ["i-1"]);
        assert_eq!(decide(&ending).0.len(), 1);
    }

    #[test]
    fn instances_that_end_early_are_replaced_more_and_more_slowly() {
        let now = Instant::now();
        let mut history = History::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            history.ended("exited with code 1", false, now);
            pauses.push(history.pause_until.unwrap() - now);
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));

        history.recovered();
        history.ended("exited with code 1", false, now);
        assert_eq!(history.failures, 1, "only those in a row count");
        assert_eq!(history.pause_until, Some(now + FIRST_PAUSE));

        let mut paused = view(1, vec![]);
        paused.pause_until = Some(paused.now + Duration::from_secs(1));
        assert_eq!(decide(&paused), (vec![], paused.pause_until));
    }
}
