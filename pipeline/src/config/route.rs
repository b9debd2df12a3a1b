//! The routes of services, and their checks.

use std::collections::BTreeMap;

use landfall_lb::Condition;
use landfall_provider::ResourceName;

use super::Config;
use super::fault::Diagnostic;

/// The longest route. <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>
pub(crate) const LONGEST: usize = 128;

/// The number of priorities for routes of the same type and length.
pub(crate) const TIES: usize = 90;

/// The condition of a route: the path if it starts with a slash, otherwise the host.
pub(crate) fn condition(route: &str) -> Condition {
    if route.starts_with('/') {
        Condition::Path(route.to_owned())
    } else {
        Condition::Host(route.to_ascii_lowercase())
    }
}

/// The diagnostics of all routes together.
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
                    "every service has a route, so no service gets the other requests",
                );
                problems.push(problem.hint("leave `route` out of the service that is to take them"));
            }
        }
        (Some((first, _)), Some((second, _))) => problems.push(
            Diagnostic::new(
                at(second),
                format_args!("{first} and {second} have no route, and only one service can get the requests without a matching route"),
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
                .hint("one of them would get no requests: give each a different route"),
            );
        }
    }
    if config.service.len() > TIES {
        problems.push(Diagnostic::new(
            "service",
            format_args!(
                "a stack has at most {TIES} services, and this one has {}",
                config.service.len()
            ),
        ));
    }
}

/// The problem of a route, and a hint.
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
                "`{route}` has {} characters, and a route has at most {LONGEST}",
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
