//! The selection of an engine's address, without any engine.

use super::*;

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

#[test]
fn addresses_are_read_as_docker_reads_them() {
    for (text, shown) in [
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
        ("http://build.example.com:80/", "tcp://build.example.com:80"),
        ("tcp://build.example.com", "tcp://build.example.com:2375"),
        ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ("tcp://[::1]", "tcp://[::1]:2375"),
        (
            "npipe:////./pipe/docker_engine",
            "npipe:////./pipe/docker_engine",
        ),
    ] {
        assert_eq!(
            text.parse::<Address>().unwrap().to_string(),
            shown,
            "{text}"
        );
    }
}

#[test]
fn an_address_that_cannot_be_used_says_why() {
    for (text, word) in [
        ("ssh://me@host", "ssh -NL"),
        ("https://host:2376", "TLS"),
        ("fd://", "only unix://"),
        ("/var/run/docker.sock", "unix:///path"),
        ("unix://docker.sock", "absolute"),
        ("tcp://", "host:port"),
        ("tcp://:2375", "host:port"),
        ("tcp://host:0", "1 to 65535"),
        ("tcp://host:70000", "1 to 65535"),
        ("tcp://host:80/path", "host:port"),
        ("", "unix:///path"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains(text),
            "{text}: {error}"
        );
    }
}

#[test]
fn docker_host_wins_and_is_the_only_one() {
    let environment = Environment {
        docker_host: Some("tcp://10.0.0.9:2375".into()),
        docker_context: Some("other".into()),
        runtime_dir: Some("/run/user/7".into()),
        ..Environment::default()
    };
    assert_eq!(
        environment.addresses().unwrap(),
        [Address::Tcp("10.0.0.9:2375".into())]
    );
}

#[test]
fn a_bad_docker_host_is_named_as_such() {
    for (host, tls, word) in [
        ("ssh://me@host", false, "ssh -NL"),
        ("tcp://host:2376", true, "TLS"),
    ] {
        let environment = Environment {
            docker_host: Some(host.into()),
            docker_tls: tls,
            ..Environment::default()
        };
        let error = environment.addresses().unwrap_err().to_string();
        assert!(
            error.contains("DOCKER_HOST") && error.contains(word),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn default_order_is_docker_then_rootless_then_system() {
    let environment = Environment {
        runtime_dir: Some("/run/user/7".into()),
        ..Environment::default()
    };
    assert_eq!(
        environment.addresses().unwrap(),
        [
            unix("/var/run/docker.sock"),
            unix("/run/user/7/docker.sock"),
            unix("/run/user/7/podman/podman.sock"),
            unix("/run/podman/podman.sock"),
        ]
    );
}

/// A docker configuration directory with one context named `far`.
fn with_context(meta: &str, tls: bool) -> tempfile::TempDir {
    let dir = home();
    // The directory name that docker's own client gives to a context `far`.
    let id = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
    let contexts = dir.path().join("contexts");
    std::fs::create_dir_all(contexts.join("meta").join(id)).unwrap();
    std::fs::write(contexts.join("meta").join(id).join("meta.json"), meta).unwrap();
    if tls {
        std::fs::create_dir_all(contexts.join("tls").join(id).join("docker")).unwrap();
    }
    dir
}

const FAR: &str = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///far.sock","SkipTLSVerify":false}}}"#;

#[test]
fn the_current_context_is_followed() {
    let dir = with_context(FAR, false);
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"auths":{},"currentContext":"far"}"#,
    )
    .unwrap();
    let environment = Environment {
        docker_config: Some(dir.path().into()),
        ..Environment::default()
    };
    assert_eq!(environment.addresses().unwrap(), [unix("/far.sock")]);

    let default = Environment {
        docker_context: Some("default".into()),
        ..environment
    };
    assert!(
        default
            .addresses()
            .unwrap()
            .contains(&unix("/var/run/docker.sock"))
    );
}

#[test]
fn a_context_that_cannot_be_used_says_which() {
    let named = |dir: &tempfile::TempDir, name: &str| Environment {
        docker_config: Some(dir.path().into()),
        docker_context: Some(name.into()),
        ..Environment::default()
    };
    let tcp = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376"}}}"#;
    for (dir, name, word) in [
        (with_context(FAR, false), "near", "docker context ls"),
        (with_context(tcp, true), "far", "TLS"),
        (
            with_context(r#"{"Name":"far","Endpoints":{}}"#, false),
            "far",
            "no docker endpoint",
        ),
        (with_context("{", false), "far", "meta.json"),
    ] {
        let error = named(&dir, name).addresses().unwrap_err().to_string();
        assert!(
            error.contains(&format!("DOCKER_CONTEXT {name}")) && error.contains(word),
            "{error}"
        );
    }
}

#[test]
fn a_broken_configuration_is_not_passed_over() {
    let dir = home();
    std::fs::write(dir.path().join("config.json"), "{ nonsense").unwrap();
    let environment = Environment {
        docker_config: Some(dir.path().into()),
        ..Environment::default()
    };
    let error = environment.addresses().unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("DOCKER_HOST"),
        "{error}"
    );
}

#[test]
fn problems_of_a_socket_say_what_to_do() {
    use std::io::{Error, ErrorKind};
    let said = |path: &str, kind| socket_problem(Path::new(path), &Error::from(kind));
    assert!(said("/var/run/docker.sock", ErrorKind::PermissionDenied).contains("docker group"));
    assert!(
        said("/run/podman/podman.sock", ErrorKind::PermissionDenied).contains("systemctl --user")
    );
    assert!(
        said("/var/run/docker.sock", ErrorKind::ConnectionRefused).contains("no engine is running")
    );
    assert!(said("/var/run/docker.sock", ErrorKind::NotFound).contains("no such socket"));
}
