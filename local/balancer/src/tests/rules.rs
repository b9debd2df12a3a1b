//! Listeners and their rules.

use super::super::rules::{host_name, wildcard};
use super::*;

#[test]
fn patterns() {
    for (pattern, text, matches) in [
        ("*", "", true),
        ("*", "anything", true),
        ("", "", true),
        ("", "a", false),
        ("?", "", false),
        ("?", "a", true),
        ("/api/*", "/api/", true),
        ("/api/*", "/api", false),
        ("/api/*", "/api/v1/users", true),
        ("*.png", "/img/a.png", true),
        ("*.png", "/img/a.pngs", false),
        ("/a?c", "/abc", true),
        ("/a?c", "/ac", false),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("/*/b/*/d", "/1/b/2/c/b/3/d", true),
        ("/API", "/api", false),
    ] {
        assert_eq!(
            wildcard(pattern.as_bytes(), text.as_bytes(), false),
            matches,
            "{pattern} {text}"
        );
    }
    assert!(wildcard(b"*.Example.com", b"www.EXAMPLE.COM", true));
    assert!(!wildcard(b"*.example.com", b"example.com", true));
}

#[test]
fn a_hostile_pattern_takes_no_exponential_time() {
    let pattern = "*a".repeat(64) + "b";
    let text = "a".repeat(128);
    // With backtracking over every star this would not end within a lifetime.
    assert!(!wildcard(pattern.as_bytes(), text.as_bytes(), false));
}

#[test]
fn host_names() {
    for (host, name) in [
        ("example.com", "example.com"),
        ("example.com:8080", "example.com"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("", ""),
    ] {
        assert_eq!(host_name(host), name);
    }
}

fn rule(priority: u32, conditions: Vec<Condition>, group: &str) -> Rule {
    Rule {
        priority,
        conditions,
        group: group.into(),
    }
}

fn paths(patterns: &[&str]) -> Condition {
    Condition::PathPattern(patterns.iter().map(ToString::to_string).collect())
}

fn hosts(patterns: &[&str]) -> Condition {
    Condition::HostHeader(patterns.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn the_first_rule_by_priority_decides() {
    let (web, api) = (Upstream::named("web").await, Upstream::named("api").await);
    let lb = Lb::empty(Attributes::default(), vec![group("web"), group("api")]).await;
    let rules = vec![
        rule(30, vec![paths(&["/api/*", "/rpc"])], "api"),
        rule(10, vec![paths(&["/api/tea"])], "web"),
        rule(20, vec![hosts(&["old.*"]), paths(&["/moved*"])], "api"),
    ];
    lb.listen(rules, "web").await;
    lb.balancer
        .register("web", target("i-web", web.addr))
        .unwrap();
    lb.balancer
        .register("api", target("i-api", api.addr))
        .unwrap();
    for group in ["web", "api"] {
        lb.until(group, |all| all[0].state == HealthState::Healthy)
            .await;
    }
    assert_eq!(lb.get("/").await.body, "web");
    assert_eq!(lb.get("/api/users?x=/rpc").await.body, "api");
    assert_eq!(lb.get("/rpc").await.body, "api");
    assert_eq!(
        lb.get("/?/api/").await.body,
        "web",
        "the query is no part of the path"
    );
    assert_eq!(
        lb.get("/api/tea").await.body,
        "web",
        "the other rule matches too, and comes later"
    );
    assert_eq!(
        lb.get("/moved").await.body,
        "web",
        "the other condition does not hold"
    );
    let moved = lb
        .raw("GET /moved/x?y HTTP/1.1\r\nhost: OLD.test:8080\r\nconnection: close\r\n\r\n")
        .await;
    assert!(moved.ends_with("api"), "{moved}");
}

#[tokio::test]
async fn listeners_come_and_go_under_open_connections() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let lb = Lb::empty(Attributes::default(), vec![group("one"), group("two")]).await;
    lb.listen(vec![], "one").await;
    for (group, upstream) in [("one", &one), ("two", &two)] {
        lb.balancer
            .register(group, target("i", upstream.addr))
            .unwrap();
    }
    let mut client = Client::connect(lb.addr).await;
    assert_eq!(client.get("/").await.body, "one");
    lb.listen(vec![], "two").await;
    assert_eq!(
        client.get("/").await.body,
        "two",
        "the next request follows the new rules"
    );
    let other_port = ListenerConfig {
        port: PORT + 1,
        rules: vec![],
        default_group: "one".into(),
    };
    lb.balancer.set_listeners(vec![other_port]).await.unwrap();
    assert_eq!(client.get("/").await.status, 503);
    assert!(
        TcpStream::connect(lb.addr).await.is_err(),
        "the port is closed"
    );
    let moved = (lb.addr.ip(), PORT + 1).into();
    assert_eq!(Client::connect(moved).await.get("/").await.body, "one");
}

#[tokio::test]
async fn wrong_listeners_change_nothing() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let listener = |port, group: &str| ListenerConfig {
        port,
        rules: vec![],
        default_group: group.into(),
    };
    let missing = lb
        .balancer
        .set_listeners(vec![listener(PORT, "none")])
        .await;
    assert!(matches!(missing, Err(Error::NoGroup(group)) if group == "none"));
    let twice = vec![listener(PORT, "web"), listener(PORT, "web")];
    assert!(matches!(
        lb.balancer.set_listeners(twice).await,
        Err(Error::DuplicatePort(PORT))
    ));
    let in_use = lb.balancer.set_groups(vec![]);
    assert!(matches!(in_use, Err(Error::GroupInUse { port: PORT, .. })));
    assert_eq!(lb.get("/").await.body, "one");
    let taken = std::net::TcpListener::bind((lb.addr.ip(), PORT + 1)).unwrap();
    let both = vec![listener(PORT, "web"), listener(PORT + 1, "web")];
    let error = lb.balancer.set_listeners(both).await.unwrap_err();
    assert!(matches!(error, Error::Listen { addr, .. } if addr == taken.local_addr().unwrap()));
    assert_eq!(lb.get("/").await.body, "one");
}
