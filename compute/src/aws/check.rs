//! Preflight checks of instance launches: instance types that a zone does not offer, and images for
//! another processor.
//!
//! The vCPU quota is not checked: Service Quotas reports the limit, but not the present usage,
//! which groups and other people change all the time. A group that reaches this limit reports it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use landfall_aws::ec2::offers;
use landfall_aws::{Aws, Check, findings};
use landfall_provider::{Action, Error, ErrorKind, Key, Kind, Plan, Result, kind};

use serde_json::Value;

use super::image::{Architecture, architectures};
use super::way_out;

/// The check whether instances can run in their zones.
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
        let closed = way_out::findings(plan);
        if types.is_empty() {
            return Ok(closed);
        }
        let (architectures, offered) =
            futures::join!(architectures(aws, types.clone()), offers(aws, &types));
        // A type that does not exist is reported once, not per zone.
        let known: Vec<&Launch> = match &architectures {
            Ok(all) => launches
                .iter()
                .filter(|it| it.fits(all).is_some())
                .collect(),
            Err(_) => launches.iter().collect(),
        };
        // A failed call is a finding, and does not hide the findings of the other.
        let offered = offered.map(|zones| known.iter().filter_map(|it| it.lacks(&zones)).collect());
        let suited = architectures.map(|all| {
            launches
                .iter()
                .filter_map(|it| it.misfits(aws, &all))
                .collect()
        });
        Ok(findings([Ok(closed), suited, offered]))
    }
}

/// A launch of instances in a plan.
#[derive(Debug, PartialEq, Eq)]
struct Launch {
    /// The launching resource: a launch template, or a single instance.
    key: Key,
    instance_type: String,
    /// The zones, as far as the plan contains the zones of its subnets.
    zones: BTreeSet<String>,
    /// The platform of the image, as far as the plan creates or knows it.
    platform: Option<String>,
}

impl Launch {
    /// The architecture of the instance type.
    fn fits(&self, all: &BTreeMap<String, Option<Architecture>>) -> Option<Architecture> {
        all.get(&self.instance_type).copied().flatten()
    }

    /// The finding that the type does not exist, or that the image is for another processor.
    fn misfits(&self, aws: &Aws, all: &BTreeMap<String, Option<Architecture>>) -> Option<Error> {
        let Self {
            key, instance_type, ..
        } = self;
        let Some(architecture) = self.fits(all) else {
            let why = format_args!(
                "{key}: {} has no instance type {instance_type} that runs Linux on x86_64 or arm64",
                aws.region()
            );
            return Some(Error::new(ErrorKind::Invalid, why).hint(
                "another `instance` in landfall.toml; `aws ec2 describe-instance-types` lists them",
            ));
        };
        let fits = architecture.platform();
        let platform = self.platform.as_deref().filter(|one| *one != fits)?;
        let why =
            format_args!("{key}: its image is for {platform}, and {instance_type} runs {fits}");
        Some(Error::new(ErrorKind::Invalid, why).hint(format_args!(
            "platform = \"{fits}\" in the service's `image`, or an instance type for {platform}"
        )))
    }

    /// The finding that a zone does not offer the type.
    fn lacks(&self, offered: &BTreeMap<String, BTreeSet<String>>) -> Option<Error> {
        let Self {
            key,
            instance_type,
            zones,
            ..
        } = self;
        let offering = offered.get(instance_type);
        let offers = |zone: &String| offering.is_some_and(|zones| zones.contains(zone));
        let lacking: Vec<&str> = zones
            .iter()
            .filter(|zone| !offers(zone))
            .map(String::as_str)
            .collect();
        if lacking.is_empty() {
            return None;
        }
        let why = format_args!(
            "{key}: {instance_type} is not offered in {}",
            lacking.join(", ")
        );
        let has = offering.map(|zones| zones.iter().cloned().collect::<Vec<_>>().join(", "));
        Some(Error::new(ErrorKind::Invalid, why).hint(match has {
            Some(has) => format!("another instance type, or zones that offer it: {has}"),
            None => "another instance type".to_owned(),
        }))
    }
}

/// New or changed launches, with all of the plan's data about them; the specs of other crates'
/// kinds are read as the plan's JSON.
fn launches(plan: &Plan) -> Vec<Launch> {
    let specs = Specs::of(plan);
    let changing = |step: &&landfall_provider::Step| {
        matches!(step.action, Action::Create { .. } | Action::Update { .. })
    };
    let mut launches = Vec::new();
    // A group that changes its subnets launches from an unchanged template.
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
        Action::Create { desired, .. } | Action::Update { desired, .. } => desired,
        Action::Keep { live } | Action::Delete { live, .. } => &live.spec,
    }
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every spec after the plan, by each key or id that may refer to it.
pub(super) struct Specs<'a>(BTreeMap<String, (&'a Key, &'a Value)>);

impl<'a> Specs<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
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

    pub(super) fn find(&self, reference: &Value) -> Option<(&'a Key, &'a Value)> {
        self.0.get(reference.as_str()?).copied()
    }

    pub(super) fn is(&self, reference: &Value, key: &Key) -> bool {
        self.find(reference).is_some_and(|(found, _)| found == key)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Value> {
        self.named(kind).map(|(_, spec)| spec)
    }

    /// Those of a kind; one that is there and changes comes twice.
    pub(super) fn named(&self, kind: Kind) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let of_kind = move |(key, _): &(&Key, &Value)| key.kind == kind;
        self.0.values().copied().filter(of_kind)
    }
}
