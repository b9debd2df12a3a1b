//! How a stack is built, and which keys say nothing in one of the modes.

use toml_span::Value;
use toml_span::value::{Table, ValueInner};

use super::fault::Diagnostic;
use super::setting::{Setting, words};
use super::{Config, Service};

/// How a stack is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A load balancer before groups of instances, in several zones.
    #[default]
    Balanced,
    /// One instance with an address of its own, which clients ask themselves.
    Single,
}

words!(Mode, "a mode": "balanced" = Mode::Balanced, "single" = Mode::Single);

/// What there is not where there is one instance, and the keys that are about it.
const NOT_SINGLE: [(&str, &str); 9] = [
    ("network.zones", "it is in one zone"),
    (
        "network.nat",
        "it reaches the internet from its own address",
    ),
    ("network.s3-endpoint", "it reaches S3 from its own address"),
    ("network.bastion", "there is no bastion"),
    ("network.security-group.bastion", "there is no bastion"),
    (
        "network.security-group.balancer",
        "there is no load balancer",
    ),
    ("network.acl.private", "there are no private subnets"),
    (
        "network.route-table.private",
        "there are no private subnets",
    ),
    ("load-balancer", "there is no load balancer"),
];

/// The same for the keys of a service.
const NOT_OF_SINGLE_SERVICE: [(&str, &str); 6] = [
    (
        "route",
        "there is no load balancer, and one service gets all requests",
    ),
    ("scale", "there is one"),
    (
        "deregistration-delay",
        "there is no load balancer to drain it from",
    ),
    (
        "health.interval",
        "its health is not checked after the deploy",
    ),
    (
        "health.healthy-threshold",
        "its health is not checked after the deploy",
    ),
    (
        "health.unhealthy-threshold",
        "its health is not checked after the deploy",
    ),
];

impl Config {
    /// The keys that say nothing in this mode, as far as they are given.
    pub(crate) fn misplaced(&self, is_given: impl Fn(&str) -> bool) -> Vec<Diagnostic> {
        if self.mode == Mode::Balanced {
            let single = is_given("single").then(|| {
                Diagnostic::new(
                    "single",
                    "[single] does not apply to a stack with a load balancer",
                )
                .and("mode")
                .hint("leave it out, or write mode = \"single\" at the top of the file")
            });
            return single.into_iter().collect();
        }
        let of_services = self.service.keys().flat_map(|name| {
            let keys = NOT_OF_SINGLE_SERVICE.iter();
            keys.map(move |(key, why)| (format!("service.{name}.{key}"), *why))
        });
        let keys = NOT_SINGLE
            .iter()
            .map(|(key, why)| ((*key).to_owned(), *why))
            .chain(of_services);
        // One zone is what there is.
        let is_so = |key: &str| key == "network.zones" && self.network.zones.count() == 1;
        let misplaced = keys.filter(|(key, _)| is_given(key) && !is_so(key));
        let reported = misplaced.map(|(key, why)| {
            let name = key.rsplit('.').next().unwrap_or(&key);
            let message = format!("`{name}` does not apply to a single instance: {why}");
            Diagnostic::new(&key, message)
                .and("mode")
                .hint("leave it out, or write mode = \"balanced\"")
        });
        let protect = self.protect.then(|| {
            Diagnostic::new(
                "protect",
                "a single instance cannot be protected: only a load balancer can carry the protection",
            )
            .and("mode")
            .hint("leave `protect` out, or write mode = \"balanced\"")
        });
        reported.chain(protect).collect()
    }

    /// Whether a key has another value than its default.
    pub(crate) fn differs(&self, key: &str) -> bool {
        let mut blank = Self::blank();
        let names = self.service.keys();
        blank.service = names.map(|name| (name.clone(), Service::blank())).collect();
        let pointer = format!("/{}", key.replace('.', "/"));
        self.json().pointer(&pointer) != blank.json().pointer(&pointer)
    }

    /// Notes the services that are too many for one instance.
    pub(crate) fn one_service(&self, problems: &mut Vec<Diagnostic>) {
        let Some((first, _)) = self.service.first_key_value() else {
            return;
        };
        for name in self.service.keys().skip(1) {
            let message =
                format!("a single instance runs only one service, and {first} is the first");
            problems.push(
                Diagnostic::new(format!("service.{name}"), message)
                    .and("mode")
                    .hint("leave it out, or write mode = \"balanced\""),
            );
        }
    }
}

/// Takes out of the rest of a file what says nothing in the mode that an environment chooses: whoever runs production
/// behind a balancer and tries things out on one instance need not write two files.
pub(super) fn make_way(under: &mut Table<'_>, over: &Table<'_>) {
    let mode = |table: &Table<'_>| {
        let mode = table.get("mode").and_then(Value::as_str);
        mode.map(str::to_owned)
    };
    let Some(chosen) = mode(over) else { return };
    if chosen == mode(under).as_deref().unwrap_or("balanced") {
        return;
    }
    if chosen != "single" {
        remove(under, "single");
        return;
    }
    for (key, _) in NOT_SINGLE {
        remove(under, key);
    }
    let services = under.get("service").and_then(Value::as_table);
    let names: Vec<String> = services
        .map(|services| services.keys().map(|key| key.name.to_string()).collect())
        .unwrap_or_default();
    for name in names {
        for (key, _) in NOT_OF_SINGLE_SERVICE {
            remove(under, &format!("service.{name}.{key}"));
        }
    }
}

fn remove(table: &mut Table<'_>, path: &str) {
    let Some((first, rest)) = path.split_once('.') else {
        table.remove(path);
        return;
    };
    let Some(value) = table.get_mut(first) else {
        return;
    };
    let mut inner = value.take();
    if let ValueInner::Table(table) = &mut inner {
        remove(table, rest);
    }
    value.set(inner);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::tests::refused;
    use super::*;

    const GOOD: &str = "stack = 'a'\nmode = 'single'\n[service.web]\nport = 8000\n";

    #[test]
    fn a_single_instance_needs_no_more_than_others() {
        let config = Config::parse(GOOD, "landfall.toml").unwrap();
        assert_eq!(config.mode, Mode::Single);
        assert_eq!(config.single.allow[0].to_string(), "0.0.0.0/0");
    }

    #[test]
    fn keys_that_say_nothing_in_a_mode() {
        let balanced = "stack = 'a'\n[single]\nallow = []\n[service.web]\nport = 8000\n";
        let mut out = String::new();
        for (title, source) in [
            (
                "a network of balancers",
                format!(
                    "{GOOD}[network]\nzones = 2\nnat = 'single'\nbastion = {{ allow = ['203.0.113.7/32'] }}\n"
                ),
            ),
            (
                "defaults that are given",
                format!("{GOOD}scale = {{ desired = 2 }}\n[load-balancer]\nport = 80\n"),
            ),
            (
                "parts of health",
                format!("{GOOD}health = {{ path = '/healthz', interval = 20 }}\n"),
            ),
            (
                "two services",
                format!("{GOOD}[service.api]\nport = 9000\nroute = '/api/*'\n"),
            ),
            ("protection", format!("protect = true\n{GOOD}")),
            (
                "nobody allowed",
                format!("single = {{ allow = [] }}\n{GOOD}"),
            ),
            (
                "host bits",
                format!("single = {{ allow = ['203.0.113.7/24'] }}\n{GOOD}"),
            ),
            (
                "the balancer's group",
                format!(
                    "{GOOD}[[network.security-group.web.rule]]\nfrom = 'balancer'\nports = 80\n"
                ),
            ),
            ("another mode", GOOD.replace("single", "singel")),
            ("single where there is a balancer", balanced.to_owned()),
        ] {
            writeln!(out, "== {title}\n{}\n", refused(&source)).unwrap();
        }
        insta::assert_snapshot!(out);
    }

    #[test]
    fn what_is_put_together_in_rust_is_told_the_same() {
        let mut config = Config::parse(GOOD, "landfall.toml").unwrap();
        config.network.zones = 3.into();
        let reported: Vec<String> = config.check().iter().map(ToString::to_string).collect();
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(
            reported[0].starts_with("network.zones: `zones` does not apply"),
            "{reported:?}"
        );
    }

    #[test]
    fn environment_may_choose_another_mode() {
        let source = "stack = 'a'\nload-balancer.port = 81\n[network]\nnat = 'single'\ncidr = '10.1.0.0/16'\n\
                      [service.web]\nport = 8000\nscale = { desired = 3 }\nhealth = { path = '/up', interval = 20 }\n\
                      [env.try]\nmode = 'single'\nsingle.allow = ['203.0.113.0/24']\n";
        let config = Config::parse_for(source, "landfall.toml", Some("try")).unwrap();
        assert_eq!(config.mode, Mode::Single);
        assert_eq!(config.network.cidr.to_string(), "10.1.0.0/16");
        let service = config.service.values().next().unwrap();
        assert_eq!(
            (service.health.path.as_str(), service.health.interval),
            ("/up", 10)
        );
        // What the environment itself says has to fit.
        let wrong = source.replace(
            "mode = 'single'\n",
            "mode = 'single'\nload-balancer.port = 82\n",
        );
        let errors = refused(&wrong);
        assert!(
            errors.contains("`load-balancer` does not apply to a single instance"),
            "{errors}"
        );
        // And the other way round.
        let source = "stack = 'a'\nmode = 'single'\nsingle.allow = ['203.0.113.0/24']\n[service.web]\nport = 8000\n\
                      [env.live]\nmode = 'balanced'\n";
        let config = Config::parse_for(source, "landfall.toml", Some("live")).unwrap();
        assert_eq!(
            (config.mode, config.single.allow[0].prefix_len()),
            (Mode::Balanced, 0)
        );
    }
}
