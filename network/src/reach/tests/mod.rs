//! Tables and properties of traces.

mod blueprint;
mod codes;
mod properties;
mod random;
mod support;
