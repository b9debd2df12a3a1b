//! What tests need: a provider in virtual time, an endpoint in the place of AWS, container engines to build with, a
//! service to deploy.
//! Never published.

#[cfg(unix)]
pub mod engines;
pub mod http;
pub mod scripted;
#[cfg(unix)]
pub mod service;
pub mod sim;
