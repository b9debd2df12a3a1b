//! The very script that instances get, on a real engine: Debian's `docker-registry` stands for ECR, a few lines for
//! the `aws` command, others for `dnf`, a listener for the instance's metadata, and moto for CloudWatch Logs.
//!
//! Not shown is what needs systemd: that the engine's unit is enabled, and so comes up with the machine. Here the
//! engine is started by the test, as systemd would.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod installing;
mod logs;
mod metadata;
mod reboot;
mod runs;
mod scene;
