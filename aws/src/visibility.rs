//! The ways in which AWS says that a resource named by a call is missing, or is not visible to that service yet.
//!
//! AWS has one answer for both, and many words for it. Codes that end in `NotFound` are the rule; the table holds the
//! exceptions: a code alone, or a code that means other things too, with a part of its message.

use std::time::Duration;

/// How long a new instance profile may stay invisible to EC2; Terraform's provider waits as long.
const PROFILE_SHOWS_WITHIN: Duration = Duration::from_secs(120);

/// One wording: the code, a part of the message (any message if empty), how long it may last at most.
struct Wording {
    code: &'static str,
    says: &'static str,
    within: Duration,
}

const fn wording(code: &'static str, says: &'static str) -> Wording {
    let within = Duration::ZERO;
    Wording { code, says, within }
}

const fn of_a_profile(code: &'static str, says: &'static str) -> Wording {
    let within = PROFILE_SHOWS_WITHIN;
    Wording { code, says, within }
}

/// Sources, in this order:
///
/// - IAM: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html#API_GetRole_Errors>
/// - Elastic Load Balancing: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html#API_CreateLoadBalancer_Errors>
/// - Auto Scaling has `ValidationError` for everything that it does not accept:
///   <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html>. Its words are those of
///   <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html>.
/// - EC2, profiles: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>
/// - EC2, the rest: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors>
const WORDINGS: &[Wording] = &[
    wording("NoSuchEntity", ""),
    wording("NoSuchEntityException", ""),
    wording("InvalidSecurityGroup", "does not exist"),
    wording("InvalidSubnet", "does not exist"),
    of_a_profile("ValidationError", "Invalid IAM Instance Profile"),
    of_a_profile("ValidationError", "iamInstanceProfile"),
    wording("ValidationError", "does not exist"),
    wording("ValidationError", "name not found"),
    wording("ValidationError", "not found - no such"),
    of_a_profile("InvalidParameterValue", "Invalid IAM Instance Profile"),
    of_a_profile("InvalidParameterValue", "iamInstanceProfile"),
    wording("InvalidParameterValue", "does not exist"),
    wording("InvalidParameter", "does not exist"),
];

/// `None` where the error means something else; otherwise how long a new resource may stay invisible, zero for as long
/// as every resource.
pub(crate) fn not_visible(code: &str, message: &str) -> Option<Duration> {
    let listed = WORDINGS
        .iter()
        .find(|one| one.code == code && message.contains(one.says));
    match listed {
        Some(one) => Some(one.within),
        None => code.contains("NotFound").then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_visible_has_many_words() {
        for (code, message) in [
            (
                "InvalidGroup.NotFound",
                "The security group 'sg-1' does not exist",
            ),
            (
                "InvalidSubnetID.NotFound",
                "The subnet ID 'subnet-1' does not exist",
            ),
            ("InvalidVpcID.NotFound", ""),
            ("NatGatewayNotFound", ""),
            (
                "InvalidSecurityGroup",
                "The security group 'sg-1' does not exist",
            ),
            ("InvalidSubnet", "The subnet ID 'subnet-1' does not exist"),
            (
                "ValidationError",
                "The security group 'sg-1' does not exist in VPC 'vpc-1'",
            ),
            (
                "ValidationError",
                "AutoScalingGroup name not found - no such group: web",
            ),
            ("NoSuchEntity", "The role with name web cannot be found."),
        ] {
            assert_eq!(
                not_visible(code, message),
                Some(Duration::ZERO),
                "{code}: {message}"
            );
        }
    }

    #[test]
    fn profile_has_longer() {
        let words = "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        for code in ["InvalidParameterValue", "ValidationError"] {
            assert_eq!(
                not_visible(code, words),
                Some(PROFILE_SHOWS_WITHIN),
                "{code}"
            );
        }
    }

    #[test]
    fn refusals_are_not_lateness() {
        for (code, message) in [
            (
                "InvalidSubnet",
                "The specified subnet is out of available addresses",
            ),
            (
                "ValidationError",
                "Min bound, 5, must be less than or equal to max bound, 4",
            ),
            (
                "InvalidParameterValue",
                "Value (t9.huge) for parameter instanceType is invalid",
            ),
            (
                "InvalidParameterCombination",
                "The group does not exist together with that",
            ),
            ("UnauthorizedOperation", "The role does not exist"),
        ] {
            assert_eq!(not_visible(code, message), None, "{code}: {message}");
        }
    }
}
