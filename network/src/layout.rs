//! The address layout: divides a VPC's block among zones, as a pure function of the block and the
//! number of zones.

use ipnet::Ipv4Net;
use landfall_provider::Zone;

use crate::traffic::Direction;

/// The maximum number of zones of a network; no AWS region has more.
pub const MAX_ZONES: usize = 6;

/// The longest prefix of a public subnet: a balancer needs at least a /27 with 8 free addresses.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets-load-balancer>
const SMALLEST_PUBLIC: u8 = 27;

/// The longest prefix of a private subnet: one size above that of a public one.
///
/// AWS itself would allow a /28: <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
const SMALLEST_PRIVATE: u8 = SMALLEST_PUBLIC - 1;

/// The subnets of a VPC, one public and one private per zone, indexed by zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The subnets with a route to and from the internet: balancer nodes, NAT gateways, the
    /// bastion.
    pub public: Vec<Ipv4Net>,
    /// The subnets of the instances.
    pub private: Vec<Ipv4Net>,
}

/// Divides a VPC's block among 1 to [`MAX_ZONES`] zones.
///
/// A private subnet is an eighth of the VPC, a public one a sixty-fourth: instances are created and
/// deleted by the dozen, while a public subnet holds a few nodes and gateways. A /16 (65,536
/// addresses) is divided into private /19s (8,192 each) and public /22s (1,024 each), and a sixth
/// of the block stays free. In small VPCs a public subnet is never smaller than a /27, a private
/// one never smaller than a /26.
///
/// The private subnets start at the block's first address. The public ones follow after space for
/// the maximum number of private ones. So no subnet depends on the number of zones, and a zone that
/// is added later moves no subnet.
///
/// ```
/// use landfall_network::layout;
///
/// let two = layout("10.0.0.0/16".parse()?, 2)?;
/// assert_eq!(two.private, ["10.0.0.0/19".parse()?, "10.0.32.0/19".parse()?]);
/// assert_eq!(two.public, ["10.0.192.0/22".parse()?, "10.0.196.0/22".parse()?]);
///
/// let three = layout("10.0.0.0/16".parse()?, 3)?;
/// assert_eq!(three.private[..2], two.private);
/// assert_eq!(three.public[..2], two.public);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`LayoutError`] when the number of zones or the block is not valid for a VPC, or when the block
/// is too small for the number of zones; the error then names the smallest sufficient block.
pub fn layout(cidr: Ipv4Net, zones: usize) -> Result<Layout, LayoutError> {
    if !(1..=MAX_ZONES).contains(&zones) {
        return Err(LayoutError::Zones(zones));
    }
    check_vpc(cidr)?;
    let holds = capacity(cidr.prefix_len());
    if zones > holds {
        let smallest = (16..cidr.prefix_len())
            .rev()
            .find(|&len| capacity(len) >= zones)
            .and_then(|len| Ipv4Net::new(cidr.network(), len).ok())
            .map_or(cidr, |net| net.trunc());
        return Err(LayoutError::TooSmall {
            cidr,
            zones,
            holds,
            smallest,
        });
    }
    let (private, public) = sizes(cidr.prefix_len());
    let behind_private = u32::try_from(holds).unwrap_or(0) << (32 - private);
    Ok(Layout {
        public: blocks(cidr, behind_private, public, zones),
        private: blocks(cidr, 0, private, zones),
    })
}

/// Checks that a VPC can have this block.
fn check_vpc(cidr: Ipv4Net) -> Result<(), LayoutError> {
    if cidr != cidr.trunc() {
        return Err(LayoutError::HostBits {
            cidr,
            network: cidr.trunc(),
        });
    }
    if !(16..=28).contains(&cidr.prefix_len()) {
        return Err(LayoutError::VpcSize(cidr));
    }
    let first = cidr.network();
    if first.octets()[0] == 0
        || first.is_loopback()
        || first.is_link_local()
        || first.octets()[0] >= 224
    {
        return Err(LayoutError::NotForHosts(cidr));
    }
    Ok(())
}

/// The prefix lengths of a private and a public subnet in a VPC with this prefix length.
fn sizes(vpc: u8) -> (u8, u8) {
    (
        (vpc + 3).min(SMALLEST_PRIVATE),
        (vpc + 6).min(SMALLEST_PUBLIC),
    )
}

/// The number of zones, each with both of its subnets, that fit into a VPC with this prefix length.
fn capacity(vpc: u8) -> usize {
    let (private, public) = sizes(vpc);
    let addresses = |len: u8| 1_usize << (32 - len);
    (addresses(vpc) / (addresses(private) + addresses(public))).min(MAX_ZONES)
}

/// `count` consecutive blocks of the same size. They lie inside the VPC, whose last address is an
/// IPv4 address.
fn blocks(vpc: Ipv4Net, offset: u32, len: u8, count: usize) -> Vec<Ipv4Net> {
    (u32::from(vpc.network()) + offset..)
        .step_by(1 << (32 - len))
        .take(count)
        .filter_map(|first| Ipv4Net::new(first.into(), len).ok())
        .collect()
}

/// The reason why a network has no valid layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not 1 to 6 zones.
    #[error("a network spans 1 to {MAX_ZONES} zones, not {0}")]
    Zones(usize),
    /// Two zones whose names end in the same letter: their subnets would have the same names.
    #[error("{0} and {1} have the same letter: what is made per zone is named after it")]
    SameLetter(Zone, Zone),
    /// The address is not the network's first one.
    #[error("{cidr} has host bits set; the network is {network}")]
    HostBits {
        /// The given block.
        cidr: Ipv4Net,
        /// The block that contains the address.
        network: Ipv4Net,
    },
    /// A size that a VPC cannot have.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>
    #[error("a VPC's block is between /16 (65,536 addresses) and /28 (16), not {0}")]
    VpcSize(Ipv4Net),
    /// Loopback, link-local, multicast or reserved addresses.
    #[error(
        "{0} are not addresses of hosts; private ones start with 10, 172.16 to 172.31, or 192.168"
    )]
    NotForHosts(Ipv4Net),
    /// The block has no space for a public and a private subnet in every zone.
    #[error(
        "{cidr} has room for {}, not for {zones}: a zone takes a /{SMALLEST_PUBLIC} and a /{SMALLEST_PRIVATE} at least; \
         the smallest block that has is {smallest}", zones_in_words(*holds)
    )]
    TooSmall {
        /// The block.
        cidr: Ipv4Net,
        /// The requested number of zones.
        zones: usize,
        /// The maximum number of zones in the block.
        holds: usize,
        /// The smallest sufficient block around this one.
        smallest: Ipv4Net,
    },
    /// The declared ports and addresses need more entries than a network ACL can have.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-nacls>
    #[error(
        "the network ACL of the {tier} subnets would need {entries} entries for {direction}, and can have {most}: \
         declare fewer ports or fewer address blocks"
    )]
    TooManyAclEntries {
        /// `public` or `private`.
        tier: &'static str,
        /// The direction with too many entries.
        direction: Direction,
        /// The required number of entries.
        entries: usize,
        /// The maximum that AWS grants on request.
        most: usize,
    },
    /// The stack already contains a resource under one of the blueprint's names.
    #[error(transparent)]
    Taken(#[from] landfall_provider::NameTaken),
}

fn zones_in_words(zones: usize) -> String {
    match zones {
        0 => "no zone".to_owned(),
        1 => "1 zone".to_owned(),
        more => format!("{more} zones"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_by_vpc() {
        let table: Vec<String> = (16..=28)
            .map(|len| {
                let (private, public) = sizes(len);
                format!("/{len}: {} × /{private} + /{public}", capacity(len))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        /16: 6 × /19 + /22
        /17: 6 × /20 + /23
        /18: 6 × /21 + /24
        /19: 6 × /22 + /25
        /20: 6 × /23 + /26
        /21: 6 × /24 + /27
        /22: 6 × /25 + /27
        /23: 5 × /26 + /27
        /24: 2 × /26 + /27
        /25: 1 × /26 + /27
        /26: 0 × /26 + /27
        /27: 0 × /26 + /27
        /28: 0 × /26 + /27
        ");
    }

    #[test]
    fn six_zones_of_the_default_block() {
        let layout = layout(net("10.0.0.0/16"), 6).unwrap();
        insta::assert_snapshot!(format!("{:?}\n{:?}", layout.private, layout.public), @r"
        [10.0.0.0/19, 10.0.32.0/19, 10.0.64.0/19, 10.0.96.0/19, 10.0.128.0/19, 10.0.160.0/19]
        [10.0.192.0/22, 10.0.196.0/22, 10.0.200.0/22, 10.0.204.0/22, 10.0.208.0/22, 10.0.212.0/22]
        ");
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let refusals: Vec<String> = [
            ("10.0.0.0/16", 0),
            ("10.0.0.0/16", 7),
            ("10.0.0.1/16", 2),
            ("10.1.2.3/24", 2),
            ("10.0.0.0/15", 2),
            ("10.0.0.0/29", 1),
            ("10.0.0.0/28", 1),
            ("10.0.3.0/24", 3),
            ("10.0.3.128/25", 2),
            ("10.0.2.0/23", 6),
            ("127.0.0.0/16", 2),
            ("169.254.0.0/16", 2),
            ("224.0.0.0/16", 2),
            ("0.0.0.0/16", 2),
        ]
        .map(|(cidr, zones)| layout(net(cidr), zones).unwrap_err().to_string())
        .into();
        insta::assert_snapshot!(refusals.join("\n"), @r"
        a network spans 1 to 6 zones, not 0
        a network spans 1 to 6 zones, not 7
        10.0.0.1/16 has host bits set; the network is 10.0.0.0/16
        10.1.2.3/24 has host bits set; the network is 10.1.2.0/24
        a VPC's block is between /16 (65,536 addresses) and /28 (16), not 10.0.0.0/15
        a VPC's block is between /16 (65,536 addresses) and /28 (16), not 10.0.0.0/29
        10.0.0.0/28 has room for no zone, not for 1: a zone takes a /27 and a /26 at least; the smallest block that has is 10.0.0.0/25
        10.0.3.0/24 has room for 2 zones, not for 3: a zone takes a /27 and a /26 at least; the smallest block that has is 10.0.2.0/23
        10.0.3.128/25 has room for 1 zone, not for 2: a zone takes a /27 and a /26 at least; the smallest block that has is 10.0.3.0/24
        10.0.2.0/23 has room for 5 zones, not for 6: a zone takes a /27 and a /26 at least; the smallest block that has is 10.0.0.0/22
        127.0.0.0/16 are not addresses of hosts; private ones start with 10, 172.16 to 172.31, or 192.168
        169.254.0.0/16 are not addresses of hosts; private ones start with 10, 172.16 to 172.31, or 192.168
        224.0.0.0/16 are not addresses of hosts; private ones start with 10, 172.16 to 172.31, or 192.168
        0.0.0.0/16 are not addresses of hosts; private ones start with 10, 172.16 to 172.31, or 192.168
        ");
    }

    #[test]
    fn the_last_block_of_all_does_not_overflow() {
        assert!(layout(net("223.255.0.0/16"), 6).is_ok());
    }

    prop_compose! {
        fn vpc()(address in any::<u32>(), len in 16_u8..=28) -> Ipv4Net {
            Ipv4Net::new(address.into(), len).unwrap().trunc()
        }
    }

    proptest! {
        #[test]
        fn a_layout_is_sound(cidr in vpc(), zones in 1..=MAX_ZONES) {
            match layout(cidr, zones) {
                Ok(Layout { public, private }) => {
                    prop_assert_eq!((public.len(), private.len()), (zones, zones));
                    let all: Vec<_> = public.iter().chain(&private).collect();
                    for (index, one) in all.iter().enumerate() {
                        prop_assert!(cidr.contains(*one), "{one} outside {cidr}");
                        prop_assert_eq!(**one, one.trunc());
                        prop_assert!(one.prefix_len() <= 28);
                        for other in &all[index + 1..] {
                            prop_assert!(!one.contains(*other) && !other.contains(*one), "{one} overlaps {other}");
                        }
                    }
                    for (public, private) in public.iter().zip(&private) {
                        prop_assert!(public.prefix_len() <= 27);
                        prop_assert!(private.prefix_len() < public.prefix_len());
                    }
                }
                Err(LayoutError::TooSmall { smallest, holds, .. }) => {
                    prop_assert!(holds < zones);
                    prop_assert!(smallest.contains(&cidr));
                    prop_assert!(layout(smallest, zones).is_ok());
                    let half = Ipv4Net::new(smallest.network(), smallest.prefix_len() + 1).unwrap();
                    prop_assert!(layout(half, zones).is_err(), "{half} would do");
                    if holds > 0 {
                        prop_assert!(layout(cidr, holds).is_ok());
                    }
                }
                Err(LayoutError::NotForHosts(_)) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn a_zone_more_moves_nothing(cidr in vpc(), zones in 1..MAX_ZONES) {
            if let (Ok(before), Ok(after)) = (layout(cidr, zones), layout(cidr, zones + 1)) {
                prop_assert_eq!(&after.public[..zones], &before.public[..]);
                prop_assert_eq!(&after.private[..zones], &before.private[..]);
            }
        }

        #[test]
        fn host_bits_are_refused_with_the_network(address in any::<u32>(), len in 16_u8..=28) {
            let given = Ipv4Net::new(address.into(), len).unwrap();
            prop_assume!(given != given.trunc());
            prop_assert_eq!(
                layout(given, 1),
                Err(LayoutError::HostBits { cidr: given, network: given.trunc() })
            );
        }
    }
}
