//! A target group on AWS.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::operation::describe_target_groups::DescribeTargetGroupsOutput;
use aws_sdk_elasticloadbalancingv2::types::{
    self, Matcher, ProtocolEnum, TargetGroupAttribute, TargetTypeEnum,
};
use landfall_aws::{
    Aws, Owner, created_or_found, during, if_there, input, known, lacks, short_name, unless,
    until_visible,
};
use landfall_provider::{ErrorKind, Key, Live, Probe, Provider, Result, StackName, TargetGroupId};

use super::inventory::survey;
use super::{Attributes, LONGEST, client, count, number, port, tags};
use crate::{HealthCheck, TargetGroup};

// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>
const DELAY: &str = "deregistration_delay.timeout_seconds";

#[async_trait]
impl Provider<TargetGroup> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<TargetGroup>>> {
        let survey = survey(self, stack).await?;
        let found = survey.target_groups.iter().filter_map(|own| {
            let arn = own.it.target_group_arn()?;
            Some(Live {
                id: TargetGroupId::from(arn),
                name: own.name.clone(),
                spec: spec(&own.it, survey.attributes.get(arn)?)?,
                state: Probe::Usable(()),
            })
        });
        Ok(found.collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &TargetGroup,
    ) -> Result<TargetGroupId> {
        let vpc = known(&desired.vpc)?;
        let name = short_name(LONGEST, stack, key, &format!("{vpc} {}", desired.port));
        let check = &desired.health_check;
        let created = client(self)
            .create_target_group()
            .name(&name)
            .protocol(ProtocolEnum::Http)
            .port(desired.port.get().into())
            .vpc_id(vpc)
            .target_type(TargetTypeEnum::Instance)
            .health_check_enabled(true)
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_path(&check.path)
            .health_check_interval_seconds(number(check.interval))
            .health_check_timeout_seconds(number(check.timeout))
            .healthy_threshold_count(number(check.healthy_threshold))
            .unhealthy_threshold_count(number(check.unhealthy_threshold))
            .matcher(Matcher::builder().http_code(&check.matcher).build())
            .set_tags(Some(tags(&Owner::new(stack, &key.name))))
            .send()
            .await
            .map_err(during("elasticloadbalancing:CreateTargetGroup"))
            .map_err(until_visible)
            .map(|answer| answer.target_groups.unwrap_or_default());
        let found = async {
            let asked = client(self).describe_target_groups().names(&name);
            Ok(described(asked.send().await.map_err(during(DESCRIBE)))?.map(|it| vec![it]))
        };
        let arn = created_or_found(created, found)
            .await?
            .into_iter()
            .find_map(|group| group.target_group_arn)
            .ok_or_else(|| lacks("elasticloadbalancing:CreateTargetGroup", "an ARN"))?;
        set_delay(self, &arn, desired).await?;
        let id = TargetGroupId::from(arn);
        self.seen::<TargetGroup>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, live: &Live<TargetGroup>, desired: &TargetGroup) -> Result<()> {
        let arn = live.id.as_ref();
        if live.spec.health_check != desired.health_check {
            let check = &desired.health_check;
            client(self)
                .modify_target_group()
                .target_group_arn(arn)
                .health_check_enabled(true)
                .health_check_protocol(ProtocolEnum::Http)
                .health_check_path(&check.path)
                .health_check_interval_seconds(number(check.interval))
                .health_check_timeout_seconds(number(check.timeout))
                .healthy_threshold_count(number(check.healthy_threshold))
                .unhealthy_threshold_count(number(check.unhealthy_threshold))
                .matcher(Matcher::builder().http_code(&check.matcher).build())
                .send()
                .await
                .map_err(during("elasticloadbalancing:ModifyTargetGroup"))?;
        }
        if live.spec.deregistration_delay != desired.deregistration_delay {
            set_delay(self, arn, desired).await?;
        }
        Ok(())
    }

    async fn probe(&self, id: &TargetGroupId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<TargetGroup>(id) {
            return Ok(state);
        }
        let asked = client(self)
            .describe_target_groups()
            .target_group_arns(id.to_string());
        let found = described(asked.send().await.map_err(during(DESCRIBE)))?;
        Ok(found.map_or(Probe::Absent, |_| Probe::Usable(())))
    }

    async fn delete(&self, live: &Live<TargetGroup>) -> Result<()> {
        let deleted = client(self)
            .delete_target_group()
            .target_group_arn(live.id.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DeleteTargetGroup"));
        unless(ErrorKind::NotFound, deleted)?;
        self.seen::<TargetGroup>(&live.id, Probe::Absent);
        Ok(())
    }
}

const DESCRIBE: &str = "elasticloadbalancing:DescribeTargetGroups";

fn described(answer: Result<DescribeTargetGroupsOutput>) -> Result<Option<types::TargetGroup>> {
    let groups = if_there(answer)?.and_then(|answer| answer.target_groups);
    Ok(groups.unwrap_or_default().into_iter().next())
}

/// `None` for a group without a port, such as one for functions: no stack creates those.
fn spec(group: &types::TargetGroup, attributes: &Attributes) -> Option<TargetGroup> {
    let matcher = group.matcher().and_then(Matcher::http_code);
    Some(TargetGroup {
        vpc: input(group.vpc_id().unwrap_or_default()),
        port: port(group.port())?,
        health_check: HealthCheck {
            path: group.health_check_path().unwrap_or_default().to_owned(),
            interval: count(group.health_check_interval_seconds()),
            timeout: count(group.health_check_timeout_seconds()),
            healthy_threshold: count(group.healthy_threshold_count()),
            unhealthy_threshold: count(group.unhealthy_threshold_count()),
            matcher: matcher.unwrap_or_default().to_owned(),
        },
        // A run that was interrupted before setting it left AWS's default, which either differs or
        // is the desired value.
        deregistration_delay: attributes
            .get(DELAY)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default(),
    })
}

async fn set_delay(aws: &Aws, arn: &str, desired: &TargetGroup) -> Result<()> {
    let delay = TargetGroupAttribute::builder()
        .key(DELAY)
        .value(desired.deregistration_delay.to_string())
        .build();
    client(aws)
        .modify_target_group_attributes()
        .target_group_arn(arn)
        .attributes(delay)
        .send()
        .await
        .map_err(during("elasticloadbalancing:ModifyTargetGroupAttributes"))
        .map_err(until_visible)?;
    Ok(())
}
