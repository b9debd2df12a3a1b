//! A route table on AWS, its routes and the subnets that use it. The VPC's main route table is
//! never changed.

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    ResourceType, Route as DescribedRoute, RouteOrigin, RouteTable as DescribedTable,
    RouteTableAssociation,
};
use landfall_aws::{Aws, during, if_there, input, known, unless, until_visible};
use landfall_provider::{
    ErrorKind, Input, Key, Live, Probe, Provider, Result, RouteTableId, StackName, SubnetId,
};

use super::{
    Described, ResourceFilter, UNKNOWN, by_id, earlier, ec2, filter, given, gone, half_made,
    is_outdated, list, name_in, once, probe, shown, tags,
};
use crate::{Route, RouteTable, RouteTarget};

#[async_trait]
impl Described for RouteTable {
    const IDS: &'static str = "rtb-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let mut found = Vec::new();
        for table in describe(aws, which).await? {
            let Some(name) = name_in(table.tags()) else {
                continue;
            };
            let mut state = Probe::Usable(());
            found.push(Live {
                id: given(table.route_table_id.clone(), "a route table's id")?.into(),
                name,
                spec: Self {
                    vpc: input(shown(table.vpc_id(), "its VPC", UNKNOWN, &mut state)),
                    routes: table.routes().iter().filter_map(route).collect(),
                    subnets: table
                        .associations()
                        .iter()
                        .filter_map(|association| association.subnet_id())
                        .map(input)
                        .collect(),
                },
                state,
            });
        }
        Ok(found)
    }
}

/// The associations of a table, as last read.
struct Associations(Vec<RouteTableAssociation>);

async fn describe(aws: &Aws, which: ResourceFilter) -> Result<Vec<DescribedTable>> {
    let tables: Vec<DescribedTable> = ec2(aws)
        .describe_route_tables()
        .set_filters(which.filters())
        .set_route_table_ids(which.ids())
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeRouteTables"))?;
    for table in &tables {
        let associations = Associations(table.associations().to_vec());
        aws.note(table.route_table_id().unwrap_or_default(), associations);
    }
    Ok(tables)
}

/// A route that a spec can express: not the VPC's own, nor one of an endpoint, nor a route to any
/// other target, which somebody else has added.
fn route(route: &DescribedRoute) -> Option<Route> {
    if route.origin() == Some(&RouteOrigin::CreateRouteTable) {
        return None;
    }
    let via = match (route.nat_gateway_id(), route.gateway_id()) {
        (Some(id), _) => RouteTarget::NatGateway(input(id)),
        (None, Some(id)) if id.starts_with("igw-") => RouteTarget::InternetGateway(input(id)),
        _ => return None,
    };
    let destination = route.destination_cidr_block()?.parse().ok()?;
    Some(Route { destination, via })
}

#[async_trait]
impl Provider<RouteTable> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<RouteTable>>> {
        list(self, stack).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &RouteTable,
    ) -> Result<RouteTableId> {
        if let Some(live) = earlier(self, stack, key, desired).await? {
            self.update(&live, desired).await?;
            return Ok(live.id);
        }
        let made = ec2(self)
            .create_route_table()
            .vpc_id(known(&desired.vpc)?)
            .tag_specifications(tags(ResourceType::RouteTable, stack, &key.name))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(during("ec2:CreateRouteTable"))
            .map_err(until_visible)?;
        let id = made.route_table.and_then(|table| table.route_table_id);
        let live = Live {
            id: RouteTableId::from(given(id, "the new route table's id")?),
            name: key.name.clone(),
            spec: RouteTable {
                vpc: desired.vpc.clone(),
                routes: Vec::new(),
                subnets: Vec::new(),
            },
            state: Probe::Usable(()),
        };
        self.update(&live, desired)
            .await
            .map_err(half_made(self, stack, key, &live.id))?;
        Ok(live.id)
    }

    async fn update(&self, live: &Live<RouteTable>, desired: &RouteTable) -> Result<()> {
        match reconcile(self, &live.id, &live.spec, desired).await {
            Err(error) if is_outdated(&error) => {
                let now = by_id::<RouteTable>(self, &live.id).await?.ok_or(error)?;
                reconcile(self, &live.id, &now.spec, desired).await?;
            }
            outcome => outcome?,
        }
        self.seen::<RouteTable>(&live.id, Probe::Usable(()));
        Ok(())
    }

    async fn probe(&self, id: &RouteTableId) -> Result<Probe<()>> {
        probe::<RouteTable>(self, id).await
    }

    async fn delete(&self, live: &Live<RouteTable>) -> Result<()> {
        if !live.spec.subnets.is_empty() {
            release(self, &live.id, |_| true).await?;
        }
        let outcome = ec2(self)
            .delete_route_table()
            .route_table_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteRouteTable"));
        gone::<RouteTable>(self, &live.id, outcome.map(|_| ()))
    }
}

/// Applies the difference: additions first, so that no traffic is cut off in between.
async fn reconcile(
    aws: &Aws,
    id: &RouteTableId,
    current: &RouteTable,
    desired: &RouteTable,
) -> Result<()> {
    for route in &desired.routes {
        match current
            .routes
            .iter()
            .find(|other| other.destination == route.destination)
        {
            Some(same) if same == route => {}
            Some(_) => replace_route(aws, id, route).await?,
            None => create_route(aws, id, route).await?,
        }
    }
    for subnet in &desired.subnets {
        if !current.subnets.contains(subnet) {
            associate(aws, id, known(subnet)?).await?;
        }
    }
    for route in &current.routes {
        if !desired
            .routes
            .iter()
            .any(|other| other.destination == route.destination)
        {
            delete_route(aws, id, route).await?;
        }
    }
    let left = |subnet: &Input<SubnetId>| !desired.subnets.contains(subnet);
    if current.subnets.iter().any(left) {
        release(aws, id, |subnet| left(&input(subnet))).await?;
    }
    Ok(())
}

/// Either the internet gateway's id or the NAT gateway's.
fn target(route: &Route) -> Result<(Option<String>, Option<String>)> {
    Ok(match &route.via {
        RouteTarget::InternetGateway(id) => (Some(known(id)?.to_string()), None),
        RouteTarget::NatGateway(id) => (None, Some(known(id)?.to_string())),
    })
}

async fn create_route(aws: &Aws, id: &RouteTableId, route: &Route) -> Result<()> {
    let (gateway, nat_gateway) = target(route)?;
    ec2(aws)
        .create_route()
        .route_table_id(id.as_ref())
        .destination_cidr_block(route.destination.to_string())
        .set_gateway_id(gateway)
        .set_nat_gateway_id(nat_gateway)
        .send()
        .await
        .map_err(during("ec2:CreateRoute"))?;
    Ok(())
}

async fn replace_route(aws: &Aws, id: &RouteTableId, route: &Route) -> Result<()> {
    let (gateway, nat_gateway) = target(route)?;
    ec2(aws)
        .replace_route()
        .route_table_id(id.as_ref())
        .destination_cidr_block(route.destination.to_string())
        .set_gateway_id(gateway)
        .set_nat_gateway_id(nat_gateway)
        .send()
        .await
        .map_err(during("ec2:ReplaceRoute"))?;
    Ok(())
}

async fn delete_route(aws: &Aws, id: &RouteTableId, route: &Route) -> Result<()> {
    ec2(aws)
        .delete_route()
        .route_table_id(id.as_ref())
        .destination_cidr_block(route.destination.to_string())
        .send()
        .await
        .map_err(during("ec2:DeleteRoute"))?;
    Ok(())
}

/// Associates a subnet; a subnet with another table is moved in one call, without the main table in
/// between.
async fn associate(aws: &Aws, id: &RouteTableId, subnet: &str) -> Result<()> {
    let outcome = ec2(aws)
        .associate_route_table()
        .route_table_id(id.as_ref())
        .subnet_id(subnet)
        .send()
        .await
        .map_err(during("ec2:AssociateRouteTable"));
    let refused = match outcome {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
        outcome => return outcome.map(|_| ()),
    };
    let by_subnet = filter("association.subnet-id", [subnet]);
    let tables = describe(aws, ResourceFilter::Passing(vec![by_subnet])).await?;
    let association = tables
        .iter()
        .flat_map(|table| table.associations())
        .find(|association| association.subnet_id() == Some(subnet))
        .ok_or(refused)?;
    if association.route_table_id() == Some(id.as_ref()) {
        return Ok(());
    }
    ec2(aws)
        .replace_route_table_association()
        .route_table_id(id.as_ref())
        .set_association_id(association.route_table_association_id.clone())
        .send()
        .await
        .map_err(during("ec2:ReplaceRouteTableAssociation"))?;
    Ok(())
}

/// Returns subnets to the VPC's main table.
async fn release(
    aws: &Aws,
    id: &RouteTableId,
    which: impl Fn(&str) -> bool + Send + Sync,
) -> Result<()> {
    let Associations(associations) = match aws.take_note(id.as_ref()) {
        Some(noted) => noted,
        None => {
            if_there(describe(aws, ResourceFilter::Only(id.to_string())).await)?;
            let shown = aws.take_note(id.as_ref());
            shown.unwrap_or(Associations(Vec::new()))
        }
    };
    for association in associations {
        if !association.subnet_id().is_some_and(&which) {
            continue;
        }
        let outcome = ec2(aws)
            .disassociate_route_table()
            .set_association_id(association.route_table_association_id)
            .send()
            .await
            .map_err(during("ec2:DisassociateRouteTable"));
        unless(ErrorKind::NotFound, outcome)?;
    }
    Ok(())
}
