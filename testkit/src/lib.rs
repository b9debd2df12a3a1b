//! What tests need: a provider in virtual time, container engines to build with, a service to deploy.
//! Never published.

#[cfg(unix)]
pub mod engines;
pub mod http;
#[cfg(unix)]
pub mod service;
pub mod sim;
