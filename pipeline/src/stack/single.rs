//! The stack of one instance: a public subnet, an address, and the instance with its container.

use landfall_compute::Instance;
use landfall_network::{ElasticIp, OneSubnet, ServicePort};
use landfall_provider::Stack;

use super::StackError;
use super::custom::add_custom_rules;
use super::workload::add_workload;
use crate::config::{Config, Diagnostic};

/// The stack of a checked configuration with `mode = "single"`.
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
    // The address belongs to the stack: it stays when the instance is stopped or replaced.
    let address = stack.try_add(name.clone(), ElasticIp {})?;
    let instance = Instance {
        subnet: network.public[0].subnet.id(),
        groups: vec![group.id()],
        instance_type: service.instance.clone(),
        address: Some(address.id()),
        profile: Some(profile.id()),
        // There are no logins: no port is open for them.
        key: None,
        workload: Some(workload),
    };
    stack.try_add(name.clone(), instance)?;
    Ok(stack)
}
