//! An embedded cloud: every Landfall resource on one Linux machine, with real packets.

#[cfg(target_os = "linux")]
mod balancer;
#[cfg(target_os = "linux")]
mod fabric;
#[cfg(target_os = "linux")]
mod instance;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod sys;
