//! Tables and properties of traces.

mod blueprint;
mod codes;
mod mistakes;
mod properties;
mod random;
mod support;
mod whole;
