//! Deploy, plan, status and destroy on a simulated cloud in virtual time.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[cfg(unix)]
mod after_failure;
mod before;
mod crash;
mod explain;
mod fake;
mod fuzz;
mod health;
mod lifecycle;
mod lock;
mod rollback;
mod rollout;
#[path = "../../benches/deploy/run.rs"]
mod run;
mod same_image;
mod scale;
mod shortest;
mod silence;
