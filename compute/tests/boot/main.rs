//! The instances' boot script, unchanged, on a real engine: Debian's `docker-registry` replaces
//! ECR, small scripts replace `aws` and `dnf`, a listener serves the instance's metadata, and moto
//! replaces CloudWatch Logs.
//!
//! Not covered because it needs systemd: the engine's unit is enabled, and starts with the machine.
//! Here the test starts the engine, like systemd.
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
