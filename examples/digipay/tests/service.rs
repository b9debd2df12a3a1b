//! The real program, as a container runtime starts, uses and stops it.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn digipay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_digipay"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn ends(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

/// A running service; stopped with the test.
struct Running {
    child: Child,
    messages: BufReader<std::process::ChildStderr>,
    port: u16,
}

impl Running {
    fn start() -> Self {
        // Another process may take the port before the service binds it.
        for _ in 0..20 {
            let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
                .and_then(|listener| listener.local_addr())
                .unwrap()
                .port();
            let mut child = digipay()
                .env("PORT", port.to_string())
                .env("LANDFALL_INSTANCE_ID", "i-0123")
                .env("LANDFALL_ZONE", "ap-south-1b")
                .spawn()
                .unwrap();
            let mut messages = BufReader::new(child.stderr.take().unwrap());
            let mut first = String::new();
            messages.read_line(&mut first).unwrap();
            if first.contains("listens on port") {
                return Self {
                    child,
                    messages,
                    port,
                };
            }
            child.wait().unwrap();
        }
        panic!("no free port in twenty tries");
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // The shell's own kill: not every machine has the program.
        let done = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_answers_with_instance_and_zone() {
    let service = Running::start();
    let who = service.get("/whoami");
    assert!(who.starts_with("HTTP/1.1 200 "), "{who}");
    assert!(who.contains("content-type: application/json"), "{who}");
    assert!(
        who.contains(r#""instance":"i-0123","zone":"ap-south-1b""#),
        "{who}"
    );
    let page = service.get("/");
    assert!(
        page.contains("text/html") && page.contains("i-0123"),
        "{page}"
    );
    assert!(service.get("/healthz").starts_with("HTTP/1.1 200 "));
    assert!(service.get("/nothing").starts_with("HTTP/1.1 404 "));
}

#[test]
fn sigterm_finishes_running_requests() {
    let mut service = Running::start();
    let mut running = service.connect();
    running
        .write_all(b"GET /wait?ms=700 HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    let mut idle = service.connect();
    // Once this is answered, the request before it is in progress: there is one thread.
    service.get("/healthz");
    service.signal("TERM");
    let mut reported = String::new();
    service.messages.read_line(&mut reported).unwrap();
    assert!(reported.contains("finishing what runs"), "{reported}");

    assert_eq!(
        idle.read(&mut [0; 1]).unwrap(),
        0,
        "a silent connection is closed"
    );
    let mut answer = String::new();
    running.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("i-0123"), "{answer}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, service.port)).is_err());
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_ends_at_once_when_nothing_runs() {
    let mut service = Running::start();
    service.signal("INT");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_port_it_says_what_is_missing() {
    let (output, said) = ends(&mut digipay());
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("PORT is not set"), "{said}");
}

#[test]
fn with_a_port_that_is_none_it_says_the_range() {
    let (output, said) = ends(digipay().env("PORT", "70000"));
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("from 1 to 65535"), "{said}");
}

#[test]
fn with_a_port_that_is_taken_it_names_it() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (output, said) = ends(digipay().env("PORT", &port));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("cannot listen on port {port}")),
        "{said}"
    );
}
