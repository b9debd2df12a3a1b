//! Environments: what is laid over what, and every bad one with the text that is told.

use std::fmt::Write as _;

use super::*;

const FILE: &str = "\
stack = 'digipay'
protect = true

[network]
nat = 'per-zone'
zones = 3

[service.web]
port = 8000
env = { LOG = 'info', WORKERS = '4' }
scale = { min = 2, desired = 3 }

[env.staging]
protect = false

[env.staging.network]
nat = 'single'

[env.staging.service.web]
env = { LOG = 'debug' }
scale = { min = 1, desired = 1 }

[env.production]
stack = 'digipay'
account = '123456789012'
";

fn parse(source: &str, environment: Option<&str>) -> Result<Config, ConfigErrors> {
    Config::parse_for(source, "landfall.toml", environment)
}

fn refused(source: &str, environment: Option<&str>) -> String {
    match parse(source, environment) {
        Ok(config) => panic!("accepted:\n{source}\n{config:?}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn an_environment_is_laid_over_the_rest_table_by_table() {
    let web = |config: &Config| config.service.values().next().unwrap().clone();
    let none = parse(FILE, None).unwrap();
    assert_eq!(none.stack.as_str(), "digipay");
    assert_eq!((none.protect, none.network.nat), (true, NatMode::PerZone));
    assert_eq!(web(&none).scale.desired, 3);

    let staging = parse(FILE, Some("staging")).unwrap();
    assert_eq!(staging.stack.as_str(), "digipay-staging");
    assert_eq!(
        (staging.protect, staging.network.nat),
        (false, NatMode::Single)
    );
    assert_eq!(
        staging.network.zones.count(),
        3,
        "what it does not say stays"
    );
    let service = web(&staging);
    assert_eq!((service.port.get(), service.scale.desired), (8000, 1));
    assert_eq!(
        (service.env["LOG"].as_str(), service.env["WORKERS"].as_str()),
        ("debug", "4")
    );

    let production = parse(FILE, Some("production")).unwrap();
    assert_eq!(production.stack.as_str(), "digipay");
    assert_eq!(production.account.as_deref(), Some("123456789012"));
    let names = |config: &Config| {
        config
            .env
            .0
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&production), ["production", "staging"]);
}

#[test]
fn only_the_environment_that_is_asked_for_has_to_be_whole() {
    // The port stands in the environments alone, each with its own.
    let source = "stack = 'a'\n[env.one.service.web]\nport = 1\n[env.two.service.web]\nport = 2\n";
    for (environment, port) in [("one", 1), ("two", 2)] {
        let config = parse(source, Some(environment)).unwrap();
        assert_eq!(config.service.values().next().unwrap().port.get(), port);
    }
    assert!(refused(source, None).contains("there is no `service`"));
}

#[test]
fn environments_that_cannot_be() {
    let with = |text: &str| format!("stack = 'a'\n[service.web]\nport = 8000\n{text}\n");
    let long = "stack = 'a-quite-long-stack-name'\n[service.web]\nport = 8000\n[env.staging]\n";
    let none = with("");
    let some = with("[env.staging]\n[env.production]\n");
    let cases = [
        ("none there", none.as_str(), Some("staging")),
        ("a slip", &some, Some("stagin")),
        ("nothing like it", &some, Some("qa")),
        (
            "an unknown key, not asked for",
            &with("[env.staging.network]\nzone = 3"),
            None,
        ),
        (
            "an unknown key, asked for",
            &with("[env.staging.network]\nzone = 3"),
            Some("staging"),
        ),
        (
            "a value that cannot be",
            &with("[env.staging]\nload-balancer = { port = 0 }"),
            None,
        ),
        (
            "against the rest",
            &with("[env.staging.service.web]\nscale = { max = 1 }"),
            None,
        ),
        (
            "a service that is new",
            &with("[env.staging.service.wbe]\nenv = {}"),
            None,
        ),
        (
            "an environment inside",
            &with("[env.staging.env.other]"),
            Some("staging"),
        ),
        ("a name that cannot be", &with("[env.Staging_2]"), None),
        ("variables at the top", &with("[env]\nLOG = 'info'"), None),
        ("no table at all", &format!("env = 'staging'\n{none}"), None),
        ("a stack's name that is too long", long, Some("staging")),
        (
            "another's fault and its own",
            &with("[env.a]\nquux = 1\n[env.b]\nprotect = 1"),
            Some("b"),
        ),
    ];
    let mut out = String::new();
    for (title, source, environment) in cases {
        let errors = refused(source, environment);
        writeln!(out, "== {title}\n{errors}\n").unwrap();
    }
    insta::assert_snapshot!(out);
}

#[test]
fn stack_is_found_in_a_file_faulty_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.toml");
    std::fs::write(
        &path,
        "stack = 'a'\nquux = 1\n[env.b]\nregion = 'eu-west-1'\n",
    )
    .unwrap();
    let there = Config::whereabouts(&path, Some("b")).unwrap();
    assert_eq!(there.stack.as_str(), "a-b");
    assert_eq!(
        there.region.map(|region| region.to_string()).as_deref(),
        Some("eu-west-1")
    );
    assert_eq!(
        Config::whereabouts(&path, None).unwrap().stack.as_str(),
        "a"
    );
    let errors = Config::whereabouts(&path, Some("c"))
        .unwrap_err()
        .to_string();
    assert!(errors.contains("there is no environment `c`"), "{errors}");
}
