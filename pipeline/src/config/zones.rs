//! The zones of a network: their number, or their names.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_network::layout;
use landfall_provider::Zone;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};
use toml_span::Value;

use super::fault::Diagnostic;
use super::reading::Reading;
use super::region::zones;
use super::setting::{Field, Setting, parsed};
use super::{Config, Mode};
use crate::config::Region;

/// The zones that `[network] zones` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zones {
    /// This many of the zones that the provider has.
    Count(u32),
    /// These, in this order.
    Named(Vec<Zone>),
}

/// The zones of an account and of a stack in it, as far as a choice needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountZones {
    /// The zones and the addresses of the stack's subnets.
    pub in_use: Vec<(Zone, Ipv4Net)>,
    /// The zones that can have new subnets, sorted. `None` if the provider was not asked.
    pub available: Option<Vec<Zone>>,
}

impl From<u32> for Zones {
    fn from(count: u32) -> Self {
        Self::Count(count)
    }
}

impl Zones {
    /// The number of zones.
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count as usize,
            Self::Named(names) => names.len(),
        }
    }
}

impl Setting for Zones {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        if value.as_array().is_some() {
            Vec::read(value, field, reading).map(Self::Named)
        } else {
            u32::read(value, field, reading).map(Self::Count)
        }
    }

    fn schema(field: &Field, generator: &mut SchemaGenerator) -> Schema {
        let count = u32::schema(field, generator);
        let name = Zone::schema(field, generator);
        let range = field.range.clone().unwrap_or(1..=6);
        let (min, max) = (range.start(), range.end());
        json_schema!({ "anyOf": [
            count,
            { "type": "array", "items": name, "minItems": min, "maxItems": max, "uniqueItems": true },
        ]})
    }

    fn json(&self) -> Json {
        match self {
            Self::Count(count) => count.json(),
            Self::Named(names) => names.json(),
        }
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        match self {
            Self::Count(count) => count.check(field, problems),
            Self::Named(names) => {
                let range = field.range.clone().unwrap_or(1..=6);
                if !u32::try_from(names.len()).is_ok_and(|count| range.contains(&count)) {
                    let why = format!(
                        "`zones` names {} to {} zones, not {}",
                        range.start(),
                        range.end(),
                        names.len()
                    );
                    problems.push(Diagnostic::new(&field.at, why));
                }
                for (index, name) in names.iter().enumerate() {
                    if names[..index].contains(name) {
                        let at = format!("{}[{index}]", field.at);
                        problems.push(Diagnostic::new(
                            at,
                            format_args!("zone `{name}` is listed twice"),
                        ));
                    }
                }
            }
        }
    }
}

impl Setting for Zone {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        parsed(
            value,
            field,
            reading,
            "the name of a zone in quotes",
            |text| {
                Region::new(text)
                    .ok()
                    .map(|region| format!("`{region}` is a region; a zone of it is `{region}a`"))
            },
        )
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z]+(-[a-z]+)*-[0-9]+[a-z]$", "maxLength": 32 })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Config {
    /// The zones of the stack, in the order of their address blocks.
    pub fn zones(&self) -> Vec<Zone> {
        let count = match self.mode {
            Mode::Balanced => self.network.zones.count(),
            Mode::Single => 1,
        };
        match &self.network.zones {
            Zones::Named(names) => names.iter().take(count).cloned().collect(),
            Zones::Count(_) if !self.network.chosen_zones.is_empty() => self
                .network
                .chosen_zones
                .iter()
                .take(count)
                .cloned()
                .collect(),
            Zones::Count(_) => zones(&self.region, count),
        }
    }

    /// The instance types of the services and of the bastion.
    pub fn instance_types(&self) -> BTreeSet<&str> {
        let bastion = self.network.bastion.iter().map(|it| &it.instance);
        let services = self.service.values().map(|it| &it.instance);
        bastion.chain(services).map(String::as_str).collect()
    }

    /// Whether the choice of zones needs the [available](AccountZones::available) ones.
    pub fn needs_available_zones(&self, account: &AccountZones) -> bool {
        match &self.network.zones {
            Zones::Named(names) => {
                let is_used = |name: &Zone| account.in_use.iter().any(|(zone, _)| zone == name);
                !names.iter().all(is_used)
            }
            Zones::Count(_) => self.slots(account).iter().any(Option::is_none),
        }
    }

    /// Takes the zones of the account: subnets keep their zones and address blocks, and new ones get the first available
    /// zones. Returns the reasons why the account cannot have the zones of the file.
    pub fn choose_zones(&mut self, account: &AccountZones) -> Vec<Diagnostic> {
        let available = account.available.as_deref().unwrap_or_default();
        let listed = || {
            let names: Vec<String> = available.iter().map(|zone| format!("\"{zone}\"")).collect();
            let types: Vec<&str> = self.instance_types().into_iter().collect();
            format!(
                "these zones of {} offer {} to the account: {}",
                self.region,
                types.join(" and "),
                names.join(", ")
            )
        };
        if let Zones::Named(names) = &self.network.zones {
            if account.available.is_none() {
                return Vec::new();
            }
            let is_used = |name: &Zone| account.in_use.iter().any(|(zone, _)| zone == name);
            let unknown = names
                .iter()
                .enumerate()
                .filter(|(_, name)| !available.contains(name) && !is_used(name));
            return unknown
                .map(|(index, name)| {
                    Diagnostic::new(
                        format!("network.zones[{index}]"),
                        format_args!("the account cannot use the zone `{name}`"),
                    )
                    .and("network.zones")
                    .hint(listed())
                })
                .collect();
        }
        let slots = self.slots(account);
        if account.available.is_none() && slots.iter().any(Option::is_none) {
            return Vec::new();
        }
        let taken: Vec<&Zone> = slots.iter().flatten().collect();
        let mut free = available.iter().filter(|zone| !taken.contains(zone));
        let chosen: Vec<Zone> = slots
            .iter()
            .map_while(|slot| slot.as_ref().or_else(|| free.next()).cloned())
            .collect();
        if chosen.len() < slots.len() {
            let why = format!(
                "the stack needs {} zones, and the account can use {} in {}",
                slots.len(),
                chosen.len(),
                self.region
            );
            return vec![
                Diagnostic::new("network.zones", why)
                    .and("region")
                    .hint(listed()),
            ];
        }
        self.network.chosen_zones = chosen;
        Vec::new()
    }

    /// For each address block, the zone of the subnet that has it.
    fn slots(&self, account: &AccountZones) -> Vec<Option<Zone>> {
        if self.mode == Mode::Single {
            return vec![account.in_use.iter().map(|(zone, _)| zone).min().cloned()];
        }
        let Ok(blocks) = layout(self.network.cidr, self.network.zones.count()) else {
            return Vec::new();
        };
        let of = |block: Ipv4Net| {
            let subnet = account.in_use.iter().find(|(_, cidr)| *cidr == block);
            subnet.map(|(zone, _)| zone.clone())
        };
        let mut slots: Vec<Option<Zone>> = Vec::new();
        for (public, private) in blocks.public.iter().zip(&blocks.private) {
            let zone = of(*public).or_else(|| of(*private));
            slots.push(zone.filter(|zone| !slots.contains(&Some(zone.clone()))));
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(letter: &str) -> Zone {
        Zone::new(format!("ap-northeast-1{letter}")).unwrap()
    }

    fn config(network: &str) -> Config {
        let text = format!(
            "stack = 'a'\nregion = 'ap-northeast-1'\n[network]\n{network}\n[service.web]\nport = 8000\n"
        );
        Config::parse(&text, "landfall.toml").unwrap()
    }

    fn account(in_use: &[(&str, &str)], available: &[&str]) -> AccountZones {
        AccountZones {
            in_use: in_use
                .iter()
                .map(|(letter, cidr)| (zone(letter), cidr.parse().unwrap()))
                .collect(),
            available: Some(available.iter().map(|letter| zone(letter)).collect()),
        }
    }

    fn letters(config: &Config) -> String {
        config
            .zones()
            .iter()
            .map(|zone| zone.letter().to_owned())
            .collect()
    }

    #[test]
    fn first_available_zones_are_chosen() {
        let mut config = config("zones = 2");
        assert_eq!(
            letters(&config),
            "ab",
            "before the account's zones are known"
        );
        assert_eq!(
            config.choose_zones(&account(&[], &["a", "c", "d"])),
            Vec::new()
        );
        assert_eq!(letters(&config), "ac");
    }

    #[test]
    fn subnets_keep_their_zones_and_blocks() {
        // The account has gained b, and the file asks for one zone more.
        let blocks = layout("10.0.0.0/16".parse().unwrap(), 3).unwrap();
        let (first, second) = (blocks.public[0].to_string(), blocks.private[1].to_string());
        let used = [("c", first.as_str()), ("a", second.as_str())];
        let now = account(&used, &["a", "b", "c", "d"]);
        for (zones, expected) in [("zones = 2", "ca"), ("zones = 3", "cab")] {
            let mut config = config(zones);
            assert_eq!(config.choose_zones(&now), Vec::new());
            assert_eq!(letters(&config), expected);
        }
        let in_use_only = AccountZones {
            available: None,
            ..now
        };
        assert!(!config("zones = 2").needs_available_zones(&in_use_only));
        assert!(config("zones = 3").needs_available_zones(&in_use_only));
    }

    #[test]
    fn letters_are_used_if_the_provider_has_no_zones() {
        let mut config = config("zones = 3");
        assert_eq!(config.choose_zones(&AccountZones::default()), []);
        assert_eq!(letters(&config), "abc");
    }

    #[test]
    fn named_zones_are_taken_in_their_order() {
        let mut config = config("zones = ['ap-northeast-1d', 'ap-northeast-1a']");
        assert_eq!(config.choose_zones(&account(&[], &["a", "c", "d"])), []);
        assert_eq!(letters(&config), "da");
    }

    #[test]
    fn unusable_zones_are_reported_with_the_usable_ones() {
        let mut named = config("zones = ['ap-northeast-1a', 'ap-northeast-1b']");
        let found = named.choose_zones(&account(&[], &["a", "c"]));
        assert_eq!(
            found[0].to_string(),
            "network.zones[1]: the account cannot use the zone `ap-northeast-1b`\n  hint: these zones of \
             ap-northeast-1 offer t3.micro to the account: \"ap-northeast-1a\", \"ap-northeast-1c\""
        );
        let mut three = config("zones = 3");
        let found = three.choose_zones(&account(&[], &["a", "c"]));
        assert_eq!(
            found[0].message,
            "the stack needs 3 zones, and the account can use 2 in ap-northeast-1"
        );
    }

    #[test]
    fn wrong_lists_are_refused_at_their_lines() {
        for (zones, expected) in [
            ("zones = []", "`zones` names 1 to 6 zones, not 0"),
            (
                "zones = ['ap-northeast-1a', 'ap-northeast-1a']",
                "zone `ap-northeast-1a` is listed twice",
            ),
            (
                "zones = ['ap-northeast-1a', 'eu-west-1b']",
                "`eu-west-1b` is not a zone of ap-northeast-1",
            ),
            (
                "zones = ['ap-northeast-1a', 'ap-northeast-1']",
                "`ap-northeast-1` is not a zone: lower-case",
            ),
        ] {
            let text = format!(
                "stack = 'a'\nregion = 'ap-northeast-1'\n[network]\n{zones}\n[service.web]\nport = 8000\n"
            );
            let error = Config::parse(&text, "landfall.toml")
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("landfall.toml:4:"), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }
}
