//! What follows from a call that creates, updates or deletes a resource: one file for each kind that something runs for.

use std::sync::Arc;

use landfall_provider::{Kind, Resource, Result};

use crate::daemon::records::state::{Tabled, each_kind};
use crate::daemon::runtime::cloud::Cloud;

/// What runs for a kind of resource. By default nothing does, and only its record changes.
pub(super) trait Hooks: Tabled {
    /// Starts what runs for a record that was just made.
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let _ = (cloud, id);
        Ok(())
    }

    /// Brings what runs to a record that was just changed.
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let _ = (cloud, id);
        Ok(())
    }

    /// Ends a resource: at once, or by a task that the record waits for.
    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))
    }
}

/// Kinds that are records only.
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

/// Defines how a call that names a kind finds its hooks.
macro_rules! dispatch {
    ($($field:ident: $kind:ty,)*) => {
        /// Starts what runs for a record that was just made.
        pub(in crate::daemon) async fn created(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::created(cloud, &id.to_owned().into()).await,)*
                _ => Ok(()),
            }
        }

        /// Brings what runs to a record that was just changed.
        pub(in crate::daemon) async fn updated(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::updated(cloud, &id.to_owned().into()).await,)*
                _ => Ok(()),
            }
        }

        /// Ends a resource: at once, or by a task that the record waits for.
        ///
        /// # Errors
        /// When something refers to it, it is protected, or the cloud holds no such kind.
        pub(in crate::daemon) async fn delete(cloud: &Arc<Cloud>, kind: &Kind, id: &str) -> Result<()> {
            match kind {
                $(kind if *kind == <$kind>::KIND => <$kind as Hooks>::delete(cloud, &id.to_owned().into()).await,)*
                _ => Err(crate::daemon::records::state::unknown(kind)),
            }
        }
    };
}

each_kind!(dispatch);
