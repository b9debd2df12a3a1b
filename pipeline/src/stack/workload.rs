//! The workload of a service's instances: repository, image and permissions.

use std::collections::BTreeSet;

use landfall_compute::{InstanceProfile, SecretReference, Workload};
use landfall_container::{BuildSpec, Image, Repository};
use landfall_provider::{Handle, ResourceName, Stack};

use super::{StackError, no_source};
use crate::config::{Config, Service};

/// Adds the repository, the image and the instance profile of a service, and returns the workload.
pub(crate) fn add_workload(
    config: &Config,
    stack: &mut Stack,
    name: &ResourceName,
    service: &Service,
) -> Result<(Handle<InstanceProfile>, Workload), StackError> {
    let request = config.build_request(&service.image);
    let repository = Repository {
        name: format!("{}/{name}", config.stack),
        keep: service.image.keep,
    };
    let repository = stack.try_add(name.clone(), repository)?;
    let image = Image {
        repository: repository.id(),
        source: no_source(),
        platform: request.platform,
        build_spec: BuildSpec {
            context: request.context,
            dockerfile: request.dockerfile,
            args: request.args,
            target: request.target,
            config_file: request.config_file,
            builder: service.image.builder,
        },
    };
    let image = stack.try_add(name.clone(), image)?;
    let whole: BTreeSet<_> = service
        .secrets
        .values()
        .map(SecretReference::whole)
        .collect();
    let profile = InstanceProfile {
        repositories: vec![repository.id()],
        secrets: whole.into_iter().collect(),
        logs: service.log_group.clone(),
    };
    let profile = stack.try_add(name.clone(), profile)?;
    let workload = Workload {
        image: image.id(),
        port: service.port,
        env: service.env.clone(),
        secrets: service.secrets.clone(),
        logs: service.log_group.clone(),
        limits: service.limits(),
        init: service.init,
    };
    Ok((profile, workload))
}
