//! What stands against launching instances, found out before anything is made: instance types that a zone does not
//! offer, and images for another processor.
//!
//! How many processors the account may still start is not asked: Service Quotas tells how many it may, and not how many
//! it has, which groups and other people change all the time. A group that meets this limit says so itself.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, LocationType};
use landfall_aws::{Aws, Check, during};
use landfall_provider::{Action, Error, ErrorKind, Key, Kind, Plan, Result, kind};

use super::ec2;
use serde_json::Value;

use super::image::architectures;

/// Whether what is to run can run where it is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Capacity;

/// The check of this crate's kinds.
#[must_use]
pub fn check() -> Box<dyn Check> {
    Box::new(Capacity)
}

#[async_trait]
impl Check for Capacity {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let launches = launches(plan);
        let types: BTreeSet<&str> = launches
            .iter()
            .map(|one| one.instance_type.as_str())
            .collect();
        if types.is_empty() {
            return Ok(Vec::new());
        }
        let (architectures, offered) =
            futures::try_join!(architectures(aws, types.clone()), offered(aws, &types))?;
        let mut findings = Vec::new();
        for launch in &launches {
            let Launch {
                key,
                instance_type,
                zones,
                platform,
            } = launch;
            let Some(architecture) = architectures.get(instance_type).copied().flatten() else {
                findings.push(
                    Error::new(
                        ErrorKind::Invalid,
                        format_args!(
                            "{key}: {} has no instance type {instance_type} that runs Linux on x86_64 or arm64",
                            aws.region()
                        ),
                    )
                    .hint("another `instance` in landfall.toml; `aws ec2 describe-instance-types` lists them"),
                );
                continue;
            };
            let offering = offered.get(instance_type);
            let lacking: Vec<&str> = zones
                .iter()
                .map(String::as_str)
                .filter(|zone| offering.is_none_or(|zones| !zones.contains(*zone)))
                .collect();
            if !lacking.is_empty() {
                let has =
                    offering.map(|zones| zones.iter().cloned().collect::<Vec<_>>().join(", "));
                findings.push(
                    Error::new(
                        ErrorKind::Invalid,
                        format_args!(
                            "{key}: {instance_type} is not offered in {}",
                            lacking.join(", ")
                        ),
                    )
                    .hint(match has {
                        Some(has) => {
                            format!("another instance type, or zones that offer it: {has}")
                        }
                        None => "another instance type".to_owned(),
                    }),
                );
            }
            if let Some(platform) = platform
                .as_deref()
                .filter(|one| *one != architecture.platform())
            {
                let fits = architecture.platform();
                findings.push(
                    Error::new(
                        ErrorKind::Invalid,
                        format_args!("{key}: its image is for {platform}, and {instance_type} runs {fits}"),
                    )
                    .hint(format_args!(
                        "platform = \"{fits}\" in the service's `image`, or an instance type for {platform}"
                    )),
                );
            }
        }
        Ok(findings)
    }
}

/// The zones that offer each of these types.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>
async fn offered(aws: &Aws, types: &BTreeSet<&str>) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let filter = Filter::builder()
        .name("instance-type")
        .set_values(Some(types.iter().map(ToString::to_string).collect()));
    let mut pages = ec2(aws)
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(filter.build())
        .into_paginator()
        .send();
    let mut offered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("ec2:DescribeInstanceTypeOfferings"))?;
        for one in page.instance_type_offerings() {
            if let (Some(kind), Some(zone)) = (one.instance_type(), one.location()) {
                let zones = offered.entry(kind.as_str().to_owned()).or_default();
                zones.insert(zone.to_owned());
            }
        }
    }
    Ok(offered)
}

/// Instances that a plan would have launched.
#[derive(Debug, PartialEq, Eq)]
struct Launch {
    /// What launches them: a launch template, or a single instance.
    key: Key,
    instance_type: String,
    /// Where; as far as the plan knows the zones of its subnets.
    zones: BTreeSet<String>,
    /// What the image is for; as far as the plan makes or knows it.
    platform: Option<String>,
}

/// What is new or changes, with all that the plan says about it; the specs of other crates' kinds are read as what
/// they are in a plan, which is JSON.
fn launches(plan: &Plan) -> Vec<Launch> {
    let specs = Specs::of(plan);
    let changing = |step: &&landfall_provider::Step| {
        matches!(step.action, Action::Create { .. } | Action::Update { .. })
    };
    let mut launches = Vec::new();
    // A group that changes its subnets launches from a template that stays.
    for step in plan.steps.iter().filter(changing) {
        let spec = wanted(&step.action);
        let (key, template, subnets) = if step.key.kind == kind::INSTANCE {
            (step.key.clone(), spec, vec![&spec["subnet"]])
        } else if step.key.kind == kind::LAUNCH_TEMPLATE {
            let groups = specs.of_kind(kind::AUTOSCALING_GROUP);
            let of_this = groups.filter(|group| specs.is(&group["template"], &step.key));
            let subnets = of_this.flat_map(|group| list(&group["subnets"])).collect();
            (step.key.clone(), spec, subnets)
        } else if step.key.kind == kind::AUTOSCALING_GROUP {
            match specs.find(&spec["template"]) {
                Some((key, template)) => (key.clone(), template, list(&spec["subnets"]).collect()),
                None => continue,
            }
        } else {
            continue;
        };
        let Some(instance_type) = template["instance_type"].as_str() else {
            continue;
        };
        let zone = |subnet: &&Value| Some(specs.find(subnet)?.1["zone"].as_str()?.to_owned());
        let image = specs.find(&template["workload"]["image"]);
        let launch = Launch {
            key,
            instance_type: instance_type.to_owned(),
            zones: subnets.iter().filter_map(zone).collect(),
            platform: image.and_then(|(_, image)| Some(image["platform"].as_str()?.to_owned())),
        };
        if !launches.contains(&launch) {
            launches.push(launch);
        }
    }
    launches
}

fn wanted(action: &Action) -> &Value {
    match action {
        Action::Create { want, .. } | Action::Update { want, .. } => want,
        Action::Keep { live } | Action::Delete { live, .. } => &live.spec,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every spec that there will be, by all that a reference to it may say.
struct Specs<'a>(BTreeMap<String, (&'a Key, &'a Value)>);

impl<'a> Specs<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut specs = BTreeMap::new();
        for step in &plan.steps {
            let entry = (&step.key, wanted(&step.action));
            match &step.action {
                Action::Delete { .. } => continue,
                Action::Keep { live } | Action::Update { live, .. } => {
                    specs.insert(live.id.clone(), entry);
                }
                Action::Create { .. } => {}
            }
            specs.insert(format!("${{{}}}", step.key), entry);
        }
        Self(specs)
    }

    fn find(&self, reference: &Value) -> Option<(&'a Key, &'a Value)> {
        self.0.get(reference.as_str()?).copied()
    }

    fn is(&self, reference: &Value, key: &Key) -> bool {
        self.find(reference).is_some_and(|(found, _)| found == key)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Value> {
        let of_kind = move |(key, _): &&(&Key, &Value)| key.kind == kind;
        self.0.values().filter(of_kind).map(|(_, spec)| *spec)
    }
}
