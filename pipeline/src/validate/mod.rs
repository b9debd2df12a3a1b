//! The validated stack: it is built once from a configuration, and passed to all later steps.

mod load;

use std::collections::BTreeMap;

use landfall_compute::InstanceProfile;
use landfall_container::Repository;
use landfall_network::reach::Topology;
use landfall_provider::{Input, RepositoryId, ResourceName, Stack};

use crate::config::{Config, Diagnostic};
use crate::reach::{self, ReachabilityCheck, planned};
use crate::stack::{self, Sources, StackError};

/// A configuration, its stack, and the topology of that stack.
///
/// The stack is built only here. The sources of images are unknown at first:
/// [`with_sources`](Self::with_sources) adds them.
pub(crate) struct ValidatedStack<'a> {
    config: &'a Config,
    /// With placeholders for the sources of images.
    stack: Stack,
    topology: Topology,
}

impl<'a> ValidatedStack<'a> {
    /// Checks the configuration and builds its stack.
    ///
    /// # Errors
    /// [`StackError::Config`] with all diagnostics.
    pub(crate) fn new(config: &'a Config) -> Result<Self, StackError> {
        let problems = config.check();
        if !problems.is_empty() {
            return Err(StackError::Config(problems));
        }
        let of_network = |error: &dyn std::fmt::Display| {
            StackError::Config(vec![Diagnostic::new("network", error)])
        };
        let stack = stack::build(config).map_err(|error| match error {
            StackError::Config(_) => error,
            error => of_network(&error),
        })?;
        let topology = planned(&stack).map_err(|error| of_network(&error))?;
        let problems = reach::faults(config, &topology);
        if !problems.is_empty() {
            return Err(StackError::Config(problems));
        }
        Ok(Self {
            config,
            stack,
            topology,
        })
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &'a Config {
        self.config
    }

    /// The violations of the reachability check.
    pub(crate) fn check_reachability(&self) -> ReachabilityCheck {
        reach::check(self.config, &self.topology)
    }

    /// The stack with the sources of its images.
    ///
    /// # Errors
    /// [`StackError::Source`] when `sources` lacks a service.
    pub(crate) fn with_sources(&self, sources: &Sources) -> Result<Stack, StackError> {
        stack::with_sources(&self.stack, self.config, sources)
    }
}

/// All diagnostics of a configuration: of its keys or, if these are valid, of its stack.
pub(crate) fn faults(config: &Config) -> Vec<Diagnostic> {
    match ValidatedStack::new(config) {
        Ok(_) => Vec::new(),
        Err(StackError::Config(found)) => found,
        Err(error) => vec![Diagnostic::new("network", error)],
    }
}

/// Builds the stack.
///
/// ```
/// use std::collections::BTreeMap;
/// use landfall_pipeline::{Config, stack};
///
/// let config = Config::parse(
///     "stack = 'digipay'\n[service.web]\nport = 8000\n",
///     "landfall.toml",
/// )?;
/// // What the image is made from; a deploy computes it from the build context.
/// let source = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse()?;
/// let stack = stack(&config, &BTreeMap::from([("web".parse()?, source)]))?;
/// assert!(stack.resources().contains_key(&"autoscaling-group/web".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`StackError`] when the configuration has diagnostics, or `sources` lacks a service.
pub fn stack(config: &Config, sources: &Sources) -> Result<Stack, StackError> {
    ValidatedStack::new(config)?.with_sources(sources)
}

/// The permissions of each service's instances, by the service's name, with the repositories at
/// their addresses in `registry` (a host name). Pure: no identity of an image and no provider is needed.
///
/// # Errors
/// Like [`stack()`], except for the sources.
pub fn instance_profiles(
    config: &Config,
    registry: &str,
) -> Result<BTreeMap<ResourceName, InstanceProfile>, StackError> {
    let ValidatedStack { stack, .. } = ValidatedStack::new(config)?;
    let mut profiles = BTreeMap::new();
    for name in config.service.keys() {
        let Some(mut profile) = stack.get::<InstanceProfile>(name)? else {
            continue;
        };
        for id in &mut profile.repositories {
            if let Input::Of(key, _) = id
                && let Some(repository) = stack.get::<Repository>(&key.name)?
            {
                let address = format!("{registry}/{}", repository.name);
                *id = Input::Known(RepositoryId::from(address));
            }
        }
        profiles.insert(name.clone(), profile);
    }
    Ok(profiles)
}

/// The topology of a configuration's network. Pure: no identity of an image and no provider is needed.
///
/// # Errors
/// [`StackError`] when the configuration has no valid stack.
pub fn planned_topology(config: &Config) -> Result<Topology, StackError> {
    Ok(ValidatedStack::new(config)?.topology)
}
