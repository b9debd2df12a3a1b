//! How long the example takes to its last healthy target, on a simulation of AWS in virtual time, beside the
//! least that is possible and beside other orders: `cargo xtask bench deploy` runs this and shows it.
//!
//! [`run`] is what is measured. Standard output is one line of JSON.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot run has nothing to report"
)]
#![expect(
    clippy::print_stdout,
    reason = "this program's result is what it prints"
)]

#[path = "../../tests/flows/fake.rs"]
#[expect(dead_code, reason = "the flows' tests need more of it")]
mod fake;
mod run;

use self::run::{block_on, one};

/// In how many runs durations are drawn from their spreads, beside the one with the medians.
const DRAWN: u64 = 100;

fn main() {
    // `cargo test --all-targets` executes benches too; only `cargo bench` says this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (mut report, bound) = block_on(one(None));
    report.bound = bound;
    for seed in 0..DRAWN {
        let (of_seed, bound) = block_on(one(Some(seed)));
        report.drawn.push(of_seed.deploy / bound);
    }
    println!("{}", serde_json::to_string(&report).unwrap());
}
