//! An instance profile on AWS: the profile, its role, and the role's single inline policy, all with
//! the same name.
//!
//! IAM cannot list by tag, and it is global: a stack's profiles and roles have the path
//! `/landfall/<region>/<stack>/<name>/`. The profile is created first and deleted last, so that the
//! leftovers of an interrupted run are found through it. The spec is read back from the policy.

use async_trait::async_trait;
use aws_sdk_iam::types::{Role, Tag};
use futures::future::try_join_all;
use landfall_aws::{Aws, Owner, during, if_there, short_name, unless};
use landfall_provider::{
    Error, ErrorKind, InstanceProfileId, Key, Live, Probe, Provider, ResourceName, Result,
    StackName,
};
use serde_json::Value;

use super::policy;
use crate::{InstanceProfile, PolicyScope};

/// The longest name of a role: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
const LONGEST: usize = 64;
/// The name of the inline policy in its role.
const POLICY: &str = "landfall";

/// The principal of the role: EC2, for the instances. Its name differs in China.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-services>
fn trust(partition: &str) -> String {
    let ec2 = match partition {
        "aws-cn" => "ec2.amazonaws.com.cn",
        _ => "ec2.amazonaws.com",
    };
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{ec2}"}},"Action":"sts:AssumeRole"}}]}}"#
    )
}

#[async_trait]
impl Provider<InstanceProfile> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<InstanceProfile>>> {
        let mut pages = self
            .client(aws_sdk_iam::Client::new)
            .list_instance_profiles()
            .path_prefix(path(self, stack, None))
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(during("iam:ListInstanceProfiles"))?;
            found.extend(page.instance_profiles().iter().cloned());
        }
        let prefix = path(self, stack, None);
        let live = found.iter().filter_map(|profile| {
            // An emulator also returns profiles of other paths.
            let name = profile.path().strip_prefix(&prefix)?.trim_end_matches('/');
            let name = ResourceName::new(name).ok()?;
            Some(async move {
                let spec = match profile.roles().first() {
                    Some(role) => granted(self, role).await?,
                    None => None,
                };
                Ok(Live {
                    id: InstanceProfileId::from(profile.instance_profile_name()),
                    name,
                    spec: spec.unwrap_or_else(policy::nothing),
                    state: Probe::Usable(()),
                })
            })
        });
        try_join_all(live).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &InstanceProfile,
    ) -> Result<InstanceProfileId> {
        let name = short_name(LONGEST, stack, key, self.region());
        put(self, &name, &Owner::new(stack, &key.name), desired).await?;
        let id = InstanceProfileId::from(name);
        // IAM does not report whether EC2 sees the profile yet: a launch is retried until it does.
        self.seen::<InstanceProfile>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, live: &Live<InstanceProfile>, desired: &InstanceProfile) -> Result<()> {
        let name = live.id.as_ref();
        let found = self
            .client(aws_sdk_iam::Client::new)
            .get_instance_profile()
            .instance_profile_name(name)
            .send()
            .await
            .map_err(during("iam:GetInstanceProfile"))?;
        let profile = found.instance_profile();
        let stack = profile.and_then(|profile| profile.path().split('/').nth(3)?.parse().ok());
        let stack = stack.ok_or_else(|| {
            let why = format_args!("the path of {name} names no stack");
            Error::new(ErrorKind::Invalid, why)
        })?;
        put(self, name, &Owner::new(&stack, &live.name), desired).await
    }

    async fn probe(&self, id: &InstanceProfileId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<InstanceProfile>(id) {
            return Ok(state);
        }
        let found = self
            .client(aws_sdk_iam::Client::new)
            .get_instance_profile()
            .instance_profile_name(id.as_ref())
            .send()
            .await
            .map_err(during("iam:GetInstanceProfile"));
        Ok(match if_there(found)? {
            None => Probe::Absent,
            Some(found) => match found.instance_profile().map(|profile| profile.roles()) {
                None | Some([]) => Probe::Pending("its role is not in it yet".to_owned()),
                Some(_) => Probe::Usable(()),
            },
        })
    }

    async fn delete(&self, live: &Live<InstanceProfile>) -> Result<()> {
        let name = live.id.as_ref();
        let iam = self.client(aws_sdk_iam::Client::new);
        let found = iam.get_instance_profile().instance_profile_name(name);
        let found = found.send().await.map_err(during("iam:GetInstanceProfile"));
        let Some(found) = if_there(found)? else {
            // The profile is deleted last: if it is gone, everything else is gone too.
            return Ok(());
        };
        for role in found
            .instance_profile()
            .into_iter()
            .flat_map(|one| one.roles())
        {
            let removed = iam
                .remove_role_from_instance_profile()
                .instance_profile_name(name)
                .role_name(role.role_name());
            let removed = removed.send().await;
            if_there(removed.map_err(during("iam:RemoveRoleFromInstanceProfile")))?;
        }
        let emptied = iam.delete_role_policy().role_name(name).policy_name(POLICY);
        let emptied = emptied.send().await;
        let emptied = emptied.map_err(during("iam:DeleteRolePolicy")).map(drop);
        unless_gone(self, name, emptied).await?;
        let role = iam.delete_role().role_name(name).send().await;
        let role = role.map_err(during("iam:DeleteRole")).map(drop);
        unless_gone(self, name, role).await?;
        let profile = iam.delete_instance_profile().instance_profile_name(name);
        let profile = profile.send().await;
        if_there(profile.map_err(during("iam:DeleteInstanceProfile")))?;
        self.seen::<InstanceProfile>(&live.id, Probe::Absent);
        Ok(())
    }
}

/// The path of a stack's resources, or of one resource.
fn path(aws: &Aws, stack: &StackName, name: Option<&ResourceName>) -> String {
    let stack = format!("/landfall/{}/{stack}/", aws.region());
    name.map_or(stack.clone(), |name| format!("{stack}{name}/"))
}

/// Creates the missing parts of profile, role and policy, and updates the policy.
async fn put(aws: &Aws, name: &str, owner: &Owner, desired: &InstanceProfile) -> Result<()> {
    let policy = desired.policy(place(aws))?.to_string();
    let path = path(aws, &owner.stack, Some(&owner.name));
    let iam = aws.client(aws_sdk_iam::Client::new);
    let profile = iam
        .create_instance_profile()
        .instance_profile_name(name)
        .path(&path)
        .set_tags(Some(tags(owner)?))
        .send()
        .await
        .map_err(during("iam:CreateInstanceProfile"));
    unless(ErrorKind::AlreadyExists, profile.map(drop))?;
    let role = iam
        .create_role()
        .role_name(name)
        .path(&path)
        .assume_role_policy_document(trust(aws.partition()))
        .set_tags(Some(tags(owner)?))
        .send()
        .await
        .map_err(during("iam:CreateRole"));
    unless(ErrorKind::AlreadyExists, role.map(drop))?;
    let policy = iam
        .put_role_policy()
        .role_name(name)
        .policy_name(POLICY)
        .policy_document(policy);
    let joined = iam
        .add_role_to_instance_profile()
        .instance_profile_name(name)
        .role_name(name);
    let (policy, joined) = futures::join!(policy.send(), joined.send());
    policy.map_err(during("iam:PutRolePolicy"))?;
    // A profile holds one role: if the quota is exhausted, the profile already has its role, which
    // has this name.
    let joined = joined.map_err(during("iam:AddRoleToInstanceProfile"));
    unless(
        ErrorKind::Limit,
        unless(ErrorKind::AlreadyExists, joined.map(drop)),
    )
}

/// Succeeds when the role does not exist. AWS does not know the path of an absent role, and denies
/// the call to callers with access to one path only: `on resource: role NAME`.
async fn unless_gone(aws: &Aws, name: &str, outcome: Result<()>) -> Result<()> {
    match if_there(outcome) {
        Err(denied) if denied.kind() == ErrorKind::Denied => match has_role(aws, name).await? {
            true => Err(denied),
            false => Ok(()),
        },
        outcome => outcome.map(drop),
    }
}

async fn has_role(aws: &Aws, name: &str) -> Result<bool> {
    let mut pages = aws
        .client(aws_sdk_iam::Client::new)
        .list_roles()
        .path_prefix("/landfall/")
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("iam:ListRoles"))?;
        if page.roles().iter().any(|role| role.role_name() == name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The spec of the role's policy; `None` when there is no policy, or one of another author.
async fn granted(aws: &Aws, role: &Role) -> Result<Option<InstanceProfile>> {
    let found = aws
        .client(aws_sdk_iam::Client::new)
        .get_role_policy()
        .role_name(role.role_name())
        .policy_name(POLICY)
        .send()
        .await
        .map_err(during("iam:GetRolePolicy"));
    let Some(found) = if_there(found)? else {
        return Ok(None);
    };
    // RFC 3986 escapes, according to the API's documentation.
    let text = percent_encoding::percent_decode_str(found.policy_document()).decode_utf8_lossy();
    let Ok(policy) = serde_json::from_str::<Value>(&text) else {
        return Ok(None);
    };
    Ok(policy::granted(&policy, place(aws)))
}

fn place(aws: &Aws) -> PolicyScope<'_> {
    PolicyScope {
        partition: aws.partition(),
        region: aws.region(),
        account: &aws.identity().account,
    }
}

fn tags(owner: &Owner) -> Result<Vec<Tag>> {
    let tag = |(key, value): (&str, String)| Tag::builder().key(key).value(value).build();
    let built: std::result::Result<_, _> = owner.tags().into_iter().map(tag).collect();
    built.map_err(|error| Error::new(ErrorKind::Invalid, "a tag is incomplete").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_ec2_by_its_name_in_the_partition() {
        for (partition, name) in [
            ("aws", "ec2.amazonaws.com"),
            ("aws-us-gov", "ec2.amazonaws.com"),
            ("aws-cn", "ec2.amazonaws.com.cn"),
        ] {
            let trust: Value = serde_json::from_str(&trust(partition)).unwrap();
            let [statement] = trust["Statement"].as_array().unwrap().as_slice() else {
                panic!("{trust}");
            };
            assert_eq!(
                statement["Principal"],
                serde_json::json!({ "Service": name })
            );
            assert_eq!(statement["Action"], "sts:AssumeRole");
        }
    }
}
