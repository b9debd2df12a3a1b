//! The real program against emulated AWS; boto3, which shares no code with Landfall, checks the
//! results.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stderr,
    reason = "figures for whoever reads the test's output"
)]

mod access;
mod account;
mod bad;
mod by_hand;
mod change;
mod deploy;
mod eye;
mod faults;
mod https;
mod iam;
mod interruption;
mod midway;
mod permissions;
mod releases;
mod scale;
mod single;
#[path = "../common/strike.rs"]
mod strike;
mod waiting;
mod zones;

use account::Ran;
