//! From a configuration to the stack that it describes: a pure function of the file and the images' identities.

mod custom;
pub(crate) mod routes;
mod single;
mod workload;

use std::collections::BTreeMap;

use landfall_compute::{
    AutoscalingGroup, Instance, InstanceProfile, KeyPair, LaunchTemplate, Metric, ScalingPolicy,
};
use landfall_container::{BuildRequest, ContextHash, Platform, Repository};
use landfall_lb::{Action, HealthCheck, Listener, ListenerRule, LoadBalancer, TargetGroup};
use landfall_network::{
    ElasticIp, Groups, LayoutError, Network, OpenPorts, ServicePort, TwoTier, add_groups,
};
use landfall_provider::{
    Handle, Input, KeyPairId, NameTaken, Port, RepositoryId, ResourceName, SecurityGroupId, Stack,
};

use self::custom::add_custom_rules;
use self::workload::add_workload;
use crate::config::zones;
use crate::config::{Bastion, Config, Diagnostic, Health, ImageSource, Mode, Service};

/// For how many seconds after a deploy has given up an instance may still be unhealthy without being replaced.
pub(crate) const AFTER_DEADLINE: u32 = 30;

/// What every service's image is made from, by service: its [identity](BuildRequest::identity).
pub type Sources = BTreeMap<ResourceName, ContextHash>;

/// Why a configuration is no stack.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The configuration contradicts itself or a rule; [`Config::check`] says the same.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Diagnostic>),
    /// The network cannot be laid out so.
    #[error(transparent)]
    Network(#[from] LayoutError),
    /// Two things would have the same name.
    #[error(transparent)]
    Name(#[from] NameTaken),
    /// Nobody said what a service's image is made from.
    #[error("the identity of image/{0} is not among the sources")]
    Source(ResourceName),
}

/// Puts the stack together.
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
/// assert!(stack.wishes().contains_key(&"autoscaling-group/web".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`StackError`] when the configuration has problems, or `sources` lacks a service.
pub fn stack(config: &Config, sources: &Sources) -> Result<Stack, StackError> {
    let problems = config.check();
    if !problems.is_empty() {
        return Err(StackError::Config(problems));
    }
    build(config, sources)
}

/// The same with stand-ins for what the images are made from, for whoever asks about the network alone.
///
/// # Errors
/// As [`stack`], but for the sources.
pub(crate) fn with_stand_ins(config: &Config) -> Result<Stack, StackError> {
    let problems = config.check();
    if !problems.is_empty() {
        return Err(StackError::Config(problems));
    }
    build(config, &stand_ins(config))
}

/// What the instances of each service may do, by the service's name: as the stack has it, with the repositories at the
/// addresses that they will have in `registry` (a host name). Pure: no image's identity is asked for, and no provider.
///
/// # Errors
/// As [`stack`], but for the sources.
pub fn instance_profiles(
    config: &Config,
    registry: &str,
) -> Result<BTreeMap<ResourceName, InstanceProfile>, StackError> {
    let stack = with_stand_ins(config)?;
    let addressed = |name: &ResourceName| {
        let mut profile: InstanceProfile = stack.get(name)?;
        for id in &mut profile.repositories {
            if let Input::Of(key, _) = id {
                let repository: Repository = stack.get(&key.name)?;
                *id = Input::Known(RepositoryId::from(format!(
                    "{registry}/{}",
                    repository.name
                )));
            }
        }
        Some((name.clone(), profile))
    };
    Ok(config.service.keys().filter_map(addressed).collect())
}

/// An identity of nothing for each image.
pub(crate) fn stand_ins(config: &Config) -> Sources {
    let nothing: ContextHash = "0"
        .repeat(64)
        .parse()
        .expect("64 hexadecimal digits are a hash");
    let services = config.service.keys();
    services
        .map(|name| (name.clone(), nothing.clone()))
        .collect()
}

/// The stack of a configuration that has been checked.
pub(crate) fn build(config: &Config, sources: &Sources) -> Result<Stack, StackError> {
    if config.mode == Mode::Single {
        return single::build(config, sources);
    }
    let mut stack = Stack::new(config.stack.clone());
    let (network, groups) = add_network(config, &mut stack)?;
    let key = add_key_pair(config, &mut stack)?;
    let mut services = BTreeMap::new();
    for (name, service) in &config.service {
        let source = sources
            .get(name)
            .ok_or_else(|| StackError::Source(name.clone()))?;
        let builder = ServiceBuilder {
            config,
            name,
            service,
            network: &network,
            groups: &groups,
            key: &key,
        };
        let added = builder.add_to(&mut stack, source)?;
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
            // It carries connections on, and asks the cloud for nothing.
            profile: None,
            key,
            workload: None,
        };
        stack.try_add(name("bastion"), instance)?;
    }
    Ok(stack)
}

/// The part that needs no image.
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
        zones: zones(&config.region, config.network.zones as usize),
        nat: config.network.nat,
        s3_endpoint: config.network.s3_endpoint,
        open_ports: open_ports.clone(),
    }
    .add_to(stack)?;
    let groups = add_groups(stack, &network.vpc.id(), &open_ports)?;
    add_custom_rules(config, stack, &network, |name| group_id(&groups, name))?;
    Ok((network, groups))
}

/// The security group of this name.
fn group_id(groups: &Groups, name: &ResourceName) -> Option<Input<SecurityGroupId>> {
    let group = match name.as_str() {
        "balancer" => Some(&groups.balancer),
        "bastion" => groups.bastion.as_ref(),
        _ => groups.services.get(name),
    };
    group.map(Handle::id)
}

/// The key pair of whoever may log in, where there is a bastion to log in through.
fn add_key_pair(config: &Config, stack: &mut Stack) -> Result<Option<Input<KeyPairId>>, NameTaken> {
    let bastion = config.network.bastion.as_ref();
    let Some(public_key) = bastion.and_then(|bastion| bastion.public_key.clone()) else {
        return Ok(None);
    };
    let key_pair = stack.try_add(name("operator"), KeyPair { public_key })?;
    Ok(Some(key_pair.id()))
}

/// Adds the balancer and its listeners, and gives the one that serves.
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

/// What a service is made of, as far as others refer to it.
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
    fn add_to(&self, stack: &mut Stack, source: &ContextHash) -> Result<Added, StackError> {
        let service = self.service;
        let (profile, workload) = add_workload(self.config, stack, self.name, service, source)?;
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
            // An instance gets as long to become healthy as a deploy waits for it, and a little longer: the
            // deploy is to tell what ails this instance, not that another one is being started in its place.
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
        // Its range keeps a percentage within a byte.
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
    /// What a builder is asked for: the image's source with all paths put behind [`Config::directory`].
    pub fn build_request(&self, image: &ImageSource) -> BuildRequest {
        // Joined component by component, so that `.` leaves no trace in messages.
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

/// Where a listener with a certificate listens: <https://www.rfc-editor.org/rfc/rfc9110#section-4.2.2>
pub(crate) fn https() -> Port {
    Port::new(443).expect("443 is a port")
}

impl crate::config::LoadBalancer {
    /// The ports that it listens on.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let https = self.certificate.as_ref().map(|_| https());
        std::iter::once(self.port).chain(https).collect()
    }

    /// The name of the listener that serves, and does not only send on.
    pub(crate) fn serving_listener(&self) -> &'static str {
        if self.certificate.is_some() {
            "https"
        } else {
            "http"
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};

    use landfall_provider::Key;

    use super::*;

    fn sources() -> Sources {
        let hash = "0123456789abcdef".repeat(4);
        ["web", "api"]
            .map(|service| (name(service), hash.parse().unwrap()))
            .into()
    }

    /// A stack as one line per resource.
    fn text(stack: &Stack) -> String {
        let mut out = String::new();
        for (key, desired) in stack.resources() {
            writeln!(out, "{key}  {}", desired.spec).unwrap();
        }
        out
    }

    #[test]
    fn the_repositorys_own_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../landfall.toml");
        let mut config = Config::load(Path::new(path)).unwrap();
        // Where the checkout is and what it is built on is not the stack's.
        config.directory = PathBuf::from("/checkout");
        config.file = Some(PathBuf::from("/checkout/landfall.toml"));
        let web = config.service.get_mut(&name("web")).unwrap();
        web.image.platform = Some("linux/amd64".parse().unwrap());
        insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
    }

    #[test]
    fn a_file_that_says_everything() {
        let source = include_str!("../config/every-key.toml");
        let config = Config::parse(source, "/checkout/landfall.toml").unwrap();
        insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
    }

    #[test]
    fn one_instance_and_what_it_stands_in() {
        let source = include_str!("../config/single.toml");
        let mut config = Config::parse(source, "/checkout/landfall.toml").unwrap();
        let web = config.service.get_mut(&name("web")).unwrap();
        web.image.platform = Some("linux/amd64".parse().unwrap());
        insta::assert_snapshot!(text(&stack(&config, &sources()).unwrap()));
    }

    #[test]
    fn every_reference_is_to_something_in_the_stack() {
        for source in [
            include_str!("../config/every-key.toml"),
            include_str!("../config/single.toml"),
            include_str!("../../../landfall.toml"),
        ] {
            let config = Config::parse(source, "landfall.toml").unwrap();
            let stack = stack(&config, &sources()).unwrap();
            for (key, desired) in stack.resources() {
                let there = |need: &Key| stack.resources().contains_key(need);
                assert!(
                    desired.needs.iter().all(there),
                    "{key}: {:?}",
                    desired.needs
                );
            }
        }
    }

    #[test]
    fn what_the_file_may_not_say_cannot_be_said_in_rust_either() {
        let mut config = Config::new(
            "digipay".parse().unwrap(),
            name("web"),
            Service::new(landfall_provider::Port::new(8000).unwrap()),
        );
        config.network.zones = 1;
        config.service.get_mut(&name("web")).unwrap().scale.max = 1;
        let error = stack(&config, &sources()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "service.web.scale.desired: min (1), desired (2) and max (1) have to be in this order\n  \
             hint: what is left out is min = 1, desired = 2, max = 4\n\
             network.zones: a load balancer needs two zones at least\n  \
             hint: zones = 2, or leave the key out; mode = \"single\" does without a load balancer"
        );
    }

    #[test]
    fn a_service_without_a_source_is_named() {
        let config = Config::parse("stack='a'\n[service.web]\nport=1", "landfall.toml").unwrap();
        let error = stack(&config, &Sources::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the identity of image/web is not among the sources"
        );
    }
}
