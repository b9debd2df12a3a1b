//! Converts an instance profile's policy back to its spec.

use landfall_provider::{Input, RepositoryId};
use serde_json::Value;

use crate::{InstanceProfile, PolicyScope};

/// The profile whose policy this is; `None` for a policy of any other form.
pub(super) fn granted(policy: &Value, place: PolicyScope<'_>) -> Option<InstanceProfile> {
    let mut profile = nothing();
    for statement in policy["Statement"].as_array()? {
        for resource in statement["Resource"].as_array()? {
            add(&mut profile, resource.as_str()?);
        }
    }
    // Any part of the policy that was not understood makes the two differ.
    (profile.policy(place).ok()? == *policy).then_some(profile)
}

/// A profile without permissions.
pub(super) fn nothing() -> InstanceProfile {
    InstanceProfile {
        repositories: Vec::new(),
        secrets: Vec::new(),
        logs: None,
    }
}

/// Adds the permission for this ARN: `arn:<partition>:<service>:<region>:<account>:<resource>`.
fn add(profile: &mut InstanceProfile, arn: &str) {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, region, account, resource] = parts[..] else {
        return;
    };
    if let Some(name) = resource.strip_prefix("repository/") {
        let host = format!("{account}.dkr.ecr.{region}.{}", domain(partition));
        let id = RepositoryId::from(format!("{host}/{name}"));
        profile.repositories.push(Input::Known(id));
    } else if let Some(name) = resource.strip_prefix("parameter/") {
        // A path begins with a slash, which its ARN omits.
        let slash = if name.contains('/') { "/" } else { "" };
        let secret = format!("{service}:{slash}{name}").parse();
        profile.secrets.extend(secret);
    } else if let Some(name) = resource.strip_prefix("secret:") {
        let name = name.strip_suffix("-??????").unwrap_or(name);
        profile.secrets.extend(format!("{service}:{name}").parse());
    } else if let Some(name) = resource.strip_prefix("log-group:")
        && !name.contains(':')
    {
        profile.logs = name.parse().ok();
    }
}

/// The domain of a partition's registries.
fn domain(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLACE: PolicyScope<'static> = PolicyScope {
        partition: "aws",
        region: "eu-central-1",
        account: "123456789012",
    };

    fn profile() -> InstanceProfile {
        let id = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/digipay/web";
        InstanceProfile {
            repositories: vec![Input::Known(RepositoryId::from(id))],
            secrets: ["ssm:/digipay/url", "ssm:token", "secretsmanager:db"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            logs: Some("/digipay/web".parse().unwrap()),
        }
    }

    #[test]
    fn a_policy_is_that_of_its_profile_and_of_no_other() {
        for desired in [profile(), nothing()] {
            let policy = desired.policy(PLACE).unwrap();
            assert_eq!(granted(&policy, PLACE), Some(desired));
        }
    }

    #[test]
    fn a_policy_that_somebody_changed_is_no_profiles() {
        let policy = profile().policy(PLACE).unwrap();
        let mut wider = policy.clone();
        wider["Statement"][0]["Action"] = json!(["ecr:*"]);
        let mut foreign = policy.clone();
        foreign["Statement"][1]["Resource"] = json!(["arn:aws:s3:::digipay"]);
        let mut shorter = policy;
        shorter["Statement"].as_array_mut().unwrap().remove(0);
        for policy in [wider, foreign, shorter, json!({}), json!("*")] {
            assert_eq!(granted(&policy, PLACE), None, "{policy}");
        }
    }
}
