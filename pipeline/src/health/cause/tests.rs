//! The cause and the advice for each fact, word by word.

use super::*;

fn name() -> ResourceName {
    "web".parse().unwrap()
}

fn service() -> Service {
    Service::new(landfall_provider::Port::new(8000).unwrap())
}

#[track_caller]
fn reported(reason: HealthReason, seen: &str, text: &str, advice: &str) {
    let cause = Cause::of_target(Some(reason), Some(seen), &name(), &service());
    assert_eq!(cause, Some(Cause::new(text, advice)));
}

/// The same fact, before the deadline made it `initial` or after the threshold made it `unhealthy`.
#[track_caller]
fn early_and_late(reason: HealthReason, seen: &str, text: &str, advice: &str) {
    reported(reason, seen, text, advice);
    let initial = format!("Initial health checks in progress ({seen})");
    reported(HealthReason::InitialHealthChecking, &initial, text, advice);
}

fn status(status: u16, advice: &str) {
    early_and_late(
        HealthReason::ResponseCodeMismatch,
        &format!("Health checks failed with these codes: [{status}]"),
        &format!("GET / answers with status {status} instead of 200"),
        advice,
    );
}

#[test]
fn constant_301() {
    status(
        301,
        "let `path` in [service.web.health] name a page that answers with 200, or write `matcher = \"200,301\"`",
    );
}

#[test]
fn constant_400() {
    status(
        400,
        "the check's Host header is the instance's address: let the service accept any host there (Django: \
         ALLOWED_HOSTS)",
    );
}

#[test]
fn other_statuses() {
    status(
        404,
        "let `path` in [service.web.health] name a page that the service has",
    );
    status(
        503,
        "the error is inside the service: check its last output",
    );
    status(
        401,
        "health checks bring no credentials: let `path` in [service.web.health] name a page that needs none",
    );
    status(
        204,
        "let `path` in [service.web.health] name a page that answers with 200, or write `matcher = \"200,204\"`",
    );
}

/// As the local provider says it: what the check met, and what the kernel's table shows.
#[track_caller]
fn listens(instead: &str, text: &str, advice: &str) {
    let refused = "no connection to 10.0.0.4:8000: Connection refused (os error 111)";
    let initial = format!(
        "Initial health checks in progress (Health checks failed: {refused}); the service listens on {instead}"
    );
    reported(HealthReason::InitialHealthChecking, &initial, text, advice);
    let failed = format!("Health checks failed: {refused}; the service listens on {instead}");
    reported(HealthReason::FailedHealthChecks, &failed, text, advice);
}

#[test]
fn another_port() {
    listens(
        "port 3000",
        "it listens on port 3000 instead of 8000",
        "let the service listen on the port in PORT, or write `port = 3000` in [service.web]",
    );
    listens(
        "ports 3000, 3001",
        "it listens on ports 3000, 3001 instead of 8000",
        "let the service listen on the port in PORT, or write one of these into `port`",
    );
}

#[test]
fn loopback_only() {
    listens(
        "127.0.0.1:8000 only",
        "it listens on 127.0.0.1:8000 only",
        "let the service listen on 0.0.0.0:8000: 127.0.0.1 is reached from inside its container only",
    );
}

#[test]
fn no_port() {
    listens(
        "no port",
        "it listens on no port",
        "let the service listen on 0.0.0.0 and the port in PORT, which is 8000; if it only starts slowly, write a \
         longer `deadline` in [service.web.health]",
    );
}

#[test]
fn silence() {
    early_and_late(
        HealthReason::Timeout,
        "Request timed out",
        "no answer to GET / on port 8000 within 5 s",
        "the service hangs or is slower than `timeout` in [service.web.health], or a rule of the network drops its \
         packets: `landfall explain --live lb web`",
    );
}

#[test]
fn only_a_check_without_a_result_wants_a_longer_deadline() {
    reported(
        HealthReason::InitialHealthChecking,
        "Initial health checks in progress",
        "its health checks are still running",
        "a longer `deadline` in [service.web.health] may be all it needs",
    );
}

#[test]
fn what_never_started_did_not_end_by_itself() {
    let cause = Cause::ended("did not start: exec \"/app\": no such file in the image");
    assert_eq!(
        cause,
        Cause::new(
            "did not start: exec \"/app\": no such file in the image",
            "correct ENTRYPOINT or CMD in the Dockerfile, or the file they name",
        )
    );
    assert_eq!(Cause::ended("exited with code 1").advice, None);
    assert!(Cause::ended("exited with code 0").advice.is_some());
}
