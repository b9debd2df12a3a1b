//! Several services behind one balancer: which requests go to which, and in which order the rules are tried.
//!
//! A request goes to the first rule that takes it. The closer a route describes, the earlier it is tried: hosts before
//! paths, routes without `*` and `?` before those with them, longer ones before shorter ones. What no rule takes goes to
//! the one service that has no route.

use std::collections::BTreeMap;

use landfall_lb::Condition;
use landfall_provider::ResourceName;

use crate::config::{Config, Diagnostic};

/// The longest route. <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>
const LONGEST: usize = 128;

/// How many routes of the same sort and length have a priority of their own.
const TIES: usize = 90;

/// How far the sorts of routes are apart: room for every length, and for ties.
const SORT: usize = (LONGEST + 1) * TIES;

/// Which requests a route takes: by the path if it starts with a slash, by the host otherwise.
pub(crate) fn condition(route: &str) -> Condition {
    if route.starts_with('/') {
        Condition::Path(route.to_owned())
    } else {
        Condition::Host(route.to_ascii_lowercase())
    }
}

/// The rule of every service that has a route: its priority, and which requests it takes.
///
/// A priority follows from the route itself, so that one more service leaves the rules of the others as they are,
/// unless two routes are of one sort and one length.
pub(crate) fn rules(config: &Config) -> BTreeMap<&ResourceName, (u16, Condition)> {
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    let routed = config.service.iter().filter_map(|(name, service)| {
        let route = service.route.as_deref()?;
        Some((name, condition(route), route.len().min(LONGEST)))
    });
    let rules = routed.map(|(name, condition, length)| {
        let sort = match &condition {
            Condition::Host(text) => usize::from(is_pattern(text)),
            Condition::Path(text) => 2 + usize::from(is_pattern(text)),
        };
        let base = sort * SORT + (LONGEST - length) * TIES;
        let tie = taken.entry(base).or_default();
        *tie += 1;
        let priority = u16::try_from(base + *tie).expect("four sorts have room below 50,000");
        (name, (priority, condition))
    });
    rules.collect()
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The service that takes what no rule takes.
pub(crate) fn fallback(config: &Config) -> Option<&ResourceName> {
    let mut without = config
        .service
        .iter()
        .filter(|(_, service)| service.route.is_none());
    without.next().map(|(name, _)| name)
}

/// What is wrong with the routes as a whole.
pub(crate) fn check(config: &Config, problems: &mut Vec<Diagnostic>) {
    let at = |name: &ResourceName| format!("service.{name}");
    let mut without = config
        .service
        .iter()
        .filter(|(_, service)| service.route.is_none());
    match (without.next(), without.next()) {
        (None, None) => {
            if let Some((name, _)) = config.service.iter().next() {
                let problem = Diagnostic::new(
                    format!("service.{name}.route"),
                    "every service has a route, and nobody takes the requests that none of them takes",
                );
                problems.push(problem.hint("leave `route` out of the service that is to take them"));
            }
        }
        (Some((first, _)), Some((second, _))) => problems.push(
            Diagnostic::new(
                at(second),
                format_args!("{first} and {second} have no route, and only one service takes what no route takes"),
            )
            .and(at(first))
            .and(format!("{}.route", at(second)))
            .and(format!("{}.route", at(first)))
            .hint("give one of them a route, such as `route = \"/api/*\"` or `route = \"api.example.com\"`"),
        ),
        _ => {}
    }
    let mut routes: BTreeMap<String, &ResourceName> = BTreeMap::new();
    for (name, service) in &config.service {
        let Some(route) = &service.route else {
            continue;
        };
        let place = format!("service.{name}.route");
        if let Some(other) = routes.insert(format!("{:?}", condition(route)), name) {
            problems.push(
                Diagnostic::new(
                    &place,
                    format_args!("{other} and {name} have the same route, `{route}`"),
                )
                .and(format!("service.{other}.route"))
                .hint("a request goes to one of them: give each a route of its own"),
            );
        }
    }
    if config.service.len() > TIES {
        problems.push(Diagnostic::new(
            "service",
            format_args!(
                "a stack has {TIES} services at the most, and these are {}",
                config.service.len()
            ),
        ));
    }
}

/// What is wrong with one route; the second is a hint.
pub(crate) fn fault(route: &str) -> Option<(String, &'static str)> {
    const PATH: &str = "a path starts with a slash and has letters, digits and _-.$/~\"'@:+&*?";
    const HOST: &str = "a path starts with a slash, as in \"/api/*\"; a host has a dot and no port, as in \"api.example.com\"";
    let letters = |others: &str| {
        route
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte))
    };
    let good = match condition(route) {
        Condition::Path(_) => (letters("_-.$/~\"'@:+&*?"), PATH),
        Condition::Host(_) => {
            let name = route.rsplit_once('.').is_some_and(|(front, last)| {
                !front.is_empty()
                    && !last.is_empty()
                    && last.bytes().all(|byte| byte.is_ascii_alphabetic())
            });
            (name && letters("-.*?"), HOST)
        }
    };
    match good {
        (true, _) if route.len() <= LONGEST => None,
        (true, _) => Some((
            format!(
                "`{route}` has {} characters, and a route {LONGEST} at the most",
                route.len()
            ),
            "`*` stands for any number of characters",
        )),
        (false, hint) => Some((format!("`{route}` is no route"), hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(routes: &[(&str, &str)]) -> Config {
        let mut file = "stack = 'shop'\n[service.web]\nport = 8000\n".to_owned();
        for (name, route) in routes {
            file.push_str(&format!(
                "[service.{name}]\nport = 8000\nroute = '{route}'\n"
            ));
        }
        Config::parse(&file, "landfall.toml").unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn order(routes: &[(&str, &str)]) -> Vec<String> {
        let config = config(routes);
        let mut rules: Vec<_> = rules(&config).into_iter().collect();
        rules.sort_by_key(|(_, (priority, _))| *priority);
        rules
            .into_iter()
            .map(|(name, _)| name.to_string())
            .collect()
    }

    #[test]
    fn the_closer_a_route_describes_the_earlier_it_is_tried() {
        let routes = [
            ("any", "/*"),
            ("api", "/api/*"),
            ("exact", "/api"),
            ("host", "api.example.com"),
            ("hosts", "*.example.com"),
            ("users", "/api/users/*"),
        ];
        assert_eq!(
            order(&routes),
            ["host", "hosts", "exact", "users", "api", "any"]
        );
    }

    #[test]
    fn one_more_route_leaves_the_others_as_they_are() {
        let one = config(&[("api", "/api/*"), ("host", "api.example.com")]);
        let two = config(&[
            ("admin", "/admin/*"),
            ("api", "/api/*"),
            ("host", "api.example.com"),
        ]);
        let (before, after) = (rules(&one), rules(&two));
        assert!(before.iter().all(|(name, rule)| after[name] == *rule));
    }

    #[test]
    fn priorities_are_within_aws_range_and_no_two_are_the_same() {
        let names: Vec<(String, String)> = (0..60)
            .map(|index| {
                (
                    format!("svc{index}"),
                    format!("/{}/{index:02}*", "x".repeat(index % 7)),
                )
            })
            .collect();
        let routes: Vec<(&str, &str)> = names
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        let config = config(&routes);
        let all: std::collections::BTreeSet<u16> = rules(&config)
            .values()
            .map(|(priority, _)| *priority)
            .collect();
        assert_eq!(all.len(), 60);
        assert!(all.iter().all(|priority| (1..=50_000).contains(priority)));
        // The last there can be.
        const { assert!(3 * SORT + LONGEST * TIES + TIES <= 50_000) };
    }

    #[test]
    fn what_is_no_route_is_told_apart() {
        for good in [
            "/",
            "/api/*",
            "/a?c.html",
            "api.example.com",
            "*.example.com",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "api",
            "/ü",
            "/a b",
            "api.example.com:80",
            "http://a.b",
            ".com",
            "a.b1",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        assert!(
            fault(&format!("/{}", "a".repeat(128)))
                .unwrap()
                .0
                .contains("129 characters")
        );
    }
}
