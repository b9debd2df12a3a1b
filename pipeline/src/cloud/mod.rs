//! The requirements for a provider of whole stacks.

mod request_timeout;

use landfall_compute::{ComputeProvider, SingleProvider};
use landfall_container::{ContainerProvider, PrebuildImage};
use landfall_lb::LbProvider;
use landfall_network::NetworkProvider;
use landfall_provider::{Catalog, Preflight, ProviderIdentity, StackLock};

pub(crate) use self::request_timeout::LAST_ANSWER;
pub use self::request_timeout::RequestTimeout;

/// A provider of all kinds of a stack. Every type that implements these traits is one.
pub trait Cloud:
    NetworkProvider
    + ComputeProvider
    + SingleProvider
    + LbProvider
    + ContainerProvider
    + PrebuildImage
    + StackLock
    + Preflight
    + ProviderIdentity
{
}

impl<P> Cloud for P where
    P: NetworkProvider
        + ComputeProvider
        + SingleProvider
        + LbProvider
        + ContainerProvider
        + PrebuildImage
        + StackLock
        + Preflight
        + ProviderIdentity
        + ?Sized
{
}

/// All kinds of a stack.
#[must_use]
pub fn catalog<P: Cloud + ?Sized>() -> Catalog<P> {
    let catalog = landfall_network::kinds(Catalog::new());
    let catalog = landfall_compute::kinds(catalog);
    let catalog = landfall_lb::kinds(catalog);
    landfall_container::kinds(catalog)
}
