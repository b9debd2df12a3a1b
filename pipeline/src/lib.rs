//! From `landfall.toml` to one stack, and what is done with it: deploy, plan, status, destroy.

mod config;
mod region;
mod stack;

pub use config::{
    Bastion, Commands, Config, ConfigErrors, Fault, Health, ImageSource, LoadBalancer, Local,
    Network, Problem, Scale, Service, json_schema,
};
pub use region::{InvalidRegion, Region, zones};
pub use stack::{Sources, StackError, stack};
