//! Rules and set elements in the kernel's own form: loads into registers, comparisons, verdicts.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink_bindings::nftables::{
    CmpOps, CtKeys, MetaKeys, PayloadBase, PushDataAttrs, PushExprAttrs, PushExprListAttrs,
    PushSetelemListElemAttrs, RangeOps, Registers, VerdictCode,
};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils;
use nix::libc;

use crate::netlink::ruleset::{Action, ConnectionState, Field, Key, Match, Rule, Value, Verdict};

/// The register that all expressions of this module use.
const REGISTER: u32 = Registers::Reg1 as u32;

/// The expressions of a rule, as the content of its attribute.
pub(super) fn encode(rule: &Rule) -> Vec<u8> {
    let mut expressions = Expressions(Vec::new());
    for condition in &rule.matches {
        expressions.condition(condition);
    }
    expressions.action(&rule.action);
    expressions.0
}

/// The elements of a set, as the content of the attribute.
pub(super) fn encode_elements(elements: &[(&Key, &Option<Value>)]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for (key, value) in elements {
        let element = PushSetelemListElemAttrs::new(&mut buffer).nested_elem();
        let element = element
            .nested_key()
            .push_value(&key_bytes(**key))
            .end_nested();
        match value {
            None => {}
            Some(Value::Verdict(verdict)) => push_verdict(element.nested_data(), verdict),
            Some(Value::Address(address)) => {
                element.nested_data().push_value(&address.octets());
            }
            Some(Value::Mark(mark)) => {
                element.nested_data().push_value(&mark.to_ne_bytes());
            }
        }
    }
    buffer
}

fn key_bytes(key: Key) -> [u8; 4] {
    match key {
        Key::Link(number) | Key::Group(number) => number.to_ne_bytes(),
        Key::Address(address) => address.octets(),
        // NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h.
        Key::State(ConnectionState::Invalid) => 1_u32.to_ne_bytes(),
        Key::State(ConnectionState::Established) => 2_u32.to_ne_bytes(),
        Key::State(ConnectionState::Related) => 4_u32.to_ne_bytes(),
    }
}

fn push_verdict<P: Pusher>(data: PushDataAttrs<P>, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (VerdictCode::Accept, None),
        Verdict::Drop => (VerdictCode::Drop, None),
        Verdict::Return => (VerdictCode::Return, None),
        Verdict::Jump(chain) => (VerdictCode::Jump, Some(chain)),
        Verdict::Goto(chain) => (VerdictCode::Goto, Some(chain)),
    };
    let verdict = data.nested_verdict().push_code(code as u32);
    if let Some(chain) = chain {
        verdict.push_chain_bytes(chain.as_bytes());
    }
}

/// The encoder of a rule's expressions.
struct Expressions(Vec<u8>);

impl Expressions {
    fn next(&mut self) -> PushExprAttrs<PushExprListAttrs<&mut Vec<u8>>> {
        PushExprListAttrs::new(&mut self.0).nested_elem()
    }

    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::Is(field, number) => {
                self.load(*field);
                self.compare(CmpOps::Eq, &number.to_ne_bytes());
            }
            Match::IsNot(field, address) => {
                self.load(*field);
                self.compare(CmpOps::Neq, &address.octets());
            }
            Match::In(field, network) => self.network(*field, *network),
            Match::InSet(field, set) => {
                self.load(*field);
                self.look_up(set, None);
            }
            Match::Protocol(number) => {
                self.meta(MetaKeys::L4Proto);
                self.compare(CmpOps::Eq, &[*number]);
            }
            Match::Ports(ports) => {
                self.payload(PayloadBase::TransportHeader, 2, 2);
                let (low, high) = (ports.start().to_be_bytes(), ports.end().to_be_bytes());
                if low == high {
                    self.compare(CmpOps::Eq, &low);
                } else {
                    let range = self.next().nested_data_range();
                    let range = range.push_sreg(REGISTER).push_op(RangeOps::Eq as u32);
                    let range = range.nested_from_data().push_value(&low).end_nested();
                    range.nested_to_data().push_value(&high);
                }
            }
            Match::IcmpType(number) => {
                self.payload(PayloadBase::TransportHeader, 0, 1);
                self.compare(CmpOps::Eq, &[*number]);
            }
            Match::IcmpCode(number) => {
                self.payload(PayloadBase::TransportHeader, 1, 1);
                self.compare(CmpOps::Eq, &[*number]);
            }
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Verdict(verdict) => {
                let immediate = self.next().nested_data_immediate();
                let immediate = immediate.push_dreg(Registers::RegVerdict as u32);
                push_verdict(immediate.nested_data(), verdict);
            }
            Action::Dispatch(field, map) => {
                self.load(*field);
                self.look_up(map, Some(Registers::RegVerdict as u32));
            }
            Action::TranslateDestination(map) => {
                self.load(Field::Destination);
                self.look_up(map, Some(REGISTER));
                self.translate(NFT_NAT_DNAT);
            }
            Action::TranslateSource(map) => {
                self.load(Field::Source);
                self.look_up(map, Some(REGISTER));
                self.translate(NFT_NAT_SNAT);
            }
            Action::TranslateSourceTo(address) => {
                let immediate = self.next().nested_data_immediate().push_dreg(REGISTER);
                immediate.nested_data().push_value(&address.octets());
                self.translate(NFT_NAT_SNAT);
            }
            Action::Mark(field, map) => {
                self.load(*field);
                self.look_up(map, Some(REGISTER));
                self.next()
                    .nested_data_meta()
                    .push_key(MetaKeys::Mark as u32)
                    .push_sreg(REGISTER);
            }
        }
    }

    /// Loads a field of four bytes.
    fn load(&mut self, field: Field) {
        match field {
            Field::IncomingLink => self.meta(MetaKeys::Iif),
            Field::OutgoingLink => self.meta(MetaKeys::Oif),
            Field::IncomingGroup => self.meta(MetaKeys::Iifgroup),
            Field::OutgoingGroup => self.meta(MetaKeys::Oifgroup),
            Field::Source | Field::Destination => {
                self.payload(PayloadBase::NetworkHeader, address_offset(field), 4);
            }
            Field::State => {
                self.next()
                    .nested_data_ct()
                    .push_dreg(REGISTER)
                    .push_key(CtKeys::State as u32);
            }
        }
    }

    fn meta(&mut self, key: MetaKeys) {
        self.next()
            .nested_data_meta()
            .push_dreg(REGISTER)
            .push_key(key as u32);
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, length: u32) {
        self.next()
            .nested_data_payload()
            .push_dreg(REGISTER)
            .push_base(base as u32)
            .push_offset(offset)
            .push_len(length);
    }

    fn compare(&mut self, operation: CmpOps, value: &[u8]) {
        self.next()
            .nested_data_cmp()
            .push_sreg(REGISTER)
            .push_op(operation as u32)
            .nested_data()
            .push_value(value);
    }

    /// Matches the leading bits of an address.
    fn network(&mut self, field: Field, network: Ipv4Net) {
        if network.prefix_len() == 0 {
            return;
        }
        let value = network.network().octets();
        let whole = usize::from(network.prefix_len() / 8);
        if network.prefix_len().is_multiple_of(8) {
            let offset = address_offset(field);
            self.payload(PayloadBase::NetworkHeader, offset, whole as u32);
            self.compare(CmpOps::Eq, &value[..whole]);
            return;
        }
        self.load(field);
        let bits = self.next().nested_data_bitwise();
        let bits = bits.push_sreg(REGISTER).push_dreg(REGISTER).push_len(4);
        let mask = network.netmask().octets();
        let bits = bits.nested_mask().push_value(&mask).end_nested();
        bits.nested_xor()
            .push_value(&Ipv4Addr::UNSPECIFIED.octets());
        self.compare(CmpOps::Eq, &value);
    }

    /// Looks the register up in a set, or writes a map's value for it to `to`.
    fn look_up(&mut self, set: &str, to: Option<u32>) {
        let mut lookup = self
            .next()
            .nested_data_lookup()
            .push_set_bytes(set.as_bytes());
        // For these two, netlink-bindings 0.3.5 has other numbers than linux/netfilter/nf_tables.h.
        let message = lookup.as_vec_mut();
        utils::push_header(message, NFTA_LOOKUP_SREG, 4);
        message.extend(REGISTER.to_be_bytes());
        if let Some(register) = to {
            utils::push_header(message, NFTA_LOOKUP_DREG, 4);
            message.extend(register.to_be_bytes());
        }
    }

    /// Translates to the address in the register.
    fn translate(&mut self, kind: u32) {
        self.next()
            .nested_data_nat()
            .push_type(kind)
            .push_family(libc::AF_INET as u32)
            .push_reg_addr_min(REGISTER);
    }
}

/// Attributes of a lookup (`linux/netfilter/nf_tables.h`).
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;

/// `NFT_NAT_SNAT` and `NFT_NAT_DNAT` of `linux/netfilter/nf_tables.h`.
const NFT_NAT_SNAT: u32 = 0;
const NFT_NAT_DNAT: u32 = 1;

/// The offset of an address in the IPv4 header.
fn address_offset(field: Field) -> u32 {
    if field == Field::Source { 12 } else { 16 }
}
