//! `cargo xtask bench`: what is measured, on the machine that it is called on.

mod deploy_times;

use clap::Subcommand;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How long deploy and destroy take, and how much memory the local cloud needs
    ///
    /// Deploys the checkout's own landfall.toml to the local provider in a runtime directory of its own, with
    /// everything built and the image in the store, and shows the medians.
    DeployTimes(deploy_times::Options),
}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// When a run fails; then there is no figure.
    pub(crate) fn run(&self) -> Result<(), String> {
        match self {
            Self::DeployTimes(options) => deploy_times::run(options),
        }
    }
}
