//! Kinds of test resources that refer to anything, and stacks made of them in a short notation.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_provider::{
    Catalog, Claim, Found, Gate, Key, Kind, Probe, Reference, Resource, ResourceId, Retention,
    Schema, Snapshot, Stack, StackName,
};
use landfall_testkit::sim::Sim;
use serde::{Deserialize, Serialize};

/// A reference to a resource of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct To {
    kind: Kind,
    key: Option<Key>,
    id: Option<String>,
}

impl Reference for To {
    fn kind(&self) -> Kind {
        self.kind.clone()
    }

    fn target(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn resolve(&mut self, id: &str) {
        self.key = None;
        self.id = Some(id.to_owned());
    }
}

/// An id of any kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ThingId(String);

impl ResourceId for ThingId {
    const KIND: Kind = Kind::new("thing");
}

impl From<String> for ThingId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl AsRef<str> for ThingId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ThingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields of every kind here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// References that cannot be updated in place.
    pub(crate) fixed: Vec<To>,
    /// References that can, unordered.
    pub(crate) loose: Vec<To>,
    /// A value that cannot be updated in place.
    pub(crate) size: u32,
    /// A value that can.
    pub(crate) value: u32,
    /// A value that is not compared.
    pub(crate) build_spec: u32,
    /// A place that is exclusive within the first fixed reference; 0 is none.
    pub(crate) spot: u32,
}

macro_rules! things {
    ($($(#[$doc:meta])* $name:ident $kind:literal { $($konst:ident: $type:ty = $value:expr;)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
            pub(crate) struct $name {
                fixed: Vec<To>,
                loose: Vec<To>,
                size: u32,
                value: u32,
                build_spec: u32,
                spot: u32,
            }

            impl From<Facts> for $name {
                fn from(Facts { fixed, loose, size, value, build_spec, spot }: Facts) -> Self {
                    Self { fixed, loose, size, value, build_spec, spot }
                }
            }

            impl Resource for $name {
                const KIND: Kind = Kind::new($kind);
                const FORCES_REPLACEMENT: &'static [&'static str] = &["fixed", "size"];
                const NOT_COMPARED: &'static [&'static str] = &["build_spec"];
                const UNORDERED: &'static [&'static str] = &["loose"];
                $(const $konst: $type = $value;)*
                type Id = ThingId;
                type Output = ();

                fn claims(&self) -> Vec<Claim> {
                    let within = self.fixed.first().filter(|_| self.spot > 0);
                    within.map(|within| Claim::one(within, self.spot.into())).into_iter().collect()
                }

                fn references(&mut self) -> Vec<&mut dyn Reference> {
                    let all = self.fixed.iter_mut().chain(&mut self.loose);
                    all.map(|to| to as &mut dyn Reference).collect()
                }
            }
        )*

        pub(crate) fn schema() -> Schema {
            Schema::new()$(.with::<$name>())*
        }

        pub(crate) fn catalog() -> Catalog<Sim> {
            Catalog::new()$(.with::<$name>())*
        }

        fn add_to(stack: &mut Stack, key: &Key, facts: Facts) {
            match key.kind.as_str() {
                $($kind => {
                    stack.try_add(key.name.clone(), $name::from(facts)).unwrap();
                })*
                other => panic!("no kind {other} here"),
            }
        }
    };
}

things! {
    /// An ordinary kind.
    Plain "plain" {}
    /// Its dependents start as soon as it has an id.
    Early "early" { GATE: Gate = Gate::Exists; }
    /// Comes after every gate without a reference.
    Late "late" { AFTER: &'static [Kind] = &[Kind::new("gate")]; }
    /// The kind that `Late` comes after.
    Door "gate" {}
    /// Outlives its stack.
    Lasting "lasting" { RETENTION: Retention = Retention::Outlives; }
    /// Must be usable within a second.
    Hasty "hasty" { CREATE_TIMEOUT: Duration = Duration::from_secs(1); }
    /// May take an hour to be deleted.
    Drained "drained" { DELETE_TIMEOUT: Duration = Duration::from_secs(3600); }
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) fn kind(name: &'static str) -> Kind {
    Kind::new(name)
}

/// A reference to the stack's resource under this key.
pub(crate) fn to(text: &str) -> To {
    let key = key(text);
    To {
        kind: key.kind.clone(),
        key: Some(key),
        id: None,
    }
}

pub(crate) fn stack_name() -> StackName {
    StackName::new("test").unwrap()
}

/// A stack from lines such as `plain/b size=2 fixed=plain/a loose=early/x,plain/c`.
pub(crate) fn stack(lines: &[&str]) -> Stack {
    stack_of(lines.iter().map(|line| {
        let mut words = line.split_whitespace();
        let key = key(words.next().unwrap());
        let mut facts = Facts::default();
        for word in words {
            let (field, value) = word.split_once('=').unwrap();
            let refs = || value.split(',').map(to).collect();
            match field {
                "fixed" => facts.fixed = refs(),
                "loose" => facts.loose = refs(),
                "size" => facts.size = value.parse().unwrap(),
                "value" => facts.value = value.parse().unwrap(),
                "spot" => facts.spot = value.parse().unwrap(),
                "build_spec" => facts.build_spec = value.parse().unwrap(),
                other => panic!("no field {other} here"),
            }
        }
        (key, facts)
    }))
}

pub(crate) fn stack_of(things: impl IntoIterator<Item = (Key, Facts)>) -> Stack {
    let mut stack = Stack::new(stack_name());
    for (key, facts) in things {
        add_to(&mut stack, &key, facts);
    }
    stack
}

/// The live state of a deployed stack, with ids such as `a-1` for `plain/a`; `state` overrides some
/// of the states.
pub(crate) fn live(stack: &Stack, states: &[(&str, Probe<serde_json::Value>)]) -> Vec<Found> {
    let ids: BTreeMap<Key, String> = stack
        .resources()
        .keys()
        .map(|key| (key.clone(), format!("{}-1", key.name)))
        .collect();
    let states: BTreeMap<Key, _> = states
        .iter()
        .map(|(text, state)| (key(text), state))
        .collect();
    let schema = schema();
    stack
        .resources()
        .iter()
        .map(|(key, desired)| Found {
            key: key.clone(),
            id: ids[key].clone(),
            spec: schema
                .get(&key.kind)
                .unwrap()
                .resolve(&desired.spec, &|key| ids.get(key).cloned())
                .unwrap(),
            state: states
                .get(key)
                .map_or(Probe::Usable(serde_json::Value::Null), |&state| {
                    state.clone()
                }),
        })
        .collect()
}

pub(crate) fn snapshot(stack: &Stack) -> Snapshot {
    Snapshot::new(live(stack, &[]))
}
