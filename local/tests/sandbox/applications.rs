//! Real servers under the filter of system calls: nginx and Redis as Debian builds them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::image::File;
use crate::machine::{TestMachine, WAIT_TIMEOUT};
use crate::stub::Reply;

pub(crate) const CASES: &[(&str, fn())] =
    &[("applications::needs_nginx_and_redis_serving", serving)];

const NGINX: &str = "user root; daemon off; pid /tmp/pid; error_log stderr;\n\
    events {}\n\
    http { access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;\n\
      fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;\n\
      server { listen unix:/tmp/http; return 200 served; } }\n";

/// The servers and their clients.
const PROGRAMS: [&str; 4] = ["nginx", "redis-server", "redis-cli", "curl"];

/// The path of a program of the machine.
fn found(program: &str) -> String {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut paths = folders
        .map(|folder| format!("{folder}/{program}"))
        .into_iter();
    let path = paths.find(|path| Path::new(path).exists());
    path.unwrap_or_else(|| panic!("{program} is not installed"))
}

/// A program and what it is linked with.
fn closure(program: &str) -> BTreeSet<String> {
    let path = found(program);
    let output = Command::new("ldd").arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    libraries.map(str::to_owned).chain([path.clone()]).collect()
}

/// What a command in the instance prints, once it succeeds.
fn answered(machine: &TestMachine, id: &str, argv: &[&str], wanted: &str) {
    let began = Instant::now();
    loop {
        let reply = machine.exec(id, argv);
        match &reply {
            Reply::Ended { output, .. } if output.iter().any(|line| line == wanted) => return,
            _ if began.elapsed() < WAIT_TIMEOUT => {}
            _ => panic!("{id}: {reply:?}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn serving() {
    let paths: BTreeSet<String> = PROGRAMS
        .iter()
        .flat_map(|&program| closure(program))
        .collect();
    let files: Vec<(String, Vec<u8>)> = paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            (path.trim_start_matches('/').to_owned(), bytes)
        })
        .collect();
    let users: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
    let groups: &[u8] = b"root:x:0:\nnogroup:x:65534:\n";
    let mut all: Vec<File<'_>> = vec![
        ("etc/nginx.conf", NGINX.as_bytes(), 0o644),
        ("etc/passwd", users, 0o644),
        ("etc/group", groups, 0o644),
        ("var/log/nginx/keep", b"", 0o644),
        ("var/lib/nginx/keep", b"", 0o644),
    ];
    all.extend(
        files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice(), 0o755)),
    );
    let machine = TestMachine::with(&all, json!({}));
    let start = |id: &str, argv: &[&str]| {
        let mut order = machine.order(id, &[]);
        order.argv = argv.iter().map(|&word| word.to_owned()).collect();
        machine.started(order);
    };
    let (nginx, redis) = (found("nginx"), found("redis-server"));
    start("nginx", &[&nginx, "-c", "/etc/nginx.conf"]);
    start(
        "redis",
        &[
            &redis,
            "--port",
            "0",
            "--unixsocket",
            "/tmp/redis",
            "--dir",
            "/tmp",
        ],
    );
    let curl = found("curl");
    answered(
        &machine,
        "nginx",
        &[&curl, "-s", "--unix-socket", "/tmp/http", "http://x/"],
        "served",
    );
    let client = found("redis-cli");
    let ask = |words: &[&str], wanted: &str| {
        answered(
            &machine,
            "redis",
            &[&[client.as_str(), "-s", "/tmp/redis"], words].concat(),
            wanted,
        );
    };
    ask(&["ping"], "PONG");
    ask(&["set", "key", "value"], "OK");
    ask(&["get", "key"], "value");
    // A fork that writes a file.
    ask(&["save"], "OK");
    ask(&["bgsave"], "Background saving started");
}
