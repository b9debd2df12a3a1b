//! Tests of the fabric with real packets, each in a process with user and network namespaces of its own.

mod packets;
mod support;
