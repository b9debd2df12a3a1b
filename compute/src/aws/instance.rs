//! A single instance on AWS, with its address.
//!
//! Instances of groups have the same tags, and one more from their group.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    Address, BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState,
    IamInstanceProfileSpecification, Instance as Found, InstanceAttributeName,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceStateName,
    ResourceType, Tag, TagSpecification, VolumeType,
};
use futures::future::try_join_all;
use landfall_aws::ec2::{filter, has_none, of_stack};
use landfall_aws::{Aws, Owner, all_known, during, if_there, input, known, lacks, until_visible};
use landfall_provider::{
    AllocationId, Change, Error, ErrorKind, Input, InstanceId, InstanceProfileId, Key, Left, Live,
    Probe, Provider, Resource as _, Result, StackName,
};

use super::image::image_for;
use super::{ec2, ec2_tags, of_owner, owner_of, tag, user_data, workload_of};
use crate::{Instance, InstanceOutput, Workload};

/// The root device of Amazon Linux.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";
/// The minimum size of the disk in GiB: the system takes less than 3, images and their containers
/// use the rest.
const ROOM: i32 = 16;
/// The disk space in GiB in addition to the container's limit.
const ROOM_BESIDE_DISK: u64 = 8;

/// The size of the root volume in GiB, with space for the container's disk limit.
pub(super) fn volume_size(workload: Option<&Workload>) -> i32 {
    let disk = workload.and_then(|workload| workload.limits.disk);
    let wanted = disk.map_or(0, |disk| disk.bytes().div_ceil(1 << 30) + ROOM_BESIDE_DISK);
    i32::try_from(wanted).unwrap_or(i32::MAX).max(ROOM)
}
/// The metadata service answers only the instance itself: the instance logs in to the registry and
/// reads the secrets, and the container needs no access.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-IMDS-new-instances.html>
pub(super) const HOP_LIMIT: i32 = 1;
/// The tag that AWS gives the instances of a group.
pub(super) const GROUP: &str = "aws:autoscaling:groupName";
/// The tag of instances with user data: it saves a call for instances without a workload.
const RUNS: &str = "landfall:runs";

#[async_trait]
impl Provider<Instance> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Instance>>> {
        if has_none(self, stack, "i-").await? {
            self.listed(stack, Instance::KIND, []);
            return Ok(Vec::new());
        }
        let of_stack = [of_stack(stack)];
        let (found, own) = futures::try_join!(
            described(self, &of_stack),
            landfall_aws::ec2::addresses(self, stack)
        )?;
        let found: Vec<Found> = found.into_iter().filter(|one| !is_gone(one)).collect();
        let addresses = addresses(self, &found, &own).await?;
        let live = found.iter().filter_map(|instance| {
            let owner = owner_of(instance.tags())?;
            let id = instance.instance_id()?;
            let address = interface(instance).and_then(|interface| addresses.get(interface));
            let address = address.map(|allocation| input(allocation.as_ref()));
            Some(async move {
                Ok(Live {
                    id: InstanceId::from(id),
                    name: owner.name,
                    spec: spec(instance, address, workload(self, instance).await?),
                    state: state(instance),
                })
            })
        });
        let live: Vec<Live<Instance>> = try_join_all(live).await?;
        let names = live.iter().map(|one| one.name.clone());
        self.listed(stack, Instance::KIND, names);
        Ok(live)
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &Instance) -> Result<InstanceId> {
        let owner = Owner::new(stack, &key.name);
        let there = match self.may_hold(stack, key) {
            true => launched(self, &owner, desired).await?,
            false => None,
        };
        let instance = match there {
            Some(instance) => instance,
            None => run(self, &owner, desired, self.token_for(stack, key)).await?,
        };
        let id = instance
            .instance_id()
            .map(InstanceId::from)
            .ok_or_else(|| lacks("ec2:RunInstances", "an id"))?;
        if let Some(address) = &desired.address {
            let given = give_address(self, &instance, known(address)?).await;
            given.map_err(|error| error.left(Left::Resource(id.to_string())))?;
        }
        // The token stays valid until then: the next attempt may not find the instance by its tags
        // yet, and must not launch another one.
        self.answered(stack, key);
        Ok(id)
    }

    async fn update(&self, live: &Live<Instance>, desired: &Instance) -> Result<()> {
        if live.spec.address != desired.address {
            let found = one(self, &live.id).await?;
            let found = found.ok_or_else(|| gone(&live.id))?;
            match &desired.address {
                Some(address) => give_address(self, &found, known(address)?).await?,
                None => take_address(self, &found).await?,
            }
        }
        if live.spec.profile != desired.profile {
            change_profile(self, &live.id, desired.profile.as_ref()).await?;
        }
        Ok(())
    }

    async fn probe(&self, id: &InstanceId) -> Result<Probe<InstanceOutput>> {
        Ok(one(self, id)
            .await?
            .map_or(Probe::Absent, |found| state(&found)))
    }

    async fn delete(&self, live: &Live<Instance>) -> Result<()> {
        let ended = ec2(self)
            .terminate_instances()
            .instance_ids(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:TerminateInstances"));
        if_there(ended).map(drop)
    }
}

/// The instances that match the filters and are in no group; terminated ones are listed for about
/// an hour.
async fn described(aws: &Aws, filters: &[Filter]) -> Result<Vec<Found>> {
    let all = in_pages(aws, filters).await?;
    Ok(all
        .into_iter()
        .filter(|instance| tag(instance.tags(), GROUP).is_none())
        .collect())
}

/// The instances that match the filters.
pub(super) async fn in_pages(aws: &Aws, filters: &[Filter]) -> Result<Vec<Found>> {
    let mut pages = ec2(aws)
        .describe_instances()
        .set_filters(Some(filters.to_vec()))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("ec2:DescribeInstances"))?;
        for reservation in page.reservations() {
            found.extend(reservation.instances().iter().cloned());
        }
    }
    Ok(found)
}

pub(super) async fn one(aws: &Aws, id: &InstanceId) -> Result<Option<Found>> {
    let found = ec2(aws)
        .describe_instances()
        .instance_ids(id.as_ref())
        .send()
        .await
        .map_err(during("ec2:DescribeInstances"));
    let found = if_there(found)?;
    Ok(found.and_then(|found| found.reservations().first()?.instances().first().cloned()))
}

/// The instance that an earlier attempt has launched and that is starting; its address and profile
/// can still be changed.
async fn launched(aws: &Aws, owner: &Owner, desired: &Instance) -> Result<Option<Found>> {
    for instance in described(aws, &of_owner(owner)).await? {
        if !is_coming_up(&instance) {
            continue;
        }
        let current = Instance {
            address: desired.address.clone(),
            profile: desired.profile.clone(),
            ..spec(&instance, None, workload(aws, &instance).await?)
        };
        if Instance::change(&current, desired) == Change::Keep {
            return Ok(Some(instance));
        }
    }
    Ok(None)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html>
async fn run(aws: &Aws, owner: &Owner, desired: &Instance, token: String) -> Result<Found> {
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(known(&desired.subnet)?)
        .set_groups(Some(all_known(&desired.groups)?))
        // The public address is an Elastic IP, or there is none, whatever the subnet's default is.
        .associate_public_ip_address(false)
        .delete_on_termination(true)
        .build();
    let disk = EbsBlockDevice::builder()
        .encrypted(true)
        .volume_type(VolumeType::Gp3)
        .volume_size(volume_size(desired.workload.as_ref()))
        .delete_on_termination(true)
        .build();
    let tagged = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ]
    .map(|kind| {
        let mut tags = ec2_tags(owner);
        if kind == ResourceType::Instance && desired.workload.is_some() {
            tags.push(Tag::builder().key(RUNS).value("a container").build());
        }
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags))
            .build()
    });
    let profile = desired.profile.as_ref().map(known).transpose()?;
    let user_data = desired
        .workload
        .as_ref()
        .map(|workload| user_data(aws, workload))
        .transpose()?;
    let launched = ec2(aws)
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(token)
        .image_id(image_for(aws, &desired.instance_type).await?)
        .instance_type(desired.instance_type.as_str().into())
        .set_key_name(
            desired
                .key
                .as_ref()
                .map(known)
                .transpose()?
                .map(str::to_owned),
        )
        .set_iam_instance_profile(profile.map(profile_named))
        .network_interfaces(interface)
        .metadata_options(
            InstanceMetadataOptionsRequest::builder()
                .http_tokens(HttpTokensState::Required)
                .http_put_response_hop_limit(HOP_LIMIT)
                .build(),
        )
        .block_device_mappings(
            BlockDeviceMapping::builder()
                .device_name(ROOT_DEVICE)
                .ebs(disk)
                .build(),
        )
        .set_tag_specifications(Some(tagged.to_vec()))
        .set_user_data(user_data)
        .customize()
        // The engine makes the next attempt: after a look, for an emulator without tokens.
        .config_override(Builder::new().retry_config(RetryConfig::disabled()))
        .send()
        .await
        .map_err(during("ec2:RunInstances"))
        .map_err(until_visible)?;
    let first = launched.instances().first().cloned();
    first.ok_or_else(|| lacks("ec2:RunInstances", "an instance"))
}

fn profile_named(name: &str) -> IamInstanceProfileSpecification {
    IamInstanceProfileSpecification::builder()
        .name(name)
        .build()
}

/// Associates the address with the instance's interface, as soon as AWS allows it. The interface's
/// previous address becomes free; an address of another interface is not taken away.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>
async fn give_address(aws: &Aws, instance: &Found, allocation: &str) -> Result<()> {
    let interface =
        interface(instance).ok_or_else(|| lacks("ec2:DescribeInstances", "a network interface"))?;
    ec2(aws)
        .associate_address()
        .allocation_id(allocation)
        .network_interface_id(interface)
        .allow_reassociation(false)
        .send()
        .await
        .map_err(during("ec2:AssociateAddress"))
        .map_err(until_visible)
        .map_err(until_started)?;
    Ok(())
}

/// A starting instance accepts no address for some seconds: "The pending-instance-creation instance
/// to which 'eni-…' is attached is not in a valid state for this operation". This is transient, so
/// the engine retries.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>: `IncorrectInstanceState`,
/// `InvalidInstanceID`
fn until_started(error: Error) -> Error {
    let text = error.to_string();
    let refused = ["(IncorrectInstanceState)", "(InvalidInstanceID)"];
    if refused.iter().any(|code| text.contains(code)) {
        let why = format_args!("the instance does not take its address yet: {text}");
        Error::new(ErrorKind::Unavailable, why)
    } else {
        error
    }
}

async fn take_address(aws: &Aws, instance: &Found) -> Result<()> {
    let ec2 = ec2(aws);
    let interface = interface(instance).unwrap_or_default();
    let of_interface = Filter::builder()
        .name("network-interface-id")
        .values(interface);
    let found = ec2
        .describe_addresses()
        .filters(of_interface.build())
        .send()
        .await
        .map_err(during("ec2:DescribeAddresses"))?;
    for address in found.addresses() {
        let taken = ec2
            .disassociate_address()
            .set_association_id(address.association_id().map(str::to_owned))
            .send()
            .await
            .map_err(during("ec2:DisassociateAddress"));
        if_there(taken)?;
    }
    Ok(())
}

/// The Elastic IPs of these instances, by interface: the stack's own, and others that somebody has
/// associated by hand.
async fn addresses(
    aws: &Aws,
    instances: &[Found],
    own: &[Address],
) -> Result<BTreeMap<String, AllocationId>> {
    let pair = |address: &Address| {
        let of = address.network_interface_id()?.to_owned();
        Some((of, AllocationId::from(address.allocation_id()?)))
    };
    let mut addresses: BTreeMap<String, AllocationId> = own.iter().filter_map(pair).collect();
    let unknown: Vec<&str> = instances
        .iter()
        .filter(|instance| instance.public_ip_address().is_some())
        .filter_map(interface)
        .filter(|interface| !addresses.contains_key(*interface))
        .collect();
    if unknown.is_empty() {
        return Ok(addresses);
    }
    // This call has no pages.
    let others = ec2(aws)
        .describe_addresses()
        .filters(filter("network-interface-id", unknown))
        .send()
        .await
        .map_err(during("ec2:DescribeAddresses"))?;
    addresses.extend(others.addresses().iter().filter_map(pair));
    Ok(addresses)
}

/// The instance's one network interface.
fn interface(instance: &Found) -> Option<&str> {
    instance
        .network_interfaces()
        .first()?
        .network_interface_id()
}

async fn change_profile(
    aws: &Aws,
    id: &InstanceId,
    desired: Option<&Input<InstanceProfileId>>,
) -> Result<()> {
    let ec2 = ec2(aws);
    let of_instance = Filter::builder().name("instance-id").values(id.as_ref());
    let found = ec2
        .describe_iam_instance_profile_associations()
        .filters(of_instance.build())
        .send()
        .await
        .map_err(during("ec2:DescribeIamInstanceProfileAssociations"))?;
    let association = found
        .iam_instance_profile_associations()
        .first()
        .and_then(|association| association.association_id());
    match (association, desired) {
        (Some(association), Some(profile)) => {
            ec2.replace_iam_instance_profile_association()
                .association_id(association)
                .iam_instance_profile(profile_named(known(profile)?))
                .send()
                .await
                .map_err(during("ec2:ReplaceIamInstanceProfileAssociation"))
                .map_err(until_visible)?;
        }
        (None, Some(profile)) => {
            ec2.associate_iam_instance_profile()
                .instance_id(id.as_ref())
                .iam_instance_profile(profile_named(known(profile)?))
                .send()
                .await
                .map_err(during("ec2:AssociateIamInstanceProfile"))
                .map_err(until_visible)?;
        }
        (Some(association), None) => {
            ec2.disassociate_iam_instance_profile()
                .association_id(association)
                .send()
                .await
                .map_err(during("ec2:DisassociateIamInstanceProfile"))?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// The workload in its launch parameters.
async fn workload(aws: &Aws, instance: &Found) -> Result<Option<Workload>> {
    let Some(id) = instance.instance_id().filter(|_| runs_container(instance)) else {
        return Ok(None);
    };
    let found = ec2(aws)
        .describe_instance_attribute()
        .instance_id(id)
        .attribute(InstanceAttributeName::UserData)
        .send()
        .await
        .map_err(during("ec2:DescribeInstanceAttribute"));
    let found = if_there(found)?;
    let user_data = found.and_then(|found| Some(found.user_data()?.value()?.to_owned()));
    Ok(Some(workload_of(user_data.as_deref())))
}

fn spec(
    instance: &Found,
    address: Option<Input<AllocationId>>,
    workload: Option<Workload>,
) -> Instance {
    // `arn:aws:iam::123456789012:instance-profile/landfall/eu-central-1/digipay/web/digipay-web-0a1b2c3d`
    let profile = instance
        .iam_instance_profile()
        .and_then(|profile| profile.arn()?.rsplit('/').next());
    Instance {
        subnet: input(instance.subnet_id().unwrap_or_default()),
        groups: instance
            .network_interfaces()
            .iter()
            .flat_map(|interface| interface.groups())
            .filter_map(|group| group.group_id().map(input))
            .collect(),
        instance_type: instance
            .instance_type()
            .map(|one| one.as_str().to_owned())
            .unwrap_or_default(),
        address,
        profile: profile.map(input),
        key: instance.key_name().map(input),
        workload,
    }
}

fn name_of(instance: &Found) -> Option<&InstanceStateName> {
    instance.state().and_then(|state| state.name())
}

fn is_gone(instance: &Found) -> bool {
    name_of(instance) == Some(&InstanceStateName::Terminated)
}

fn is_coming_up(instance: &Found) -> bool {
    matches!(
        name_of(instance),
        Some(InstanceStateName::Pending | InstanceStateName::Running)
    )
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
fn state(instance: &Found) -> Probe<InstanceOutput> {
    match name_of(instance) {
        Some(InstanceStateName::Running) => with_addresses(instance),
        // Somebody stopped it and can start it again: it keeps its id, its disk and its addresses,
        // and stays the same instance.
        Some(InstanceStateName::Stopped) if runs_container(instance) => with_addresses(instance),
        Some(InstanceStateName::Stopping) if runs_container(instance) => {
            Probe::Pending("being stopped".to_owned())
        }
        Some(InstanceStateName::Pending) => Probe::Pending("starting".to_owned()),
        Some(InstanceStateName::ShuttingDown) => Probe::Ending("shutting down".to_owned()),
        Some(InstanceStateName::Terminated) => Probe::Absent,
        Some(InstanceStateName::Stopping | InstanceStateName::Stopped) => {
            Probe::Failed(format!("it was stopped: {}", why_ended(instance)))
        }
        _ => Probe::Pending("its state is not known yet".to_owned()),
    }
}

fn with_addresses(instance: &Found) -> Probe<InstanceOutput> {
    let address = |text: Option<&str>| text.and_then(|text| text.parse::<Ipv4Addr>().ok());
    match address(instance.private_ip_address()) {
        Some(private_address) => Probe::Usable(InstanceOutput {
            private_address,
            public_address: address(instance.public_ip_address()),
        }),
        None => Probe::Pending("it has no address yet".to_owned()),
    }
}

fn runs_container(instance: &Found) -> bool {
    tag(instance.tags(), RUNS).is_some()
}

/// The reason why an instance is not running, in AWS's words.
pub(super) fn why_ended(instance: &Found) -> String {
    instance
        .state_reason()
        .and_then(|reason| reason.message())
        .or(instance.state_transition_reason())
        .filter(|reason| !reason.is_empty())
        .unwrap_or("no reason is given")
        .to_owned()
}

fn gone(id: &InstanceId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("{id} is not there any more"),
    )
}
