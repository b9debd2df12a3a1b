//! Target health: what counts, what it is called, and who gets requests because of it.

use super::super::check;
use super::super::health::{Health, Outcome};
use super::*;
use std::sync::atomic::AtomicU16;
use std::time::SystemTime;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn later(seconds: u64) -> SystemTime {
    NOW + Duration::from_secs(seconds)
}

fn thresholds() -> HealthCheckConfig {
    HealthCheckConfig {
        healthy_threshold: 3,
        unhealthy_threshold: 2,
        ..HealthCheckConfig::default()
    }
}

/// Runs a health through outcomes, one per second, and returns the state after each.
fn states(outcomes: &[Outcome]) -> (Vec<HealthState>, Health) {
    let mut health = Health::registered(NOW);
    let mut states = Vec::new();
    for (n, outcome) in outcomes.iter().enumerate() {
        health.record(outcome, true, &thresholds(), later(n as u64 + 1));
        states.push(health.state);
    }
    (states, health)
}

#[test]
fn one_pass_makes_a_new_target_healthy() {
    let (seen, health) = states(&[Outcome::Pass]);
    assert_eq!(seen, [HealthState::Healthy]);
    assert_eq!((health.reason, health.description.as_str()), (None, ""));
    assert_eq!(health.since, later(1));
    let (seen, _) = states(&[Outcome::Timeout, Outcome::Pass]);
    assert_eq!(seen, [HealthState::Initial, HealthState::Healthy]);
}

#[test]
fn later_recoveries_take_the_threshold() {
    use HealthState::{Healthy, Initial, Unhealthy};
    use Outcome::{Pass, Timeout};
    let (seen, health) = states(&[
        Timeout, Timeout, Pass, Pass, Timeout, Pass, Pass, Pass, Timeout, Pass, Timeout,
    ]);
    assert_eq!(
        seen,
        [
            Initial, Unhealthy, Unhealthy, Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy,
            Healthy, Healthy, Healthy
        ],
        "passes and failures have to follow each other without a break"
    );
    assert_eq!(health.since, later(8));
}

#[test]
fn reasons_follow_the_last_failure() {
    let mut health = Health::registered(NOW);
    assert_eq!(health.reason, Some(Reason::RegistrationInProgress));
    health.checking();
    assert_eq!(health.reason, Some(Reason::InitialHealthChecking));
    let config = thresholds();
    let refused = Outcome::Failed("no connection to 10.0.0.1:80".into());
    health.record(&refused, true, &config, later(1));
    assert_eq!(health.reason, Some(Reason::InitialHealthChecking));
    assert!(health.description.contains("no connection to 10.0.0.1:80"));
    health.record(&Outcome::Mismatch(500), true, &config, later(2));
    assert_eq!(health.state, HealthState::Unhealthy);
    assert_eq!(health.reason, Some(Reason::ResponseCodeMismatch));
    assert_eq!(
        health.description,
        "Health checks failed with these codes: [500]"
    );
    health.record(&Outcome::Timeout, true, &config, later(3));
    assert_eq!(health.reason, Some(Reason::Timeout));
    assert_eq!(health.description, "Request timed out");
    health.record(&refused, true, &config, later(4));
    assert_eq!(health.reason, Some(Reason::FailedHealthChecks));
    assert_eq!(health.since, later(2), "unhealthy since the second failure");
}

#[test]
fn checks_between_intervals_never_count_against_a_target() {
    let mut health = Health::registered(NOW);
    for n in 0..100 {
        health.record(&Outcome::Timeout, false, &thresholds(), later(n));
    }
    assert_eq!(health.state, HealthState::Initial);
    health.record(&Outcome::Pass, false, &thresholds(), later(100));
    assert_eq!(health.state, HealthState::Healthy);
}

#[test]
fn a_draining_target_stays_so() {
    let mut health = Health::registered(NOW);
    health.draining(later(1));
    health.record(&Outcome::Pass, true, &thresholds(), later(2));
    assert_eq!(health.state, HealthState::Draining);
    assert_eq!(
        health.reason.map(Reason::as_str),
        Some("Target.DeregistrationInProgress")
    );
}

#[test]
fn matchers() {
    for (text, passes, fails) in [
        ("200", &[200][..], &[199, 201, 302, 500][..]),
        ("200-299", &[200, 204, 299], &[199, 300]),
        ("200,302", &[200, 302], &[201, 301]),
        (
            "200-204, 301-302,401",
            &[200, 204, 301, 302, 401],
            &[205, 300, 400],
        ),
    ] {
        let matcher = Matcher::parse(text).unwrap();
        assert!(passes.iter().all(|&code| matcher.matches(code)), "{text}");
        assert!(!fails.iter().any(|&code| matcher.matches(code)), "{text}");
        assert_eq!(matcher.to_string(), text.replace(' ', ""));
    }
    for wrong in [
        "",
        "abc",
        "200-",
        "-200",
        "299-200",
        "199",
        "500",
        "200,,201",
        "200-250-299",
    ] {
        let error = Matcher::parse(wrong).unwrap_err();
        assert!(error.contains("codes"), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn one_check_finds_what_a_target_does() {
    let service = Upstream::http(|request| async move {
        let asked = (
            request.uri().to_string(),
            request.headers().get("host").cloned(),
        );
        let good = asked.0 == "/up?deep=1" && asked.1.is_some();
        let status = if good { 200 } else { 503 };
        Response::builder()
            .status(status)
            .body(Full::<Bytes>::default())
            .unwrap()
    })
    .await;
    let config = |path: &str| HealthCheckConfig {
        path: path.into(),
        timeout: Duration::from_millis(300),
        ..HealthCheckConfig::default()
    };
    assert_eq!(
        check::once(service.addr, &config("/up?deep=1")).await,
        Outcome::Pass
    );
    assert_eq!(
        check::once(service.addr, &config("/other")).await,
        Outcome::Mismatch(503)
    );
    let silent = Upstream::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(
        check::once(silent.addr, &config("/")).await,
        Outcome::Timeout
    );
    let gibberish = Upstream::raw(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    })
    .await;
    let Outcome::Failed(why) = check::once(gibberish.addr, &config("/")).await else {
        panic!()
    };
    assert!(why.starts_with("no HTTP response from 127.0.0.1:"), "{why}");
    let addr = gibberish.addr;
    gibberish.kill().await;
    let Outcome::Failed(why) = check::once(addr, &config("/")).await else {
        panic!()
    };
    assert!(
        why.starts_with(&format!("no connection to {addr}: Connection refused")),
        "{why}"
    );
}

/// A target whose health checks get the status that is stored.
async fn moody(status: &Arc<AtomicU16>) -> Upstream {
    let status = Arc::clone(status);
    Upstream::http(move |request| {
        let status = match request.uri().path() {
            "/healthz" => status.load(Ordering::SeqCst),
            _ => 200,
        };
        async move {
            Response::builder()
                .status(status)
                .body(Full::from("moody"))
                .unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn unhealthy_targets_get_no_requests_until_all_are() {
    let one = Upstream::named("one").await;
    let (mood, other_mood) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(500)));
    let two = moody(&mood).await;
    let lb = Lb::to(&[&one, &two]).await;
    mood.store(500, Ordering::SeqCst);
    let health = lb
        .until("web", |all| all[1].state == HealthState::Unhealthy)
        .await;
    assert_eq!(
        health[1].reason.map(Reason::as_str),
        Some("Target.ResponseCodeMismatch")
    );
    assert_eq!(
        health[1].description,
        "Health checks failed with these codes: [500]"
    );
    assert_eq!(
        (health[0].state, health[0].reason),
        (HealthState::Healthy, None)
    );
    let before = two.served();
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.body, "one");
    }
    assert_eq!(two.served(), before);
    // Back again after two passes.
    mood.store(200, Ordering::SeqCst);
    lb.until("web", |all| all[1].state == HealthState::Healthy)
        .await;
    for _ in 0..10 {
        lb.get("/").await;
    }
    assert_eq!(two.served() - before, 5);
    // Only unhealthy ones: requests go to them nevertheless.
    let three = moody(&other_mood).await;
    lb.balancer
        .register("web", target("i-2", three.addr))
        .unwrap();
    mood.store(503, Ordering::SeqCst);
    lb.balancer.deregister("web", "i-0").unwrap().await;
    lb.until("web", |all| {
        all.len() == 2 && all.iter().all(|one| one.state == HealthState::Unhealthy)
    })
    .await;
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    assert_eq!(three.served(), 5);
}

#[tokio::test]
async fn late_target_is_found_before_the_next_interval() {
    let addr = nobody();
    let mut slow = group("web");
    slow.health_check.interval = Duration::from_secs(300);
    let lb = Lb::empty(Attributes::default(), vec![slow]).await;
    lb.listen(vec![], "web").await;
    lb.balancer.register("web", target("i-0", addr)).unwrap();
    let health = lb
        .until("web", |all| all[0].description.contains("refused"))
        .await;
    assert_eq!(health[0].state, HealthState::Initial);
    assert_eq!(
        health[0].reason.map(Reason::as_str),
        Some("Elb.InitialHealthChecking")
    );
    let server = TcpListener::bind(addr).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            // An answer that comes before the request is none.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    });
    // The deadline of `until` is far shorter than the interval.
    lb.until("web", |all| all[0].state == HealthState::Healthy)
        .await;
}

#[tokio::test]
async fn targets_that_nobody_can_reach_are_unused() {
    let one = Upstream::named("one").await;
    let lb = Lb::empty(Attributes::default(), vec![group("web"), group("idle")]).await;
    lb.balancer
        .register("web", target("i-0", one.addr))
        .unwrap();
    let in_other_zone = Target {
        zone: "b".into(),
        ..target("i-1", one.addr)
    };
    lb.balancer.register("web", in_other_zone).unwrap();
    let state = |n: usize| {
        let health = lb.balancer.health("web").unwrap().swap_remove(n);
        (
            health.state,
            health.reason.map(Reason::as_str),
            health.description,
        )
    };
    let unused = |why: &str| (HealthState::Unused, Some("Target.NotInUse"), why.to_owned());
    let no_listener = "Target group is not configured to receive traffic from the load balancer";
    assert_eq!(state(0), unused(no_listener));
    lb.listen(vec![], "web").await;
    lb.until("web", |all| all[0].state == HealthState::Healthy)
        .await;
    let no_node = "Target is in an Availability Zone that is not enabled for the load balancer: b";
    assert_eq!(state(1), unused(no_node));
    lb.balancer
        .add_node("b", own_address(), no_pin())
        .await
        .unwrap();
    lb.until("web", |all| all[1].state == HealthState::Healthy)
        .await;
    lb.balancer.remove_node("b", DEADLINE).await.unwrap();
    assert_eq!(state(1), unused(no_node));
    lb.listen(vec![], "idle").await;
    assert_eq!(state(0), unused(no_listener));
    assert_eq!(lb.get("/").await.status, 503);
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_refuses_nothing() {
    let (started, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let slow = Upstream::http(move |request| {
        let (started, opened) = (started.clone(), Arc::clone(&opened));
        async move {
            if request.uri().path() == "/slow" {
                started.send(()).unwrap();
                opened.notified().await;
            }
            Response::new(Full::from("slow"))
        }
    })
    .await;
    let other = Upstream::named("other").await;
    let lb = Lb::to(&[&slow, &other]).await;
    // Until the slow one has it: the other one answers this at once.
    let addr = lb.addr;
    let mut requests = Vec::new();
    for _ in 0..2 {
        requests.push(tokio::spawn(async move {
            Client::connect(addr).await.get("/slow").await
        }));
    }
    waiting.recv().await.unwrap();
    // Meanwhile others keep asking, and none may notice.
    let asking = tokio::spawn(async move {
        let mut client = Client::connect(addr).await;
        for _ in 0..2000 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    let mut drain = lb.balancer.deregister("web", "i-0").unwrap();
    let health = lb.balancer.health("web").unwrap();
    assert_eq!(health[0].state, HealthState::Draining);
    assert_eq!(
        health[0].reason.map(Reason::as_str),
        Some("Target.DeregistrationInProgress")
    );
    let before = slow.served();
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.body, "other");
    }
    assert_eq!(slow.served(), before);
    assert!(
        timeout(Duration::from_millis(50), &mut drain)
            .await
            .is_err(),
        "still in flight"
    );
    gate.notify_one();
    timeout(DEADLINE, drain)
        .await
        .expect("nothing is in flight any more");
    let mut bodies = Vec::new();
    for request in requests {
        bodies.push(request.await.unwrap().body);
    }
    bodies.sort();
    assert_eq!(bodies, ["other", "slow"]);
    asking.await.unwrap();
    assert_eq!(
        lb.balancer.health("web").unwrap().len(),
        1,
        "it is registered no longer"
    );
    let again = lb.balancer.deregister("web", "i-0").unwrap_err();
    assert!(matches!(again, Error::NotRegistered { .. }));
}

#[tokio::test]
async fn draining_ends_with_the_deregistration_delay() {
    let stuck = Upstream::healthy_but(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let lb = Lb::to(&[&stuck]).await;
    let mut hasty = group("web");
    hasty.deregistration_delay = Duration::from_millis(100);
    lb.balancer.set_groups(vec![hasty]).unwrap();
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let connections = Arc::clone(&stuck.connections);
    let before = connections.load(Ordering::SeqCst);
    // Checks make connections too; two more are surely past the request.
    timeout(DEADLINE, async {
        while connections.load(Ordering::SeqCst) < before + 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let drain = lb.balancer.deregister("web", "i-0").unwrap();
    timeout(DEADLINE / 2, drain)
        .await
        .expect("the delay is over");
    assert!(lb.balancer.health("web").unwrap().is_empty());
}

#[tokio::test]
async fn registering_again_ends_a_drain_and_starts_over() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let since = lb.balancer.health("web").unwrap()[0].since;
    lb.balancer
        .register("web", target("i-0", one.addr))
        .unwrap();
    assert_eq!(
        lb.balancer.health("web").unwrap()[0].since,
        since,
        "nothing to do"
    );
    let drain = lb.balancer.deregister("web", "i-0").unwrap();
    lb.balancer
        .register("web", target("i-0", one.addr))
        .unwrap();
    drain.await;
    lb.until("web", |all| {
        all.len() == 1 && all[0].state == HealthState::Healthy
    })
    .await;
    assert_eq!(lb.get("/").await.body, "one");
}
