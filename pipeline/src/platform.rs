//! Whether images can run on the instances that are to run them: pure, from the plan alone.

use std::collections::BTreeMap;

use landfall_compute::{Architecture, Instance, LaunchTemplate, Workload};
use landfall_container::{Image, Platform};
use landfall_provider::{Action, Error, ErrorKind, ImageId, Input, Key, Plan, Resource, kind};
use serde_json::Value;

/// Every launch template and instance whose processors cannot run its image.
///
/// For a provider whose instance types have processors of their own; on this machine they mean nothing.
/// An image that the plan does not know, of another stack or given by its digest, is not judged.
#[must_use]
pub fn unfit_platforms(plan: &Plan) -> Vec<Error> {
    let mut by_key: BTreeMap<&Key, Platform> = BTreeMap::new();
    let mut by_id: BTreeMap<&str, Platform> = BTreeMap::new();
    for step in plan
        .steps
        .iter()
        .filter(|step| step.key.kind == kind::IMAGE)
    {
        let (spec, id) = match &step.action {
            Action::Create { want, .. } => (want, None),
            Action::Keep { live } | Action::Update { live, .. } => (&live.spec, Some(&live.id)),
            Action::Delete { .. } => continue,
        };
        let Some(image) = read::<Image>(spec) else {
            continue;
        };
        by_id.extend(id.map(|id| (id.as_str(), image.platform.clone())));
        by_key.insert(&step.key, image.platform);
    }
    let platform = |image: &Input<ImageId>| match image {
        Input::Of(key, _) => by_key.get(key),
        Input::Known(id) => by_id.get(id.as_ref()),
    };
    let runs = plan.steps.iter().filter_map(|step| {
        let (Action::Create { want, .. } | Action::Update { want, .. }) = &step.action else {
            return None;
        };
        let (instance_type, workload) = runs(&step.key, want)?;
        let architecture = Architecture::of(&instance_type);
        let platform = platform(&workload.image)?;
        (platform.arch != architecture.in_platforms())
            .then(|| unfit(&step.key, &instance_type, architecture, platform))
    });
    runs.collect()
}

/// What runs on what, for a kind that is about that.
fn runs(key: &Key, want: &Value) -> Option<(String, Workload)> {
    if key.kind == kind::LAUNCH_TEMPLATE {
        let template: LaunchTemplate = read(want)?;
        return Some((template.instance_type, template.workload));
    }
    if key.kind == kind::INSTANCE {
        let instance: Instance = read(want)?;
        return Some((instance.instance_type, instance.workload?));
    }
    None
}

/// A spec as its own type. What does not fit its kind, applying the plan will say.
fn read<R: Resource>(spec: &Value) -> Option<R> {
    R::deserialize(spec).ok()
}

fn unfit(key: &Key, instance_type: &str, architecture: Architecture, platform: &Platform) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format_args!(
            "{instance_type} has {architecture} processors, and the image is made for {platform}"
        ),
    )
    .doing("making", key)
    .hint(format_args!(
        "set `platform = \"linux/{}\"` for the image, or choose another `instance`, such as {}",
        architecture.in_platforms(),
        match architecture {
            Architecture::X86_64 => "t4g.micro",
            Architecture::Arm64 => "t3.micro",
        }
    ))
}

#[cfg(test)]
mod tests {
    use landfall_provider::{Found, Probe, Step};
    use serde_json::json;

    use super::*;
    use crate::{Config, Sources, stack};

    /// A plan that makes all of a stack.
    fn making(platform: &str, instance: &str) -> Plan {
        let source = format!(
            "stack='a'\n[service.web]\nport=1\ninstance='{instance}'\nimage={{platform='{platform}'}}"
        );
        let config = Config::parse(&source, "landfall.toml").unwrap();
        let sources = Sources::from([("web".parse().unwrap(), "ab".repeat(32).parse().unwrap())]);
        let stack = stack(&config, &sources).unwrap();
        let steps = stack.wishes().iter().map(|(key, wish)| Step {
            key: key.clone(),
            action: Action::Create {
                want: wish.spec.clone(),
                because: None,
            },
            after: Vec::new(),
        });
        Plan {
            stack: stack.name().clone(),
            steps: steps.collect(),
        }
    }

    /// The same when the image is there already, and the template refers to it by its id.
    fn with_the_image_there(mut plan: Plan) -> Plan {
        for step in &mut plan.steps {
            let Action::Create { want, .. } = &mut step.action else {
                continue;
            };
            if step.key.kind == kind::LAUNCH_TEMPLATE {
                want["workload"]["image"] = json!("a/web@sha256:00");
            }
            if step.key.kind == kind::IMAGE {
                let live = Found {
                    key: step.key.clone(),
                    id: "a/web@sha256:00".to_owned(),
                    spec: want.take(),
                    state: Probe::Usable(Value::Null),
                };
                step.action = Action::Keep { live };
            }
        }
        plan
    }

    #[test]
    fn an_image_for_other_processors_is_found_whether_it_is_there_or_not() {
        for (platform, instance, fits) in [
            ("linux/amd64", "t3.micro", true),
            ("linux/arm64", "t4g.micro", true),
            ("linux/arm64/v8", "m7g.large", true),
            ("linux/arm64", "t3.micro", false),
            ("linux/amd64", "t4g.micro", false),
        ] {
            let plan = making(platform, instance);
            for plan in [plan.clone(), with_the_image_there(plan)] {
                let found = unfit_platforms(&plan);
                assert_eq!(
                    found.is_empty(),
                    fits,
                    "{platform} on {instance}: {found:?}"
                );
            }
        }
        let found = unfit_platforms(&making("linux/arm64", "t3.micro"));
        assert_eq!(
            found[0].to_string(),
            "making launch-template/web: t3.micro has x86_64 processors, and the image is made for linux/arm64"
        );
    }
}
