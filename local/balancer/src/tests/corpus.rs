//! The corpus of raw messages in `http.toml`, at the balancer and at nginx beside it.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use super::requests::echo;
use super::*;

#[derive(Default)]
struct Case {
    is_response: bool,
    name: String,
    send: String,
    half_close: bool,
    statuses: Vec<u16>,
    saw: Option<String>,
    nginx_saw: Option<String>,
    lacks: Option<String>,
    body: Option<String>,
    /// `Some` when nginx differs; empty when its outcome is not held to.
    nginx: Option<Vec<u16>>,
}

/// The cases; one that says what nobody reads, or differs without a reason, is a mistake.
fn cases() -> Vec<Case> {
    let text = include_str!("http.toml");
    let mut root = toml_span::parse(text).unwrap();
    let mut cases = Vec::new();
    for (table, is_response) in [("/request", false), ("/response", true)] {
        let found = root.pointer_mut(table).unwrap().take();
        let toml_span::value::ValueInner::Array(all) = found else {
            panic!("{table} is not an array");
        };
        for mut value in all {
            let mut table = toml_span::de_helpers::TableHelper::new(&mut value).unwrap();
            let case = Case {
                is_response,
                name: table.required("name").unwrap(),
                send: table.required("send").unwrap(),
                half_close: table.optional("half_close").unwrap_or(false),
                statuses: table.required("statuses").unwrap(),
                saw: table.optional("saw"),
                nginx_saw: table.optional("nginx_saw"),
                lacks: table.optional("lacks"),
                body: table.optional("body"),
                nginx: table.optional("nginx"),
            };
            let because: Option<String> = table.optional("because");
            table.finalize(None).unwrap();
            let differs = case.nginx.is_some() || case.nginx_saw.is_some();
            assert_eq!(differs, because.is_some(), "{}", case.name);
            cases.push(case);
        }
    }
    assert!(cases.len() >= 50, "{}", cases.len());
    cases
}

/// Answers requests by echo, and `/response/N` with the bytes of that case.
async fn target() -> Upstream {
    Upstream::healthy_but(|mut stream, head| async move {
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or("");
        match path.strip_prefix("/response/").map(str::parse::<usize>) {
            Some(Ok(n)) => {
                let _ = stream.write_all(cases()[n].send.as_bytes()).await;
            }
            _ => {
                let (read, write) = stream.into_split();
                let stream = tokio::io::join(std::io::Cursor::new(head).chain(read), write);
                let _ = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(
                        TokioIo::new(stream),
                        service_fn(|request: Request<Incoming>| async {
                            let (parts, body) = request.into_parts();
                            // An answer before the end of a body would be the client's, whatever follows.
                            let body = body.collect().await?;
                            Ok::<_, hyper::Error>(echo(Request::from_parts(parts, body)).await)
                        }),
                    )
                    .await;
            }
        }
    })
    .await
}

/// The statuses of the responses in what came back.
fn statuses(reply: &str) -> Vec<u16> {
    let mut found = Vec::new();
    for start in ["HTTP/1.1 ", "HTTP/1.0 "] {
        for (at, _) in reply.match_indices(start) {
            if let Some(Ok(status)) = reply.get(at + 9..at + 12).map(str::parse) {
                found.push((at, status));
            }
        }
    }
    found.sort_unstable();
    match found.is_empty() {
        true => vec![0],
        false => found.into_iter().map(|(_, status)| status).collect(),
    }
}

async fn exchange(addr: SocketAddr, n: usize, case: &Case) -> String {
    let text = match case.is_response {
        true => format!("GET /response/{n} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        false => case.send.clone(),
    };
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    if case.half_close {
        stream.shutdown().await.unwrap();
    }
    let mut out = Vec::new();
    // A reset would take the answer along, so it counts as one that did not come.
    let ended = timeout(DEADLINE, stream.read_to_end(&mut out)).await;
    match ended.unwrap_or_else(|_| panic!("{}: it stays open", case.name)) {
        Ok(_) => String::from_utf8_lossy(&out).into_owned(),
        Err(error) => format!("{error}"),
    }
}

/// What is wrong with the outcome of a case.
fn wrong(
    case: &Case,
    reply: &str,
    statuses_wanted: &[u16],
    saw: Option<&String>,
) -> Option<String> {
    let got = statuses(reply);
    if got != statuses_wanted {
        return Some(format!(
            "{}: {got:?} for {statuses_wanted:?}: {reply}",
            case.name
        ));
    }
    if let Some(saw) = saw
        && !reply.contains(saw.as_str())
    {
        return Some(format!(
            "{}: the target did not see {saw:?}: {reply}",
            case.name
        ));
    }
    let body = reply.rsplit("\r\n\r\n").next().unwrap_or("");
    if let Some(lacks) = &case.lacks
        && body.contains(lacks.as_str())
    {
        return Some(format!("{}: the target saw {lacks:?}: {reply}", case.name));
    }
    None
}

#[tokio::test]
async fn outcomes_are_as_listed() {
    let target = target().await;
    let attributes = Attributes {
        dns_name: "stack.localhost".into(),
        ..Attributes::default()
    };
    let lb = Lb::with(attributes, &[&target]).await;
    let mut failures = Vec::new();
    for (n, case) in cases().iter().enumerate() {
        let reply = exchange(lb.addr, n, case).await;
        failures.extend(wrong(case, &reply, &case.statuses, case.saw.as_ref()));
        if let Some(body) = &case.body {
            let got = unchunked(&reply);
            if got != *body {
                failures.push(format!("{}: body {got:?}: {reply}", case.name));
            }
        }
        if case.statuses == [400]
            && !reply.contains("<p>")
            && case.name != "different lengths"
            && case.name != "chunked, not last"
        {
            failures.push(format!("{}: no reason: {reply}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The body of a response, chunked or not.
fn unchunked(reply: &str) -> String {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((reply, ""));
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let chunks = body.split("\r\n").collect::<Vec<_>>();
    chunks
        .chunks(2)
        .filter_map(|pair| pair.get(1))
        .copied()
        .collect()
}

/// nginx as a reverse proxy in front of one target; ends with this.
struct Nginx {
    child: Child,
    addr: SocketAddr,
    _files: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    async fn before(target: SocketAddr) -> Self {
        let files = tempfile::tempdir().unwrap();
        let addr = SocketAddr::from((own_address(), PORT));
        let root = files.path().display();
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            temporary.push_str(&format!("{kind}_temp_path {root}/{kind}; "));
        }
        let text = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; {temporary}\n\
             upstream target {{ server {target}; }}\n\
             server {{ listen {addr}; location / {{ proxy_pass http://target; proxy_http_version 1.1;\n\
             proxy_set_header Connection close; proxy_set_header Host $host_or_upstream; }} }}\n\
             map $http_host $host_or_upstream {{ '' target; default $http_host; }} }}\n"
        );
        let path = files.path().join("nginx.conf");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let child = Command::new("nginx")
            .args(["-p", &root.to_string(), "-c"])
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        timeout(DEADLINE, async {
            while TcpStream::connect(addr).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("nginx listens");
        Self {
            child,
            addr,
            _files: files,
        }
    }
}

#[tokio::test]
async fn needs_nginx_agrees_or_a_reason_is_listed() {
    let target = target().await;
    let nginx = Nginx::before(target.addr).await;
    let mut failures = Vec::new();
    for (n, case) in cases().iter().enumerate() {
        if case.nginx.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        let reply = exchange(nginx.addr, n, case).await;
        let wanted = case.nginx.as_ref().unwrap_or(&case.statuses);
        let saw = case.nginx_saw.as_ref().or(case.saw.as_ref());
        failures.extend(wrong(case, &reply, wanted, saw));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
