//! The stacks of real files, and a simulation that can hold them.

use std::path::Path;

use landfall_compute::{
    AutoscalingGroup, Instance, InstanceProfile, KeyPair, LaunchTemplate, ScalingPolicy,
};
use landfall_lb::{Listener, ListenerRule, LoadBalancer, TargetGroup};
use landfall_pipeline::{Config, Sources, stack};
use landfall_provider::{Catalog, Stack, kind};
use landfall_testkit::sim::Sim;

/// Every kind that a stack can hold.
pub(crate) fn catalog() -> Catalog<Sim> {
    let catalog = landfall_network::kinds(Catalog::new())
        .with::<KeyPair>()
        .with::<InstanceProfile>()
        .with::<LaunchTemplate>()
        .with::<AutoscalingGroup>()
        .with::<ScalingPolicy>()
        .with::<Instance>()
        .with::<LoadBalancer>()
        .with::<TargetGroup>()
        .with::<Listener>()
        .with::<ListenerRule>();
    landfall_container::kinds(catalog)
}

/// AWS, as far as a simulation is: what is never replaced while its successor is there has a name of its own.
pub(crate) fn aws() -> Sim {
    Sim::aws()
        .unique(kind::LOAD_BALANCER)
        .unique(kind::LAUNCH_TEMPLATE)
        .unique(kind::AUTOSCALING_GROUP)
        .outputs()
}

/// The repository's own file.
pub(crate) fn example() -> Config {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../landfall.toml");
    let mut config = Config::load(Path::new(path)).unwrap();
    config.region = "ap-south-1".parse().unwrap();
    config
}

/// The file that says everything.
pub(crate) fn every_key() -> Config {
    let source = include_str!("../../src/config/every-key.toml");
    Config::parse(source, "/checkout/landfall.toml").unwrap()
}

/// The stack of a configuration whose image is made from what this digit stands for.
pub(crate) fn of(config: &Config, image: char) -> Stack {
    let hash: String = std::iter::repeat_n(image, 64).collect();
    let names = config.service.keys();
    let sources: Sources = names
        .map(|name| (name.clone(), hash.parse().unwrap()))
        .collect();
    stack(config, &sources).unwrap()
}
