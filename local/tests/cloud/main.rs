//! The embedded cloud as a provider: real instances, real packets, one cloud for each test.
#![cfg(target_os = "linux")]

mod bed;
mod endings;
mod network;
mod service;
