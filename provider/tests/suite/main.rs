//! The planner and the engine, from outside.

mod apply;
mod planning;
mod random;
mod things;
