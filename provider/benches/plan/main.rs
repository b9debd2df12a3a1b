//! The time and the memory of planning, by the number of resources; and an apply of many on the
//! simulation. `cargo xtask bench plan` runs this, once for each figure, and prints it.
//!
//! Every figure is measured by a separate process, so that its peak memory is its own. Standard
//! output is one line of JSON.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to report"
)]
#![expect(
    clippy::print_stdout,
    reason = "this program's result is what it prints"
)]

#[path = "../../tests/suite/things.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod things;

use std::time::{Duration, Instant};

use landfall_provider::{ApplyOptions, Snapshot, Stack, apply, plan};
use landfall_testkit::sim::Sim;
use serde_json::json;

use self::things::{Facts, catalog, key, schema, snapshot, stack_of, to};

fn main() {
    // `cargo test --all-targets` executes benches too; only `cargo bench` passes this flag.
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let option = |name: &str| {
        let given = arguments
            .iter()
            .find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
        given.unwrap_or_else(|| panic!("{name}=… is missing"))
    };
    let count: usize = option("--resources").parse().unwrap();
    let figures = match option("--case") {
        "apply" => applied(count, option("--concurrency").parse().unwrap()),
        case => planned(case, count),
    };
    println!("{figures}");
}

/// A tenth as many bases as resources, and resources on each of them that also refer to their
/// neighbours.
fn wide(count: usize, size: u32) -> Stack {
    let bases = count.div_ceil(10);
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

/// The shortest time of three plans, and the process's peak memory.
fn planned(case: &str, count: usize) -> serde_json::Value {
    let full = || snapshot(&wide(count, 1));
    let (desired, current) = match case {
        "create" => (wide(count, 1), Snapshot::default()),
        "keep" => (wide(count, 1), full()),
        "replace" => (wide(count, 2), full()),
        "delete" => (stack_of([]), full()),
        other => panic!("no case {other}"),
    };
    let schema = schema();
    let one = |_| {
        let began = Instant::now();
        let plan = plan(&desired, &current, &schema).unwrap();
        let took = began.elapsed();
        assert!(plan.steps.len() >= count);
        took
    };
    let took: Duration = (0..3).map(one).min().unwrap();
    json!({ "seconds": took.as_secs_f64(), "peak_kib": peak_kib() })
}

/// Creates, keeps and deletes all resources on the simulation; returns virtual time and real time.
fn applied(count: usize, concurrency: usize) -> serde_json::Value {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let began = Instant::now();
    let (in_virtual_time, calls, most) = runtime.block_on(async {
        let (sim, catalog) = (Sim::new(), catalog());
        let options = ApplyOptions {
            concurrency,
            ..ApplyOptions::default()
        };
        let started = tokio::time::Instant::now();
        for desired in [wide(count, 1), wide(count, 1), stack_of([])] {
            let current = catalog.snapshot(&sim, desired.name()).await.unwrap();
            let plan = plan(&desired, &current, &schema()).unwrap();
            let applied = apply(&plan, &sim, &catalog, &options).await;
            assert!(applied.is_complete(), "{} failed", applied.failed.len());
        }
        assert!(sim.held().is_empty());
        (started.elapsed(), sim.calls().len(), sim.most_at_once())
    });
    json!({
        "seconds": began.elapsed().as_secs_f64(),
        "virtual_seconds": in_virtual_time.as_secs_f64(),
        "calls": calls,
        "most_at_once": most,
        "peak_kib": peak_kib(),
    })
}

/// The peak memory of this process, if the system reports it.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
