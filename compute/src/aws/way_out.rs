//! Instances that no route leads out of their subnets cannot pull their image.
//!
//! ECR is outside of the VPC: its API is reached through NAT or interface endpoints, and the gateway endpoint of S3
//! serves the layers alone. <https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html>

use std::collections::BTreeSet;

use landfall_provider::{Error, ErrorKind, Key, Plan, kind};
use serde_json::Value;

use super::check::{Specs, list};

/// A finding for each group whose instances have no way out, when the plan is carried out.
pub(super) fn findings(plan: &Plan) -> Vec<Error> {
    let specs = Specs::of(plan);
    let mut found: Vec<(&Key, BTreeSet<String>)> = Vec::new();
    for (key, group) in specs.named(kind::AUTOSCALING_GROUP) {
        let closed: BTreeSet<String> = list(&group["subnets"])
            .filter_map(|subnet| Some(specs.find(subnet)?.0))
            .filter(|subnet| is_closed(&specs, subnet))
            .map(ToString::to_string)
            .collect();
        if !closed.is_empty() && found.iter().all(|(known, _)| *known != key) {
            found.push((key, closed));
        }
    }
    let errors = found.into_iter().map(|(key, closed)| {
        let closed: Vec<String> = closed.into_iter().collect();
        let why = format_args!(
            "{key}: its instances cannot pull their image: no route leads out of {}",
            closed.join(", ")
        );
        Error::new(ErrorKind::Invalid, why)
            .hint("in [network], nat = \"single\" or nat = \"per-zone\": ECR is reached through a NAT gateway")
    });
    errors.collect()
}

/// Whether the subnet's route table is known, and has no route but the VPC's own.
fn is_closed(specs: &Specs<'_>, subnet: &Key) -> bool {
    let tables = specs.named(kind::ROUTE_TABLE).map(|(_, table)| table);
    let mut of_subnet = tables
        .filter(|table| list(&table["subnets"]).any(|one| specs.is(one, subnet)))
        .peekable();
    of_subnet.peek().is_some() && of_subnet.all(has_no_routes)
}

fn has_no_routes(table: &Value) -> bool {
    list(&table["routes"]).next().is_none()
}

#[cfg(test)]
mod tests {
    use landfall_provider::{Action, Step};
    use serde_json::json;

    use super::*;

    fn plan(routes: &Value) -> Plan {
        let create = |key: &str, desired: Value| Step {
            key: key.parse().unwrap(),
            action: Action::Create {
                desired,
                because: None,
            },
            after: Vec::new(),
        };
        let steps = vec![
            create("subnet/private-a", json!({ "zone": "eu-central-1a" })),
            create(
                "route-table/private-a",
                json!({ "routes": routes, "subnets": ["${subnet/private-a}"] }),
            ),
            create(
                "autoscaling-group/web",
                json!({ "subnets": ["${subnet/private-a}"], "template": "${launch-template/web}" }),
            ),
        ];
        Plan {
            stack: "digipay".parse().unwrap(),
            steps,
        }
    }

    #[test]
    fn group_without_a_way_out_is_refused() {
        let found = findings(&plan(&json!([])));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "autoscaling-group/web: its instances cannot pull their image: no route leads out of subnet/private-a"
            ]
        );
        assert!(found[0].hint_text().unwrap().contains("nat = \"single\""));
    }

    #[test]
    fn group_behind_nat_is_fine() {
        let routes =
            json!([{ "destination": "0.0.0.0/0", "via": { "nat-gateway": "${nat-gateway/a}" } }]);
        assert!(findings(&plan(&routes)).is_empty());
    }
}
