//! Images of the machine's own nginx, as the proxy to compare with and as the service behind both.

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Debian's nginx-light brings.
const PROGRAM: &str = "/usr/sbin/nginx";

/// The configuration of a service that answers from memory.
pub(crate) fn service(port: u16) -> String {
    let answer = "location / { return 200 \"hello from the other side\\n\"; }";
    configuration(port, "", answer)
}

/// The configuration of a reverse proxy that does what a balancer does for a request: connections are kept
/// on both sides, and the headers say who asks.
pub(crate) fn reverse_proxy(port: u16, targets: &[SocketAddrV4]) -> String {
    let servers: String = targets
        .iter()
        .map(|target| format!("server {target}; "))
        .collect();
    let upstream =
        format!("upstream web {{ {servers} keepalive 64; keepalive_requests 100000000; }}");
    let forward = "location / {
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
        }";
    configuration(port, &upstream, forward)
}

fn configuration(port: u16, upstream: &str, location: &str) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path /tmp/client;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_requests 100000000;
    {upstream}
    server {{
        listen {port} backlog=1024;
        {location}
    }}
}}
"
    )
}

/// Writes a build context: the program, the libraries that it needs, and this configuration.
///
/// # Errors
/// When nginx is not installed, or something cannot be read or written.
pub(crate) fn context(directory: &Path, configuration: &str) -> io::Result<()> {
    let root = directory.join("root");
    for file in libraries()?
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new(PROGRAM)])
    {
        let inside = root.join(file.strip_prefix("/").unwrap_or(file));
        fs::create_dir_all(inside.parent().unwrap_or(&root))?;
        fs::copy(file, &inside)?;
    }
    fs::write(root.join("nginx.conf"), configuration)?;
    // An empty directory would do, but a context has files only.
    fs::create_dir_all(directory.join("tmp"))?;
    fs::write(directory.join("tmp/.keep"), "")?;
    let dockerfile = format!(
        "FROM scratch\nCOPY root /\nCOPY --chown=10001 tmp /tmp\nUSER 10001\n\
         ENTRYPOINT [\"{PROGRAM}\", \"-e\", \"stderr\", \"-c\", \"/nginx.conf\"]\n"
    );
    fs::write(directory.join("Dockerfile"), dockerfile)
}

/// The shared libraries of the program, and the loader.
fn libraries() -> io::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(PROGRAM).output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("ldd {PROGRAM}: {}", why.trim())));
    }
    // `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)`, and the loader without an arrow.
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
