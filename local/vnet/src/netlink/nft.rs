//! Installs a ruleset: the difference to the current one, encoded as one nftables transaction.
//!
//! Base chains stay in place while their content changes: a replaced base chain would have no rules for a moment,
//! while packets pass it.

mod expression;

use std::collections::BTreeMap;

use netlink_bindings::nftables::{Chained, ChainedFinal, Nfgenmsg, PushSetelemListAttrs, SetFlags};
use netlink_bindings::traits::{LookupFn, NetlinkChained, Pusher};
use nix::libc;

use super::ruleset::{Base, Chain, Key, KeyType, Kind, Ruleset, Set, TABLE, Value, ValueType};
use super::{Error, Netlink, Result};

/// The number of elements in one message. An error echoes its message, which must fit a receive buffer.
const ELEMENTS_PER_MESSAGE: usize = 40;

impl Netlink {
    /// Replaces the ruleset `current` by `desired`, completely or not at all.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; the previous rules stay in force then.
    pub(crate) fn install(&mut self, current: &Ruleset, desired: &Ruleset) -> Result<()> {
        if current == desired {
            return Ok(());
        }
        let mut transaction = Transaction::new(self.socket.reserve_seq(SEQUENCE_NUMBERS));
        transaction.change(current, desired);
        let transaction = transaction.finish();
        let doing = "install the packet filter rules";
        self.socket
            .request_chained(&transaction)
            .map_err(|error| Error::io(doing, &error))?
            .recv_all()
            .map_err(|error| Error::new(doing, error))
    }
}

/// The sequence numbers reserved for one transaction. More messages do not fit its buffer.
const SEQUENCE_NUMBERS: u32 = 1 << 16;

/// A transaction in progress.
struct Transaction {
    messages: Chained<'static>,
    sets: u32,
}

impl Transaction {
    fn new(sequence: u32) -> Self {
        let mut messages = Chained::new(sequence);
        messages.request().op_batch_begin_do(&batch_header());
        Self { messages, sets: 0 }
    }

    /// Encodes all changes from one ruleset to the other, in an order without dangling references.
    fn change(&mut self, current: &Ruleset, desired: &Ruleset) {
        if *current == Ruleset::default() {
            self.messages
                .request()
                .set_create()
                .op_newtable_do(&header())
                .encode()
                .push_name_bytes(TABLE.as_bytes());
        }
        let gone_sets = differing(&current.sets, &desired.sets, |current, desired| {
            current.key != desired.key || current.value != desired.value
        });
        let gone_chains = differing(&current.chains, &desired.chains, |current, desired| {
            current.base != desired.base
        });
        let kept_set = |name: &String| current.sets.get(name).filter(|_| !gone_sets.contains(name));
        let kept_chain = |name: &String| {
            current
                .chains
                .get(name)
                .filter(|_| !gone_chains.contains(name))
        };

        for (name, chain) in &current.chains {
            let same = kept_chain(name).is_some() && desired.chains[name].rules == chain.rules;
            if !same && !chain.rules.is_empty() {
                self.flush_chain(name);
            }
        }
        for (name, set) in &current.sets {
            match kept_set(name) {
                Some(_) => {
                    let wanted = &desired.sets[name].elements;
                    let stale = set
                        .elements
                        .iter()
                        .filter(|(key, value)| wanted.get(key) != Some(value));
                    self.delete_elements(name, stale.map(|(key, _)| key));
                }
                None => self.delete_elements(name, set.elements.keys()),
            }
        }
        for name in &gone_sets {
            self.delete_set(name);
        }
        for name in &gone_chains {
            self.delete_chain(name);
        }
        for (name, chain) in &desired.chains {
            if kept_chain(name).is_none() {
                self.add_chain(name, chain.base);
            }
        }
        for (name, set) in &desired.sets {
            let kept = kept_set(name);
            if kept.is_none() {
                self.add_set(name, set);
            }
            let missing = set.elements.iter().filter(|(key, value)| {
                kept.is_none_or(|kept| kept.elements.get(key) != Some(value))
            });
            self.add_elements(name, missing);
        }
        for (name, chain) in &desired.chains {
            if kept_chain(name).is_none_or(|kept| kept.rules != chain.rules) {
                self.add_rules(name, chain);
            }
        }
        if *desired == Ruleset::default() {
            self.messages
                .request()
                .op_deltable_do(&header())
                .encode()
                .push_name_bytes(TABLE.as_bytes());
        }
    }

    fn add_chain(&mut self, name: &str, base: Option<Base>) {
        let mut request = self
            .messages
            .request()
            .set_create()
            .op_newchain_do(&header());
        let mut attributes = request
            .encode()
            .push_table_bytes(TABLE.as_bytes())
            .push_name_bytes(name.as_bytes());
        if let Some(base) = base {
            attributes = attributes
                .nested_hook()
                .push_num(base.hook as u32)
                .push_priority(base.priority)
                .end_nested();
            let policy = if base.drop { NF_DROP } else { NF_ACCEPT };
            attributes
                .push_policy(policy)
                .push_type_bytes(match base.kind {
                    Kind::Filter => b"filter",
                    Kind::Nat => b"nat",
                });
        }
    }

    fn delete_chain(&mut self, name: &str) {
        self.messages
            .request()
            .op_delchain_do(&header())
            .encode()
            .push_table_bytes(TABLE.as_bytes())
            .push_name_bytes(name.as_bytes());
    }

    /// Deletes the rules of a chain, and keeps the chain.
    fn flush_chain(&mut self, name: &str) {
        self.messages
            .request()
            .op_delrule_do(&header())
            .encode()
            .push_table_bytes(TABLE.as_bytes())
            .push_chain_bytes(name.as_bytes());
    }

    fn add_rules(&mut self, name: &str, chain: &Chain) {
        for rule in &chain.rules {
            let mut request = self
                .messages
                .request()
                .set_create()
                .set_append()
                .op_newrule_do(&header());
            request
                .encode()
                .push_table_bytes(TABLE.as_bytes())
                .push_chain_bytes(name.as_bytes())
                .nested_expressions()
                .as_vec_mut()
                .extend_from_slice(&expression::encode(rule));
        }
    }

    fn add_set(&mut self, name: &str, set: &Set) {
        self.sets += 1;
        let (key, length) = key_type(set.key);
        let flags = set.value.map_or(0, |_| SetFlags::Map as u32);
        let mut request = self.messages.request().set_create().op_newset_do(&header());
        let attributes = request
            .encode()
            .push_table_bytes(TABLE.as_bytes())
            .push_name_bytes(name.as_bytes())
            .push_flags(flags)
            .push_key_type(key)
            .push_key_len(length)
            .push_id(self.sets)
            .push_userdata(&byte_orders(set));
        if let Some(value) = set.value {
            let (kind, length) = value_type(value);
            attributes.push_data_type(kind).push_data_len(length);
        }
    }

    fn delete_set(&mut self, name: &str) {
        self.messages
            .request()
            .op_delset_do(&header())
            .encode()
            .push_table_bytes(TABLE.as_bytes())
            .push_name_bytes(name.as_bytes());
    }

    fn add_elements<'a>(
        &mut self,
        set: &str,
        elements: impl Iterator<Item = (&'a Key, &'a Option<Value>)>,
    ) {
        let elements: Vec<_> = elements.collect();
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let request = self.messages.request().set_create();
            push_elements(request.op_newsetelem_do(&header()).encode(), set, chunk);
        }
    }

    fn delete_elements<'a>(&mut self, set: &str, keys: impl Iterator<Item = &'a Key>) {
        let elements: Vec<_> = keys.map(|key| (key, &None)).collect();
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let request = self.messages.request();
            push_elements(request.op_delsetelem_do(&header()).encode(), set, chunk);
        }
    }

    fn finish(mut self) -> Finished {
        self.messages.request().op_batch_end_do(&batch_header());
        let messages = self.messages.finalize();
        let mut payload = messages.payload().to_vec();
        // Acknowledgements of all messages would overflow the socket's receive buffer, which an ordinary user cannot
        // enlarge. The kernel reports errors without a request, and before the only remaining acknowledgement: that
        // of the last message in the batch.
        let offsets = message_offsets(&payload);
        let last = messages.chain_len() - 2;
        for (position, offset) in offsets.into_iter().enumerate() {
            if position != last {
                let flags = u16::from_ne_bytes([payload[offset + 6], payload[offset + 7]])
                    & !(libc::NLM_F_ACK as u16);
                payload[offset + 6..offset + 8].copy_from_slice(&flags.to_ne_bytes());
            }
        }
        Finished {
            messages,
            payload,
            last,
        }
    }
}

/// Writes elements of a set into a message.
fn push_elements(
    attributes: PushSetelemListAttrs<&mut Vec<u8>>,
    set: &str,
    elements: &[(&Key, &Option<Value>)],
) {
    attributes
        .push_table_bytes(TABLE.as_bytes())
        .push_set_bytes(set.as_bytes())
        .nested_elements()
        .as_vec_mut()
        .extend_from_slice(&expression::encode_elements(elements));
}

/// A transaction ready to be sent.
struct Finished {
    messages: ChainedFinal<'static>,
    payload: Vec<u8>,
    /// The position of the message that is acknowledged.
    last: usize,
}

impl NetlinkChained for Finished {
    fn protonum(&self) -> u16 {
        self.messages.protonum()
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn chain_len(&self) -> usize {
        // netlink-socket2 0.3.5 treats a chain whose length is a multiple of 64 as answered in its last 64 messages,
        // before any answer has arrived.
        let length = self.messages.chain_len();
        length + usize::from(length.is_multiple_of(64))
    }

    fn get_index(&self, sequence: u32) -> Option<usize> {
        NetlinkChained::get_index(&self.messages, sequence)
    }

    fn name(&self, index: usize) -> &'static str {
        self.messages.name(index)
    }

    fn lookup(&self, index: usize) -> LookupFn {
        self.messages.lookup(index)
    }

    fn supports_ack(&self, index: usize) -> Option<bool> {
        (index < self.chain_len()).then_some(index == self.last)
    }
}

/// The offsets of the messages in a buffer.
fn message_offsets(payload: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut offset = 0;
    while let Some(length) = payload.get(offset..offset + 4) {
        offsets.push(offset);
        let length = u32::from_ne_bytes([length[0], length[1], length[2], length[3]]);
        offset += length.next_multiple_of(4) as usize;
    }
    offsets
}

/// The names in `current` that `desired` lacks, or has as something else.
fn differing<T>(
    current: &BTreeMap<String, T>,
    desired: &BTreeMap<String, T>,
    other: impl Fn(&T, &T) -> bool,
) -> Vec<String> {
    current
        .iter()
        .filter(|(name, current)| {
            desired
                .get(*name)
                .is_none_or(|desired| other(current, desired))
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Verdicts as policies (`linux/netfilter.h`).
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

fn header() -> Nfgenmsg {
    Nfgenmsg {
        nfgen_family: libc::AF_INET as u8,
        ..Nfgenmsg::new()
    }
}

fn batch_header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.set_res_id(libc::NFNL_SUBSYS_NFTABLES as u16);
    header
}

/// The user data of `nft` for its listings: 1 is the machine's byte order, 2 the network's.
///
/// Records of type, length and value; type 0 describes keys and type 1 values.
fn byte_orders(set: &Set) -> Vec<u8> {
    let key = match set.key {
        KeyType::Address => 2_u32,
        KeyType::Link | KeyType::Group | KeyType::State => 1,
    };
    let value = set.value.map(|value| match value {
        ValueType::Address => 2_u32,
        ValueType::Verdict => 0,
        ValueType::Mark => 1,
    });
    let mut records = Vec::new();
    for (kind, order) in [(0, Some(key)), (1, value)] {
        if let Some(order) = order {
            records.extend([kind, 4]);
            records.extend(order.to_ne_bytes());
        }
    }
    records
}

/// The number of a type in `nft`, which only its listings use, and the type's length.
fn key_type(key: KeyType) -> (u32, u32) {
    match key {
        KeyType::Link => (20, 4),
        KeyType::Group => (35, 4),
        KeyType::Address => (7, 4),
        KeyType::State => (26, 4),
    }
}

fn value_type(value: ValueType) -> (u32, u32) {
    match value {
        // NFT_DATA_VERDICT: the only type that the kernel itself knows.
        ValueType::Verdict => (0xffff_ff00, 0),
        ValueType::Address => (7, 4),
        ValueType::Mark => (19, 4),
    }
}
