//! What every AWS implementation shares: the [`Aws`] session, the tags that mark what a stack owns, names of
//! limited length, and errors by AWS's own codes.
//!
//! How AWS holds a kind stands with the kind, behind its crate's feature `aws`:
//! `impl Provider<Vpc> for Aws` is in `landfall-network`. Here is no SDK of a service, but for STS, which the
//! SDK's configuration brings along and which says whose account it is.
//!
//! # Features
//!
//! - `ec2`: what the crates that hold EC2's kinds find out together.
//! - `lock`: one change to a stack at a time, by a parameter in SSM's Parameter Store.
//! - `quotas`: what an account may have, by Service Quotas.

mod call;
mod checks;
mod code;
#[cfg(feature = "ec2")]
pub mod ec2;
mod inputs;
#[cfg(feature = "lock")]
mod lock;
mod memory;
mod name;
mod outcome;
mod quotas;
mod retry_guard;
mod session;
mod singleflight;
mod tags;

pub use call::during;
pub use checks::{Check, findings};
pub use inputs::{all_known, input, known};
pub use name::{short_name, short_prefix, token};
pub use outcome::{created_or_found, if_there, lacks, unless, until_visible};
pub use quotas::Quotas;
#[cfg(feature = "quotas")]
pub use quotas::ServiceQuotas;
pub use retry_guard::NonIdempotentRetryGuard;
pub use session::{Aws, AwsOptions, Identity, Keys};
pub use singleflight::Singleflight;
pub use tags::{OWNER_NAME, OWNER_STACK, Owner};
