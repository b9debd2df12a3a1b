//! Clients and targets that want to use up the balancer.

use super::*;

fn small(max_connections: usize) -> Attributes {
    Attributes {
        max_connections,
        ..Attributes::default()
    }
}

#[tokio::test]
async fn a_dripping_head_meets_its_deadline() {
    let one = Upstream::named("one").await;
    let attributes = Attributes {
        head_timeout: Duration::from_millis(300),
        ..Attributes::default()
    };
    let lb = Lb::with(attributes, &[&one]).await;
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let (mut read, mut write) = client.split();
    let drip = async {
        // Each byte renews the idle timeout.
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut reply = [0; 4096];
    tokio::select! {
        n = timeout(DEADLINE, read.read(&mut reply)) => {
            let n = n.expect("an answer comes").unwrap();
            assert!(reply[..n].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&reply[..n]));
        }
        () = drip => panic!("it was closed without an answer"),
    }
    assert_eq!(one.served(), 0);
}

/// Connections that have sent a part of a head and stay open.
async fn slow_heads(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(addr).await.unwrap();
        let _ = client.write_all(b"GET / HT").await;
        open.push(client);
    }
    open
}

#[tokio::test]
async fn slow_heads_lock_nobody_out() {
    let one = Upstream::named("one").await;
    let lb = Lb::with(small(40), &[&one]).await;
    // A connection that works is not what makes way.
    let mut kept = Client::connect(lb.addr).await;
    assert_eq!(kept.get("/").await.body, "one");
    let _slow = slow_heads(lb.addr, 120).await;
    let started = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.body, "one");
    }
    assert_eq!(kept.get("/").await.body, "one");
    // Long before the deadline of a head.
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn one_port_leaves_room_for_others() {
    let one = Upstream::healthy_but(|stream, head| async move {
        let mut stream = stream;
        if head.starts_with(b"GET /hold") {
            std::future::pending::<()>().await;
        }
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\none")
            .await;
    })
    .await;
    let lb = Lb::with(small(20), &[&one]).await;
    let listener = |port| ListenerConfig {
        port,
        rules: vec![],
        default_group: "web".into(),
    };
    lb.balancer
        .set_listeners(vec![listener(PORT), listener(PORT + 1)])
        .await
        .unwrap();
    // Whole requests, which nothing makes way for.
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut client = TcpStream::connect(lb.addr).await.unwrap();
        client
            .write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        open.push(client);
    }
    let other = SocketAddr::new(lb.addr.ip(), PORT + 1);
    assert_eq!(Client::connect(other).await.get("/").await.body, "one");
}

#[tokio::test]
async fn endless_interim_responses_end() {
    for (pause, status) in [(0, 502), (40, 502)] {
        let endless = Upstream::healthy_but(move |mut stream, _| async move {
            while stream
                .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                .await
                .is_ok()
            {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        })
        .await;
        let attributes = Attributes {
            idle_timeout: Duration::from_millis(200),
            ..Attributes::default()
        };
        let lb = Lb::with(attributes, &[&endless]).await;
        let reply = lb.get("/").await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.body.contains("interim"), "{}", reply.body);
    }
}

/// Sends interim responses as fast as they are taken.
async fn flood(mut stream: TcpStream) {
    let heads = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4_000);
    while stream.write_all(&heads).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn health_check_ends_an_interim_flood() {
    let server = Upstream::raw(|mut stream| async move {
        // What comes before the request would end the check for another reason.
        let _ = stream.read(&mut [0; 4096]).await;
        flood(stream).await;
    })
    .await;
    let config = HealthCheckConfig {
        timeout: DEADLINE,
        ..quick_checks()
    };
    match check::once(server.addr, &config).await {
        crate::health::Outcome::Failed(why) => assert!(why.contains("interim"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn error_pages_name_no_addresses() {
    let broken = Upstream::healthy_but(|mut stream, _| async move {
        let _ = stream.write_all(b"gibberish\r\n\r\n").await;
    })
    .await;
    let lb = Lb::to(&[&broken]).await;
    let body = lb.get("/").await.body;
    assert!(!body.contains("127."), "{body}");
    let lb = Lb::to(&[]).await;
    let gone = nobody();
    lb.balancer.register("web", target("i-0", gone)).unwrap();
    let body = lb.get("/").await.body;
    assert!(
        !body.contains("127.") && body.contains("Connection refused"),
        "{body}"
    );
}

#[tokio::test]
async fn quiet_connections_are_served_again() {
    let one = Upstream::named("one").await;
    let attributes = Attributes {
        idle_timeout: Duration::from_secs(2),
        ..Attributes::default()
    };
    let lb = Lb::with(attributes, &[&one]).await;
    let mut client = Client::connect(lb.addr).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "one");
        // Beyond the quarter of the idle timeout after which the parser goes.
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
}

#[tokio::test]
async fn many_fields_pass_both_ways() {
    let fields: String = (0..1_500).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok");
    let many = Upstream::healthy_but(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let lb = Lb::to(&[&many]).await;
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
    let reply = lb.raw(request).await;
    assert!(
        reply.starts_with("HTTP/1.1 200 "),
        "{}",
        &reply[..200.min(reply.len())]
    );
    assert!(
        reply.contains("x-1499: 1\r\n") && reply.ends_with("ok"),
        "{}",
        reply.len()
    );
}
