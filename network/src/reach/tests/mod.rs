//! Tables and properties of traces.

mod blueprint;
mod support;
