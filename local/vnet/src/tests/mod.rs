//! Tests of the fabric with real packets, each in a process with user and network namespaces of its own.

mod acls;
mod changes;
mod gateways;
mod groups;
mod listing;
mod support;
