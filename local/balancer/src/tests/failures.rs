//! Failures of clients and targets, and the responses to the client.

use super::*;

/// Attributes with an idle timeout that a test can wait for.
fn impatient() -> Attributes {
    Attributes {
        idle_timeout: Duration::from_millis(200),
        ..Attributes::default()
    }
}

#[tokio::test]
async fn a_group_without_targets_is_503() {
    let lb = Lb::to(&[]).await;
    let reply = lb.get("/").await;
    assert_eq!(reply.status, 503);
    assert!(
        reply
            .body
            .contains("target group web has no registered targets"),
        "{}",
        reply.body
    );
    assert_eq!(reply.headers.get("server").unwrap(), "landfall-lb");
}

#[tokio::test]
async fn a_target_that_refuses_is_502() {
    let lb = Lb::to(&[]).await;
    lb.balancer
        .register("web", target("i-0", nobody()))
        .unwrap();
    // No target is healthy, so the request goes to this one.
    let reply = lb.get("/").await;
    assert_eq!(reply.status, 502);
    assert!(reply.body.contains("Connection refused"), "{}", reply.body);
}

#[tokio::test]
async fn what_is_no_response_is_502() {
    for answer in [
        "",
        "gibberish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header line\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ] {
        let odd = Upstream::healthy_but(move |mut stream, _| async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let reply = Lb::to(&[&odd]).await.get("/").await;
        assert_eq!(reply.status, 502, "{answer:?}: {}", reply.body);
    }
    let huge = Upstream::healthy_but(|mut stream, _| async move {
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(40_000));
        let _ = stream.write_all(head.as_bytes()).await;
    })
    .await;
    assert_eq!(Lb::to(&[&huge]).await.get("/").await.status, 502);
}

#[tokio::test]
async fn target_death_mid_response_closes_the_client() {
    let dying = Upstream::healthy_but(|mut stream, _| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            .await;
    })
    .await;
    let lb = Lb::to(&[&dying]).await;
    // There is no way to take back the 200: what tells the client is the missing rest.
    let reply = lb.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    assert!(reply.ends_with("\r\n\r\nhalf"), "{reply}");
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let dying = Upstream::healthy_but(|_, _| async {}).await;
    let other = Upstream::named("other").await;
    let lb = Lb::to(&[&dying, &other]).await;
    let post = || {
        Request::post("/")
            .header("host", "a")
            .body(Full::from("pay once"))
            .unwrap()
    };
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(Client::connect(lb.addr).await.send(post()).await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(other.served(), 2);
}

#[tokio::test]
async fn idle_connections_that_the_target_closed_harm_no_request() {
    // Closes each connection after its first request, without saying so in the response.
    let closing = Upstream::raw(|mut stream| async move {
        let mut head = [0; 4096];
        if stream.read(&mut head).await.is_ok_and(|n| n > 0) {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let lb = Lb::to(&[&closing]).await;
    let mut client = Client::connect(lb.addr).await;
    for _ in 0..20 {
        // A POST, which nobody may repeat once it is out.
        let post = Request::post("/")
            .header("host", "a")
            .body(Full::from("body"))
            .unwrap();
        assert_eq!(client.send(post).await.status, 200);
        // The target's end of the connection has to arrive first: the next request may otherwise
        // rightly go out on it, and be lost.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_target_that_went_away_passes_its_request_on() {
    let (going, staying) = (
        Upstream::named("going").await,
        Upstream::named("staying").await,
    );
    let lb = Lb::to(&[&going, &staying]).await;
    let mut slow = group("web");
    // No check may find out before the requests do.
    slow.health_check.interval = Duration::from_secs(300);
    lb.balancer.set_groups(vec![slow]).unwrap();
    for _ in 0..4 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    going.kill().await;
    // Its idle connection is closed and it refuses new ones: nothing was sent, so nothing is lost.
    let reply = lb.get("/").await;
    let next = lb.get("/").await;
    assert_eq!(
        (reply.body.as_str(), next.body.as_str()),
        ("staying", "staying")
    );
}

#[tokio::test]
async fn closed_idle_target_passes_the_request_on() {
    let (going, staying) = (
        Upstream::named("going").await,
        Upstream::named("staying").await,
    );
    let lb = Lb::to(&[&going, &staying]).await;
    let mut slow = group("web");
    slow.health_check.interval = Duration::from_secs(300);
    lb.balancer.set_groups(vec![slow]).unwrap();
    // Both were found healthy, so it has been there.
    going.kill().await;
    for _ in 0..4 {
        assert_eq!(lb.get("/").await.body, "staying");
    }
}

#[tokio::test]
async fn requests_are_counted_by_target_group_whoever_answers_them() {
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let lb = Lb::to(&[&one, &two]).await;
    let before = lb.balancer.requests("web").unwrap();
    for _ in 0..7 {
        assert_eq!(lb.get("/").await.status, 200);
    }
    assert_eq!(lb.balancer.requests("web").unwrap() - before, 7);
    // A change of the group keeps its count; checks are no requests of clients.
    lb.balancer.set_groups(vec![group("web")]).unwrap();
    assert_eq!(lb.balancer.requests("web").unwrap() - before, 7);
    assert!(lb.balancer.requests("other").is_err());
}

#[tokio::test]
async fn a_target_that_says_nothing_is_504() {
    let silent = Upstream::healthy_but(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let lb = Lb::with(impatient(), &[&silent]).await;
    let reply = lb.get("/").await;
    assert_eq!(reply.status, 504);
    assert!(
        reply
            .body
            .contains("did not respond before the idle timeout"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn silent_target_mid_response_closes_the_client() {
    let silent = Upstream::healthy_but(|mut stream, _| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let lb = Lb::with(impatient(), &[&silent]).await;
    let reply = lb.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.ends_with("some"), "{reply}");
}

#[tokio::test]
async fn a_target_that_answers_slowly_but_steadily_is_waited_for() {
    let steady = Upstream::healthy_but(|mut stream, _| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
            .await;
        for _ in 0..10 {
            // Together well over the idle timeout, each well under it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = stream.write_all(b"x").await;
        }
    })
    .await;
    let lb = Lb::with(impatient(), &[&steady]).await;
    assert_eq!(lb.get("/").await.body, "x".repeat(10));
}

#[tokio::test]
async fn silent_clients_are_closed_and_slow_ones_get_408() {
    let one = Upstream::named("one").await;
    let lb = Lb::with(impatient(), &[&one]).await;
    assert_eq!(lb.raw("").await, "", "nothing was asked");
    let reply = lb.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("one"),
        "{reply}"
    );
    let reply = lb.raw("GET / HTTP/1.1\r\nhost: a").await;
    assert!(
        reply.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{reply}"
    );
    let echo = Upstream::http(|request| async move {
        let body = request
            .into_body()
            .collect()
            .await
            .map(|all| all.to_bytes());
        Response::new(Full::from(body.unwrap_or_default()))
    })
    .await;
    let lb = Lb::with(impatient(), &[&echo]).await;
    let reply = lb
        .raw("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    assert!(
        reply.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{reply}"
    );
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let long = "x".repeat(20_000);
    let longer = "x".repeat(70_000);
    for (request, status) in [
        ("gibberish\r\n\r\n".to_owned(), 400),
        ("GET /\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n".into(), 400),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n".into(),
            400,
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n".into(), 400),
        ("GET / HTTP/3.0\r\nhost: a\r\n\r\n".into(), 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".into(),
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\nx".into(),
            400,
        ),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 405),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n".into(), 405),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {longer}\r\n\r\n"),
            400,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
    ] {
        let reply = lb.raw(&request).await;
        let start: String = request.chars().take(80).collect();
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status} ")),
            "{start:?}: {reply}"
        );
    }
    assert_eq!(one.served(), 0);
}

#[tokio::test]
async fn smuggled_requests_are_refused() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}");
    let inner = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for request in [
        post("content-length: 6\r\ntransfer-encoding: chunked\r\n", inner),
        post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", inner),
        post("content-length: 6\r\ncontent-length: 5\r\n", inner),
        post("transfer-encoding: chunked, identity\r\n", inner),
        post("transfer-encoding: xchunked\r\n", inner),
        post("transfer-encoding : chunked\r\n", inner),
        post("transfer-encoding:\r\n chunked\r\n", inner),
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        post("content-length: +6\r\n", inner),
        post("content-length: 0x6\r\n", inner),
    ] {
        let reply = lb.raw(&request).await;
        assert!(
            reply.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{request:?}: {reply}"
        );
        assert_eq!(
            reply.matches("HTTP/1.1 ").count(),
            1,
            "{request:?}: {reply}"
        );
    }
    assert_eq!(one.served(), 0, "no target has seen any of them");
}

#[tokio::test]
async fn two_framings_are_seen_however_the_head_is_cut() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let head =
        "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
    for cut in [10, 30, 45, 60, head.len() - 2] {
        let mut client = TcpStream::connect(lb.addr).await.unwrap();
        client.set_nodelay(true).unwrap();
        // A request before, so that the connection is in the middle of its life.
        let before = format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{}", "");
        client.write_all(before.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        assert_ne!(client.read(&mut answer).await.unwrap(), 0);
        client.write_all(&head.as_bytes()[..cut]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all(&head.as_bytes()[cut..]).await.unwrap();
        let n = client.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]);
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "cut at {cut}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_head_is_a_body() {
    let echo = Upstream::http(|request| async move {
        Response::new(Full::from(
            request.into_body().collect().await.unwrap().to_bytes(),
        ))
    })
    .await;
    let lb = Lb::to(&[&echo]).await;
    let text = "\r\nPOST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = Client::connect(lb.addr).await;
    for _ in 0..3 {
        let request = Request::post("/")
            .header("host", "a")
            .body(Full::from(text))
            .unwrap();
        let reply = client.send(request).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, text));
    }
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         {:x}\r\n{text}\r\n0\r\n\r\n",
        text.len()
    );
    let reply = lb.raw(chunked).await;
    assert!(
        reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with(text),
        "{reply}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (seen, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let waiting = Upstream::healthy_but(move |mut stream, _| {
        let seen = seen.clone();
        async move {
            // The end of the balancer's side, and nothing else, ends this.
            let ended = stream.read(&mut [0; 16]).await;
            seen.send(matches!(ended, Ok(0) | Err(_))).unwrap();
        }
    })
    .await;
    let lb = Lb::to(&[&waiting]).await;
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(client);
    assert_eq!(timeout(DEADLINE, closed.recv()).await.unwrap(), Some(true));
}
