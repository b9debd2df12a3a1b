//! Access: the instances of a stack, their names, and their SSH host keys.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures::future::try_join_all;
use landfall_compute::{
    AutoscalingGroup, GroupInstance, HostKey, Instance, InstanceOutput, InstanceState,
};
use landfall_provider::{
    AutoscalingGroupId, ErrorKind, InstanceId, Live, Probe, Provider, ResourceName, Result,
    StackName, Zone,
};
use serde::Serialize;

use crate::cloud::Cloud;
use crate::config::for_name;

/// The name of the bastion.
const BASTION: &str = "bastion";

/// The instances of a stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Access {
    /// The stack.
    pub stack: StackName,
    /// The bastion, if there is one.
    pub bastion: Option<Host>,
    /// Whether the stack has `mode = "single"`, without a bastion.
    pub is_single: bool,
    /// The instances of each service: the existing ones, numbered, and then the ended ones.
    pub services: BTreeMap<ResourceName, Vec<Host>>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// Its name: `web/1`, `bastion`; the id of an ended one.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// Its zone, if known.
    pub zone: Option<Zone>,
    /// Its address in the VPC.
    pub private_address: Ipv4Addr,
    /// Its public address.
    pub public_address: Option<Ipv4Addr>,
    /// Its state.
    pub state: InstanceState,
}

impl Host {
    /// Whether it runs or starts.
    pub fn is_there(&self) -> bool {
        matches!(self.state, InstanceState::Pending | InstanceState::Running)
    }
}

/// An unknown instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoSuchHost {
    /// The unknown name.
    pub message: String,
    /// The known names.
    pub hint: String,
}

impl Access {
    /// The instances with a name: `web` is all existing instances of a service, `web/2` is one of them, and
    /// an id is one instance, even if it has ended.
    ///
    /// # Errors
    /// [`NoSuchHost`] for an unknown name, with the nearest known one.
    pub fn find(&self, words: &str) -> std::result::Result<Vec<&Host>, NoSuchHost> {
        let all = || self.bastion.iter().chain(self.services.values().flatten());
        if let Some(host) = all().find(|host| host.name == words || host.id.as_ref() == words) {
            return Ok(vec![host]);
        }
        let (service, number) = match words.split_once('/') {
            Some((service, number)) => (service, Some(number)),
            None => (words, None),
        };
        let hosts = self
            .services
            .iter()
            .find(|(name, _)| name.as_str() == service);
        let Some((_, hosts)) = hosts else {
            let known: Vec<String> = self
                .services
                .keys()
                .map(ToString::to_string)
                .chain(self.bastion.iter().map(|_| BASTION.to_owned()))
                .collect();
            return Err(NoSuchHost {
                message: format!("there is no service `{service}` in {}", self.stack),
                hint: for_name(service, &known),
            });
        };
        let there: Vec<&Host> = hosts.iter().filter(|host| host.is_there()).collect();
        match number {
            None if there.is_empty() && hosts.is_empty() => Err(NoSuchHost {
                message: format!("{service} has no instance now"),
                hint: "`status` shows the instances".to_owned(),
            }),
            // The output of ended instances is still available.
            None if there.is_empty() => Ok(hosts.iter().collect()),
            None => Ok(there),
            Some(_) => Err(NoSuchHost {
                message: format!("there is no instance {words}"),
                hint: match there.len() {
                    0 => format!("{service} has no instance now"),
                    1 => format!("there is {service}/1"),
                    count => format!("there are {service}/1 to {service}/{count}"),
                },
            }),
        }
    }
}

/// The instances of a stack; `None` if the stack does not exist.
///
/// # Errors
/// The first failed request to the provider.
pub async fn access<P: Cloud + ?Sized>(cloud: &P, stack: &StackName) -> Result<Option<Access>> {
    let (groups, singles): (Vec<Live<AutoscalingGroup>>, Vec<Live<Instance>>) = futures::try_join!(
        Provider::<AutoscalingGroup>::list(cloud, stack),
        Provider::<Instance>::list(cloud, stack)
    )?;
    if groups.is_empty() && singles.is_empty() {
        return Ok(None);
    }
    let of_groups = groups.iter().map(|group| instances(cloud, &group.id));
    let of_groups = try_join_all(of_groups).await?;
    let mut services: BTreeMap<ResourceName, Vec<Host>> = groups
        .iter()
        .zip(of_groups)
        .map(|(group, instances)| (group.name.clone(), numbered(&group.name, instances)))
        .collect();
    let mut bastion = None;
    let mut is_single = false;
    for single in singles {
        let host = single_host(&single);
        if single.name.as_str() == BASTION {
            bastion = Some(host);
        } else {
            is_single = true;
            let name = format!("{}/1", single.name);
            services
                .entry(single.name)
                .or_default()
                .push(Host { name, ..host });
        }
    }
    Ok(Some(Access {
        stack: stack.clone(),
        bastion,
        is_single,
        services,
    }))
}

/// The SSH host keys of these instances, by id.
///
/// # Errors
/// The first failed request to the provider. Deleted instances have no keys.
pub async fn host_keys<P: Cloud + ?Sized>(
    cloud: &P,
    hosts: &[&Host],
) -> Result<BTreeMap<InstanceId, Vec<HostKey>>> {
    let keys = hosts.iter().map(|host| async {
        match cloud.host_keys(&host.id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((host.id.clone(), Vec::new())),
            keys => keys.map(|keys| (host.id.clone(), keys)),
        }
    });
    Ok(try_join_all(keys).await?.into_iter().collect())
}

async fn instances<P: Cloud + ?Sized>(
    cloud: &P,
    group: &AutoscalingGroupId,
) -> Result<Vec<GroupInstance>> {
    match cloud.group_instances(group).await {
        // Deleted since the listing.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        answer => answer,
    }
}

/// The name of an existing instance of a service.
pub(crate) fn name_of(
    service: &ResourceName,
    instances: &[GroupInstance],
    id: &InstanceId,
) -> Option<String> {
    let hosts = numbered(service, instances.to_vec());
    let host = hosts.into_iter().find(|host| host.id == *id)?;
    host.is_there().then_some(host.name)
}

/// The numbers of existing instances, from 1, by zone and id, as in `explain`.
fn numbered(service: &ResourceName, mut instances: Vec<GroupInstance>) -> Vec<Host> {
    instances.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    let mut hosts: Vec<Host> = instances
        .into_iter()
        .map(|instance| Host {
            name: instance.id.to_string(),
            id: instance.id,
            zone: Some(instance.zone),
            private_address: instance.private_address,
            public_address: None,
            state: instance.state,
        })
        .collect();
    hosts.sort_by_key(|host| !host.is_there());
    for (index, host) in hosts.iter_mut().enumerate() {
        if host.is_there() {
            host.name = format!("{service}/{}", index + 1);
        }
    }
    hosts
}

fn single_host(single: &Live<Instance>) -> Host {
    let known: Option<&InstanceOutput> = match &single.state {
        Probe::Usable(output) => Some(output),
        _ => None,
    };
    let state = match &single.state {
        Probe::Usable(_) => InstanceState::Running,
        Probe::Pending(_) => InstanceState::Pending,
        Probe::Failed(why) => InstanceState::Failed(why.clone()),
        Probe::Ending(_) | Probe::Absent => InstanceState::Terminating,
    };
    Host {
        name: single.name.to_string(),
        id: single.id.clone(),
        zone: None,
        private_address: known.map_or(Ipv4Addr::UNSPECIFIED, |output| output.private_address),
        public_address: known.and_then(|output| output.public_address),
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, zone: &str, state: InstanceState) -> GroupInstance {
        GroupInstance {
            id: InstanceId::from(id),
            zone: Zone::new(zone).unwrap(),
            private_address: Ipv4Addr::new(10, 0, 0, 4),
            state,
            template_version: 1,
            ended: None,
        }
    }

    fn shop() -> Access {
        let web: ResourceName = "web".parse().unwrap();
        let ended = InstanceState::Failed("exited with code 1".to_owned());
        let instances = vec![
            instance("i-3", "local-1b", InstanceState::Running),
            instance("i-2", "local-1a", ended),
            instance("i-4", "local-1a", InstanceState::Pending),
        ];
        Access {
            stack: "shop".parse().unwrap(),
            bastion: None,
            is_single: false,
            services: BTreeMap::from([(web.clone(), numbered(&web, instances))]),
        }
    }

    fn names(access: &Access, words: &str) -> std::result::Result<Vec<String>, String> {
        let name = |host: &&Host| format!("{} {}", host.name, host.id);
        match access.find(words) {
            Ok(hosts) => Ok(hosts.iter().map(name).collect()),
            Err(error) => Err(format!("{error}; {}", error.hint)),
        }
    }

    #[test]
    fn instances_are_numbered_by_zone_and_id() {
        let shop = shop();
        let all = Ok(vec!["web/1 i-4".to_owned(), "web/2 i-3".to_owned()]);
        assert_eq!(names(&shop, "web"), all);
        assert_eq!(names(&shop, "web/2"), Ok(vec!["web/2 i-3".to_owned()]));
        assert_eq!(names(&shop, "i-2"), Ok(vec!["i-2 i-2".to_owned()]));
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let mut shop = shop();
        for (words, answer) in [
            (
                "wep",
                "there is no service `wep` in shop; did you mean `web`?",
            ),
            (
                "web/3",
                "there is no instance web/3; there are web/1 to web/2",
            ),
            (
                "web/one",
                "there is no instance web/one; there are web/1 to web/2",
            ),
            (
                "bastion",
                "there is no service `bastion` in shop; there are `web`",
            ),
        ] {
            assert_eq!(names(&shop, words), Err(answer.to_owned()));
        }
        shop.services.values_mut().for_each(Vec::clear);
        assert_eq!(
            names(&shop, "web"),
            Err("web has no instance now; `status` shows the instances".to_owned())
        );
    }
}
