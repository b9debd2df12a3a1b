//! `iam-policy`: prints the minimal permissions on AWS.

use std::collections::BTreeMap;

use landfall_compute::PolicyScope;
use landfall_pipeline::{Config, instance_profiles};
use landfall_provider::{ResourceName, Result as ProviderResult};
use serde_json::Value;

use crate::args::{IamPolicy, Who};
use crate::cli_error::CliError;
use crate::output;

/// The minimal policy for the operator of Landfall. It is derived from the calls of a deploy, a
/// change and a destroy, and verified against them by the IAM test in `tests/aws`.
const OPERATOR: &str = include_str!("../iam/operator.json");

/// Prints the policy.
pub(super) fn iam_policy(args: &IamPolicy) -> Result<(), CliError> {
    match args.who {
        Who::Operator => output::result(OPERATOR),
        Who::Instances => {
            let policies = serde_json::to_value(of_instances(args)?)
                .map_err(|error| CliError::usage(format!("invalid JSON: {error}"), None))?;
            output::result(&format!("{policies:#}\n"));
        }
    }
    Ok(())
}

/// The policies of the services' roles, by service.
fn of_instances(args: &IamPolicy) -> Result<BTreeMap<ResourceName, Value>, CliError> {
    let config = Config::load_for(&args.config, args.env.as_deref())?;
    let region = args.region.clone();
    let region = region
        .or_else(|| (!config.region.is_local()).then(|| config.region.to_string()))
        .or_else(|| std::env::var("AWS_REGION").ok())
        .ok_or_else(|| unknown("region", "eu-central-1"))?;
    let account = args.account.clone().or_else(|| config.account.clone());
    let account = account.ok_or_else(|| unknown("account", "123456789012"))?;
    if account.len() != 12 || !account.bytes().all(|digit| digit.is_ascii_digit()) {
        let message = format!("`{account}` is not an AWS account: it has 12 digits");
        return Err(CliError::usage(message, None));
    }
    let place = PolicyScope {
        partition: partition(&region),
        region: &region,
        account: &account,
    };
    let registry = format!("{account}.dkr.ecr.{region}.amazonaws.com");
    let profiles = instance_profiles(&config, &registry)
        .map_err(|error| CliError::usage(error.to_string(), None))?;
    let policies = profiles
        .into_iter()
        .map(|(service, profile)| Ok((service, profile.policy(place)?)))
        .collect::<ProviderResult<_>>()?;
    Ok(policies)
}

fn unknown(what: &str, example: &str) -> CliError {
    let hint = format!("--{what} {example}, or {what} = \"{example}\" in the file");
    CliError::usage(
        format!("the {what} of the instances is unknown"),
        Some(&hint),
    )
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_policy_fits_into_a_managed_policy() {
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: white space does not count.
        let policy: Value = serde_json::from_str(OPERATOR).unwrap();
        let length = policy.to_string().len();
        assert!(length <= 6144, "{length}");
    }

    #[test]
    fn a_region_is_in_its_partition() {
        for (region, is_in) in [
            ("eu-central-1", "aws"),
            ("us-east-1", "aws"),
            ("us-gov-west-1", "aws-us-gov"),
            ("cn-north-1", "aws-cn"),
        ] {
            assert_eq!(partition(region), is_in, "{region}");
        }
    }
}
