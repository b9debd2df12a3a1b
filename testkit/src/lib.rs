//! Test support: a provider in virtual time, an AWS emulator with an endpoint in front, container
//! engines for builds, a service to deploy. Never published.

pub mod conformance;
pub mod crash;
#[cfg(unix)]
pub mod emulated;
#[cfg(unix)]
pub mod engines;
pub mod fuzz;
pub mod http;
pub mod load;
#[cfg(unix)]
pub mod moto;
#[cfg(unix)]
pub mod registry;
pub mod scripted;
#[cfg(unix)]
pub mod service;
pub mod sim;
