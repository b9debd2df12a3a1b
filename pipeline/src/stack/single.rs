//! The stack of one instance: a public subnet, an address, and the instance with its container.

use landfall_compute::Instance;
use landfall_network::{ElasticIp, OneSubnet, ServicePort};
use landfall_provider::Stack;

use super::StackError;
use super::custom::add_custom_rules;
use super::workload::add_workload;
use crate::config::{Config, Diagnostic};

/// The stack of a configuration that has been checked and says `mode = "single"`.
pub(crate) fn build(config: &Config) -> Result<Stack, StackError> {
    let missing = || StackError::Config(vec![Diagnostic::new("service", "there is no service")]);
    let (name, service) = config.service.first_key_value().ok_or_else(missing)?;
    let zone = config.zones().into_iter().next();
    let zone = zone.ok_or_else(missing)?;
    let mut stack = Stack::new(config.stack.clone());
    let port = ServicePort {
        name: name.clone(),
        port: service.port,
    };
    let (network, group) = OneSubnet {
        allow: config.single.allow.clone(),
        ..OneSubnet::new(config.network.cidr, zone, port)
    }
    .add_to(&mut stack)?;
    add_custom_rules(config, &mut stack, &network, |of| {
        (of == name).then(|| group.id())
    })?;
    let (profile, workload) = add_workload(config, &mut stack, name, service)?;
    // It is the stack's and not the instance's: it stays when the instance is stopped, or made anew.
    let address = stack.try_add(name.clone(), ElasticIp {})?;
    let instance = Instance {
        subnet: network.public[0].subnet.id(),
        groups: vec![group.id()],
        instance_type: service.instance.clone(),
        address: Some(address.id()),
        profile: Some(profile.id()),
        // Nobody logs in: no port is open for it.
        key: None,
        workload: Some(workload),
    };
    stack.try_add(name.clone(), instance)?;
    Ok(stack)
}
