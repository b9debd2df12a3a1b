//! Tables and properties of traces.

mod balancer_codes;
mod blueprint;
mod codes;
mod mistakes;
mod properties;
mod random;
mod support;
mod whole;
