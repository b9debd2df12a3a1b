//! The cloud process: the records, and what keeps the machine as they say.
//!
//! Records change under one lock, together with the network: [`Cloud::change`] does both or neither.
//! What takes longer than a moment (booting an instance, draining a target) happens outside of it, in
//! tasks that look at the records again when they come back.
//!
//! **Invariant:** nothing is written to disk. The process is the cloud: when it ends, however it
//! ends, the kernel takes everything away that it made.

mod control;
mod controllers;
#[cfg(test)]
mod differential;
mod records;
mod runtime;

use std::error::Error as StdError;

use crate::process::CloudContext;
use runtime::cloud::Cloud;

/// The inner process's program: serves until it is told to end, or holds nothing and nobody is connected.
pub(crate) fn main(
    context: CloudContext,
) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
    // Everything that is busy has threads of its own: each balancer's node, the loopback ports.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cloud = Cloud::start(context.outer, context.scratch, &context.dir).await?;
        control::serve(cloud, context.listener).await?;
        Ok::<_, Box<dyn StdError + Send + Sync>>(())
    })?;
    // Threads of instances and nodes need no farewell: the kernel ends them with this process.
    runtime.shutdown_background();
    Ok(())
}
