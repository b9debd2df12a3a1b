//! A launch template on AWS: every change is a version, which contains its machine image by id.
//!
//! Groups name their version explicitly, never `$Latest`: instances change only when a refresh is
//! started, by [`ComputeProvider::roll`](crate::ComputeProvider::roll), and a failed refresh can be
//! rolled back.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    LaunchTemplate as Found, LaunchTemplateBlockDeviceMappingRequest,
    LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateTagSpecificationRequest,
    LaunchTemplateVersion, RequestLaunchTemplateData, ResourceType, TagSpecification, VolumeType,
};
use futures::future::try_join_all;
use landfall_aws::ec2::has_none;
use landfall_aws::{
    Aws, Owner, all_known, during, if_there, input, known, lacks, short_name, token,
};
use landfall_provider::{
    Error, ErrorKind, Key, LaunchTemplateId, Live, Probe, Provider, Result, StackName,
};

use super::image::image_for;
use super::instance::{HOP_LIMIT, ROOT_DEVICE, volume_size};
use super::{as_text, ec2, ec2_tags, of_stack, owner_of, releases, user_data, workload_of};
use crate::{LaunchTemplate, LaunchTemplateOutput};

/// The longest name: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html>
const LONGEST: usize = 128;

#[async_trait]
impl Provider<LaunchTemplate> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<LaunchTemplate>>> {
        if has_none(self, stack, "lt-").await? {
            return Ok(Vec::new());
        }
        let mut pages = ec2(self)
            .describe_launch_templates()
            .filters(of_stack(stack))
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(during("ec2:DescribeLaunchTemplates"))?;
            found.extend(page.launch_templates().iter().cloned());
        }
        let live = found.iter().filter_map(|template| {
            let owner = owner_of(template.tags())?;
            let id = LaunchTemplateId::from(template.launch_template_id()?);
            Some(async move {
                let newest = newest(self, &id).await?;
                Ok(newest.map(|version| Live {
                    spec: spec(&version),
                    name: owner.name,
                    state: Probe::Usable(output(template)),
                    id,
                }))
            })
        });
        Ok(try_join_all(live).await?.into_iter().flatten().collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &LaunchTemplate,
    ) -> Result<LaunchTemplateId> {
        let owner = Owner::new(stack, &key.name);
        let name = short_name(LONGEST, stack, key, "");
        let created = ec2(self)
            .create_launch_template()
            .launch_template_name(&name)
            .set_version_description(releases::description(self))
            .launch_template_data(data(self, &owner, desired).await?)
            .tag_specifications(
                TagSpecification::builder()
                    .resource_type(ResourceType::LaunchTemplate)
                    .set_tags(Some(ec2_tags(&owner)))
                    .build(),
            )
            .send()
            .await
            .map_err(during("ec2:CreateLaunchTemplate"));
        match created {
            Ok(created) => {
                let template = created.launch_template();
                let id = template.and_then(|template| template.launch_template_id());
                let id = id.ok_or_else(|| lacks("ec2:CreateLaunchTemplate", "an id"))?;
                let id = LaunchTemplateId::from(id);
                self.seen::<LaunchTemplate>(
                    &id,
                    Probe::Usable(LaunchTemplateOutput { version: 1 }),
                );
                Ok(id)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                adopt(self, &name, owner, desired).await
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, live: &Live<LaunchTemplate>, desired: &LaunchTemplate) -> Result<()> {
        let id = live.id.as_ref();
        let template = one(self, &live.id).await?;
        let template = template.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format_args!("{id} is not there any more"),
            )
        })?;
        let owner = owner_of(template.tags())
            .ok_or_else(|| lacks("ec2:DescribeLaunchTemplates", "the tags of its owner"))?;
        // The token includes the present version: a change back to an earlier spec is a new version
        // too.
        let version = match &live.state {
            Probe::Usable(output) => output.version,
            _ => output(&template).version,
        };
        let wanted = as_text(desired)?;
        // AWS refuses a token that is repeated with other parameters.
        let description = releases::description(self);
        let words = description.clone().unwrap_or_default();
        let ec2 = ec2(self);
        let made = ec2
            .create_launch_template_version()
            .launch_template_id(id)
            .launch_template_data(data(self, &owner, desired).await?)
            .set_version_description(description)
            .client_token(token([id, &version.to_string(), &wanted, &words]))
            .send()
            .await
            .map_err(during("ec2:CreateLaunchTemplateVersion"))?;
        let number = made
            .launch_template_version()
            .and_then(LaunchTemplateVersion::version_number)
            .ok_or_else(|| lacks("ec2:CreateLaunchTemplateVersion", "a number"))?;
        // For people who launch from it; groups name their version explicitly.
        ec2.modify_launch_template()
            .launch_template_id(id)
            .default_version(number.to_string())
            .send()
            .await
            .map_err(during("ec2:ModifyLaunchTemplate"))?;
        if let Ok(version) = u32::try_from(number) {
            let output = LaunchTemplateOutput { version };
            self.seen::<LaunchTemplate>(&live.id, Probe::Usable(output));
        }
        Ok(())
    }

    async fn probe(&self, id: &LaunchTemplateId) -> Result<Probe<LaunchTemplateOutput>> {
        match self.last_seen::<LaunchTemplate>(id) {
            Some(state) => Ok(state),
            None => now(self, id).await,
        }
    }

    async fn delete(&self, live: &Live<LaunchTemplate>) -> Result<()> {
        let deleted = ec2(self)
            .delete_launch_template()
            .launch_template_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteLaunchTemplate"));
        if_there(deleted)?;
        self.seen::<LaunchTemplate>(&live.id, Probe::Absent);
        Ok(())
    }
}

async fn now(aws: &Aws, id: &LaunchTemplateId) -> Result<Probe<LaunchTemplateOutput>> {
    let found = one(aws, id).await?;
    Ok(found.map_or(Probe::Absent, |template| Probe::Usable(output(&template))))
}

/// The template with this id.
pub(super) async fn one(aws: &Aws, id: &LaunchTemplateId) -> Result<Option<Found>> {
    let found = ec2(aws)
        .describe_launch_templates()
        .launch_template_ids(id.as_ref())
        .send()
        .await
        .map_err(during("ec2:DescribeLaunchTemplates"));
    Ok(if_there(found)?.and_then(|found| found.launch_templates().first().cloned()))
}

/// The output of a template.
pub(super) fn output(template: &Found) -> LaunchTemplateOutput {
    let newest = template.latest_version_number().unwrap_or_default();
    LaunchTemplateOutput {
        version: u32::try_from(newest).unwrap_or_default(),
    }
}

/// The existing template of this name, left by an interrupted run. It gets the desired spec if it
/// has another.
async fn adopt(
    aws: &Aws,
    name: &str,
    owner: Owner,
    desired: &LaunchTemplate,
) -> Result<LaunchTemplateId> {
    let found = ec2(aws)
        .describe_launch_templates()
        .launch_template_names(name)
        .send()
        .await
        .map_err(during("ec2:DescribeLaunchTemplates"))?;
    let template = found.launch_templates().first();
    let id = template
        .and_then(|template| template.launch_template_id())
        .map(LaunchTemplateId::from)
        .ok_or_else(|| lacks("ec2:DescribeLaunchTemplates", "an id"))?;
    if template
        .and_then(|template| owner_of(template.tags()))
        .as_ref()
        != Some(&owner)
    {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format_args!("the launch template {name} exists, and does not belong to this stack"),
        )
        .hint("rename it, or give the stack another name"));
    }
    let live = newest(aws, &id).await?.map(|version| Live {
        id: id.clone(),
        name: owner.name,
        spec: spec(&version),
        state: Probe::Usable(LaunchTemplateOutput {
            version: number(&version),
        }),
    });
    if let Some(live) = live.filter(|live| live.spec != *desired) {
        aws.update(&live, desired).await?;
    }
    Ok(id)
}

/// The newest version of a template.
async fn newest(aws: &Aws, id: &LaunchTemplateId) -> Result<Option<LaunchTemplateVersion>> {
    let found = ec2(aws)
        .describe_launch_template_versions()
        .launch_template_id(id.as_ref())
        .versions("$Latest")
        .send()
        .await
        .map_err(during("ec2:DescribeLaunchTemplateVersions"));
    Ok(if_there(found)?.and_then(|found| found.launch_template_versions().first().cloned()))
}

/// A version's number.
pub(super) fn number(version: &LaunchTemplateVersion) -> u32 {
    let number = version.version_number().unwrap_or_default();
    u32::try_from(number).unwrap_or_default()
}

/// The spec of a version. A version that was made by hand differs from every desired spec.
pub(super) fn spec(version: &LaunchTemplateVersion) -> LaunchTemplate {
    let data = version.launch_template_data();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let profile = data
        .and_then(|data| data.iam_instance_profile())
        .and_then(|profile| profile.name());
    LaunchTemplate {
        instance_type: text(data.and_then(|data| Some(data.instance_type()?.as_str()))),
        groups: data
            .map(|data| data.security_group_ids())
            .unwrap_or_default()
            .iter()
            .map(input)
            .collect(),
        profile: profile.map(input),
        key: data.and_then(|data| data.key_name()).map(input),
        workload: workload_of(data.and_then(|data| data.user_data())),
    }
}

/// A version's content. Secure by default: tokens for the metadata service, an encrypted disk;
/// instances get all tags of their template.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RequestLaunchTemplateData.html>
async fn data(
    aws: &Aws,
    owner: &Owner,
    desired: &LaunchTemplate,
) -> Result<RequestLaunchTemplateData> {
    let disk = LaunchTemplateEbsBlockDeviceRequest::builder()
        .encrypted(true)
        .volume_type(VolumeType::Gp3)
        .volume_size(volume_size(Some(&desired.workload)))
        .delete_on_termination(true)
        .build();
    let tagged = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ]
    .map(|kind| {
        LaunchTemplateTagSpecificationRequest::builder()
            .resource_type(kind)
            .set_tags(Some(ec2_tags(owner)))
            .build()
    });
    let profile = desired
        .profile
        .as_ref()
        .map(known)
        .transpose()?
        .map(|name| {
            LaunchTemplateIamInstanceProfileSpecificationRequest::builder()
                .name(name)
                .build()
        });
    Ok(RequestLaunchTemplateData::builder()
        .image_id(image_for(aws, &desired.instance_type).await?)
        .instance_type(desired.instance_type.as_str().into())
        .set_security_group_ids(Some(all_known(&desired.groups)?))
        .set_key_name(
            desired
                .key
                .as_ref()
                .map(known)
                .transpose()?
                .map(str::to_owned),
        )
        .set_iam_instance_profile(profile)
        .metadata_options(
            LaunchTemplateInstanceMetadataOptionsRequest::builder()
                .http_tokens(LaunchTemplateHttpTokensState::Required)
                .http_put_response_hop_limit(HOP_LIMIT)
                .build(),
        )
        .block_device_mappings(
            LaunchTemplateBlockDeviceMappingRequest::builder()
                .device_name(ROOT_DEVICE)
                .ebs(disk)
                .build(),
        )
        .set_tag_specifications(Some(tagged.to_vec()))
        .user_data(user_data(aws, &desired.workload)?)
        .build())
}
