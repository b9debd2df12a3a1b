//! The network on AWS, against moto: what it shows is found there with boto3, which shares no code with Landfall.
//! What moto cannot do is in `scripted`.

#![cfg(feature = "aws")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod kinds;
mod late;
mod preflight;
mod scripted;
mod whole;
