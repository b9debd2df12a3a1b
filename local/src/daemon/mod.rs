//! The background process of the local provider: the records, and the controllers that keep the machine in their state.
//!
//! Records change under one lock, together with the network: [`Cloud::change`] changes both or neither. Slow operations
//! (the start of an instance, the draining of a target) run outside the lock, in tasks that read the records again
//! afterwards.
//!
//! **Invariant:** nothing is written to disk. The cloud exists only in this process: when the process ends, for any
//! reason, the kernel removes everything that it created.

mod control;
mod controllers;
#[cfg(test)]
mod differential;
mod records;
mod runtime;

use std::error::Error as StdError;

use crate::process::CloudContext;
use runtime::cloud::Cloud;

/// The main function of the inner process: serves until SIGTERM, or until the cloud is empty and has no client.
pub(crate) fn main(
    context: CloudContext,
) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
    // One thread is enough: the busy parts (nodes of load balancers, loopback ports) have their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cloud = Cloud::start(context.outer, context.scratch, &context.dir).await?;
        control::serve(cloud, context.listener).await?;
        Ok::<_, Box<dyn StdError + Send + Sync>>(())
    })?;
    // The kernel ends the threads of instances and nodes with this process.
    runtime.shutdown_background();
    Ok(())
}
