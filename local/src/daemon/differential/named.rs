//! Cases in which verdicts and packets once differed, or nearly did, each by its name.
//!
//! A case is the JSON that a failing run prints: a world and a flow. What differed is told here.

use landfall_network::reach::{Code, Reach};

use super::world::Case;
use super::{Tried, disagreements, isolated_test, shrink, verdicts};

/// Holds that a case's verdict is this one, and that packets agree with it.
fn agree(case: &str, reach: Reach, code: Option<Code>) {
    let Case { world, flow } = serde_json::from_str(case).unwrap();
    let flows = [flow];
    let verdicts = verdicts(&world, &flows);
    let block = verdicts[0].block.as_ref();
    assert_eq!(verdicts[0].reach, reach, "{block:?}");
    assert_eq!(block.map(|block| block.code), code);
    let mut tried = Tried::default();
    if let Some(wrong) = disagreements(&world, &flows, &verdicts, &mut tried).first() {
        panic!("{}", shrink::reported(&world, &flows[0], wrong));
    }
    assert!(tried.packets > 0);
}

isolated_test! {
    /// The trace let a NAT gateway's packets out through internet gateways alone. They follow the routes of
    /// its subnet like all others.
    fn a_nat_gateway_beside_an_endpoint_uses_it() {
        let case = include_str!("cases/nat_gateway_beside_an_endpoint.json");
        agree(case, Reach::All, None);
    }
}

isolated_test! {
    /// The fabric let TCP alone through an endpoint.
    /// <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>
    fn an_endpoint_carries_echoes() {
        let case = include_str!("cases/echo_through_an_endpoint.json");
        agree(case, Reach::All, None);
    }
}

isolated_test! {
    /// The local cloud put an endpoint's route over one that somebody had written for the same addresses.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>
    fn a_written_route_comes_before_an_endpoints() {
        let case = include_str!("cases/written_route_beside_an_endpoints.json");
        agree(case, Reach::Nothing, Some(Code::MoreSpecificRoute));
    }
}

isolated_test! {
    /// The trace took a private address for the name of its interface, and went there by the public one.
    fn a_private_address_is_not_reached_from_outside() {
        let case = include_str!("cases/private_address_from_outside.json");
        agree(case, Reach::Nothing, Some(Code::IgwPrivateIpAssociationForIngress));
    }
}

isolated_test! {
    /// A NAT gateway takes any port from 1024, whatever the instance behind it took: that answers to the
    /// ports of Linux come in is not enough. The fabric's gateway keeps a port where it can, so one is sent
    /// from a port that shows it.
    fn answers_to_a_nat_gateway_need_all_of_its_ports() {
        let case = include_str!("cases/nat_gateway_and_the_ports_of_linux.json");
        agree(case, Reach::Part, Some(Code::RemapEphemeralPort));
    }
}
