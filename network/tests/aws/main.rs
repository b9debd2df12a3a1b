//! The network on AWS, against moto: boto3, which shares no code with Landfall, checks the results.
//! Features that moto lacks are tested in `scripted`.

#![cfg(feature = "aws")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod kinds;
mod late;
mod leftovers;
mod preflight;
mod scripted;
mod whole;
