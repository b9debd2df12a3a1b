//! A scaling policy on AWS: target tracking, by its ARN.
//!
//! Policies have no tags: a stack's policies are found by their names, `landfall/<stack>/<name>`.

use async_trait::async_trait;
use aws_sdk_autoscaling::types::{
    MetricType, PredefinedMetricSpecification, ScalingPolicy as Found, TargetTrackingConfiguration,
};
use landfall_aws::{Aws, during, input, known, lacks, until_visible};
use landfall_provider::{
    Error, ErrorKind, Key, Live, Probe, Provider, ResourceName, Result, ScalingPolicyId, StackName,
};

use super::{autoscaling, autoscaling_group};
use crate::{Metric, ScalingPolicy};

const TYPE: &str = "TargetTrackingScaling";
/// The maximum number of policies on a page.
const PAGE: i32 = 100;

#[async_trait]
impl Provider<ScalingPolicy> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<ScalingPolicy>>> {
        let prefix = policy_name(stack, "");
        let mut pages = autoscaling(self)
            .describe_policies()
            .policy_types(TYPE)
            .max_records(PAGE)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(during("autoscaling:DescribePolicies"))?;
            found.extend(page.scaling_policies().iter().cloned());
        }
        let of_stack = |policy: &Found| {
            let name = policy.policy_name()?.strip_prefix(&prefix)?;
            live(self, ResourceName::new(name).ok()?, policy)
        };
        Ok(found.iter().filter_map(of_stack).collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &ScalingPolicy,
    ) -> Result<ScalingPolicyId> {
        // A put under the same name updates the policy.
        let id = put(self, &policy_name(stack, key.name.as_str()), desired).await?;
        self.seen::<ScalingPolicy>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, live: &Live<ScalingPolicy>, desired: &ScalingPolicy) -> Result<()> {
        let Named { policy, .. } = named(&live.id)?;
        put(self, policy, desired).await.map(drop)
    }

    async fn probe(&self, id: &ScalingPolicyId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<ScalingPolicy>(id) {
            return Ok(state);
        }
        let Named { group, policy } = named(id)?;
        let found = autoscaling(self)
            .describe_policies()
            .auto_scaling_group_name(group)
            .policy_names(policy)
            .send()
            .await
            .map_err(during("autoscaling:DescribePolicies"));
        match found {
            Ok(found) if found.scaling_policies().is_empty() => Ok(Probe::Absent),
            Ok(_) => Ok(Probe::Usable(())),
            // A query for an absent group is a ValidationError.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => {
                match autoscaling_group::group(self, &group.into()).await? {
                    None => Ok(Probe::Absent),
                    Some(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, live: &Live<ScalingPolicy>) -> Result<()> {
        let Named { group, policy } = named(&live.id)?;
        let deleted = autoscaling(self)
            .delete_policy()
            .auto_scaling_group_name(group)
            .policy_name(policy)
            .send()
            .await
            .map_err(during("autoscaling:DeletePolicy"));
        match deleted {
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => {
                let probe = Provider::<ScalingPolicy>::probe(self, &live.id);
                match probe.await? {
                    Probe::Absent => Ok(()),
                    _ => Err(autoscaling_group::still_there(error)),
                }
            }
            outcome => {
                outcome?;
                self.seen::<ScalingPolicy>(&live.id, Probe::Absent);
                Ok(())
            }
        }
    }
}

fn policy_name(stack: &StackName, name: &str) -> String {
    format!("landfall/{stack}/{name}")
}

/// The parts of a policy's ARN.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    group: &'a str,
    policy: &'a str,
}

/// `arn:aws:autoscaling:<region>:<account>:scalingPolicy:<uuid>:autoScalingGroupName/<group>:policyName/<policy>`
fn named(id: &ScalingPolicyId) -> Result<Named<'_>> {
    let behind = id.as_ref().split_once(":autoScalingGroupName/");
    behind
        .and_then(|(_, names)| names.split_once(":policyName/"))
        .map(|(group, policy)| Named { group, policy })
        .ok_or_else(|| {
            let why = format_args!("{id} is not the ARN of a scaling policy");
            Error::new(ErrorKind::Invalid, why)
        })
}

async fn put(aws: &Aws, name: &str, desired: &ScalingPolicy) -> Result<ScalingPolicyId> {
    let (metric, target, label) = match &desired.metric {
        Metric::Cpu(percent) => (
            MetricType::AsgAverageCpuUtilization,
            f64::from(*percent),
            None,
        ),
        Metric::RequestsPerTarget {
            requests,
            balancer,
            target_group,
        } => (
            MetricType::AlbRequestCountPerTarget,
            f64::from(*requests),
            Some(label(known(balancer)?, known(target_group)?)?),
        ),
    };
    let metric = PredefinedMetricSpecification::builder()
        .predefined_metric_type(metric)
        .set_resource_label(label)
        .build();
    let tracking = TargetTrackingConfiguration::builder()
        .predefined_metric_specification(metric)
        .target_value(target)
        .build();
    let made = autoscaling(aws)
        .put_scaling_policy()
        .auto_scaling_group_name(known(&desired.group)?)
        .policy_name(name)
        .policy_type(TYPE)
        .target_tracking_configuration(tracking)
        .send()
        .await
        .map_err(during("autoscaling:PutScalingPolicy"))
        .map_err(until_visible)?;
    if let Some(arn) = made.policy_arn() {
        return Ok(ScalingPolicyId::from(arn));
    }
    // An emulator returns it only here.
    let found = autoscaling(aws)
        .describe_policies()
        .auto_scaling_group_name(known(&desired.group)?)
        .policy_names(name)
        .send()
        .await
        .map_err(during("autoscaling:DescribePolicies"))?;
    let policy = found.scaling_policies().first();
    policy
        .and_then(Found::policy_arn)
        .map(ScalingPolicyId::from)
        .ok_or_else(|| lacks("autoscaling:PutScalingPolicy", "an ARN"))
}

fn live(aws: &Aws, name: ResourceName, policy: &Found) -> Option<Live<ScalingPolicy>> {
    let tracking = policy.target_tracking_configuration()?;
    Some(Live {
        id: ScalingPolicyId::from(policy.policy_arn()?),
        name,
        spec: ScalingPolicy {
            group: input(policy.auto_scaling_group_name()?),
            metric: metric(aws, tracking)?,
        },
        state: Probe::Usable(()),
    })
}

/// The tracked metric of a policy, in the spec's form. A value outside the spec's range becomes the
/// nearest one inside it, as with a cast of a float.
fn metric(aws: &Aws, tracking: &TargetTrackingConfiguration) -> Option<Metric> {
    let specification = tracking.predefined_metric_specification()?;
    let target = tracking.target_value().unwrap_or_default().round();
    match specification.predefined_metric_type()? {
        MetricType::AsgAverageCpuUtilization => Some(Metric::Cpu(target as u8)),
        MetricType::AlbRequestCountPerTarget => {
            let (balancer, target_group) = arns(aws, specification.resource_label()?)?;
            Some(Metric::RequestsPerTarget {
                requests: target as u32,
                balancer: input(balancer),
                target_group: input(target_group),
            })
        }
        _ => None,
    }
}

/// The label of balancer and target group: `app/<name>/<id>/targetgroup/<name>/<id>`.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PredefinedMetricSpecification.html>
fn label(balancer: &str, target_group: &str) -> Result<String> {
    let last = |arn: &str| arn.rsplit(':').next().map(str::to_owned);
    let balancer = last(balancer).and_then(|it| Some(it.strip_prefix("loadbalancer/")?.to_owned()));
    let target_group = last(target_group).filter(|it| it.starts_with("targetgroup/"));
    match (balancer, target_group) {
        (Some(balancer), Some(target_group)) => Ok(format!("{balancer}/{target_group}")),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            "requests are counted between a load balancer and a target group, and these are not their ARNs",
        )),
    }
}

/// The ARNs of a label; a policy's balancer and target group have its account and region.
fn arns(aws: &Aws, label: &str) -> Option<(String, String)> {
    let (balancer, target_group) = label.split_once("/targetgroup/")?;
    let arn = |resource: String| {
        format!(
            "arn:{}:elasticloadbalancing:{}:{}:{resource}",
            aws.partition(),
            aws.region(),
            aws.identity().account
        )
    };
    Some((
        arn(format!("loadbalancer/{balancer}")),
        arn(format!("targetgroup/{target_group}")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_group_and_policy() {
        let id = ScalingPolicyId::from(
            "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:ac542982-cbeb-4294-891c-a5a941dfa787:\
             autoScalingGroupName/digipay-web-0a1b2c3d:policyName/landfall/digipay/web-cpu",
        );
        let desired = Named {
            group: "digipay-web-0a1b2c3d",
            policy: "landfall/digipay/web-cpu",
        };
        assert_eq!(named(&id).unwrap(), desired);
        assert!(named(&ScalingPolicyId::from("web-cpu")).is_err());
    }

    #[test]
    fn a_label_is_made_of_two_arns_and_of_nothing_else() {
        let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";
        let balancer = format!("{arn}:loadbalancer/app/main/50dc6c495c0c9188");
        let target_group = format!("{arn}:targetgroup/web/943f017f100becff");
        assert_eq!(
            label(&balancer, &target_group).unwrap(),
            "app/main/50dc6c495c0c9188/targetgroup/web/943f017f100becff"
        );
        assert!(label(&target_group, &balancer).is_err());
    }
}
