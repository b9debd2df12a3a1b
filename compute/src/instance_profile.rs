//! An instance profile: the minimal permissions of instances at their cloud.

use landfall_provider::{
    Error, ErrorKind, Input, InstanceProfileId, Kind, Reference, RepositoryId, Resource, Result,
    kind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{LogGroup, SecretReference, SecretStore};

/// The permissions of a service's instances: pull images from these repositories, read these
/// secrets, write to this log group.
///
/// A change of the profile updates its policy in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceProfile {
    /// The repositories from which images may be pulled.
    pub repositories: Vec<Input<RepositoryId>>,
    /// The readable secrets, each [as a whole](SecretReference::whole).
    pub secrets: Vec<SecretReference>,
    /// The log group that may be written to, and created if it is missing.
    pub logs: Option<LogGroup>,
}

impl Resource for InstanceProfile {
    const KIND: Kind = kind::INSTANCE_PROFILE;
    const UNORDERED: &'static [&'static str] = &["repositories", "secrets"];
    type Id = InstanceProfileId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        self.repositories
            .iter_mut()
            .map(|id| id as &mut dyn Reference)
            .collect()
    }
}

/// The scope of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyScope<'a> {
    /// The partition: `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: &'a str,
    /// The region.
    pub region: &'a str,
    /// The account, 12 digits.
    pub account: &'a str,
}

impl InstanceProfile {
    /// The minimal IAM policy with these permissions.
    ///
    /// - Pulling:
    ///   <https://docs.aws.amazon.com/AmazonECR/latest/userguide/security-iam-awsmanpol.html>. The
    ///   login (`ecr:GetAuthorizationToken`) applies to the whole registry and cannot be narrowed.
    /// - Parameters:
    ///   <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html>.
    ///   Secrets:
    ///   <https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html>;
    ///   an ARN there ends in six random characters from the service. A secret that is encrypted
    ///   with the customer's own key instead of AWS's also needs `kms:Decrypt`, which that key's
    ///   policy can grant.
    /// - Logs: <https://docs.docker.com/engine/logging/drivers/awslogs/>.
    ///
    /// # Errors
    /// When a repository's id is not known yet, or is not an ECR repository.
    pub fn policy(&self, place: PolicyScope<'_>) -> Result<Value> {
        let PolicyScope {
            partition,
            region,
            account,
        } = place;
        let arn = |service: &str, resource: &str| {
            format!("arn:{partition}:{service}:{region}:{account}:{resource}")
        };
        let mut statements = Vec::new();
        let mut allow = |sid: &str, actions: &[&str], mut resources: Vec<String>| {
            resources.sort();
            resources.dedup();
            if !resources.is_empty() {
                statements.push(json!({
                    "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources,
                }));
            }
        };
        let repositories = self
            .repositories
            .iter()
            .map(|repository| repository_arn(repository, partition))
            .collect::<Result<Vec<_>>>()?;
        if !repositories.is_empty() {
            allow(
                "Login",
                &["ecr:GetAuthorizationToken"],
                vec!["*".to_owned()],
            );
        }
        allow(
            "Pull",
            &["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            repositories,
        );
        let secrets = |store| self.secrets.iter().filter(move |one| one.store() == store);
        allow(
            "Parameters",
            &["ssm:GetParameter"],
            secrets(SecretStore::Ssm)
                .map(|one| {
                    arn(
                        "ssm",
                        &format!("parameter/{}", one.name().trim_start_matches('/')),
                    )
                })
                .collect(),
        );
        allow(
            "Secrets",
            &["secretsmanager:GetSecretValue"],
            secrets(SecretStore::SecretsManager)
                .map(|one| arn("secretsmanager", &format!("secret:{}-??????", one.name())))
                .collect(),
        );
        let groups = self.logs.iter();
        allow(
            "Logs",
            &[
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:PutLogEvents",
            ],
            groups
                .flat_map(|group| {
                    let group = format!("log-group:{group}");
                    [
                        arn("logs", &group),
                        arn("logs", &format!("{group}:log-stream:*")),
                    ]
                })
                .collect(),
        );
        Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
    }
}

/// The ARN of an ECR repository, whose account and region may differ:
/// `<account>.dkr.ecr.<region>.amazonaws.com/<name>`.
fn repository_arn(repository: &Input<RepositoryId>, partition: &str) -> Result<String> {
    let id = repository.resolved()?;
    let parts = id.as_ref().split_once('/').and_then(|(host, name)| {
        let (account, rest) = host.split_once(".dkr.ecr.")?;
        let (region, _) = rest.split_once('.')?;
        Some(format!(
            "arn:{partition}:ecr:{region}:{account}:repository/{name}"
        ))
    });
    parts.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format_args!("{id} is not a repository in ECR"),
        )
        .hint("its address is <account>.dkr.ecr.<region>.amazonaws.com/<name>")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: PolicyScope<'static> = PolicyScope {
        partition: "aws",
        region: "ap-south-1",
        account: "123456789012",
    };

    fn repository(id: &str) -> Input<RepositoryId> {
        Input::Known(RepositoryId::from(id))
    }

    #[test]
    fn the_policy_allows_what_the_profile_names_and_no_more() {
        let profile = InstanceProfile {
            repositories: vec![repository(
                "123456789012.dkr.ecr.ap-south-1.amazonaws.com/digipay/web",
            )],
            secrets: [
                "ssm:/digipay/url",
                "ssm:token",
                "secretsmanager:db#user",
                "secretsmanager:db#password",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
            logs: Some("/digipay/web".parse().unwrap()),
        };
        insta::assert_json_snapshot!(profile.policy(PLACE).unwrap());
    }

    #[test]
    fn a_profile_that_names_nothing_allows_nothing() {
        let profile = InstanceProfile {
            repositories: Vec::new(),
            secrets: Vec::new(),
            logs: None,
        };
        let policy = profile.policy(PLACE).unwrap();
        assert_eq!(policy["Statement"], json!([]));
    }

    #[test]
    fn a_repository_that_is_not_in_ecr_is_an_error() {
        for id in [
            "digipay/web",
            "docker.io/library/nginx",
            "${repository/web}",
        ] {
            let profile = InstanceProfile {
                repositories: vec![serde_json::from_value(json!(id)).unwrap()],
                secrets: Vec::new(),
                logs: None,
            };
            assert!(profile.policy(PLACE).is_err(), "{id}");
        }
    }
}
