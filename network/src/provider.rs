//! The provider trait for networks.

use landfall_provider::{Catalog, Provider};

use crate::{
    ElasticIp, GatewayEndpoint, InternetGateway, NatGateway, NetworkAcl, RouteTable, SecurityGroup,
    SecurityGroupRules, Subnet, Vpc,
};

/// A provider of every kind in this crate, implemented for every type that provides them all.
pub trait NetworkProvider:
    Provider<Vpc>
    + Provider<InternetGateway>
    + Provider<Subnet>
    + Provider<ElasticIp>
    + Provider<NatGateway>
    + Provider<RouteTable>
    + Provider<NetworkAcl>
    + Provider<SecurityGroup>
    + Provider<SecurityGroupRules>
    + Provider<GatewayEndpoint>
{
}

impl<P> NetworkProvider for P where
    P: Provider<Vpc>
        + Provider<InternetGateway>
        + Provider<Subnet>
        + Provider<ElasticIp>
        + Provider<NatGateway>
        + Provider<RouteTable>
        + Provider<NetworkAcl>
        + Provider<SecurityGroup>
        + Provider<SecurityGroupRules>
        + Provider<GatewayEndpoint>
{
}

/// Adds the kinds of this crate to a catalog.
#[must_use]
pub fn kinds<P: NetworkProvider + ?Sized>(catalog: Catalog<P>) -> Catalog<P> {
    catalog
        .with::<Vpc>()
        .with::<InternetGateway>()
        .with::<Subnet>()
        .with::<ElasticIp>()
        .with::<NatGateway>()
        .with::<RouteTable>()
        .with::<NetworkAcl>()
        .with::<SecurityGroup>()
        .with::<SecurityGroupRules>()
        .with::<GatewayEndpoint>()
}
