//! A key pair on AWS: the imported public key.

use async_trait::async_trait;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{KeyPairInfo, ResourceType, TagSpecification};
use landfall_aws::ec2::has_none;
use landfall_aws::{Aws, Owner, during, if_there, short_name};
use landfall_provider::{ErrorKind, Key, KeyPairId, Live, Probe, Provider, Result, StackName};

use super::{ec2, ec2_tags, of_stack, owner_of};
use crate::{KeyPair, PublicKey};

/// The longest name: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html>
const LONGEST: usize = 255;

#[async_trait]
impl Provider<KeyPair> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<KeyPair>>> {
        if has_none(self, stack, "key-").await? {
            return Ok(Vec::new());
        }
        // This call has no pages.
        let listed = ec2(self)
            .describe_key_pairs()
            .filters(of_stack(stack))
            .include_public_key(true)
            .send()
            .await
            .map_err(during("ec2:DescribeKeyPairs"))?;
        Ok(listed.key_pairs().iter().filter_map(live).collect())
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &KeyPair) -> Result<KeyPairId> {
        let name = short_name(LONGEST, stack, key, desired.public_key.as_str());
        let owner = Owner::new(stack, &key.name);
        let imported = ec2(self)
            .import_key_pair()
            .key_name(&name)
            .public_key_material(Blob::new(desired.public_key.as_str()))
            .tag_specifications(
                TagSpecification::builder()
                    .resource_type(ResourceType::KeyPair)
                    .set_tags(Some(ec2_tags(&owner)))
                    .build(),
            )
            .send()
            .await
            .map_err(during("ec2:ImportKeyPair"));
        match imported {
            // The name contains the key's fingerprint, so a key pair of this name is this one.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            Err(_) => Ok(KeyPairId::from(name)),
            Ok(_) => {
                let id = KeyPairId::from(name);
                self.seen::<KeyPair>(&id, Probe::Usable(()));
                Ok(id)
            }
        }
    }

    async fn update(&self, _: &Live<KeyPair>, _: &KeyPair) -> Result<()> {
        // Its only field forces a replacement.
        Ok(())
    }

    async fn probe(&self, id: &KeyPairId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<KeyPair>(id) {
            return Ok(state);
        }
        let found = ec2(self)
            .describe_key_pairs()
            .key_names(id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DescribeKeyPairs"));
        Ok(match if_there(found)? {
            Some(found) if !found.key_pairs().is_empty() => Probe::Usable(()),
            _ => Probe::Absent,
        })
    }

    async fn delete(&self, live: &Live<KeyPair>) -> Result<()> {
        let deleted = ec2(self)
            .delete_key_pair()
            .key_name(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteKeyPair"));
        if_there(deleted)?;
        self.seen::<KeyPair>(&live.id, Probe::Absent);
        Ok(())
    }
}

fn live(found: &KeyPairInfo) -> Option<Live<KeyPair>> {
    let owner = owner_of(found.tags())?;
    // A key pair with a key of another type was not imported by Landfall.
    let public_key = PublicKey::new(found.public_key()?).ok()?;
    Some(Live {
        id: KeyPairId::from(found.key_name()?),
        name: owner.name,
        spec: KeyPair { public_key },
        state: Probe::Usable(()),
    })
}
