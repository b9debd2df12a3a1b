//! The balancer on loopback.
