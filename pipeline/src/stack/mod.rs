//! Builds the stack of a configuration: a pure function of the file and the identities of images.

mod custom;
pub(crate) mod routes;
mod single;
#[cfg(test)]
mod tests;
mod workload;

use std::collections::BTreeMap;

use landfall_compute::{
    AutoscalingGroup, Instance, KeyPair, LaunchTemplate, Metric, ScalingPolicy,
};
use landfall_container::{BuildRequest, ContextHash, Image, Platform};
use landfall_lb::{Action, HealthCheck, Listener, ListenerRule, LoadBalancer, TargetGroup};
use landfall_network::{
    ElasticIp, Groups, LayoutError, Network, OpenPorts, ServicePort, TwoTier, add_groups,
};
use landfall_provider::{
    Handle, Input, KeyPairId, NameTaken, ResourceName, SecurityGroupId, SpecMismatch, Stack,
};

use self::custom::add_custom_rules;
use self::workload::add_workload;
use crate::config::{Bastion, Config, Diagnostic, Health, ImageSource, Mode, Service, https};

/// The additional grace period of unhealthy instances after the deadline of a deploy, in seconds.
pub(crate) const AFTER_DEADLINE: u32 = 30;

/// The source of each service's image, by service: its [identity](BuildRequest::identity).
pub type Sources = BTreeMap<ResourceName, ContextHash>;

/// A configuration without a valid stack.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The configuration has diagnostics; [`Config::check`] returns the same.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Diagnostic>),
    /// The network's layout is impossible.
    #[error(transparent)]
    Network(#[from] LayoutError),
    /// Two resources would have the same name.
    #[error(transparent)]
    Name(#[from] NameTaken),
    /// A resource cannot be deserialized to be changed.
    #[error(transparent)]
    Spec(#[from] SpecMismatch),
    /// The source of a service's image is missing.
    #[error("the identity of image/{0} is not among the sources")]
    Source(ResourceName),
}

/// The placeholder for an unknown source of an image.
pub(crate) fn no_source() -> ContextHash {
    let nothing = "0".repeat(64);
    nothing.parse().expect("64 hexadecimal digits are a hash")
}

/// A stack with the sources of its images.
///
/// # Errors
/// [`StackError::Source`] when `sources` lacks a service.
pub(crate) fn with_sources(
    built: &Stack,
    config: &Config,
    sources: &Sources,
) -> Result<Stack, StackError> {
    let mut stack = built.clone();
    for name in config.service.keys() {
        let missing = || StackError::Source(name.clone());
        let source = sources.get(name).ok_or_else(missing)?;
        stack.amend::<Image>(name, |image| image.source = source.clone())?;
    }
    Ok(stack)
}

/// The stack of a checked configuration.
pub(crate) fn build(config: &Config) -> Result<Stack, StackError> {
    if config.mode == Mode::Single {
        return single::build(config);
    }
    let mut stack = Stack::new(config.stack.clone());
    let (network, groups) = add_network(config, &mut stack)?;
    let key = add_key_pair(config, &mut stack)?;
    let mut services = BTreeMap::new();
    for (name, service) in &config.service {
        let builder = ServiceBuilder {
            config,
            name,
            service,
            network: &network,
            groups: &groups,
            key: &key,
        };
        let added = builder.add_to(&mut stack)?;
        services.insert(name, (builder, added));
    }
    if let Some(name) = routes::fallback(config) {
        let (_, fallback) = &services[name];
        let (balancer, listener) = add_balancer(
            config,
            &mut stack,
            &network,
            &groups,
            &fallback.target_group,
        )?;
        for (name, (priority, condition)) in routes::rules(config) {
            let rule = ListenerRule {
                listener: listener.id(),
                priority,
                condition,
                target_group: services[name].1.target_group.id(),
            };
            stack.try_add(name.clone(), rule)?;
        }
        for (builder, added) in services.values() {
            builder.add_policies(&mut stack, added, &balancer)?;
        }
    }
    if let (Some(bastion), Some(group)) = (&config.network.bastion, &groups.bastion) {
        let address = stack.try_add(name("bastion"), ElasticIp {})?;
        let instance = Instance {
            subnet: network.public[0].subnet.id(),
            groups: vec![group.id()],
            instance_type: bastion.instance.clone(),
            address: Some(address.id()),
            // A bastion only forwards connections, and needs no permissions.
            profile: None,
            key,
            workload: None,
        };
        stack.try_add(name("bastion"), instance)?;
    }
    Ok(stack)
}

/// The part without images.
fn add_network(config: &Config, stack: &mut Stack) -> Result<(Network, Groups), StackError> {
    let services = config.service.iter().map(|(name, service)| ServicePort {
        name: name.clone(),
        port: service.port,
    });
    let open_ports = OpenPorts {
        bastion_allow: config
            .network
            .bastion
            .as_ref()
            .map(|Bastion { allow, .. }| allow.clone()),
        ..OpenPorts::new(config.load_balancer.ports(), services.collect())
    };
    let network = TwoTier {
        cidr: config.network.cidr,
        zones: config.zones(),
        nat: config.network.nat,
        s3_endpoint: config.network.s3_endpoint,
        open_ports: open_ports.clone(),
    }
    .add_to(stack)?;
    let groups = add_groups(stack, &network.vpc.id(), &open_ports)?;
    add_custom_rules(config, stack, &network, |name| group_id(&groups, name))?;
    Ok((network, groups))
}

/// The security group with this name.
fn group_id(groups: &Groups, name: &ResourceName) -> Option<Input<SecurityGroupId>> {
    let group = match name.as_str() {
        "balancer" => Some(&groups.balancer),
        "bastion" => groups.bastion.as_ref(),
        _ => groups.services.get(name),
    };
    group.map(Handle::id)
}

/// The key pair for logins, if there is a bastion.
fn add_key_pair(config: &Config, stack: &mut Stack) -> Result<Option<Input<KeyPairId>>, NameTaken> {
    let bastion = config.network.bastion.as_ref();
    let Some(public_key) = bastion.and_then(|bastion| bastion.public_key.clone()) else {
        return Ok(None);
    };
    let key_pair = stack.try_add(name("operator"), KeyPair { public_key })?;
    Ok(Some(key_pair.id()))
}

/// Adds the load balancer and its listeners, and returns the serving one.
fn add_balancer(
    config: &Config,
    stack: &mut Stack,
    network: &Network,
    groups: &Groups,
    target_group: &Handle<TargetGroup>,
) -> Result<(Handle<LoadBalancer>, Handle<Listener>), StackError> {
    let balancer = LoadBalancer {
        vpc: network.vpc.id(),
        subnets: network.public.iter().map(|tier| tier.subnet.id()).collect(),
        groups: vec![groups.balancer.id()],
        idle_timeout: config.load_balancer.idle_timeout,
        protected: config.protect,
    };
    let balancer = stack.try_add(name("main"), balancer)?;
    let forward = Action::Forward(target_group.id());
    let http = Listener {
        balancer: balancer.id(),
        port: config.load_balancer.port,
        certificate: None,
        action: match config.load_balancer.certificate {
            Some(_) => Action::RedirectToHttps(https()),
            None => forward.clone(),
        },
    };
    let http = stack.try_add(name("http"), http)?;
    if let Some(certificate) = &config.load_balancer.certificate {
        let https = Listener {
            balancer: balancer.id(),
            port: https(),
            certificate: Some(certificate.clone()),
            action: forward,
        };
        let https = stack.try_add(name("https"), https)?;
        return Ok((balancer, https));
    }
    Ok((balancer, http))
}

/// The resources of a service that others refer to.
struct Added {
    group: Handle<AutoscalingGroup>,
    target_group: Handle<TargetGroup>,
}

struct ServiceBuilder<'a> {
    config: &'a Config,
    name: &'a ResourceName,
    service: &'a Service,
    network: &'a Network,
    groups: &'a Groups,
    key: &'a Option<Input<KeyPairId>>,
}

impl ServiceBuilder<'_> {
    fn add_to(&self, stack: &mut Stack) -> Result<Added, StackError> {
        let service = self.service;
        let (profile, workload) = add_workload(self.config, stack, self.name, service)?;
        let template = LaunchTemplate {
            instance_type: service.instance.clone(),
            groups: vec![self.groups.services[self.name].id()],
            profile: Some(profile.id()),
            key: self.key.clone(),
            workload,
        };
        let template = stack.try_add(self.name.clone(), template)?;
        let target_group = TargetGroup {
            vpc: self.network.vpc.id(),
            port: service.port,
            health_check: health_check(&service.health),
            deregistration_delay: service.deregistration_delay,
        };
        let target_group = stack.try_add(self.name.clone(), target_group)?;
        let group = AutoscalingGroup {
            template: template.id(),
            subnets: self
                .network
                .private
                .iter()
                .map(|tier| tier.subnet.id())
                .collect(),
            min: service.scale.min,
            desired: service.scale.desired,
            max: service.scale.max,
            target_groups: vec![target_group.id()],
            // The grace period is longer than the deadline of a deploy: the
            // deploy should diagnose this instance, not observe its replacement.
            health_check_grace_period: service.health.deadline + AFTER_DEADLINE,
        };
        let group = stack.try_add(self.name.clone(), group)?;
        Ok(Added {
            group,
            target_group,
        })
    }

    fn add_policies(
        &self,
        stack: &mut Stack,
        added: &Added,
        balancer: &Handle<LoadBalancer>,
    ) -> Result<(), NameTaken> {
        let scale = &self.service.scale;
        // The range of the key keeps a percentage within a byte.
        let cpu = scale
            .cpu
            .map(|percent| Metric::Cpu(u8::try_from(percent).unwrap_or(100)));
        let requests = scale.requests.map(|requests| Metric::RequestsPerTarget {
            requests,
            balancer: balancer.id(),
            target_group: added.target_group.id(),
        });
        for (word, metric) in [("cpu", cpu), ("requests", requests)] {
            if let Some(metric) = metric {
                let policy = ScalingPolicy {
                    group: added.group.id(),
                    metric,
                };
                stack.try_add(name(&format!("{}-{word}", self.name)), policy)?;
            }
        }
        Ok(())
    }
}

impl Config {
    /// The request to a builder: the image's source with paths below [`Config::directory`].
    pub fn build_request(&self, image: &ImageSource) -> BuildRequest {
        // Joined by component, so that `.` does not appear in messages.
        let context = self.directory.join(&image.context).components().collect();
        BuildRequest {
            context,
            dockerfile: image.dockerfile.clone(),
            args: image.args.clone(),
            target: image.target.clone(),
            platform: image.platform.clone().unwrap_or_else(Platform::host),
            config_file: self.file.clone(),
            credentials: BTreeMap::new(),
        }
    }
}

fn health_check(health: &Health) -> HealthCheck {
    HealthCheck {
        path: health.path.clone(),
        interval: health.interval,
        timeout: health.timeout,
        healthy_threshold: health.healthy_threshold,
        unhealthy_threshold: health.unhealthy_threshold,
        matcher: health.matcher.clone(),
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text)
        .expect("a literal name, or a service's name of at most 30 characters with a word")
}
