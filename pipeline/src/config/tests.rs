//! Every bad input with the text that it is told.

use std::fmt::Write as _;

use super::*;

/// A file that is good, and that the cases below break in one place.
pub(super) const GOOD: &str = "\
stack = 'digipay'
[service.web]
port = 8000
";

pub(super) fn refused(source: &str) -> String {
    match Config::parse(source, "landfall.toml") {
        Ok(config) => panic!("accepted:\n{source}\n{config:?}"),
        Err(errors) => errors.to_string(),
    }
}

/// All cases in one snapshot: the title, and what the reader of the file sees.
pub(super) fn table(cases: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (title, source) in cases {
        writeln!(out, "== {title}\n{}\n", refused(source)).unwrap();
    }
    out
}

#[test]
fn the_smallest_file_has_a_default_for_all_the_rest() {
    let config = Config::parse(GOOD, "landfall.toml").unwrap();
    let by_hand = Config::new(
        StackName::new("digipay").unwrap(),
        ResourceName::new("web").unwrap(),
        Service::new(Port::new(8000).unwrap()),
    );
    assert_eq!(config, by_hand);
    assert_eq!(config.network.cidr.to_string(), "10.0.0.0/16");
    assert_eq!(
        (config.network.zones.count(), config.network.nat),
        (2, NatMode::PerZone)
    );
    assert_eq!(config.load_balancer.port.get(), 80);
}

#[test]
fn every_key_can_be_said() {
    let config = Config::parse(include_str!("every-key.toml"), "app/landfall.toml").unwrap();
    insta::assert_debug_snapshot!(config);
    // What is for a single instance cannot stand beside the rest.
    let config = Config::parse(include_str!("single.toml"), "app/landfall.toml").unwrap();
    insta::assert_debug_snapshot!((config.mode, &config.single));
    // No key of the schema is missing in these files, so that the snapshots show all of them.
    let mut missing = Vec::new();
    let file = concat!(include_str!("every-key.toml"), include_str!("single.toml"));
    hints::walk(&json_schema(), "", &mut |table, key| {
        let said = [" ", "]", "."]
            .iter()
            .any(|end| file.contains(&format!("{key}{end}")));
        if !said && key != "service" {
            missing.push(format!("{table}.{key}"));
        }
    });
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn keys_that_are_not_known_or_not_there() {
    insta::assert_snapshot!(table(&[
        ("empty file", ""),
        (
            "a key of another table",
            "stack = 'a'\nzones = 2\n[service.web]\nport = 8000\n"
        ),
        (
            "a slip",
            "stack = 'a'\n[network]\nzone = 2\n[service.web]\nport = 8000\n"
        ),
        (
            "an underscore",
            "stack = 'a'\n[service.web]\nport = 8000\nderegistration_delay = 3\n"
        ),
        (
            "longer than the key",
            "stack = 'a'\n[service.web]\nport = 8000\nhealth-check = { path = '/' }\n"
        ),
        (
            "another tool's word",
            "stack = 'a'\n[service.web]\nport = 8000\nenvironment = {}\n"
        ),
        (
            "nothing like it",
            "stack = 'a'\n[local]\nquux = 1\n[service.web]\nport = 8000\n"
        ),
        (
            "a table of another name",
            "stack = 'a'\n[services.web]\nport = 8000\n"
        ),
        (
            "a top key behind a table",
            "[service.web]\nport = 8000\nstack = 'a'\n"
        ),
        ("no port", "stack = 'a'\n[service.web]\nimage = {}\n"),
    ]));
}

#[test]
fn values_of_the_wrong_type() {
    insta::assert_snapshot!(table(&[
        (
            "number as text",
            "stack = 'a'\n[service.web]\nport = '8000'\n"
        ),
        ("text as number", "stack = 5\n[service.web]\nport = 8000\n"),
        (
            "table as text",
            "stack = 'a'\n[service.web]\nport = 8000\nhealth = '/healthz'\n"
        ),
        (
            "list as text",
            "stack = 'a'\nnetwork.bastion = { allow = '203.0.113.7/32' }\n[service.web]\nport = 8000\n"
        ),
        (
            "boolean as text",
            "stack = 'a'\nnetwork.s3-endpoint = 'true'\n[service.web]\nport = 8000\n"
        ),
        (
            "variable without quotes",
            "stack = 'a'\n[service.web]\nport = 8000\nenv = { WORKERS = 4, DEBUG = true }\n"
        ),
        (
            "a half",
            "stack = 'a'\nnetwork.zones = 2.5\n[service.web]\nport = 8000\n"
        ),
        ("service as a value", "stack = 'a'\nservice = 'web'\n"),
        (
            "before as a number",
            "stack = 'a'\n[service.web]\nport = 8000\nimage = { before = 1 }\n"
        ),
    ]));
}

#[test]
fn a_wrong_type_is_one_fault_only() {
    for (route, kind) in [
        ("['/api/*']", "a list"),
        ("5", "a number"),
        ("{ path = '/api/*' }", "a table"),
    ] {
        let errors = refused(&format!(
            "{GOOD}[service.api]\nport = 9000\nroute = {route}\n"
        ));
        let fault = format!("landfall.toml:6:9: `route` is {kind} here, not text in quotes\n");
        assert!(errors.starts_with(&fault), "{errors}");
        // No second fault says that two services have no route.
        assert_eq!(errors.matches("landfall.toml:").count(), 1, "{errors}");
    }
}

#[test]
fn values_that_cannot_be() {
    insta::assert_snapshot!(table(&[
        ("port 0", "stack = 'a'\n[service.web]\nport = 0\n"),
        ("port 70000", "stack = 'a'\n[service.web]\nport = 70000\n"),
        (
            "stack's name",
            "stack = 'Digi Pay!'\n[service.web]\nport = 8000\n"
        ),
        (
            "stack's name is long",
            "stack = 'a-name-that-goes-on-and-on'\n[service.web]\nport = 8000\n"
        ),
        (
            "service's name",
            "stack = 'a'\n[service.Web_1]\nport = 8000\n"
        ),
        (
            "both names together",
            "stack = 'a-stack-of-twenty-three'\n[service.web-interface]\nport = 8000\n"
        ),
        (
            "service's name is taken",
            "stack = 'a'\n[service.bastion]\nport = 8000\n"
        ),
        (
            "two services without a route",
            "stack = 'a'\n[service.api]\nport = 8000\n[service.web]\nport = 8001\n"
        ),
        (
            "one route twice, by case alone another one, and nobody takes the rest",
            "stack = 'a'\n[service.api]\nport = 8000\nroute = 'api.example.com'\n\
             [service.web]\nport = 8001\nroute = 'API.example.com'\n"
        ),
        (
            "what is no route",
            "stack = 'a'\n[service.web]\nport = 8000\n\
             [service.api]\nport = 8001\nroute = 'api'\n[service.old]\nport = 8002\nroute = '/old path'\n"
        ),
        ("no service", "stack = 'a'\n[service]\n"),
        (
            "a zone for a region",
            "stack = 'a'\nregion = 'ap-south-1a'\n[service.web]\nport = 8000\n"
        ),
        (
            "no region",
            "stack = 'a'\nregion = 'Mumbai'\n[service.web]\nport = 8000\n"
        ),
        (
            "account",
            "stack = 'a'\naccount = '1234'\n[service.web]\nport = 8000\n"
        ),
        (
            "instance type",
            "stack = 'a'\n[service.web]\nport = 8000\ninstance = 'small'\n"
        ),
        (
            "variables",
            "stack = 'a'\n[service.web]\nport = 8000\nenv = { '1A' = '', PORT = '1', LANDFALL_ZONE = '', 'A-B' = '' }\n"
        ),
        (
            "platform",
            "stack = 'a'\n[service.web]\nport = 8000\nimage = { platform = 'linux' }\n"
        ),
        (
            "builder",
            "stack = 'a'\n[service.web]\nport = 8000\nimage = { builder = 'docker' }\n"
        ),
        (
            "before",
            "stack = 'a'\n[service.web]\nport = 8000\nimage = { before = ['make', ' '] }\n"
        ),
    ]));
}

#[test]
fn windows_is_refused_at_its_line() {
    let source =
        "stack = 'a'\n[service.web]\nport = 8000\nimage = { platform = 'windows/amd64' }\n";
    let reported = refused(source);
    for part in [
        "landfall.toml:4:",
        "\"windows/amd64\" cannot run: instances run Linux",
        "write \"linux/amd64\"",
    ] {
        assert!(reported.contains(part), "{part} is not in\n{reported}");
    }
}

#[test]
fn networks_that_cannot_be() {
    insta::assert_snapshot!(table(&[
        (
            "no block",
            "stack = 'a'\nnetwork.cidr = '10.0.0.0'\n[service.web]\nport = 8000\n"
        ),
        (
            "no address",
            "stack = 'a'\nnetwork.cidr = '10.0.0.256/16'\n[service.web]\nport = 8000\n"
        ),
        (
            "IPv6",
            "stack = 'a'\nnetwork.cidr = 'fd00::/8'\n[service.web]\nport = 8000\n"
        ),
        (
            "host bits",
            "stack = 'a'\nnetwork.cidr = '10.0.0.1/16'\n[service.web]\nport = 8000\n"
        ),
        (
            "too large",
            "stack = 'a'\nnetwork.cidr = '10.0.0.0/8'\n[service.web]\nport = 8000\n"
        ),
        (
            "too small for two zones",
            "stack = 'a'\nnetwork.cidr = '10.0.0.0/28'\n[service.web]\nport = 8000\n"
        ),
        (
            "too small for six",
            "stack = 'a'\nnetwork = { cidr = '10.0.0.0/24', zones = 6 }\n[service.web]\nport = 8000\n"
        ),
        (
            "zones 0",
            "stack = 'a'\nnetwork.zones = 0\n[service.web]\nport = 8000\n"
        ),
        (
            "zones 7",
            "stack = 'a'\nnetwork.zones = 7\n[service.web]\nport = 8000\n"
        ),
        (
            "zones -1",
            "stack = 'a'\nnetwork.zones = -1\n[service.web]\nport = 8000\n"
        ),
        (
            "one zone",
            "stack = 'a'\nnetwork.zones = 1\n[service.web]\nport = 8000\n"
        ),
        (
            "nat",
            "stack = 'a'\nnetwork.nat = 'per_zone'\n[service.web]\nport = 8000\n"
        ),
        (
            "nat as a flag",
            "stack = 'a'\nnetwork.nat = 'yes'\n[service.web]\nport = 8000\n"
        ),
        (
            "bastion open to all",
            "stack = 'a'\nnetwork.bastion = { allow = ['203.0.113.7/32', '0.0.0.0/0'] }\n[service.web]\nport = 8000\n"
        ),
        (
            "bastion, one address",
            "stack = 'a'\nnetwork.bastion = { allow = ['203.0.113.7'] }\n[service.web]\nport = 8000\n"
        ),
        (
            "bastion, one bad block of two",
            "stack = 'a'\nnetwork.bastion = { allow = ['203.0.113.7/32', '198.51.100.0/33'] }\n[service.web]\nport = 8000\n"
        ),
        (
            "bastion, host bits",
            "stack = 'a'\nnetwork.bastion = { allow = ['203.0.113.7/24'] }\n[service.web]\nport = 8000\n"
        ),
        (
            "idle timeout",
            "stack = 'a'\nload-balancer.idle-timeout = 4001\n[service.web]\nport = 8000\n"
        ),
    ]));
}

#[test]
fn a_bastion_for_more_blocks_than_an_acl_has_entries() {
    let allow: Vec<String> = (0..60)
        .map(|n| format!("'203.0.113.{}/32'", 2 * n))
        .collect();
    let source = format!(
        "stack = 'a'\n[network]\nbastion = {{ allow = [{}] }}\n[service.web]\nport = 8000\n",
        allow.join(", ")
    );
    let errors = Config::parse(&source, "landfall.toml").unwrap_err();
    assert_eq!(errors.faults.len(), 1);
    assert_eq!((errors.faults[0].line, errors.faults[0].column), (2, 2));
    insta::assert_snapshot!(errors.faults[0].message);
}

#[test]
fn services_that_cannot_be() {
    let health =
        |keys: &str| format!("stack = 'a'\n[service.web]\nport = 8000\nhealth = {{ {keys} }}\n");
    let scale =
        |keys: &str| format!("stack = 'a'\n[service.web]\nport = 8000\nscale = {{ {keys} }}\n");
    let cases = [
        ("path without a slash", health("path = 'healthz'")),
        ("path with a space", health("path = '/is it well'")),
        (
            "timeout as long as the interval",
            health("interval = 5, timeout = 5"),
        ),
        (
            "timeout longer than the default interval",
            health("timeout = 60"),
        ),
        ("interval", health("interval = 4")),
        (
            "thresholds",
            health("healthy-threshold = 1, unhealthy-threshold = 11"),
        ),
        ("matcher", health("matcher = 'ok'")),
        ("matcher's range", health("matcher = '299-200'")),
        ("matcher's codes", health("matcher = '200,500'")),
        ("deadline", health("deadline = 0")),
        ("min above max", scale("min = 5, desired = 2, max = 4")),
        ("desired below min", scale("min = 3")),
        ("desired above max", scale("desired = 9, max = 4")),
        ("none", scale("desired = 0, min = 0")),
        ("cpu", scale("cpu = 101")),
        (
            "deregistration delay",
            "stack = 'a'\n[service.web]\nport = 8000\nderegistration-delay = 3601\n".to_owned(),
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(title, source)| (*title, source.as_str()))
        .collect();
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn what_is_not_toml() {
    insta::assert_snapshot!(table(&[
        ("no quotes", "stack = digipay\n"),
        ("no end", "stack = 'digipay\n"),
        ("no value", "stack =\n"),
        ("twice", "stack = 'a'\nstack = 'b'\n"),
        (
            "a table twice",
            "stack = 'a'\n[network]\nzones = 2\n[network]\nnat = 'none'\n"
        ),
        ("a bracket", "stack = 'a'\n[network\nzones = 2\n"),
        ("not an assignment", "stack: a\n"),
    ]));
}

#[test]
fn all_faults_at_once_in_the_order_of_lines() {
    let source = "\
stak = 'digipay'
region = 'Mumbai'

[network]
cidr = '10.0.0.1/16'
zones = 7

[load-balancer]
port = 0

[service.web]
port   = 70000
health = { path = 'healthz', intervall = 5 }
scale  = { min = 4, desired = 2, max = 3 }
";
    insta::assert_snapshot!(refused(source));
}

#[test]
fn a_fault_knows_its_bytes_line_and_column() {
    let source = "stack = 'a' # é\n[service.web]\n\tport = 0 # ä\n";
    let errors = Config::parse(source, "landfall.toml").unwrap_err();
    let fault = &errors.faults[0];
    assert_eq!(&source[fault.span.clone()], "0");
    assert_eq!((fault.line, fault.column), (3, 9));
}

#[test]
fn what_rests_on_a_faulty_key_is_not_told() {
    // `desired` is not read; that its default lies below `min` would only confuse.
    let errors =
        refused("stack = 'a'\n[service.web]\nport = 8000\nscale = { min = 3, desired = 'x' }\n");
    assert_eq!(errors.matches("landfall.toml:").count(), 1, "{errors}");
}

#[test]
fn the_name_is_found_in_a_file_that_is_faulty_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.toml");
    std::fs::write(&path, "stack = 'digipay'\nquux = 1\n").unwrap();
    assert_eq!(
        Config::whereabouts(&path, None).unwrap().stack.as_str(),
        "digipay"
    );
    std::fs::write(&path, "region = 'eu-west-1'\n").unwrap();
    assert!(
        Config::whereabouts(&path, None)
            .unwrap_err()
            .to_string()
            .contains("there is no `stack`")
    );
}

#[test]
fn files_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.toml");
    let plain = |errors: &ConfigErrors| {
        errors
            .to_string()
            .replace(&directory.path().display().to_string(), "/app")
    };
    let mut out = plain(&Config::load(&path).unwrap_err());
    let mut load = |keys: &str| {
        std::fs::write(
            &path,
            format!("stack = 'a'\n[service.web]\nport = 8000\n{keys}\n"),
        )
        .unwrap();
        match Config::load(&path) {
            Ok(_) => write!(out, "\n\n== {keys}\naccepted").unwrap(),
            Err(errors) => write!(out, "\n\n== {keys}\n{}", plain(&errors)).unwrap(),
        }
    };
    load("");
    load("image = { context = 'app' }");
    load("image = { context = 'landfall.toml' }");
    load("image = { context = 'app', before = 'make app' }");
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    load("");
    load("image = { dockerfile = 'other.Dockerfile' }");
    insta::assert_snapshot!(out);
}

#[test]
fn relative_paths_start_where_the_file_is() {
    let config = Config::parse(GOOD, "/app/landfall.toml").unwrap();
    let image = &config.service.values().next().unwrap().image;
    assert_eq!(config.build_request(image).context, PathBuf::from("/app"));
    let image = ImageSource {
        context: "../web".into(),
        ..ImageSource::default()
    };
    assert_eq!(
        config.build_request(&image).context,
        PathBuf::from("/app/../web")
    );
}
