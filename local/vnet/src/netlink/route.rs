//! Links, addresses, neighbours, routes and policy rules.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;
use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, IfinfoFlags, Ifinfomsg};
use netlink_bindings::rt_neigh::{self, Ndmsg};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_bindings::rt_rule::{self, FibRuleHdr, FrAct};
use netlink_bindings::traits::{NetlinkRequest, Pusher};
use netlink_bindings::utils;
use nix::libc;

use super::{Error, Netlink, Result};

/// The index of the loopback link in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// The main routing table.
pub(crate) const MAIN: u32 = 254;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One end of a pair of virtual Ethernet links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Its index, chosen by the layout and unique in its namespace.
    pub(crate) index: u32,
    /// Its name, at most 15 bytes.
    pub(crate) name: String,
    /// Its Ethernet address.
    pub(crate) mac: Mac,
    /// The group of links it belongs to; 0 is the kernel's default.
    pub(crate) group: u32,
}

/// The next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    /// Packets are dropped without a response.
    Blackhole,
    /// A host that is directly on this link.
    Link(u32),
    /// A gateway on this link, independent of the link's own addresses.
    Gateway(u32, Ipv4Addr),
}

impl Hop {
    /// The outgoing link.
    pub(crate) fn link(self) -> Option<u32> {
        match self {
            Self::Blackhole => None,
            Self::Link(index) | Self::Gateway(index, _) => Some(index),
        }
    }
}

/// A route without its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    /// The next hop.
    pub(crate) hop: Hop,
    /// The source address of local sockets.
    pub(crate) source: Option<Ipv4Addr>,
}

/// The packets that a policy rule selects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Select {
    /// All packets.
    All,
    /// Packets from the link with this name.
    Incoming(String),
    /// Packets with this mark.
    Mark(u32),
}

/// A policy rule: the routing table for selected packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyRule {
    /// Its order; lower comes first.
    pub(crate) priority: u32,
    /// The selected packets.
    pub(crate) select: Select,
    /// The table; `None` is a black hole.
    pub(crate) table: Option<u32>,
}

impl Netlink {
    /// Sends a request and waits for the kernel's acknowledgement.
    fn acknowledge(
        &mut self,
        request: &impl NetlinkRequest,
        doing: impl Fn() -> String,
    ) -> Result<()> {
        self.socket
            .request(request)
            .map_err(|error| Error::io(doing(), &error))?
            .recv_ack()
            .map_err(|error| Error::new(doing(), error))
    }

    /// Brings a link up.
    pub(crate) fn set_link_up(&mut self, index: u32) -> Result<()> {
        let header = Ifinfomsg {
            ifi_index: index.cast_signed(),
            ifi_flags: IfinfoFlags::Up as u32,
            ifi_change: IfinfoFlags::Up as u32,
            ..Ifinfomsg::new()
        };
        let request = rt_link::Request::new().op_setlink_do(&header);
        self.acknowledge(&request, || format!("bring link {index} up"))
    }

    /// Adds a pair of links: one end here, up; the other in another namespace, still down.
    pub(crate) fn add_veth(
        &mut self,
        here: &End,
        there: &End,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let doing = || format!("add link {} with its peer {}", here.name, there.name);
        let mut request = rt_link::Request::new()
            .set_create()
            .set_excl()
            .op_newlink_do(&link_header(here, IfinfoFlags::Up as u32));
        {
            let attributes = push_end(request.encode(), here);
            let mut information = attributes.nested_linkinfo().push_kind(c"veth");
            // The bindings do not know the data of this link type: IFLA_INFO_DATA contains VETH_INFO_PEER, and that
            // contains a complete link message.
            let message = information.as_vec_mut();
            let data = utils::push_nested_header(message, IFLA_INFO_DATA);
            let peer = utils::push_nested_header(message, VETH_INFO_PEER);
            // A peer cannot come up before its counterpart exists.
            message.extend_from_slice(link_header(there, 0).as_slice());
            let descriptor = namespace.as_raw_fd().cast_unsigned();
            push_end(rt_link::PushLinkAttrs::new(&mut *message), there).push_net_ns_fd(descriptor);
            utils::finalize_nested_header(message, peer);
            utils::finalize_nested_header(message, data);
        }
        self.acknowledge(&request, doing)
    }

    /// Whether a link that is up sends packets.
    ///
    /// It starts to send shortly after its peer came up; until then it drops packets.
    pub(crate) fn is_sending(&mut self, index: u32) -> Result<bool> {
        let doing = || format!("look at link {index}");
        let header = Ifinfomsg {
            ifi_index: index.cast_signed(),
            ..Ifinfomsg::new()
        };
        let request = rt_link::Request::new().op_getlink_do(&header);
        let mut reply = self
            .socket
            .request(&request)
            .map_err(|error| Error::io(doing(), &error))?;
        let (_, attributes) = reply
            .recv_one()
            .map_err(|error| Error::new(doing(), error))?;
        Ok(attributes
            .get_operstate()
            .is_ok_and(|state| state == IF_OPER_UP))
    }

    /// Deletes a link, its peer, and the routes and neighbours of both.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<()> {
        let header = Ifinfomsg {
            ifi_index: index.cast_signed(),
            ..Ifinfomsg::new()
        };
        let request = rt_link::Request::new().op_dellink_do(&header);
        self.acknowledge(&request, || format!("delete link {index}"))
    }

    /// Assigns an address to a link, as a /32.
    pub(crate) fn add_address(&mut self, index: u32, address: Ipv4Addr) -> Result<()> {
        let mut request = rt_addr::Request::new()
            .set_create()
            .set_excl()
            .op_newaddr_do(&address_header(index));
        request
            .encode()
            .push_local(address.into())
            .push_address(address.into());
        self.acknowledge(&request, || {
            format!("add address {address} to link {index}")
        })
    }

    /// Removes an address from a link; the kernel also deletes the routes with that source.
    pub(crate) fn delete_address(&mut self, index: u32, address: Ipv4Addr) -> Result<()> {
        let mut request = rt_addr::Request::new().op_deladdr_do(&address_header(index));
        request.encode().push_local(address.into());
        self.acknowledge(&request, || {
            format!("delete address {address} from link {index}")
        })
    }

    /// Sets the permanent Ethernet address of a neighbour on a link.
    pub(crate) fn set_neighbour(&mut self, index: u32, address: Ipv4Addr, mac: Mac) -> Result<()> {
        let header = Ndmsg {
            ndm_family: libc::AF_INET as u8,
            ndm_ifindex: index.cast_signed(),
            ndm_state: rt_neigh::NudState::Permanent as u16,
            ..Ndmsg::new()
        };
        let mut request = rt_neigh::Request::new()
            .set_create()
            .set_replace()
            .op_newneigh_do(&header);
        request
            .encode()
            .push_dst(address.into())
            .push_lladdr(&mac.0);
        self.acknowledge(&request, || {
            format!("add neighbour {address} on link {index}")
        })
    }

    /// Adds a route, or replaces the one with the same destination.
    pub(crate) fn set_route(&mut self, table: u32, to: Ipv4Net, route: Route) -> Result<()> {
        let header = route_header(to, route);
        let mut request = rt_route::Request::new()
            .set_create()
            .set_replace()
            .op_newroute_do(&header);
        push_route(request.encode(), table, to, route);
        self.acknowledge(&request, || format!("add route to {to} in table {table}"))
    }

    /// Deletes a route.
    pub(crate) fn delete_route(&mut self, table: u32, to: Ipv4Net, route: Route) -> Result<()> {
        let mut request = rt_route::Request::new().op_delroute_do(&route_header(to, route));
        push_route(request.encode(), table, to, route);
        self.acknowledge(&request, || {
            format!("delete route to {to} from table {table}")
        })
    }

    /// Adds a policy rule.
    pub(crate) fn add_rule(&mut self, rule: &PolicyRule) -> Result<()> {
        let mut request = rt_rule::Request::new()
            .set_create()
            .set_excl()
            .op_newrule_do(&rule_header(rule));
        push_rule(request.encode(), rule);
        self.acknowledge(&request, || format!("add policy rule {}", rule.priority))
    }

    /// Deletes a policy rule.
    pub(crate) fn delete_rule(&mut self, rule: &PolicyRule) -> Result<()> {
        let mut request = rt_rule::Request::new().op_delrule_do(&rule_header(rule));
        push_rule(request.encode(), rule);
        self.acknowledge(&request, || format!("delete policy rule {}", rule.priority))
    }
}

/// `IFLA_INFO_DATA` of `linux/if_link.h`.
const IFLA_INFO_DATA: u16 = 2;

/// `IF_OPER_UP` of `linux/if.h`: set together with the queue that sends.
const IF_OPER_UP: u8 = 6;

/// `VETH_INFO_PEER` of `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;

fn link_header(end: &End, flags: u32) -> Ifinfomsg {
    Ifinfomsg {
        ifi_index: end.index.cast_signed(),
        ifi_flags: flags,
        ifi_change: flags,
        ..Ifinfomsg::new()
    }
}

fn push_end<P: Pusher>(
    attributes: rt_link::PushLinkAttrs<P>,
    end: &End,
) -> rt_link::PushLinkAttrs<P> {
    attributes
        .push_ifname_bytes(end.name.as_bytes())
        .push_address(&end.mac.0)
        .push_group(end.group)
}

fn address_header(index: u32) -> Ifaddrmsg {
    Ifaddrmsg {
        ifa_family: libc::AF_INET as u8,
        ifa_prefixlen: 32,
        ifa_index: index,
        ..Ifaddrmsg::new()
    }
}

fn route_header(to: Ipv4Net, route: Route) -> Rtmsg {
    let (kind, scope, flags) = match route.hop {
        Hop::Blackhole => (libc::RTN_BLACKHOLE, libc::RT_SCOPE_UNIVERSE, 0),
        Hop::Link(_) => (libc::RTN_UNICAST, libc::RT_SCOPE_LINK, 0),
        Hop::Gateway(..) => (libc::RTN_UNICAST, libc::RT_SCOPE_UNIVERSE, RTNH_F_ONLINK),
    };
    Rtmsg {
        rtm_family: libc::AF_INET as u8,
        rtm_dst_len: to.prefix_len(),
        rtm_protocol: libc::RTPROT_STATIC,
        rtm_scope: scope,
        rtm_type: kind,
        rtm_flags: flags,
        ..Rtmsg::new()
    }
}

/// The gateway is on the link, even if no address of the link says so (`linux/rtnetlink.h`).
const RTNH_F_ONLINK: u32 = 4;

fn push_route<P: Pusher>(
    attributes: rt_route::PushRouteAttrs<P>,
    table: u32,
    to: Ipv4Net,
    route: Route,
) {
    let mut attributes = attributes.push_table(table).push_dst(to.addr().into());
    if let Some(source) = route.source {
        attributes = attributes.push_prefsrc(source.into());
    }
    match route.hop {
        Hop::Blackhole => {}
        Hop::Link(index) => {
            attributes.push_oif(index);
        }
        Hop::Gateway(index, gateway) => {
            attributes.push_oif(index).push_gateway(gateway.into());
        }
    }
}

fn rule_header(rule: &PolicyRule) -> FibRuleHdr {
    let action = match rule.table {
        Some(_) => FrAct::ToTbl,
        None => FrAct::Blackhole,
    };
    FibRuleHdr {
        family: libc::AF_INET as u8,
        action: action as u8,
        ..FibRuleHdr::new()
    }
}

fn push_rule<P: Pusher>(attributes: rt_rule::PushFibRuleAttrs<P>, rule: &PolicyRule) {
    let mut attributes = attributes.push_priority(rule.priority);
    if let Some(table) = rule.table {
        attributes = attributes.push_table(table);
    }
    match &rule.select {
        Select::All => {}
        Select::Incoming(name) => {
            attributes.push_iifname_bytes(name.as_bytes());
        }
        Select::Mark(mark) => {
            attributes.push_fwmark(*mark);
        }
    }
}
