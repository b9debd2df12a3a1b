//! What an autoscaling group does next: a pure function of what there is.
//!
//! **Invariant:** nothing here starts or ends anything; the controllers do.

use std::time::Duration;

use landfall_compute::AutoscalingGroupOutput;
use landfall_provider::{AutoscalingGroupId, InstanceId, Probe, SubnetId};
use tokio::time::Instant;

use super::machine::{InstanceRecord, Phase};
use super::state::State;

/// So many instances in a row that never took a request are a failed group, not bad luck.
pub(crate) const HOPELESS: u32 = 3;

/// The pause before an instance is launched in the place of one that ended early: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a group remembers between its instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// How many instances in a row ended, or were ended, without ever having been healthy.
    pub(crate) failures: u32,
    /// Not launched before this.
    pub(crate) pause_until: Option<Instant>,
    /// How the last one ended.
    pub(crate) last_end: Option<String>,
}

impl History {
    /// An instance has become healthy: what failed before it no longer counts.
    pub(crate) fn recovered(&mut self) {
        *self = Self::default();
    }

    /// An instance ended by itself.
    pub(crate) fn ended(&mut self, why: &str, was_healthy: bool, now: Instant) {
        self.last_end = Some(why.to_owned());
        if was_healthy {
            // It worked, so the next one is likely to.
            return;
        }
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_PAUSE);
        self.failures += 1;
        self.pause_until = Some(now + pause);
    }
}

/// A member of a group, as far as its size is concerned.
#[derive(Debug, Clone)]
pub(crate) struct GroupMember {
    pub(crate) id: InstanceId,
    pub(crate) subnet: SubnetId,
    /// Of the version that the group is to run, and where its instances are to be.
    pub(crate) is_current: bool,
    pub(crate) is_running: bool,
    pub(crate) health: Health,
    pub(crate) launched: Instant,
}

/// What the target groups say of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Every target group finds it healthy, or it is in none.
    Healthy,
    /// Not decided.
    Unknown,
    /// A target group finds it unhealthy.
    Unhealthy,
}

/// Everything that the next steps depend on.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) ending: bool,
    pub(crate) desired: usize,
    /// Where members may stand, in the order of zones.
    pub(crate) subnets: Vec<SubnetId>,
    /// Those that run or are being started.
    pub(crate) members: Vec<GroupMember>,
    pub(crate) pause_until: Option<Instant>,
    /// For how long an unhealthy member is left alone.
    pub(crate) grace: Duration,
    pub(crate) now: Instant,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScalingAction {
    /// Start an instance in this subnet.
    Launch(SubnetId),
    /// End this one; the text says why.
    Retire(InstanceId, &'static str),
}

/// What to do now, and when to look again although nothing has changed.
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

    // The wanted version takes over one by one, as it proves itself.
    let proven = current.iter().filter(|member| serves(member)).count();
    let needed = view.desired.saturating_sub(proven);
    while old.len() > needed {
        let Some(index) = first_to_go(&old, &current) else {
            break;
        };
        acts.push(retire("a replacement is running")(old.swap_remove(index)));
    }

    // Too many: first where there are most, the youngest first.
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

/// Of those that are not wanted any more: one that takes no requests; else one where most do; else the oldest.
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

/// How a group is: usable when as many as desired run, and none that is not to be there any more.
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
        // How far that is, is asked elsewhere.
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
        // Version 2 was given up while one of its instances already served.
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
