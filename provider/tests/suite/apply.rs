//! The engine on the simulation: order, waiting, failures, stopping, lost answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_provider::{
    Action, Applied, ApplyOptions, ErrorKind, Event, Events, Key, Left, Operation, Plan, Snapshot,
    Stack, apply, plan,
};
use landfall_testkit::sim::{Fault, Sim, Times, When};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::things::{catalog, key, kind, schema, stack, stack_name};

async fn planned(sim: &Sim, desired: &Stack) -> Plan {
    let live = catalog().snapshot(sim, &stack_name()).await.unwrap();
    plan(desired, &live, &schema()).unwrap()
}

async fn deploy_with(sim: &Sim, desired: &Stack, options: &ApplyOptions) -> Applied {
    let plan = planned(sim, desired).await;
    apply(&plan, sim, &catalog(), options).await
}

async fn deploy(sim: &Sim, desired: &Stack) -> Applied {
    deploy_with(sim, desired, &ApplyOptions::default()).await
}

/// Options that record events.
fn listening() -> (ApplyOptions, Arc<Mutex<Vec<Event>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let options = ApplyOptions {
        events: Events::to({
            let heard = heard.clone();
            move |event| heard.lock().unwrap().push(event)
        }),
        ..ApplyOptions::default()
    };
    (options, heard)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn slow(create: u64) -> Times {
    Times {
        create: seconds(create).into(),
        ..Times::default()
    }
}

const NOTHING: &[&str] = &[];

fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| key(text)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_made_kept_changed_and_ended() {
    let sim = Sim::new();
    let first = stack(&["plain/a", "early/e fixed=plain/a", "plain/b loose=early/e"]);
    let made = deploy(&sim, &first).await;
    assert!(made.is_complete(), "{made:?}");
    assert_eq!(made.ready.len(), 3);

    let calls = sim.calls().len();
    let kept = deploy(&sim, &first).await;
    assert_eq!(kept.ready, made.ready);
    assert!(sim.calls()[calls..].iter().all(|call| call.verb == "list"));

    let changed = deploy(&sim, &stack(&["plain/a value=2", "plain/c loose=plain/a"])).await;
    assert!(changed.is_complete(), "{changed:?}");
    assert_eq!(
        changed.deleted.iter().collect::<BTreeSet<_>>(),
        keys(&["early/e", "plain/b"]).iter().collect()
    );
    assert_eq!(changed.ready[&key("plain/a")], made.ready[&key("plain/a")]);

    let ended = deploy(&sim, &stack(NOTHING)).await;
    assert!(ended.is_complete(), "{ended:?}");
    assert!(sim.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn everything_runs_at_once_that_can() {
    let sim = Sim::new();
    let names: Vec<String> = (0..40).map(|n| format!("plain/n{n}")).collect();
    let lines: Vec<&str> = names.iter().map(String::as_str).collect();
    let began = Instant::now();
    let options = ApplyOptions {
        concurrency: 7,
        ..ApplyOptions::default()
    };
    assert!(
        deploy_with(&sim, &stack(&lines), &options)
            .await
            .is_complete()
    );
    // Creation takes 2 s, with probes after 1 s and 2.5 s; a call takes 20 ms and at most 7 run at
    // once.
    assert!(began.elapsed() < seconds(4), "{:?}", began.elapsed());
    assert_eq!(sim.most_at_once(), 7);
}

#[tokio::test(start_paused = true)]
async fn dependents_start_at_their_gate() {
    let sim = Sim::new()
        .times(kind("early"), slow(100))
        .times(kind("plain"), slow(10));
    let desired = stack(&[
        "early/e",
        "plain/on-early fixed=early/e",
        "plain/p",
        "plain/on-plain fixed=plain/p",
    ]);
    assert!(deploy(&sim, &desired).await.is_complete());
    let at = |what: &str| {
        let calls = sim.calls();
        calls
            .iter()
            .find(|call| call.verb == "create" && call.what == what)
            .unwrap()
            .at
    };
    assert!(at("plain/on-early") < seconds(1));
    assert!(at("plain/on-plain") >= seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_back_only_what_needs_it() {
    let sim = Sim::new().fails(key("plain/a"), "no room");
    let (options, heard) = listening();
    let desired = stack(&[
        "plain/a",
        "plain/b fixed=plain/a",
        "plain/c fixed=plain/b",
        "plain/other",
        "plain/another fixed=plain/other",
    ]);
    let applied = deploy_with(&sim, &desired, &options).await;
    assert!(!applied.is_complete());
    assert_eq!(applied.not_started, keys(&["plain/b", "plain/c"]));
    assert_eq!(applied.ready.len(), 2);
    let [(failed, error)] = &applied.failed[..] else {
        panic!("{applied:?}")
    };
    assert_eq!(*failed, key("plain/a"));
    assert_eq!(error.to_string(), "creating plain/a: no room");
    let id = sim
        .held()
        .into_iter()
        .find(|(held, _)| held == failed)
        .unwrap()
        .1;
    assert_eq!(*error.left_behind(), Left::Resource(id));
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|event| matches!(
        event,
        Event::Failed { key: of, verb: Operation::Create, error } if of == failed && error == "no room"
    )));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_made_anew_by_the_next_run() {
    let sim = Sim::new().fails(key("plain/a"), "no room");
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    assert!(!deploy(&sim, &desired).await.is_complete());
    let plan = planned(&sim, &desired).await;
    assert!(matches!(&plan.steps[0].action, Action::Delete { .. }));
    let again = apply(&plan, &sim, &catalog(), &ApplyOptions::default()).await;
    assert_eq!(again.deleted, keys(&["plain/a"]));
    assert_eq!(sim.called("create"), ["plain/a", "plain/a"]);
}

#[tokio::test(start_paused = true)]
async fn first_failed_look_is_not_final() {
    let sim = Sim::new().stale(kind("plain"), Duration::from_millis(900));
    let applied = deploy(&sim, &stack(&["plain/a"])).await;
    assert!(applied.is_complete(), "{applied:?}");

    let sim = Sim::new().stale(kind("plain"), seconds(60));
    let began = Instant::now();
    let applied = deploy(&sim, &stack(&["plain/a"])).await;
    assert!(applied.failed[0].1.to_string().contains("an old answer"));
    assert!(began.elapsed() < seconds(30), "{:?}", began.elapsed());
}

/// A policy by tag: whoever may delete only tagged resources is refused for one that is gone.
#[tokio::test(start_paused = true)]
async fn denied_delete_of_a_gone_resource_is_done() {
    for is_gone in [true, false] {
        let sim = Sim::new();
        assert!(deploy(&sim, &stack(&["plain/a"])).await.is_complete());
        let plan = planned(&sim, &stack(NOTHING)).await;
        if is_gone {
            sim.remove(&key("plain/a"));
        }
        sim.fault(When::verb("delete"), Fault::Refuse(ErrorKind::Denied));
        let applied = apply(&plan, &sim, &catalog(), &ApplyOptions::default()).await;
        assert_eq!(applied.is_complete(), is_gone, "{applied:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_a_timeout_with_the_last_thing_seen() {
    let sim = Sim::new().times(kind("hasty"), slow(60));
    let applied = deploy(&sim, &stack(&["hasty/a"])).await;
    let error = &applied.failed[0].1;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "creating hasty/a: timed out; last status: making"
    );
    assert!(matches!(error.left_behind(), Left::Resource(_)));
}

#[tokio::test(start_paused = true)]
async fn silent_call_is_given_up_with_unknown_result() {
    let sim = Sim::new();
    sim.inject(0, Fault::Hang);
    let began = Instant::now();
    let applied = deploy(&sim, &stack(&["plain/a", "plain/b"])).await;
    let [(failed, error)] = &applied.failed[..] else {
        panic!("{applied:?}")
    };
    assert_eq!(*failed, key("plain/a"));
    assert_eq!(
        (error.kind(), error.left_behind()),
        (ErrorKind::Timeout, &Left::Unknown)
    );
    assert!(applied.ready.contains_key(&key("plain/b")));
    assert!(began.elapsed() < seconds(301), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_no_double() {
    let sim = Sim::new();
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    sim.inject(0, Fault::LoseAnswer);
    assert!(deploy(&sim, &desired).await.is_complete());
    assert_eq!(sim.called("create"), ["plain/a", "plain/a", "plain/b"]);
    assert_eq!(sim.held().len(), 2);

    sim.inject(0, Fault::LoseAnswer);
    sim.inject(1, Fault::Refuse(ErrorKind::Throttled));
    assert!(deploy(&sim, &stack(NOTHING)).await.is_complete());
    assert!(sim.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_borne_for_a_while_and_no_longer() {
    let sim = Sim::new();
    for nth in 0..100 {
        sim.inject(nth, Fault::Refuse(ErrorKind::Unavailable));
    }
    let began = Instant::now();
    let applied = deploy(&sim, &stack(&["plain/a"])).await;
    let error = &applied.failed[0].1;
    assert_eq!(
        (error.kind(), error.left_behind()),
        (ErrorKind::Unavailable, &Left::Unknown)
    );
    assert!(
        (seconds(55)..seconds(75)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_failures_at_once() {
    for kind in [
        ErrorKind::Denied,
        ErrorKind::Limit,
        ErrorKind::Invalid,
        ErrorKind::InUse,
    ] {
        let sim = Sim::new();
        sim.inject(0, Fault::Refuse(kind));
        let applied = deploy(&sim, &stack(&["plain/a"])).await;
        let error = &applied.failed[0].1;
        assert_eq!((error.kind(), error.left_behind()), (kind, &Left::Nothing));
        assert_eq!(sim.called("create").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_provider_is_that_steps_failure() {
    let sim = Sim::new();
    sim.inject(0, Fault::Panic);
    let applied = deploy(&sim, &stack(&["plain/a", "plain/b"])).await;
    assert_eq!(
        applied.failed[0].1.to_string(),
        "creating plain/a: the provider crashed: a simulated mistake"
    );
    assert!(applied.ready.contains_key(&key("plain/b")));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_in_use_is_waited_out() {
    let sim = Sim::new().times(
        kind("early"),
        Times {
            delete: seconds(40).into(),
            ..Times::default()
        },
    );
    assert!(
        deploy(&sim, &stack(&["plain/a", "early/e fixed=plain/a"]))
            .await
            .is_complete()
    );
    // Somebody else deletes it: for 40 s it is ending, and still blocks its name.
    let alone = planned(&sim, &stack(&["plain/a"])).await;
    let first = apply(&only_deletes(&alone), &sim, &catalog(), &stopping_soon()).await;
    assert_eq!(first.on_its_way, keys(&["early/e"]));
    let (options, heard) = listening();
    let ended = deploy_with(&sim, &stack(NOTHING), &options).await;
    assert!(ended.is_complete(), "{ended:?}");
    assert!(sim.held().is_empty());
    let heard = heard.lock().unwrap();
    assert!(
        heard
            .iter()
            .any(|event| matches!(event, Event::Waiting { why, .. } if why == "ending"))
    );
}

fn only_deletes(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.steps
        .retain(|step| matches!(step.action, Action::Delete { .. }));
    for step in &mut plan.steps {
        step.after.clear();
    }
    plan
}

fn stopping_soon() -> ApplyOptions {
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.cancel();
        }
    });
    ApplyOptions {
        stop,
        ..ApplyOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_starts_nothing_more_and_the_next_one_goes_on() {
    let sim = Sim::new().times(kind("plain"), slow(100));
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    let began = Instant::now();
    let stopped = deploy_with(&sim, &desired, &stopping_soon()).await;
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    assert!(!stopped.is_complete());
    assert_eq!(stopped.on_its_way, keys(&["plain/a"]));
    assert_eq!(stopped.not_started, keys(&["plain/b"]));
    assert!(stopped.failed.is_empty());

    assert!(deploy(&sim, &desired).await.is_complete());
    assert_eq!(sim.called("create"), ["plain/a", "plain/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_ending_is_made_anew_after_it_has_ended() {
    let sim = Sim::new().times(
        kind("plain"),
        Times {
            delete: seconds(50).into(),
            ..Times::default()
        },
    );
    let desired = stack(&["plain/a"]);
    let first = deploy(&sim, &desired).await;
    assert_eq!(
        deploy_with(&sim, &stack(NOTHING), &stopping_soon())
            .await
            .on_its_way,
        keys(&["plain/a"])
    );
    let second = deploy(&sim, &desired).await;
    assert!(second.is_complete(), "{second:?}");
    assert_ne!(
        first.ready[&key("plain/a")].id,
        second.ready[&key("plain/a")].id
    );
}

#[tokio::test(start_paused = true)]
async fn names_that_are_unique_are_free_before_the_successor_comes() {
    let sim = Sim::new().unique(kind("plain"));
    assert!(
        deploy(&sim, &stack(&["plain/a", "plain/b fixed=plain/a"]))
            .await
            .is_complete()
    );
    let replaced = deploy(&sim, &stack(&["plain/a size=2", "plain/b fixed=plain/a"])).await;
    assert!(replaced.is_complete(), "{replaced:?}");
    assert_eq!(sim.held().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn exclusive_claim_is_free_before_the_next_holder() {
    let sim = Sim::new();
    let first = stack(&["plain/a", "plain/old fixed=plain/a spot=7"]);
    assert!(deploy(&sim, &first).await.is_complete());
    let then = stack(&["plain/a", "plain/new fixed=plain/a spot=7"]);
    let moved = deploy(&sim, &then).await;
    assert!(moved.is_complete(), "{moved:?}");
    assert_eq!(sim.held().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_stay_are_moved_and_never_without() {
    let sim = Sim::new();
    assert!(
        deploy(&sim, &stack(&["plain/a", "plain/b loose=plain/a"]))
            .await
            .is_complete()
    );
    let moved = deploy(&sim, &stack(&["plain/a size=2", "plain/b loose=plain/a"])).await;
    assert!(moved.is_complete(), "{moved:?}");
    assert_eq!(sim.called("update"), ["plain/b"]);
    assert_eq!(sim.called("delete"), ["plain/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_tampered_with_does_nothing_wrong() {
    let sim = Sim::new();
    let whole = plan(
        &stack(&["plain/a", "plain/b fixed=plain/a"]),
        &Snapshot::default(),
        &schema(),
    )
    .unwrap();

    let mut nowhere = whole.clone();
    nowhere.steps[1].after[0].step = 7;
    let applied = apply(&nowhere, &sim, &catalog(), &ApplyOptions::default()).await;
    assert_eq!(applied.not_started, keys(&["plain/b"]));

    let mut early = whole;
    early.steps.remove(0);
    early.steps[0].after.clear();
    let applied = apply(&early, &sim, &catalog(), &ApplyOptions::default()).await;
    assert_eq!(
        applied.failed[0].1.to_string(),
        "creating plain/b: the plan does not order plain/a before it"
    );
    assert_eq!(sim.called("create"), ["plain/a"]);
}

#[test]
fn applying_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    fn check(plan: &Plan, sim: &Sim) {
        is_send(apply(plan, sim, &catalog(), &ApplyOptions::default()));
    }
    let _: fn(&Plan, &Sim) = check;
}
