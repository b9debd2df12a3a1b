//! The inventory: every resource of a stack in this service, in as few calls as possible.
//!
//! The service cannot filter by tag. So the inventory lists every resource with the prefix of the
//! stack's names, and the tags, at twenty ARNs a call, show which ones belong to the stack. A rule
//! is found through its listener and a listener through its balancer, so the four kinds share one
//! inventory when they are listed concurrently.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_elasticloadbalancingv2::types::{
    Listener, LoadBalancer, Rule, TagDescription, TargetGroup,
};
use futures::future::try_join_all;
use landfall_aws::{Aws, Owner, Singleflight, during, if_there, short_prefix};
use landfall_provider::{ResourceName, Result, StackName};

use super::{Attributes, LONGEST, balancer_prefix, client};

/// The maximum number of ARNs in a DescribeTags call.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html>
const AT_ONCE: usize = 20;

/// The resources of a stack.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) balancers: Vec<Own<LoadBalancer>>,
    pub(super) target_groups: Vec<Own<TargetGroup>>,
    pub(super) listeners: Vec<Own<Listener>>,
    /// With the listener of each rule.
    pub(super) rules: Vec<(Own<Rule>, String)>,
    /// The attributes of balancers and target groups, by ARN.
    pub(super) attributes: BTreeMap<String, Attributes>,
}

/// A resource with its name in the stack.
#[derive(Debug)]
pub(super) struct Own<T> {
    pub(super) name: ResourceName,
    pub(super) it: T,
}

/// Lists a stack's resources; concurrent callers share the result.
pub(super) async fn survey(aws: &Aws, stack: &StackName) -> Result<Arc<Inventory>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<Inventory>>>::default());
    let (aws, name) = (aws.clone(), stack.clone());
    singleflight
        .join(stack.as_str(), move || async move {
            make(&aws, &name).await.map(Arc::new)
        })
        .await
}

async fn make(aws: &Aws, stack: &StackName) -> Result<Inventory> {
    let (balancers, groups) = futures::try_join!(balancers(aws, stack), target_groups(aws, stack))?;
    let listeners = balancers
        .iter()
        .filter_map(LoadBalancer::load_balancer_arn)
        .map(|balancer| listeners(aws, balancer));
    let listeners: Vec<Listener> = try_join_all(listeners)
        .await?
        .into_iter()
        .flatten()
        .collect();
    let rules = listeners
        .iter()
        .filter_map(Listener::listener_arn)
        .map(|listener| rules(aws, listener));
    let rules: Vec<(Rule, String)> = try_join_all(rules).await?.into_iter().flatten().collect();

    let arns = balancers
        .iter()
        .filter_map(LoadBalancer::load_balancer_arn)
        .chain(groups.iter().filter_map(TargetGroup::target_group_arn))
        .chain(listeners.iter().filter_map(Listener::listener_arn))
        .chain(rules.iter().filter_map(|(rule, _)| rule.rule_arn()));
    let names = names(aws, stack, arns.map(str::to_owned).collect()).await?;
    let name = |arn: Option<&str>| names.get(arn?).cloned();
    let own = |arn: Option<&str>| name(arn).is_some();

    let of_balancers = balancers
        .iter()
        .filter_map(LoadBalancer::load_balancer_arn)
        .filter(|arn| own(Some(arn)))
        .map(|arn| balancer_attributes(aws, arn));
    let of_groups = groups
        .iter()
        .filter_map(TargetGroup::target_group_arn)
        .filter(|arn| own(Some(arn)))
        .map(|arn| group_attributes(aws, arn));
    let (of_balancers, of_groups) =
        futures::try_join!(try_join_all(of_balancers), try_join_all(of_groups))?;
    let attributes = of_balancers
        .into_iter()
        .chain(of_groups)
        .flatten()
        .collect();

    Ok(Inventory {
        balancers: balancers
            .into_iter()
            .filter_map(|it| {
                Some(Own {
                    name: name(it.load_balancer_arn())?,
                    it,
                })
            })
            .collect(),
        target_groups: groups
            .into_iter()
            .filter_map(|it| {
                Some(Own {
                    name: name(it.target_group_arn())?,
                    it,
                })
            })
            .collect(),
        listeners: listeners
            .into_iter()
            .filter_map(|it| {
                Some(Own {
                    name: name(it.listener_arn())?,
                    it,
                })
            })
            .collect(),
        rules: rules
            .into_iter()
            .filter_map(|(it, listener)| {
                Some((
                    Own {
                        name: name(it.rule_arn())?,
                        it,
                    },
                    listener,
                ))
            })
            .collect(),
        attributes,
    })
}

async fn balancers(aws: &Aws, stack: &StackName) -> Result<Vec<LoadBalancer>> {
    let prefix = balancer_prefix(stack);
    let listed: Vec<LoadBalancer> = client(aws)
        .describe_load_balancers()
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<_, _>>()
        .await
        .map_err(during("elasticloadbalancing:DescribeLoadBalancers"))?;
    let begins = |it: &LoadBalancer| {
        it.load_balancer_name()
            .is_some_and(|name| name.starts_with(&prefix))
    };
    Ok(listed.into_iter().filter(begins).collect())
}

async fn target_groups(aws: &Aws, stack: &StackName) -> Result<Vec<TargetGroup>> {
    let prefix = short_prefix(LONGEST, stack);
    let listed: Vec<TargetGroup> = client(aws)
        .describe_target_groups()
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<_, _>>()
        .await
        .map_err(during("elasticloadbalancing:DescribeTargetGroups"))?;
    let begins = |it: &TargetGroup| {
        it.target_group_name()
            .is_some_and(|name| name.starts_with(&prefix))
    };
    Ok(listed.into_iter().filter(begins).collect())
}

/// A balancer may be deleted after it was listed: then it has no listeners.
pub(super) async fn listeners(aws: &Aws, balancer: &str) -> Result<Vec<Listener>> {
    let listed = client(aws)
        .describe_listeners()
        .load_balancer_arn(balancer)
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<Vec<_>, _>>()
        .await
        .map_err(during("elasticloadbalancing:DescribeListeners"));
    Ok(if_there(listed)?.unwrap_or_default())
}

/// The rules of a listener except the default rule, which is the listener's own action.
pub(super) async fn rules(aws: &Aws, listener: &str) -> Result<Vec<(Rule, String)>> {
    let listed = client(aws)
        .describe_rules()
        .listener_arn(listener)
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<Vec<_>, _>>()
        .await
        .map_err(during("elasticloadbalancing:DescribeRules"));
    let rules = if_there(listed)?.unwrap_or_default().into_iter();
    Ok(rules
        .filter(|rule| rule.is_default() != Some(true))
        .map(|rule| (rule, listener.to_owned()))
        .collect())
}

/// The names of these resources in the stack, by ARN; resources of others have none.
async fn names(
    aws: &Aws,
    stack: &StackName,
    arns: Vec<String>,
) -> Result<BTreeMap<String, ResourceName>> {
    let asked = arns.chunks(AT_ONCE).map(|arns| tags_of(aws, arns));
    let reported = try_join_all(asked).await?.into_iter().flatten();
    Ok(reported
        .filter_map(|reported| {
            let tags = reported.tags().iter();
            let owner = Owner::of(tags.filter_map(|tag| Some((tag.key()?, tag.value()?))))?;
            (owner.stack == *stack).then_some((reported.resource_arn?, owner.name))
        })
        .collect())
}

/// The tags of the resources that still exist. AWS refuses the whole call when one is gone: then
/// each is asked for separately.
async fn tags_of(aws: &Aws, arns: &[String]) -> Result<Vec<TagDescription>> {
    let ask = async |arns: &[String]| {
        let asked = client(aws)
            .describe_tags()
            .set_resource_arns(Some(arns.to_vec()));
        let answer = asked.send().await;
        let answer = answer.map_err(during("elasticloadbalancing:DescribeTags"));
        Ok(if_there(answer)?.map(|answer| answer.tag_descriptions.unwrap_or_default()))
    };
    if let Some(reported) = ask(arns).await? {
        return Ok(reported);
    }
    let each = arns.iter().map(|arn| ask(std::slice::from_ref(arn)));
    let reported: Vec<Option<Vec<_>>> = try_join_all(each).await?;
    Ok(reported.into_iter().flatten().flatten().collect())
}

/// `None` for a balancer that was deleted after it was listed.
async fn balancer_attributes(aws: &Aws, arn: &str) -> Result<Option<(String, Attributes)>> {
    let answer = client(aws)
        .describe_load_balancer_attributes()
        .load_balancer_arn(arn)
        .send()
        .await
        .map_err(during(
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
        ));
    let attributes = if_there(answer)?.map(|answer| answer.attributes.unwrap_or_default());
    Ok(attributes.map(|attributes| {
        let pairs = attributes.into_iter();
        let pairs = pairs.filter_map(|attribute| Some((attribute.key?, attribute.value?)));
        (arn.to_owned(), pairs.collect())
    }))
}

/// `None` for a group that was deleted after it was listed.
async fn group_attributes(aws: &Aws, arn: &str) -> Result<Option<(String, Attributes)>> {
    let answer = client(aws)
        .describe_target_group_attributes()
        .target_group_arn(arn)
        .send()
        .await
        .map_err(during("elasticloadbalancing:DescribeTargetGroupAttributes"));
    let attributes = if_there(answer)?.map(|answer| answer.attributes.unwrap_or_default());
    Ok(attributes.map(|attributes| {
        let pairs = attributes.into_iter();
        let pairs = pairs.filter_map(|attribute| Some((attribute.key?, attribute.value?)));
        (arn.to_owned(), pairs.collect())
    }))
}
