//! Failures of a provider, a network or a manual change during a run, and the run's errors.

use std::time::Duration;

use landfall_provider::{
    Action, Applied, ApplyOptions, ErrorKind, Key, Left, NameTaken, apply, plan,
};
use landfall_testkit::crash::{run, run_in_full};
use landfall_testkit::sim::{Fault, Sim, Span, Times, When};
use tokio::time::Instant;

use crate::things::{Facts, catalog, key, kind, schema, stack, stack_name, stack_of};

const NOTHING: &[&str] = &[];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn deploy(sim: &Sim, lines: &[&str]) -> Applied {
    run(sim, &catalog(), &stack(lines)).await.unwrap()
}

/// The only failure, as kind, text and hint.
fn failure(applied: &Applied) -> (ErrorKind, String, String) {
    let [(_, error)] = &applied.failed[..] else {
        panic!("{applied:?}")
    };
    let hint = error.hint_text().unwrap_or_default();
    (error.kind(), error.to_string(), hint.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_never_comes_is_given_up() {
    let sim = Sim::new();
    sim.fault(When::verb("list").kind(kind("early")), Fault::Hang);
    let began = Instant::now();
    let error = catalog().snapshot(&sim, &stack_name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "listing early: no answer for 120 s");
    assert_eq!(began.elapsed(), seconds(120));
}

#[tokio::test(start_paused = true)]
async fn listings_that_are_too_many_are_made_again() {
    let sim = Sim::new().throttle(3, 2);
    assert!(deploy(&sim, &["plain/a"]).await.is_complete());
    let refused = sim.calls().into_iter().filter(|call| call.error.is_some());
    assert!(refused.count() > 0);

    let sim = Sim::new();
    sim.fault(When::verb("list"), Fault::Refuse(ErrorKind::Throttled));
    let error = catalog().snapshot(&sim, &stack_name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.to_string().contains("(tried "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_verb_is_waited_for_for_ever() {
    for (verb, fault) in [
        ("create", Fault::Hang),
        ("create", Fault::HangAfter),
        ("update", Fault::Hang),
        ("probe", Fault::Hang),
        ("delete", Fault::HangAfter),
    ] {
        let sim = Sim::new();
        let first: &[&str] = if verb == "create" || verb == "probe" {
            NOTHING
        } else {
            &["plain/a"]
        };
        run_in_full(&sim, &catalog(), &stack(first)).await.unwrap();
        let then: &[&str] = if verb == "delete" {
            NOTHING
        } else {
            &["plain/a value=1"]
        };
        sim.fault(When::verb(verb).times(1), fault);
        let began = Instant::now();
        let applied = deploy(&sim, then).await;
        let (kind, text, _) = failure(&applied);
        assert_eq!(kind, ErrorKind::Timeout, "{verb}: {text}");
        let reported =
            text.ends_with("no answer for 300 s") || text.ends_with("no answer for 299 s");
        assert!(reported, "{verb}: {text}");
        assert!(began.elapsed() < seconds(302), "{verb}");
        match (verb, applied.failed[0].1.left_behind()) {
            ("create", left) => assert_eq!(*left, Left::Unknown),
            (_, left) => assert!(matches!(left, Left::Resource(_)), "{verb}: {left:?}"),
        }
        // Whether it had an effect or not: the next run recovers.
        run_in_full(&sim, &catalog(), &stack(then)).await.unwrap();
        let there = if verb == "delete" { 0 } else { 1 };
        assert_eq!(sim.held().len(), there, "{verb} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_ever_is_tried_for_a_while_and_says_how_often() {
    for (verb, error, most) in [
        ("create", ErrorKind::Unavailable, 75),
        ("probe", ErrorKind::Unavailable, 75),
        // Throttling is not a failure: it is retried until the deadline.
        ("create", ErrorKind::Throttled, 301),
    ] {
        let sim = Sim::new();
        sim.fault(When::verb(verb), Fault::Refuse(error));
        let began = Instant::now();
        let (kind, text, _) = failure(&deploy(&sim, &["plain/a"]).await);
        assert_eq!(kind, error);
        let tried = sim.called(verb).len();
        let says = format!("refused by the simulation (tried {tried} times in ");
        assert!(text.contains(&says), "{text}");
        assert!((5..60).contains(&tried), "{tried}");
        assert!(began.elapsed() < seconds(most), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_how_long_it_takes_to_pass_is_tried_as_long() {
    for (passes_within, tried_for) in [(20, 60..75), (120, 120..135)] {
        let sim = Sim::new();
        sim.fault(
            When::verb("create"),
            Fault::RefuseFor(seconds(passes_within)),
        );
        let began = Instant::now();
        let (kind, text, _) = failure(&deploy(&sim, &["plain/a"]).await);
        assert_eq!(kind, ErrorKind::Unavailable, "{text}");
        let took = began.elapsed();
        assert!(
            (seconds(tried_for.start)..seconds(tried_for.end)).contains(&took),
            "{took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn in_use_forever_ends_at_the_deadline() {
    let sim = Sim::new();
    run_in_full(&sim, &catalog(), &stack(&["plain/a"]))
        .await
        .unwrap();
    sim.fault(When::verb("delete"), Fault::Refuse(ErrorKind::InUse));
    let (kind, text, _) = failure(&deploy(&sim, NOTHING).await);
    assert_eq!(kind, ErrorKind::InUse);
    let asked = sim.called("delete").len();
    let says = format!("refused by the simulation (tried {asked} times in 300 s)");
    assert!(text.ends_with(&says), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_may_take_long_to_go_is_waited_for_as_long_and_no_longer() {
    for (takes, goes) in [(3000, true), (4000, false)] {
        let slowly = Times {
            delete: Span::always(seconds(takes)),
            ..Times::default()
        };
        let sim = Sim::new().times(kind("drained"), slowly);
        let there = stack(&["drained/a"]);
        run_in_full(&sim, &catalog(), &there).await.unwrap();
        let began = Instant::now();
        let applied = deploy(&sim, NOTHING).await;
        assert_eq!(applied.is_complete(), goes, "{applied:?}");
        let least = seconds(takes.min(3600));
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_lingers_is_waited_out() {
    let linger = Times {
        linger: Span::always(seconds(100)),
        ..Times::default()
    };
    let sim = Sim::new().times(kind("early"), linger);
    run_in_full(
        &sim,
        &catalog(),
        &stack(&["plain/a", "early/b fixed=plain/a"]),
    )
    .await
    .unwrap();
    let began = Instant::now();
    run_in_full(&sim, &catalog(), &stack(NOTHING))
        .await
        .unwrap();
    assert!((seconds(100)..seconds(115)).contains(&began.elapsed()));
    assert!(sim.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_just_made_may_be_seen_late() {
    let sim = Sim::new().lag(seconds(5));
    let desired = &["early/a", "plain/b fixed=early/a", "plain/c loose=plain/b"];
    let applied = deploy(&sim, desired).await;
    assert!(applied.is_complete(), "{applied:?}");
    let refused = sim
        .calls()
        .into_iter()
        .filter(|call| call.error == Some(ErrorKind::NotFound));
    assert!(refused.count() > 0);
    assert_eq!(sim.held().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_before_and_is_not_there_is_missed_at_once() {
    let sim = Sim::new();
    run_in_full(&sim, &catalog(), &stack(&["plain/a"]))
        .await
        .unwrap();
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    let current = catalog().snapshot(&sim, &stack_name()).await.unwrap();
    let planned = plan(&desired, &current, &schema()).unwrap();
    sim.remove(&key("plain/a"));
    let applied = apply(&planned, &sim, &catalog(), &ApplyOptions::default()).await;
    let (kind, text, _) = failure(&applied);
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(text, "creating plain/b: plain-0001 is not there");
    assert_eq!(sim.called("create"), ["plain/a", "plain/b"]);

    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    assert_eq!(sim.held().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn deleted_between_plan_and_update_is_reported() {
    let sim = Sim::new();
    run_in_full(&sim, &catalog(), &stack(&["plain/a"]))
        .await
        .unwrap();
    let desired = stack(&["plain/a value=1"]);
    let current = catalog().snapshot(&sim, &stack_name()).await.unwrap();
    let planned = plan(&desired, &current, &schema()).unwrap();
    sim.remove(&key("plain/a"));
    let applied = apply(&planned, &sim, &catalog(), &ApplyOptions::default()).await;
    let (kind, _, hint) = failure(&applied);
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(hint.contains("somebody has deleted the resource"), "{hint}");
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deleted_during_create_is_not_waited_for() {
    let slow = Times {
        create: Span::always(seconds(200)),
        ..Times::default()
    };
    let sim = Sim::new().times(kind("plain"), slow);
    let began = Instant::now();
    let (catalog, desired) = (catalog(), stack(&["plain/a"]));
    let (applied, ()) = tokio::join!(run(&sim, &catalog, &desired), async {
        tokio::time::sleep(seconds(20)).await;
        sim.remove(&key("plain/a"));
    });
    let applied = applied.unwrap();
    let (kind, text, hint) = failure(&applied);
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(text, "creating plain/a: somebody has deleted it");
    assert_eq!(hint, "run the command again to create it");
    assert!(began.elapsed() < seconds(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_has_lost_its_tags_and_has_a_name_is_pointed_at() {
    let sim = Sim::new().unique(kind("plain"));
    run_in_full(&sim, &catalog(), &stack(&["plain/a"]))
        .await
        .unwrap();
    sim.untag(&key("plain/a"));
    let (kind, _, hint) = failure(&deploy(&sim, &["plain/a"]).await);
    assert_eq!(kind, ErrorKind::AlreadyExists);
    assert!(hint.contains("landfall:stack"), "{hint}");
}

#[tokio::test(start_paused = true)]
async fn untagged_unnamed_resource_is_replaced_and_left() {
    let sim = Sim::new();
    let desired = stack(&["plain/a", "plain/b loose=plain/a", "plain/c fixed=plain/a"]);
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    let (whole, before) = (sim.lines(), sim.held());
    sim.untag(&key("plain/a"));
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    // Resources that referred to it refer to the new one, by an update or by a replacement.
    let [a, b, c] = ["plain/a", "plain/b", "plain/c"].map(key);
    assert_eq!(sim.called("update"), ["plain/b"]);
    let created = sim.called("create");
    assert_eq!(created[3..], ["plain/a", "plain/c"]);
    // The old one has no owner, and stays after everything else is gone.
    let under = |held: &[(Key, String)], key: &Key| held.iter().filter(|(k, _)| k == key).count();
    let held = sim.held();
    assert_eq!([&a, &b, &c].map(|key| under(&held, key)), [2, 1, 1]);
    run_in_full(&sim, &catalog(), &stack(NOTHING))
        .await
        .unwrap();
    let left = sim.held();
    assert_eq!(left.len(), 1);
    assert!(before.contains(&left[0]) && left[0].0 == a, "{left:?}");
    assert_eq!(whole.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn renamed_resource_is_replaced() {
    let sim = Sim::new();
    let desired = stack(&["plain/a", "plain/b loose=plain/a", "plain/c fixed=plain/a"]);
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    let whole = sim.lines();
    sim.rename(&key("plain/a"), "other".parse().unwrap());
    // The plan shows a key that the stack does not contain, and a missing one.
    let current = catalog().snapshot(&sim, &stack_name()).await.unwrap();
    let planned = plan(&desired, &current, &schema()).unwrap();
    let steps = planned.steps.iter().map(|step| match step.action {
        Action::Create { .. } => format!("create {}", step.key),
        Action::Update { .. } => format!("update {}", step.key),
        Action::Delete { .. } => format!("delete {}", step.key),
        Action::Keep { .. } => format!("keep {}", step.key),
    });
    let mut steps: Vec<String> = steps.collect();
    steps.sort();
    let expected = [
        "create plain/a",
        "create plain/c",
        "delete plain/c",
        "delete plain/other",
        "update plain/b",
    ];
    assert_eq!(steps, expected);
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    assert_eq!(sim.lines(), whole);
}

#[tokio::test(start_paused = true)]
async fn of_two_under_one_name_that_somebody_gave_them_one_stays() {
    let sim = Sim::new();
    let desired = stack(&["plain/a", "plain/b", "plain/c fixed=plain/b"]);
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    let (whole, before) = (sim.lines(), sim.held());
    sim.rename(&key("plain/a"), "b".parse().unwrap());
    run_in_full(&sim, &catalog(), &desired).await.unwrap();
    assert_eq!(sim.lines(), whole);
    // The references are to the earlier one.
    let id = |held: &[(Key, String)]| held.iter().find(|(k, _)| *k == key("plain/b")).cloned();
    assert_eq!(id(&sim.held()), id(&before));
}

#[tokio::test(start_paused = true)]
async fn a_quota_fails_what_is_beyond_it_and_nothing_else() {
    let sim = Sim::new().quota(kind("early"), 1);
    let applied = deploy(&sim, &["early/a", "early/b", "plain/c"]).await;
    let (kind, text, _) = failure(&applied);
    assert_eq!(kind, ErrorKind::Limit);
    assert_eq!(
        text,
        "creating early/b: the quota of 1 for early is used up"
    );
    assert_eq!(applied.ready.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_throttles_slows_a_run_down_and_fails_nothing() {
    let sim = Sim::new().throttle(10, 5);
    let names: Vec<String> = (0..200).map(|n| format!("plain/n{n}")).collect();
    let lines: Vec<&str> = names.iter().map(String::as_str).collect();
    let began = Instant::now();
    let applied = deploy(&sim, &lines).await;
    assert!(applied.is_complete(), "{:?}", applied.failed);
    let answered = sim
        .calls()
        .into_iter()
        .filter(|call| call.error.is_none())
        .count();
    let least = Duration::from_secs_f64((answered - 10) as f64 / 5.0);
    assert!(began.elapsed() >= least);
    assert!(
        began.elapsed() < least * 2,
        "{:?} where {least:?} is the least",
        began.elapsed()
    );
}

#[test]
fn two_of_one_kind_and_name_are_refused() {
    let a = || (key("plain/a"), Facts::default());
    let mut stack = stack_of([a()]);
    let again = stack.try_add("a".parse().unwrap(), crate::things::Plain::from(a().1));
    let NameTaken(taken) = again.unwrap_err();
    assert_eq!(taken, key("plain/a"));
    assert_eq!(
        NameTaken(taken).to_string(),
        "the stack already contains plain/a"
    );
}
