//! `cargo xtask bench`: benchmarks on the present machine.

mod balancer;
mod deploy;
mod deploy_times;
mod gantt;
mod plan;
mod reach;

use clap::Subcommand;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How long a deploy takes on a simulated AWS, beside the least that is possible
    ///
    /// Deploys the checkout's own landfall.toml in virtual time, where everything takes as long as public logs of
    /// AWS say, until all targets are healthy. Beside it: (a) the longest chain of waits that the plan contains,
    /// computed from it, with no time lost to looking; (b) the order that waits for each resource to be usable
    /// before those that refer to it; (c) image, network, balancer and instances one after the other. Writes a
    /// picture of the run with the critical chain marked.
    Deploy(deploy::Options),
    /// How long deploy and destroy take, and how much memory the local cloud needs
    ///
    /// Deploys the checkout's own landfall.toml to the local provider in a runtime directory of its own, with
    /// everything built and the image in the store, and shows the medians.
    DeployTimes(deploy_times::Options),
    /// How long planning takes and how much memory it needs, by the number of resources
    ///
    /// Plans 100, 1,000, 10,000 and 100,000 resources: from nothing, with all of them there, all to be replaced,
    /// and all to be ended. Then makes, keeps and ends 10,000 on the simulation. Built with optimisations, each
    /// figure by a process of its own.
    Plan(plan::Options),
    /// How many requests per second the local balancer carries, beside nginx as reverse proxy
    ///
    /// Both stand in the same public subnet of the same cloud with the same security group, have the same two
    /// instances behind them, and are asked from the internet with `wrk -c 64 -t 2`: one node of the balancer,
    /// which is one thread, and one worker process of nginx. Everything is built with optimisations. Needs wrk
    /// and nginx-light.
    Balancer(balancer::Options),
    /// How long it takes to check the reachability of a network, as it grows
    ///
    /// From two zones with one service to six zones with fifty services and a thousand rules: the matrix of who
    /// can reach what, and the check of what has to hold. Built with optimisations; needs nothing.
    Reach(reach::Options),
}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// When a run fails; then there is no figure.
    pub(crate) fn run(&self) -> Result<(), String> {
        match self {
            Self::Deploy(options) => deploy::run(options),
            Self::DeployTimes(options) => deploy_times::run(options),
            Self::Plan(options) => plan::run(options),
            Self::Balancer(options) => balancer::run(options),
            Self::Reach(options) => reach::run(options),
        }
    }
}

/// The median; of an even number, the mean of the middle two; of none, 0.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
