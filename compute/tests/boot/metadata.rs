//! The instance metadata service, version 2: it requires a token.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use landfall_testkit::engines::PrivateEngine;

/// The instance's id.
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";

/// The service's address on every instance.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Credentials of the instance's role.
const ROLE: &str = r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
"SecretAccessKey": "not-a-secret", "Token": "not-a-secret-either", "LastUpdated": "2026-01-01T00:00:00Z",
"Expiration": "2099-01-01T00:00:00Z"}"#;

/// The service of one instance. It ends with the test's process.
pub(crate) struct Metadata {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    /// Starts it beside an engine.
    pub(crate) fn start(engine: &PrivateEngine) -> Self {
        engine.add_address(ADDRESS).unwrap();
        let listener = engine.listen_inside((ADDRESS, 80).into()).unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || serve(&listener, &log));
        Self { asked }
    }

    /// The requests so far: `GET /latest/meta-data/instance-id`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(listener: &TcpListener, log: &Mutex<Vec<String>>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let head: Vec<String> = BufReader::new(&stream)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        // A client that gives up may disconnect.
        let Some(asked) = head.first().and_then(|line| line.strip_suffix(" HTTP/1.1")) else {
            continue;
        };
        log.lock().unwrap().push(asked.to_owned());
        let value = |header: &str| {
            head.iter().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case(header).then_some(value)
            })
        };
        let answer = match asked {
            "PUT /latest/api/token" => {
                value("x-aws-ec2-metadata-token-ttl-seconds").map(|_| "token-1")
            }
            _ if value("x-aws-ec2-metadata-token") != Some("token-1") => None,
            "GET /latest/meta-data/instance-id" => Some(INSTANCE),
            "GET /latest/meta-data/placement/availability-zone" => Some("ap-south-1b"),
            "GET /latest/meta-data/iam/security-credentials/" => Some("web"),
            "GET /latest/meta-data/iam/security-credentials/web" => Some(ROLE),
            _ => None,
        };
        let status = if answer.is_some() {
            "200 OK"
        } else {
            "401 Unauthorized"
        };
        let answer = answer.unwrap_or_default();
        // An SDK reads the lifetime of its token.
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-aws-ec2-metadata-token-ttl-seconds: 300\r\n\
             Connection: close\r\n\r\n{answer}",
            answer.len()
        );
    }
}
