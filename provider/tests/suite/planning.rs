//! Tables of plans: the decisions and their order.

use landfall_provider::{
    Action, Found, Gate, Plan, PlanError, Probe, Reason, Snapshot, Stack, Step, plan,
};
use serde_json::Value;

use crate::things::{key, live, schema, snapshot, stack};

fn planned(desired: &Stack, current: &Snapshot) -> Plan {
    plan(desired, current, &schema()).unwrap()
}

/// A line per step: the action, and the lines that it waits for (`!` where existing is enough).
fn text(plan: &Plan) -> Vec<String> {
    let line = |(index, Step { key, action, after }): (usize, &Step)| {
        let what = match action {
            Action::Keep { .. } => format!("keep {key}"),
            Action::Create { because: None, .. } => format!("create {key}"),
            Action::Create {
                because: Some(because),
                ..
            } => format!("create {key} because {}", reason(because)),
            Action::Update { fields, .. } => {
                let fields: Vec<_> = fields.iter().map(|change| change.field.as_str()).collect();
                format!("update {key} in {}", fields.join(","))
            }
            Action::Delete { live, because } => {
                format!("delete {} because {}", live.id, reason(because))
            }
        };
        let after: Vec<_> = after
            .iter()
            .map(|after| match after.gate {
                Gate::Usable => after.step.to_string(),
                Gate::Exists => format!("{}!", after.step),
            })
            .collect();
        match after.is_empty() {
            true => format!("{index} {what}"),
            false => format!("{index} {what} after {}", after.join(",")),
        }
    };
    plan.steps.iter().enumerate().map(line).collect()
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NotWanted => "not wanted".to_owned(),
        Reason::Replaced(fields) => {
            let fields: Vec<_> = fields.iter().map(|change| change.field.as_str()).collect();
            format!("{} changed", fields.join(","))
        }
        Reason::Failed(why) => format!("failed: {why}"),
        Reason::Ending => "ending".to_owned(),
        Reason::Duplicate => "surplus".to_owned(),
    }
}

fn check(desired: &Stack, current: &Snapshot, expected: &[&str]) {
    let plan = planned(desired, current);
    assert_eq!(text(&plan), expected);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    assert_eq!(planned(desired, current), plan, "the same again");
}

const NOTHING: &[&str] = &[];

#[test]
fn from_nothing_everything_is_created_behind_what_it_refers_to() {
    check(
        &stack(&[
            "plain/a fixed=plain/c",
            "plain/b loose=plain/a,early/e",
            "plain/c",
            "early/e",
        ]),
        &Snapshot::default(),
        &[
            "0 create early/e",
            "1 create plain/c",
            "2 create plain/a after 1",
            "3 create plain/b after 0!,2",
        ],
    );
}

#[test]
fn a_kind_that_comes_after_another_waits_for_all_of_it() {
    check(
        &stack(&["late/x", "gate/one", "gate/two", "plain/a"]),
        &Snapshot::default(),
        &[
            "0 create gate/one",
            "1 create gate/two",
            "2 create late/x after 0,1",
            "3 create plain/a",
        ],
    );
}

#[test]
fn what_is_as_it_should_be_is_kept() {
    let desired = stack(&[
        "plain/a",
        "plain/b fixed=plain/a value=3",
        "late/x",
        "gate/g",
    ]);
    let plan = planned(&desired, &snapshot(&desired));
    assert!(plan.is_empty());
    assert!(
        plan.steps
            .iter()
            .all(|step| matches!(step.action, Action::Keep { .. }))
    );
}

#[test]
fn what_is_on_its_way_is_kept_and_waited_for() {
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    let pending = Probe::Pending("making".to_owned());
    let current = Snapshot::new(live(&desired, &[("plain/a", pending.clone())]));
    check(
        &desired,
        &current,
        &["0 keep plain/a", "1 keep plain/b after 0"],
    );
    let plan = planned(&desired, &current);
    assert!(matches!(&plan.steps[0].action, Action::Keep { live } if live.state == pending));
}

#[test]
fn nothing_is_wanted_and_all_goes_in_the_other_order() {
    let current = stack(&[
        "plain/a",
        "plain/b fixed=plain/a",
        "plain/c loose=plain/b",
        "gate/g fixed=plain/a",
        "late/x",
    ]);
    check(
        &stack(NOTHING),
        &snapshot(&current),
        &[
            "0 delete x-1 because not wanted",
            "1 delete g-1 because not wanted after 0",
            "2 delete c-1 because not wanted",
            "3 delete b-1 because not wanted after 2",
            "4 delete a-1 because not wanted after 1,3",
        ],
    );
}

#[test]
fn a_value_is_updated_in_place_and_the_rest_kept() {
    check(
        &stack(&[
            "plain/a value=2 build_spec=9",
            "plain/b fixed=plain/a build_spec=9",
        ]),
        &snapshot(&stack(&["plain/a value=1", "plain/b fixed=plain/a"])),
        &["0 update plain/a in value", "1 keep plain/b after 0"],
    );
}

#[test]
fn the_order_of_a_list_without_order_says_nothing() {
    let desired = stack(&["plain/a", "plain/b", "plain/c loose=plain/a,plain/b"]);
    let current = stack(&["plain/a", "plain/b", "plain/c loose=plain/b,plain/a"]);
    assert!(planned(&desired, &snapshot(&current)).is_empty());
}

#[test]
fn a_replacement_takes_along_those_that_cannot_be_moved() {
    check(
        &stack(&["plain/a size=2", "plain/b fixed=plain/a"]),
        &snapshot(&stack(&["plain/a", "plain/b fixed=plain/a"])),
        &[
            "0 delete b-1 because fixed changed",
            "1 delete a-1 because size changed after 0",
            "2 create plain/a because size changed after 1",
            "3 create plain/b because fixed changed after 0,2",
        ],
    );
}

#[test]
fn those_that_can_be_moved_are_moved_before_the_old_one_goes() {
    check(
        &stack(&["plain/a size=2", "plain/b loose=plain/a"]),
        &snapshot(&stack(&["plain/a", "plain/b loose=plain/a"])),
        &[
            "0 create plain/a because size changed",
            "1 update plain/b in loose after 0",
            "2 delete a-1 because size changed after 1",
        ],
    );
}

#[test]
fn what_a_moved_one_needs_comes_first_too() {
    // c is moved from the old b to the new one, which is on the new a.
    check(
        &stack(&[
            "plain/a size=2",
            "plain/b fixed=plain/a",
            "plain/c loose=plain/b",
            "plain/d fixed=plain/a",
        ]),
        &snapshot(&stack(&[
            "plain/a",
            "plain/b fixed=plain/a",
            "plain/c loose=plain/b",
            "plain/d fixed=plain/a",
        ])),
        &[
            "0 create plain/a because size changed",
            "1 create plain/b because fixed changed after 0",
            "2 update plain/c in loose after 1",
            "3 delete b-1 because fixed changed after 2",
            "4 delete d-1 because fixed changed",
            "5 delete a-1 because size changed after 3,4",
            "6 create plain/d because fixed changed after 0,4",
        ],
    );
}

#[test]
fn a_kind_that_comes_after_another_is_moved_in_time() {
    // The old gate may be deleted only after the old late one, which is deleted only after c has
    // stopped referring to it.
    check(
        &stack(&["gate/g size=2", "late/x size=2", "plain/c loose=late/x"]),
        &snapshot(&stack(&["gate/g", "late/x", "plain/c loose=late/x"])),
        &[
            "0 create gate/g because size changed",
            "1 create late/x because size changed after 0",
            "2 update plain/c in loose after 1",
            "3 delete x-1 because size changed after 2",
            "4 delete g-1 because size changed after 3",
        ],
    );
}

#[test]
fn one_that_stays_is_never_without_what_it_comes_after() {
    // x does not change, but it needs a gate at all times.
    check(
        &stack(&["plain/a size=2", "gate/g fixed=plain/a", "late/x"]),
        &snapshot(&stack(&["plain/a", "gate/g fixed=plain/a", "late/x"])),
        &[
            "0 create plain/a because size changed",
            "1 create gate/g because fixed changed after 0",
            "2 delete g-1 because fixed changed after 1",
            "3 keep late/x after 1",
            "4 delete a-1 because size changed after 2",
        ],
    );
}

#[test]
fn who_is_to_have_what_another_has_comes_after_its_end() {
    // The names differ, the place is the same.
    check(
        &stack(&[
            "plain/a",
            "plain/new fixed=plain/a spot=7",
            "plain/other fixed=plain/a spot=8",
        ]),
        &snapshot(&stack(&["plain/a", "plain/old fixed=plain/a spot=7"])),
        &[
            "0 keep plain/a",
            "1 delete old-1 because not wanted",
            "2 create plain/new after 0,1",
            "3 create plain/other after 0",
        ],
    );
    // A kept resource takes it over.
    check(
        &stack(&["plain/a", "plain/b fixed=plain/a spot=7"]),
        &snapshot(&stack(&[
            "plain/a",
            "plain/b fixed=plain/a",
            "plain/old fixed=plain/a spot=7",
        ])),
        &[
            "0 keep plain/a",
            "1 delete old-1 because not wanted",
            "2 update plain/b in spot after 0,1",
        ],
    );
    // Within another parent it is another place.
    check(
        &stack(&["plain/a", "plain/b", "plain/new fixed=plain/b spot=7"]),
        &snapshot(&stack(&[
            "plain/a",
            "plain/b",
            "plain/old fixed=plain/a spot=7",
        ])),
        &[
            "0 keep plain/a",
            "1 keep plain/b",
            "2 create plain/new after 1",
            "3 delete old-1 because not wanted",
        ],
    );
}

#[test]
fn what_is_let_go_of_goes_after_that() {
    check(
        &stack(&["plain/a", "plain/b loose=plain/a"]),
        &snapshot(&stack(&[
            "plain/a",
            "plain/c",
            "plain/b loose=plain/a,plain/c",
        ])),
        &[
            "0 keep plain/a",
            "1 update plain/b in loose after 0",
            "2 delete c-1 because not wanted after 1",
        ],
    );
}

#[test]
fn what_failed_or_is_ending_is_made_anew() {
    let desired = stack(&["plain/a", "plain/b fixed=plain/a", "plain/c"]);
    let current = Snapshot::new(live(
        &desired,
        &[
            ("plain/a", Probe::Failed("no room".to_owned())),
            ("plain/c", Probe::Ending("ending".to_owned())),
        ],
    ));
    check(
        &desired,
        &current,
        &[
            "0 delete b-1 because fixed changed",
            "1 delete a-1 because failed: no room after 0",
            "2 create plain/a because failed: no room after 1",
            "3 create plain/b because fixed changed after 0,2",
            "4 delete c-1 because ending",
            "5 create plain/c because ending after 4",
        ],
    );
}

fn double(of: &Found, id: &str) -> Found {
    Found {
        id: id.to_owned(),
        ..of.clone()
    }
}

#[test]
fn of_several_under_one_key_the_best_stays() {
    let desired = stack(&["plain/a value=1"]);
    let good = &live(&desired, &[])[0];
    let other = &live(&stack(&["plain/a value=2"]), &[])[0];
    let failed = Found {
        state: Probe::Failed("no room".to_owned()),
        ..double(good, "a-0")
    };
    check(
        &desired,
        &Snapshot::new(vec![failed, double(other, "a-2"), double(good, "a-3")]),
        &[
            "0 keep plain/a",
            "1 delete a-2 because surplus",
            "2 delete a-0 because failed: no room",
        ],
    );
}

#[test]
fn of_several_that_fit_the_one_in_use_stays() {
    let desired = stack(&["plain/a", "plain/b fixed=plain/a"]);
    let mut current = live(&desired, &[]);
    let earlier = double(&current[0], "a-0");
    current.push(earlier);
    check(
        &desired,
        &Snapshot::new(current),
        &[
            "0 keep plain/a",
            "1 delete a-0 because surplus",
            "2 keep plain/b after 0",
        ],
    );
}

#[test]
fn of_several_that_none_fits_all_go_first() {
    let current = live(&stack(&["plain/a"]), &[]);
    let second = double(&current[0], "a-2");
    check(
        &stack(&["plain/a size=2"]),
        &Snapshot::new(vec![current[0].clone(), second]),
        &[
            "0 delete a-1 because size changed",
            "1 delete a-2 because size changed",
            "2 create plain/a because size changed after 0,1",
        ],
    );
}

#[test]
fn what_outlives_its_stack_is_never_deleted() {
    let current = stack(&["lasting/image", "plain/a loose=lasting/image"]);
    check(
        &stack(NOTHING),
        &snapshot(&current),
        &["0 delete a-1 because not wanted"],
    );
    check(
        &stack(&["lasting/image size=2", "plain/a loose=lasting/image"]),
        &snapshot(&current),
        &[
            "0 create lasting/image because size changed",
            "1 update plain/a in loose after 0",
        ],
    );
}

#[test]
fn holder_of_retained_resources_ends_last() {
    let current = stack(&[
        "plain/home",
        "lasting/image fixed=plain/home",
        "plain/user loose=lasting/image",
    ]);
    check(
        &stack(NOTHING),
        &snapshot(&current),
        &[
            "0 delete user-1 because not wanted",
            "1 delete home-1 because not wanted after 0",
        ],
    );
    // Another parent: its children are created anew there, and used, before the old one is deleted.
    check(
        &stack(&[
            "plain/home size=2",
            "lasting/image fixed=plain/home",
            "plain/user loose=lasting/image",
        ]),
        &snapshot(&current),
        &[
            "0 create plain/home because size changed",
            "1 create lasting/image because fixed changed after 0",
            "2 update plain/user in loose after 1",
            "3 delete home-1 because size changed after 2",
        ],
    );
}

#[test]
fn of_several_that_outlive_the_one_that_is_wanted_is_kept() {
    let old = double(&live(&stack(&["lasting/image size=1"]), &[])[0], "image-1");
    let new = double(&live(&stack(&["lasting/image size=2"]), &[])[0], "image-2");
    let current = Snapshot::new(vec![old, new]);
    for (size, id) in [(1, "image-1"), (2, "image-2")] {
        let plan = planned(&stack(&[&format!("lasting/image size={size}")]), &current);
        assert!(plan.is_empty());
        assert!(
            matches!(&plan.steps[..], [Step { action: Action::Keep { live }, .. }] if live.id == id)
        );
    }
}

#[test]
fn the_same_id_in_another_kind_is_another_resource() {
    // early/a also has the id a-1; b's reference to plain/a's does not refer to it.
    check(
        &stack(&["plain/a", "plain/b fixed=plain/a"]),
        &snapshot(&stack(&[
            "early/a",
            "plain/a",
            "plain/b fixed=plain/a value=1",
        ])),
        &[
            "0 delete a-1 because not wanted",
            "1 keep plain/a",
            "2 update plain/b in value after 1",
        ],
    );
}

#[test]
fn a_stack_that_contradicts_itself_has_no_plan() {
    let fault = |lines: &[&str]| plan(&stack(lines), &Snapshot::default(), &schema()).unwrap_err();

    assert_eq!(
        fault(&["plain/a fixed=plain/b"]),
        PlanError::MissingReference {
            from: key("plain/a"),
            to: key("plain/b")
        }
    );
    // Resources that only come before or after the cycle are not part of it.
    assert_eq!(
        fault(&[
            "plain/a loose=plain/c,plain/before",
            "plain/b fixed=plain/a",
            "plain/c fixed=plain/b",
            "plain/before",
            "plain/behind fixed=plain/a",
        ]),
        PlanError::Cycle(vec![key("plain/a"), key("plain/b"), key("plain/c")])
    );
    assert_eq!(
        fault(&["plain/a fixed=plain/a"]).to_string(),
        "plain/a waits for itself"
    );
    // The gate refers to a resource that comes after every gate.
    assert_eq!(
        fault(&["gate/g fixed=late/x", "late/x", "plain/behind fixed=gate/g"]),
        PlanError::Cycle(vec![key("gate/g"), key("late/x")])
    );
    let unknown = landfall_provider::Schema::new();
    assert_eq!(
        plan(&stack(&["plain/a"]), &Snapshot::default(), &unknown).unwrap_err(),
        PlanError::UnknownKind(key("plain/a"))
    );
}

#[test]
fn a_spec_of_another_shape_is_an_error_that_names_it() {
    let desired = stack(&["plain/a"]);
    let mut current = live(&desired, &[]);
    current[0].spec = Value::String("something else".to_owned());
    let error = plan(&desired, &Snapshot::new(current), &schema()).unwrap_err();
    assert!(matches!(&error, PlanError::SpecMismatch(of, _) if *of == key("plain/a")));
    assert!(error.to_string().starts_with("plain/a: "), "{error}");
}
