//! Properties over random stacks: the order of a plan, and that applying it reaches the desired
//! state.

use std::collections::{BTreeMap, BTreeSet};

use landfall_provider::{Action, ApplyOptions, Key, Plan, Probe, Snapshot, Stack, apply, plan};
use landfall_testkit::sim::Sim;
use proptest::prelude::*;

use crate::things::{Facts, catalog, key, live, schema, stack_name, stack_of, to};

/// A stack of resources that refer to earlier ones in a random order.
///
/// Lasting resources have no references, because their targets could never be deleted; at least one
/// gate exists and stays, because resources that come after gates hold the last one.
pub(crate) fn any_stack() -> impl Strategy<Value = Stack> {
    any_stack_of(16)
}

/// The same with at most this many resources, besides the gate.
pub(crate) fn any_stack_of(most: usize) -> impl Strategy<Value = Stack> {
    let thing = (
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
        0_u32..3,
        0_u32..3,
    );
    (
        prop::collection::vec(thing, most),
        Just((0..most).collect::<Vec<usize>>()).prop_shuffle(),
    )
        .prop_map(|(things, order)| {
            let mut stack: Vec<(Key, Facts)> = vec![(key("gate/always"), Facts::default())];
            for (number, (there, refs, size, value)) in order.into_iter().zip(things) {
                if !there {
                    continue;
                }
                // The kind is part of the key, and so of the number.
                let kind = ["plain", "plain", "early", "late", "lasting"][number % 5];
                let mut facts = Facts {
                    size,
                    value,
                    ..Facts::default()
                };
                let earlier: Vec<_> = stack
                    .iter()
                    .map(|(key, _)| key.to_string())
                    // A resource that comes after gates must not be referenced by them, and so on.
                    .filter(|key| kind == "late" || !key.starts_with("late/"))
                    .collect();
                let refs: BTreeMap<_, _> = refs
                    .iter()
                    .map(|(index, fixed)| (index.get(&earlier), *fixed))
                    .collect();
                for (target, fixed) in refs {
                    let list = if fixed {
                        &mut facts.fixed
                    } else {
                        &mut facts.loose
                    };
                    if kind != "lasting" {
                        list.push(to(target));
                    }
                }
                stack.push((key(&format!("{kind}/n{number}")), facts));
            }
            stack_of(stack)
        })
}

/// A live state: like a stack's, with some resources pending, failed or ending, and some
/// duplicated.
fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (any_stack(), prop::collection::vec(0_u8..20, 17)).prop_map(|(stack, dice)| {
        let mut found = live(&stack, &[]);
        for (index, roll) in dice.into_iter().enumerate().take(found.len()) {
            match roll {
                0 => found[index].state = Probe::Failed("broken".to_owned()),
                1 => found[index].state = Probe::Ending("ending".to_owned()),
                2 => found[index].state = Probe::Pending("making".to_owned()),
                3 => {
                    let mut double = found[index].clone();
                    double.id = format!("{}-2", double.key.name);
                    found.push(double);
                }
                _ => {}
            }
        }
        Snapshot::new(found)
    })
}

/// Whether one step comes after another, over any number of edges.
fn is_behind(plan: &Plan, later: usize, earlier: usize) -> bool {
    plan.steps[later]
        .after
        .iter()
        .any(|after| after.step == earlier || is_behind(plan, after.step, earlier))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_sound(desired in any_stack(), current in any_snapshot()) {
        let plan = plan(&desired, &current, &schema()).unwrap();

        // The same again, and through JSON.
        prop_assert_eq!(&landfall_provider::plan(&desired, &current, &schema()).unwrap(), &plan);
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), &plan);

        // Every desired resource has one step, every step waits for earlier ones, nothing is
        // deleted twice.
        let mut makers = BTreeMap::new();
        let mut enders = BTreeMap::new();
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert!(step.after.iter().all(|after| after.step < index));
            match &step.action {
                Action::Delete { live, .. } => {
                    prop_assert!(enders.insert((step.key.kind.clone(), live.id.clone()), index).is_none());
                    prop_assert!(step.key.kind.as_str() != "lasting");
                }
                _ => prop_assert!(makers.insert(&step.key, index).is_none()),
            }
        }
        prop_assert_eq!(makers.keys().copied().collect::<Vec<_>>(), desired.resources().keys().collect::<Vec<_>>());

        // Live resources are kept or deleted.
        for found in current.found() {
            let stays = plan.steps.iter().any(|step| matches!(
                &step.action,
                Action::Keep { live } | Action::Update { live, .. } if live == found
            ));
            let goes = enders.contains_key(&(found.key.kind.clone(), found.id.clone()));
            let lasts = found.key.kind.as_str() == "lasting";
            prop_assert!(stays ^ goes || (lasts && !goes), "{}", found.id);
        }

        // References come first, and resources that refer to a deleted one stop referring to it
        // first.
        for (&made, &step) in &makers {
            for need in &desired.resources()[made].needs {
                prop_assert!(plan.steps[step].after.iter().any(|after| after.step == makers[need]));
            }
        }
        for (step, one) in plan.steps.iter().enumerate() {
            let (Action::Delete { live, .. } | Action::Update { live, .. }) = &one.action else {
                continue;
            };
            for reference in schema().get(&one.key.kind).unwrap().resolved_refs(&live.spec).unwrap() {
                if let landfall_provider::ResolvedRef::Id(kind, id) = reference
                    && let Some(&ending) = enders.get(&(kind, id))
                {
                    prop_assert!(plan.steps[ending].after.iter().any(|after| after.step == step));
                }
            }
        }

        // An old resource is deleted before its successor is created, unless a kept resource had to
        // be moved, or always needs one of its kind.
        let stays = |action: &Action| matches!(action, Action::Keep { .. } | Action::Update { .. });
        let needs_gate = plan.steps.iter().any(|step| step.key.kind.as_str() == "late" && stays(&step.action));
        for ((kind, _), &ending) in &enders {
            let old = &plan.steps[ending];
            let Some(&making) = makers.get(&old.key) else { continue };
            if matches!(plan.steps[making].action, Action::Create { .. }) {
                let first = (0..plan.steps.len()).filter(|&step| match &plan.steps[step].action {
                    Action::Update { .. } => true,
                    Action::Delete { .. } => needs_gate && plan.steps[step].key.kind.as_str() == "gate",
                    _ => false,
                });
                let last = first.into_iter().any(|step| step == ending || is_behind(&plan, ending, step));
                prop_assert!(last || is_behind(&plan, making, ending), "{kind} {}", old.key);
            }
        }
    }

    #[test]
    fn what_is_live_is_kept(desired in any_stack()) {
        let plan = plan(&desired, &Snapshot::new(live(&desired, &[])), &schema()).unwrap();
        prop_assert!(plan.is_empty());
        prop_assert_eq!(plan.steps.len(), desired.resources().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn carrying_plans_out_gets_there(first in any_stack(), second in any_stack()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sim, catalog) = (Sim::new(), catalog());
            let nothing = stack_of([]);
            for desired in [&first, &second, &first, &nothing] {
                let current = catalog.snapshot(&sim, &stack_name()).await.unwrap();
                let changes = plan(desired, &current, &schema()).unwrap();
                let applied = apply(&changes, &sim, &catalog, &ApplyOptions::default()).await;
                prop_assert!(applied.is_complete(), "{applied:#?}\n{changes:#?}");

                let current = catalog.snapshot(&sim, &stack_name()).await.unwrap();
                prop_assert!(plan(desired, &current, &schema()).unwrap().is_empty());
                let there: BTreeSet<_> = current.found().iter().map(|found| &found.key).collect();
                let lasting = |key: &&&Key| key.kind.as_str() == "lasting";
                prop_assert!(desired.resources().keys().all(|key| there.contains(key)));
                prop_assert!(there.iter().all(|key| lasting(&key) || desired.resources().contains_key(*key)));
                prop_assert!(current.found().iter().all(|found| matches!(found.state, Probe::Usable(_))));
            }
            Ok(())
        })?;
    }
}
