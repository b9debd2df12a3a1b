//! The hooks of kinds: what the daemon does after a call has created, updated or deleted a resource.

use std::sync::Arc;

use landfall_provider::{Kind, Resource, Result};

use crate::daemon::records::state::{Tabled, each_kind};
use crate::daemon::runtime::cloud::Cloud;

/// The hooks of a kind. By default a call changes only the record.
pub(super) trait Hooks: Tabled {
    /// Called after the record was created.
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let _ = (cloud, id);
        Ok(())
    }

    /// Called after the record was changed.
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let _ = (cloud, id);
        Ok(())
    }

    /// Deletes a resource: immediately, or by a task that removes the record at its end.
    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))
    }
}

/// Kinds without hooks.
macro_rules! nothing_runs {
    ($($kind:ty,)*) => {
        $(impl Hooks for $kind {})*
    };
}

nothing_runs! {
    landfall_compute::InstanceProfile,
    landfall_compute::KeyPair,
    landfall_compute::ScalingPolicy,
    landfall_container::Repository,
    landfall_network::ElasticIp,
    landfall_network::GatewayEndpoint,
    landfall_network::InternetGateway,
    landfall_network::NatGateway,
    landfall_network::NetworkAcl,
    landfall_network::RouteTable,
    landfall_network::SecurityGroup,
    landfall_network::SecurityGroupRules,
    landfall_network::Subnet,
    landfall_network::Vpc,
}

/// Defines the functions that find the hooks of a kind by its name.
macro_rules! dispatch {
    ($($field:ident: $kind:ty,)*) => {
        /// Calls the kind's hook after its record was created.
        pub(in crate::daemon) async fn created(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::created(cloud, &id.to_owned().into()).await,)*
                _ => Ok(()),
            }
        }

        /// Calls the kind's hook after its record was changed.
        pub(in crate::daemon) async fn updated(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::updated(cloud, &id.to_owned().into()).await,)*
                _ => Ok(()),
            }
        }

        /// Deletes a resource: immediately, or by a task that removes the record at its end.
        ///
        /// # Errors
        /// When another resource refers to it, it is protected, or the kind is unknown.
        pub(in crate::daemon) async fn delete(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::delete(cloud, &id.to_owned().into()).await,)*
                _ => Err(crate::daemon::records::state::unknown(kind)),
            }
        }
    };
}

each_kind!(dispatch);
