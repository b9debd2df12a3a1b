//! Listener rules, redirects and fixed responses.

use super::super::rules::{Asked, host_name, location, wildcard};
use super::*;
use hyper::StatusCode;

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

#[test]
fn redirect_addresses() {
    let asked = Asked {
        host: "example.com",
        port: 80,
        path: "/a/b",
        query: "c=d",
    };
    let to = |change: &dyn Fn(&mut Redirect)| {
        let mut redirect = Redirect::default();
        change(&mut redirect);
        location(&redirect, &asked)
    };
    assert_eq!(to(&|_| {}), "http://example.com/a/b?c=d");
    let https = |r: &mut Redirect| (r.protocol, r.port) = ("HTTPS".into(), "443".into());
    assert_eq!(to(&https), "https://example.com/a/b?c=d");
    assert_eq!(
        to(&|r| r.port = "8443".into()),
        "http://example.com:8443/a/b?c=d"
    );
    assert_eq!(
        to(&|r| r.host = "new.#{host}".into()),
        "http://new.example.com/a/b?c=d"
    );
    assert_eq!(
        to(&|r| r.path = "/v2/#{path}".into()),
        "http://example.com/v2/a/b?c=d"
    );
    assert_eq!(to(&|r| r.query = String::new()), "http://example.com/a/b");
    assert_eq!(
        to(&|r| r.path = "/#{unknown}".into()),
        "http://example.com/#{unknown}?c=d"
    );
    // What the request brings is not filled in again.
    let sly = Asked {
        path: "/#{host}",
        ..asked
    };
    assert_eq!(
        location(&Redirect::default(), &sly),
        "http://example.com/#{host}?c=d"
    );
}

fn rule(priority: u32, conditions: Vec<Condition>, action: Action) -> Rule {
    Rule {
        priority,
        conditions,
        action,
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
    let teapot = FixedResponse {
        status: StatusCode::IM_A_TEAPOT,
        content_type: "application/json".into(),
        body: "{}".into(),
    };
    let rules = vec![
        rule(
            30,
            vec![paths(&["/api/*", "/rpc"])],
            Action::Forward("api".into()),
        ),
        rule(
            10,
            vec![paths(&["/api/tea"])],
            Action::FixedResponse(teapot),
        ),
        rule(
            20,
            vec![hosts(&["old.*"]), paths(&["/moved*"])],
            Action::Redirect(Redirect::default()),
        ),
    ];
    lb.listen(rules, Action::Forward("web".into())).await;
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
    let tea = lb.get("/api/tea").await;
    assert_eq!((tea.status, tea.body.as_str()), (418, "{}"));
    assert_eq!(tea.headers.get("content-type").unwrap(), "application/json");
    assert_eq!(
        lb.get("/moved").await.body,
        "web",
        "the other condition does not hold"
    );
    let moved = lb
        .raw("GET /moved/x?y HTTP/1.1\r\nhost: OLD.test:8080\r\nconnection: close\r\n\r\n")
        .await;
    assert!(moved.starts_with("HTTP/1.1 302 Found\r\n"), "{moved}");
    assert!(
        moved.contains("location: http://OLD.test:8080/moved/x?y\r\n"),
        "{moved}"
    );
}

#[tokio::test]
async fn listeners_come_and_go_under_open_connections() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let mut client = Client::connect(lb.addr).await;
    assert_eq!(client.get("/").await.body, "one");
    let gone = FixedResponse {
        status: StatusCode::GONE,
        content_type: "text/plain".into(),
        body: "gone".into(),
    };
    lb.listen(vec![], Action::FixedResponse(gone.clone())).await;
    assert_eq!(
        client.get("/").await.status,
        410,
        "the next request follows the new rules"
    );
    let elsewhere = ListenerConfig {
        port: PORT + 1,
        rules: vec![],
        default_action: Action::FixedResponse(gone),
    };
    lb.balancer.set_listeners(vec![elsewhere]).await.unwrap();
    assert_eq!(client.get("/").await.status, 503);
    assert!(
        TcpStream::connect(lb.addr).await.is_err(),
        "the port is closed"
    );
    let moved = (lb.addr.ip(), PORT + 1).into();
    assert_eq!(Client::connect(moved).await.get("/").await.status, 410);
}

#[tokio::test]
async fn wrong_listeners_change_nothing() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let listener = |port, group: &str| ListenerConfig {
        port,
        rules: vec![],
        default_action: Action::Forward(group.into()),
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
