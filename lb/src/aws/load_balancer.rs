//! A load balancer on AWS.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    self, LoadBalancerAttribute, LoadBalancerStateEnum, LoadBalancerTypeEnum,
};
use landfall_aws::{
    Aws, Owner, all_known, created_or_found, during, if_there, input, known, lacks, until_visible,
};
use landfall_provider::{ErrorKind, Key, Live, LoadBalancerId, Probe, Provider, Result, StackName};

use super::inventory::survey;
use super::{Attributes, PROTECTED, balancer_name, client, tags};
use crate::{LoadBalancer, LoadBalancerOutput};

// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#load-balancer-attributes>
const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
const PROTECTION: &str = "deletion_protection.enabled";
const DROP_INVALID: &str = "routing.http.drop_invalid_header_fields.enabled";
const DESYNC: &str = "routing.http.desync_mitigation_mode";

#[async_trait]
impl Provider<LoadBalancer> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<LoadBalancer>>> {
        let survey = survey(self, stack).await?;
        let found = survey.balancers.iter().filter_map(|own| {
            let arn = own.it.load_balancer_arn()?;
            Some(Live {
                id: LoadBalancerId::from(arn),
                name: own.name.clone(),
                spec: spec(&own.it, survey.attributes.get(arn)?),
                state: state(&own.it),
            })
        });
        Ok(found.collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &LoadBalancer,
    ) -> Result<LoadBalancerId> {
        let name = balancer_name(stack, key, known(&desired.vpc)?);
        let created = client(self)
            .create_load_balancer()
            .name(&name)
            .r#type(LoadBalancerTypeEnum::Application)
            .set_subnets(Some(all_known(&desired.subnets)?))
            .set_security_groups(Some(all_known(&desired.groups)?))
            .set_tags(Some(tags(&Owner::new(stack, &key.name))))
            .send()
            .await
            .map_err(during("elasticloadbalancing:CreateLoadBalancer"))
            .map_err(until_visible)
            .map(|answer| answer.load_balancers.unwrap_or_default());
        let found = async {
            let asked = client(self).describe_load_balancers().names(&name);
            Ok(described(asked.send().await.map_err(during(DESCRIBE)))?.map(|it| vec![it]))
        };
        let made = created_or_found(created, found).await?.into_iter().next();
        let (arn, host) = made
            .and_then(|made| Some((made.load_balancer_arn?, made.dns_name?)))
            .ok_or_else(|| {
                lacks(
                    "elasticloadbalancing:CreateLoadBalancer",
                    "an ARN and a name",
                )
            })?;
        self.note(&arn, Host(host));
        set_attributes(self, &arn, desired).await?;
        Ok(LoadBalancerId::from(arn))
    }

    async fn update(&self, live: &Live<LoadBalancer>, desired: &LoadBalancer) -> Result<()> {
        let arn = live.id.as_ref();
        if sorted(&live.spec.subnets) != sorted(&desired.subnets) {
            client(self)
                .set_subnets()
                .load_balancer_arn(arn)
                .set_subnets(Some(all_known(&desired.subnets)?))
                .send()
                .await
                .map_err(during("elasticloadbalancing:SetSubnets"))?;
        }
        if sorted(&live.spec.groups) != sorted(&desired.groups) {
            client(self)
                .set_security_groups()
                .load_balancer_arn(arn)
                .set_security_groups(Some(all_known(&desired.groups)?))
                .send()
                .await
                .map_err(during("elasticloadbalancing:SetSecurityGroups"))?;
        }
        let attributes = |spec: &LoadBalancer| (spec.idle_timeout, spec.protected);
        if attributes(&live.spec) != attributes(desired) {
            set_attributes(self, arn, desired).await?;
        }
        Ok(())
    }

    async fn probe(&self, id: &LoadBalancerId) -> Result<Probe<LoadBalancerOutput>> {
        if let Some(state) = self.first_look::<LoadBalancer>(id) {
            return Ok(state);
        }
        Ok(by_arn(self, id.as_ref())
            .await?
            .map_or(Probe::Absent, |balancer| state(&balancer)))
    }

    /// This service deletes it at once; the balancer's network interfaces stay for a while, and the
    /// deletion of the subnets and security groups that they use waits for them.
    async fn delete(&self, live: &Live<LoadBalancer>) -> Result<()> {
        // AWS deletes a nonexistent balancer without an error.
        client(self)
            .delete_load_balancer()
            .load_balancer_arn(live.id.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DeleteLoadBalancer"))
            .map_err(|error| match error.kind() {
                ErrorKind::Denied if live.spec.protected => error.hint(PROTECTED),
                _ => error,
            })?;
        self.seen::<LoadBalancer>(&live.id, Probe::Absent);
        Ok(())
    }
}

const DESCRIBE: &str = "elasticloadbalancing:DescribeLoadBalancers";

/// The DNS name of a balancer, assigned at creation; it never changes.
struct Host(String);

/// The DNS name of the balancer with this ARN, if there is one.
pub(super) async fn host(aws: &Aws, arn: &str) -> Result<Option<String>> {
    let host = match aws.take_note(arn) {
        Some(Host(host)) => Some(host),
        None => by_arn(aws, arn)
            .await?
            .and_then(|balancer| balancer.dns_name),
    };
    if let Some(host) = &host {
        aws.note(arn, Host(host.clone()));
    }
    Ok(host)
}

/// The balancer with this ARN, if there is one.
async fn by_arn(aws: &Aws, arn: &str) -> Result<Option<types::LoadBalancer>> {
    let asked = client(aws)
        .describe_load_balancers()
        .load_balancer_arns(arn);
    described(asked.send().await.map_err(during(DESCRIBE)))
}

type Described =
    aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::DescribeLoadBalancersOutput;

fn described(answer: Result<Described>) -> Result<Option<types::LoadBalancer>> {
    let balancers = if_there(answer)?.and_then(|answer| answer.load_balancers);
    Ok(balancers.unwrap_or_default().into_iter().next())
}

fn state(balancer: &types::LoadBalancer) -> Probe<LoadBalancerOutput> {
    let output = || LoadBalancerOutput {
        dns_name: balancer.dns_name().unwrap_or_default().to_owned(),
    };
    let reason = balancer
        .state()
        .and_then(|state| state.reason())
        .unwrap_or_default();
    match balancer.state().and_then(|state| state.code()) {
        // Impaired: active, but without the resources to scale.
        Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired) => {
            Probe::Usable(output())
        }
        // The SDK's waiter does not handle this state and would continue to poll.
        Some(LoadBalancerStateEnum::Failed) => {
            Probe::Failed(format!("AWS could not set it up: {reason}"))
        }
        _ => Probe::Pending("provisioning".to_owned()),
    }
}

fn spec(balancer: &types::LoadBalancer, attributes: &Attributes) -> LoadBalancer {
    let is_on = |name: &str| attributes.get(name).is_some_and(|value| value == "true");
    let idle_timeout = attributes
        .get(IDLE_TIMEOUT)
        .and_then(|value| value.parse().ok());
    let zones = balancer.availability_zones().iter();
    LoadBalancer {
        vpc: input(balancer.vpc_id().unwrap_or_default()),
        subnets: zones
            .filter_map(|zone| Some(input(zone.subnet_id()?)))
            .collect(),
        groups: balancer.security_groups().iter().map(input).collect(),
        // A run that was interrupted between creating the balancer and setting its attributes left
        // them unset: no desired spec has this value, so the next run sets them all.
        idle_timeout: idle_timeout.filter(|_| is_on(DROP_INVALID)).unwrap_or(0),
        protected: is_on(PROTECTION),
    }
}

async fn set_attributes(aws: &Aws, arn: &str, desired: &LoadBalancer) -> Result<()> {
    let attributes = [
        (IDLE_TIMEOUT, desired.idle_timeout.to_string()),
        (PROTECTION, desired.protected.to_string()),
        (DROP_INVALID, "true".to_owned()),
        (DESYNC, "defensive".to_owned()),
    ];
    let attributes = attributes.map(|(key, value)| {
        LoadBalancerAttribute::builder()
            .key(key)
            .value(value)
            .build()
    });
    client(aws)
        .modify_load_balancer_attributes()
        .load_balancer_arn(arn)
        .set_attributes(Some(attributes.into()))
        .send()
        .await
        .map_err(during("elasticloadbalancing:ModifyLoadBalancerAttributes"))
        .map_err(until_visible)?;
    Ok(())
}

fn sorted<T: Ord>(list: &[T]) -> Vec<&T> {
    let mut list: Vec<&T> = list.iter().collect();
    list.sort();
    list
}
