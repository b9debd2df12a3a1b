//! Connecting to an engine, and losing it: with sockets that misbehave in every way.
#![cfg(all(feature = "engine", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use landfall_container::engine::{Engine, Environment};
use landfall_container::{BuildRequest, Builder as _, Error, Store};
use tempfile::TempDir;

/// The answer of a fake engine to the first line of a request.
type Answer = fn(&str) -> Option<String>;

fn at(host: String) -> Environment {
    Environment {
        docker_host: Some(host),
        ..Environment::default()
    }
}

/// A socket that answers each connection by the request's first line, then closes it. Without an
/// answer the connection stays open.
fn server(answer: Answer) -> (TempDir, Environment) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        // Connections without an answer stay open until the test ends.
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = read_request(&mut stream);
            let line = head.lines().next().unwrap_or_default();
            if line.is_empty() {
                continue;
            }
            match answer(line) {
                Some(answer) => {
                    // The test checks the client's result.
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => silent.push(stream),
            }
        }
    });
    let environment = at(format!("unix://{}", socket.display()));
    (dir, environment)
}

/// Reads a request with its body, as servers do before they close the connection.
fn read_request(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let chunked = text.windows(7).any(|part| part == b"chunked");
        let end: &[u8] = if chunked {
            b"\r\n0\r\n\r\n"
        } else {
            b"\r\n\r\n"
        };
        if text.ends_with(end) {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn http(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

const VERSION: &str = r#"{"Version":"28.5.2","ApiVersion":"1.51","Os":"linux","Arch":"amd64","Components":[{"Name":"Engine","Version":"28.5.2"}]}"#;

async fn problem(environment: &Environment) -> String {
    let error = Engine::connect(environment).await.unwrap_err();
    let Error::EngineUnavailable { tried, hint } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(tried.len(), 1);
    assert!(hint.contains("daemonless"), "{hint}");
    let text = error.to_string();
    assert!(
        text.contains(&tried[0].address) && text.contains(hint),
        "{text}"
    );
    tried[0].problem.clone()
}

#[tokio::test]
async fn every_place_that_was_tried_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment {
        runtime_dir: Some(dir.path().join("run")),
        home: Some(dir.path().join("home")),
        ..Environment::default()
    };
    // A machine that runs these tests may have its own engine at one of the system's addresses.
    match Engine::connect(&environment).await {
        Ok(engine) => assert!(engine.address().to_string().contains("/run/")),
        Err(error) => {
            let text = error.to_string();
            for place in [
                "unix:///var/run/docker.sock: ",
                "run/docker.sock: there is no such socket",
                "home/.docker/desktop/docker.sock: there is no such socket",
                "run/podman/podman.sock: there is no such socket",
                "hint: start Docker or Podman",
            ] {
                assert!(text.contains(place), "{place}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_missing_socket_and_one_without_an_engine_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let environment = at(format!("unix://{}", socket.display()));
    assert_eq!(problem(&environment).await, "there is no such socket");
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(
        problem(&environment).await,
        "the socket is there, but no engine is running behind it"
    );
}

#[tokio::test]
async fn a_port_without_an_engine_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let problem = problem(&at(format!("tcp://127.0.0.1:{port}"))).await;
    assert!(problem.to_lowercase().contains("refused"), "{problem}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_costs_five_seconds() {
    let (_dir, environment) = server(|_| None);
    let start = Instant::now();
    assert_eq!(
        problem(&environment).await,
        "it does not answer within 5 seconds"
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn what_is_no_engine_is_called_so() {
    let answers: [Answer; 4] = [
        |_| http("404 Not Found", "<html>nginx</html>"),
        |_| http("200 OK", "{}"),
        |_| http("200 OK", "<html>welcome</html>"),
        |_| Some("SSH-2.0-OpenSSH_9.2\r\n".into()),
    ];
    for answer in answers {
        let (_dir, environment) = server(answer);
        let problem = problem(&environment).await;
        assert!(problem.contains("not a container engine"), "{problem}");
    }
}

/// A context with a file of a megabyte, and a store.
fn build_things(dir: &Path) -> (BuildRequest, Store) {
    let context = dir.join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    std::fs::write(context.join("large"), vec![7; 1 << 20]).unwrap();
    (
        BuildRequest::new(context),
        Store::open(dir.join("store")).unwrap(),
    )
}

async fn build(answer: Answer) -> Error {
    let (dir, environment) = server(answer);
    let (request, store) = build_things(dir.path());
    let engine = Engine::connect(&environment).await.unwrap();
    assert!(engine.uses_buildkit());
    let error = engine.build(&request, &store, &|_| {}).await.unwrap_err();
    assert!(store.list().unwrap().is_empty());
    error
}

#[tokio::test]
async fn a_connection_that_is_lost_midway_is_no_failed_build() {
    // Half an answer, then nothing: with a wrong length, and as a stream that just ends.
    let answers: [Answer; 3] = [
        |line| {
            match line.contains("/version") {
            true => http("200 OK", VERSION),
            false => Some("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{\"stream\":\"Step 1/2 : FROM scratch\\n\"}\n".into()),
        }
        },
        |line| match line.contains("/version") {
            true => http("200 OK", VERSION),
            false => http("200 OK", "{\"stream\":\"Step 1/2 : FROM scratch\\n\"}\n"),
        },
        |line| match line.contains("/version") {
            true => http("200 OK", VERSION),
            false => Some(String::new()),
        },
    ];
    for answer in answers {
        let error = build(answer).await;
        assert!(matches!(error, Error::EngineLost { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("engine.sock") && text.contains("was lost"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_refused_build_has_the_engines_words() {
    let error = build(|line| match line.contains("/version") {
        true => http("200 OK", VERSION),
        false => http(
            "400 Bad Request",
            r#"{"message":"dockerfile parse error line 3: unknown instruction: FORM"}"#,
        ),
    })
    .await;
    assert!(matches!(error, Error::BuildFailed { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("line 3: unknown instruction: FORM"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_quoted() {
    let error = build(|line| match line.contains("/version") {
        true => http("200 OK", VERSION),
        false => http("200 OK", "<html>proxy</html>\n"),
    })
    .await;
    assert!(matches!(error, Error::Engine { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("<html>proxy"), "{cause}");
}

#[tokio::test]
async fn an_engine_whose_buildkit_takes_no_archive_builds_without_it() {
    // The answers of Docker 26 with containerd's image store, and with its own.
    let answers: [(Answer, bool); 2] = [
        (
            |line| match line.contains("/version") {
                true => http("200 OK", &VERSION.replace("28.5.2", "26.1.5")),
                false => http(
                    "200 OK",
                    r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#,
                ),
            },
            false,
        ),
        (
            |line| match line.contains("/version") {
                true => http("200 OK", &VERSION.replace("28.5.2", "26.1.5")),
                false => http(
                    "200 OK",
                    r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#,
                ),
            },
            true,
        ),
    ];
    for (answer, buildkit) in answers {
        let (_dir, environment) = server(answer);
        let engine = Engine::connect(&environment).await.unwrap();
        assert_eq!(engine.uses_buildkit(), buildkit);
        assert_eq!(engine.version(), "26.1.5");
    }
}
