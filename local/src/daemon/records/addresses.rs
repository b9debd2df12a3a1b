//! The assignment of addresses: the first free one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The public addresses of the local cloud: TEST-NET-3, which RFC 5737 reserves for examples.
pub(crate) const PUBLIC: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24);

/// The last public address for resources; higher addresses belong to hosts on the simulated internet.
const LAST_PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 239);

/// The first free public address.
pub(crate) fn public(taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    // People take the first address for a gateway.
    PUBLIC
        .hosts()
        .skip(9)
        .take_while(|address| *address <= LAST_PUBLIC)
        .find(|address| !taken.contains(address))
}

/// The first free address of a subnet. AWS reserves the first four addresses and the last one.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
pub(crate) fn private(subnet: Ipv4Net, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    subnet
        .hosts()
        .skip(3)
        .find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_gives_its_fifth_address_first_and_never_its_last() {
        let subnet: Ipv4Net = "10.0.0.0/28".parse().unwrap();
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(address) = private(subnet, &taken) {
            taken.insert(address);
            given.push(address);
        }
        assert_eq!(given.first(), Some(&Ipv4Addr::new(10, 0, 0, 4)));
        assert_eq!(given.last(), Some(&Ipv4Addr::new(10, 0, 0, 14)));
        assert_eq!(given.len(), 11, "16 addresses less the five that are kept");
    }

    #[test]
    fn public_addresses_end_before_those_of_internet_hosts() {
        let mut taken = BTreeSet::new();
        while let Some(address) = public(&taken) {
            taken.insert(address);
        }
        assert_eq!(taken.first(), Some(&Ipv4Addr::new(203, 0, 113, 10)));
        assert_eq!(taken.last(), Some(&LAST_PUBLIC));
    }
}
