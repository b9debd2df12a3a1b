//! Planning has to stay cheap: about as many steps of work as there are resources and references.
//!
//! The processor's time is measured and not the clock's, so that other tests do not count; only Linux says
//! it without help.
#![cfg(target_os = "linux")]

use std::time::Duration;

use landfall_provider::{Snapshot, Stack, plan};

use crate::things::{Facts, key, schema, snapshot, stack_of, to};

/// A tenth as many bases as resources, and on each of them things that also refer to their neighbours.
fn wide(count: usize, size: u32) -> Stack {
    let bases = count / 10;
    let base = (0..bases).map(|n| {
        let facts = Facts {
            size,
            ..Facts::default()
        };
        (key(&format!("plain/base{n}")), facts)
    });
    let leaves = (bases..count).map(|n| {
        let facts = Facts {
            fixed: vec![to(&format!("plain/base{}", n % bases))],
            loose: vec![to(&format!("plain/base{}", (n + 1) % bases))],
            ..Facts::default()
        };
        (key(&format!("early/leaf{n}")), facts)
    });
    stack_of(base.chain(leaves))
}

/// For how long this thread has been on a processor.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The shortest of three runs of: from nothing, all as it should be, all replaced, all to be ended.
fn times(count: usize) -> [Duration; 4] {
    let (old, new, nothing) = (wide(count, 1), wide(count, 2), stack_of([]));
    let (empty, full) = (Snapshot::default(), snapshot(&old));
    let schema = schema();
    [
        (&old, &empty),
        (&old, &full),
        (&new, &full),
        (&nothing, &full),
    ]
    .map(|(want, have)| {
        let one = || {
            let began = busy();
            let plan = plan(want, have, &schema).unwrap();
            assert!(plan.steps.len() >= count);
            busy() - began
        };
        one().min(one()).min(one())
    })
}

#[test]
fn four_times_as_many_take_about_four_times_as_long() {
    let (few, many) = (times(1_000), times(4_000));
    println!("1,000: {few:?}\n4,000: {many:?}");
    for (few, many) in few.into_iter().zip(many) {
        // Sixteen times would be quadratic.
        assert!(many < few * 9, "{few:?} for 1,000, {many:?} for 4,000");
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn ten_thousand_take_less_than_half_a_second() {
    for took in times(10_000) {
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
}
