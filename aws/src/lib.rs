//! The base of every AWS implementation: the [`Aws`] session, ownership tags, names of limited
//! length, and errors by AWS's codes.
//!
//! The AWS implementation of a kind is in the kind's crate, behind the feature `aws`:
//! `impl Provider<Vpc> for Aws` is in `landfall-network`. This crate uses no service SDK except
//! STS, which the SDK's configuration already includes and which reports the account of the
//! credentials.
//!
//! # Features
//!
//! - `ec2`: queries shared by the crates that implement EC2 kinds.
//! - `lock`: one change to a stack at a time, by a parameter in SSM's Parameter Store.
//! - `quotas`: the limits of an account, from Service Quotas.

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
mod store;
mod tags;
mod visibility;

pub use call::during;
pub use checks::findings;
pub use inputs::{all_known, input, known};
pub use name::{short_name, short_prefix, token};
pub use outcome::{created_or_found, if_there, lacks, unless, until_visible};
pub use quotas::Quotas;
#[cfg(feature = "quotas")]
pub use quotas::ServiceQuotas;
pub use retry_guard::NonIdempotentRetryGuard;
pub use session::{Aws, AwsOptions, Check, Identity, Keys};
pub use singleflight::Singleflight;
pub use tags::{OWNER_NAME, OWNER_STACK, Owner};
