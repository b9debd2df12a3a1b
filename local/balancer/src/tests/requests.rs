//! Requests that go well: who gets them, over which connections, and what is changed on the way.

use super::*;

#[tokio::test]
async fn requests_alternate_exactly() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let lb = Lb::to(&[&one, &two]).await;
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    assert_eq!((one.served(), two.served()), (10, 10));
}

#[tokio::test]
async fn requests_alternate_exactly_over_two_nodes() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let lb = Lb::to(&[&one, &two]).await;
    let other = own_address();
    lb.balancer.add_node("b", other, no_pin()).await.unwrap();
    // With turns of their own, both nodes would begin with the same target.
    let mut bodies = Vec::new();
    for n in 0..20 {
        let addr = if n % 2 == 0 {
            lb.addr
        } else {
            (other, PORT).into()
        };
        bodies.push(Client::connect(addr).await.get("/").await.body);
    }
    assert!(bodies.windows(2).all(|two| two[0] != two[1]), "{bodies:?}");
    assert_eq!((one.served(), two.served()), (10, 10));
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let checks = one.connections.load(Ordering::SeqCst);
    let mut client = Client::connect(lb.addr).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.body, "one");
    }
    // Fifty more over connections of their own still share the one to the target.
    for _ in 0..50 {
        assert_eq!(lb.get("/").await.body, "one");
    }
    assert_eq!(one.served(), 100);
    // Health checks go on meanwhile, each over a connection of its own.
    let since = one.connections.load(Ordering::SeqCst) - checks;
    assert!(
        since < 50,
        "{since} connections for 100 requests and some checks"
    );
}

/// Answers with the request as it came.
pub(super) async fn echo<B>(request: Request<B>) -> Response<Full<Bytes>> {
    let mut text = format!(
        "{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.version()
    );
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    Response::builder()
        .header("connection", "x-private")
        .header("x-private", "for the proxy only")
        .header("keep-alive", "timeout=5")
        .header("x-public", "for everyone")
        .body(Full::from(text))
        .unwrap()
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn forwarded_headers_say_where_a_request_came_from() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let reply = lb.get("/path?query=1").await;
    let seen = reply.body.as_str();
    assert!(seen.starts_with("GET /path?query=1 HTTP/1.1\n"), "{seen}");
    assert_eq!(line(seen, "host"), Some("example.test"));
    assert_eq!(line(seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(line(seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(line(seen, "x-forwarded-port"), Some("8080"));
    let trace = line(seen, "x-amzn-trace-id").unwrap();
    let parts: Vec<&str> = trace.strip_prefix("Root=").unwrap().split('-').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [1, 8, 24],
        "{trace}"
    );
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(
        now.abs_diff(u64::from_str_radix(parts[1], 16).unwrap()) < 60,
        "{trace}"
    );
    assert_ne!(
        lb.get("/").await.body,
        lb.get("/").await.body,
        "each has its own trace id"
    );
}

#[tokio::test]
async fn forwarded_headers_of_others_are_kept_or_replaced() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let request = Request::get("/")
        .header("host", "example.test:8080")
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-for", "198.51.100.8, 198.51.100.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header(
            "x-amzn-trace-id",
            "Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abc",
        )
        .body(Full::default())
        .unwrap();
    let reply = Client::connect(lb.addr).await.send(request).await;
    let seen = reply.body.as_str();
    let forwarded = "198.51.100.7, 198.51.100.8, 198.51.100.9, 127.0.0.1";
    assert_eq!(line(seen, "x-forwarded-for"), Some(forwarded));
    assert_eq!(seen.matches("x-forwarded-for").count(), 1);
    assert_eq!(line(seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(line(seen, "x-forwarded-port"), Some("8080"));
    assert_eq!(line(seen, "host"), Some("example.test:8080"));
    let trace = line(seen, "x-amzn-trace-id").unwrap();
    assert!(
        trace.starts_with("Self=1-") && trace.ends_with(";Root=1-67891233-abc"),
        "{trace}"
    );
    assert_eq!(trace.matches("Self=").count(), 1, "{trace}");
}

#[tokio::test]
async fn hop_by_hop_headers_stop_here() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let request = Request::get("/")
        .header("host", "example.test")
        .header("connection", "keep-alive, x-mine, host")
        .header("x-mine", "1")
        .header("keep-alive", "timeout=9")
        .header("te", "trailers")
        .header("proxy-connection", "keep-alive")
        .header("x_invalid", "1")
        .header("x-valid", "1")
        .body(Full::default())
        .unwrap();
    let reply = Client::connect(lb.addr).await.send(request).await;
    let names = reply
        .body
        .lines()
        .skip(1)
        .map(|line| line.split(':').next().unwrap());
    assert_eq!(
        names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>(),
        [
            "host",
            "x-amzn-trace-id",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-valid"
        ]
    );
    assert_eq!(reply.headers.get("x-public").unwrap(), "for everyone");
    for name in ["x-private", "keep-alive", "connection"] {
        assert_eq!(reply.headers.get(name), None);
    }
}

#[tokio::test]
async fn invalid_header_names_pass_when_allowed() {
    let attributes = Attributes {
        drop_invalid_header_fields: false,
        ..Attributes::default()
    };
    let echoing = Upstream::http(echo).await;
    let lb = Lb::with(attributes, &[&echoing]).await;
    let reply = lb
        .raw("GET / HTTP/1.1\r\nhost: a\r\nx_odd: 1\r\nconnection: close\r\n\r\n")
        .await;
    assert!(reply.contains("x_odd: 1"), "{reply}");
}

#[tokio::test]
async fn http_1_0_clients_are_served_and_closed() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let reply = lb.raw("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.0 200 OK\r\n"), "{reply}");
    assert!(reply.contains("GET /old HTTP/1.1\n"), "{reply}");
    // An answer of unknown length ends with the connection, not with chunks.
    let chunked = Upstream::healthy_but(|mut stream, _| async move {
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let reply = Lb::to(&[&chunked])
        .await
        .raw("GET / HTTP/1.0\r\n\r\n")
        .await;
    assert!(
        reply.ends_with("\r\n\r\nhello") && !reply.contains("chunked"),
        "{reply}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let mut text = String::new();
    for n in 0..5 {
        text.push_str(&format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    text.push_str("GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let reply = lb.raw(text).await;
    let order: Vec<&str> = reply
        .lines()
        .filter(|line| line.starts_with("GET /"))
        .collect();
    let wanted = ["0", "1", "2", "3", "4", "last"].map(|path| format!("GET /{path} HTTP/1.1"));
    assert_eq!(order, wanted);
}

#[tokio::test]
async fn the_absolute_form_decides_the_host() {
    let echoing = Upstream::http(echo).await;
    let lb = Lb::to(&[&echoing]).await;
    let reply = lb
        .raw("GET http://right.test/x?y HTTP/1.1\r\nhost: wrong\r\nconnection: close\r\n\r\n")
        .await;
    assert!(reply.contains("GET /x?y HTTP/1.1\n"), "{reply}");
    assert!(reply.contains("host: right.test\n"), "{reply}");
}

#[tokio::test]
async fn head_and_empty_responses_keep_the_connection() {
    let one = Upstream::http(|request| async move {
        let status = if request.uri().path() == "/empty" {
            204
        } else {
            200
        };
        let body = if status == 204 { "" } else { "nine char" };
        Response::builder()
            .status(status)
            .body(Full::from(body))
            .unwrap()
    })
    .await;
    let lb = Lb::to(&[&one]).await;
    let mut client = Client::connect(lb.addr).await;
    let head = Request::head("/")
        .header("host", "a")
        .body(Full::default())
        .unwrap();
    let reply = client.send(head).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.headers.get("content-length").unwrap(), "9");
    assert_eq!(client.get("/empty").await.status, 204);
    assert_eq!(client.get("/").await.body, "nine char");
}

#[tokio::test]
async fn nodes_let_requests_finish_when_they_go() {
    let (started, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&go);
    let slow = Upstream::http(move |request| {
        let (started, gate) = (started.clone(), Arc::clone(&gate));
        async move {
            if request.uri().path() == "/slow" {
                started.send(()).unwrap();
                gate.notified().await;
            }
            Response::new(Full::from("done"))
        }
    })
    .await;
    let Lb { balancer, addr } = Lb::to(&[&slow]).await;
    // A keep-alive connection without a request must not hold the node up.
    let mut idle = Client::connect(addr).await;
    assert_eq!(idle.get("/").await.status, 200);
    let request = tokio::spawn(async move { Client::connect(addr).await.get("/slow").await });
    waiting.recv().await.unwrap();
    let removed = tokio::spawn(async move { balancer.remove_node("a", DEADLINE).await });
    // The idle connection's end shows that the node is stopping.
    timeout(DEADLINE, async {
        while !idle.0.is_closed() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    assert!(
        TcpStream::connect(addr).await.is_err(),
        "it accepts nothing new"
    );
    assert!(!removed.is_finished(), "it waits for the request in flight");
    go.notify_one();
    assert_eq!(request.await.unwrap().body, "done");
    timeout(DEADLINE, removed)
        .await
        .expect("the node ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_node_that_cannot_enter_its_namespace_is_an_error() {
    let balancer = Balancer::new("test", Attributes::default());
    let refuse: Pin = Box::new(|| Err(std::io::Error::other("no such namespace")));
    let error = balancer
        .add_node("a", own_address(), refuse)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "starting the balancer's node test-a failed"
    );
    // Nothing is left behind: the zone is free.
    balancer
        .add_node("a", own_address(), no_pin())
        .await
        .unwrap();
    let twice = balancer
        .add_node("a", own_address(), no_pin())
        .await
        .unwrap_err();
    assert!(matches!(twice, Error::NodeExists(zone) if zone == "a"));
}
