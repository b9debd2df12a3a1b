//! How much longer a deploy takes than its plan's longest chain of waits: what `cargo xtask bench deploy` measures,
//! held to what it aims at.

use crate::run::{block_on, one};

/// By how much a run may be longer than the least that is possible.
const AIM: f64 = 1.05;

#[test]
fn deploy_time_is_the_longest_chain_of_waits() {
    let (report, bound) = block_on(one(None));
    // A bound that lost its meaning would be easily met: it is that of a balancer, and less than the other orders.
    assert!(bound > 100.0 && bound < report.tiers, "{bound}");
    let ratio = report.deploy / bound;
    assert!(
        (1.0..=AIM).contains(&ratio),
        "{} by {bound}: {ratio:.3}",
        report.deploy
    );
    let ratio = report.destroy / report.destroy_bound;
    assert!(
        (1.0..=1.1).contains(&ratio),
        "{} by {}: {ratio:.3}",
        report.destroy,
        report.destroy_bound
    );
}

#[test]
fn so_it_does_when_durations_are_drawn_from_their_spreads() {
    let mut ratios: Vec<f64> = (0..15)
        .map(|seed| {
            let (report, bound) = block_on(one(Some(seed)));
            report.deploy / bound
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    assert!(
        ratios[0] >= 1.0 && ratios[ratios.len() / 2] <= AIM,
        "{ratios:.3?}"
    );
}
