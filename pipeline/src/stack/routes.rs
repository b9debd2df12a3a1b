//! Routes of several services behind one load balancer: the rules and their priorities.
//!
//! The first matching rule gets a request. More specific routes come first: hosts before
//! paths, routes without `*` and `?` before those with them, longer ones before shorter ones. Other requests go to
//! the service without a route.

use std::collections::BTreeMap;

use landfall_lb::Condition;
use landfall_provider::ResourceName;

use crate::config::Config;
use crate::config::route::{LONGEST, TIES, condition};

/// The distance between the types of routes: enough for every length, and for ties.
const SORT: usize = (LONGEST + 1) * TIES;

/// The rule of every service with a route: its priority and its condition.
///
/// A priority depends only on the route, so that another service does not change the existing rules,
/// unless two routes have the same type and length.
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

/// The service of the default action.
pub(crate) fn fallback(config: &Config) -> Option<&ResourceName> {
    let mut without = config
        .service
        .iter()
        .filter(|(_, service)| service.route.is_none());
    without.next().map(|(name, _)| name)
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
        // The maximum.
        const { assert!(3 * SORT + LONGEST * TIES + TIES <= 50_000) };
    }
}
