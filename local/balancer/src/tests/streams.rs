//! Bodies and tunnels: passed on as they come, never gathered.

use std::sync::atomic::AtomicU64;

use futures::stream;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};

use super::*;

const PIECE: usize = 64 * 1024;
const PIECES: u64 = 1600;
/// Socket buffers on the way hold some megabytes; all that the balancer may hold comes on top.
const MOST_ON_THE_WAY: u64 = 24 * 1024 * 1024;

/// 100 MiB, counted as they are made.
fn pieces(made: Arc<AtomicU64>) -> impl Body<Data = Bytes, Error = std::io::Error> + Send + Unpin {
    let piece = Bytes::from(vec![7; PIECE]);
    StreamBody::new(stream::iter((0..PIECES).map(move |_| {
        made.fetch_add(PIECE as u64, Ordering::SeqCst);
        Ok(Frame::data(piece.clone()))
    })))
}

#[tokio::test]
async fn large_responses_stream_at_the_clients_pace() {
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let large = Upstream::http(move |request| {
        let health = request.uri().path() == "/healthz";
        let made = if health {
            Arc::default()
        } else {
            Arc::clone(&counted)
        };
        async move { Response::new(pieces(made)) }
    })
    .await;
    let lb = Lb::to(&[&large]).await;
    let mut client = Client::connect(lb.addr).await;
    let request = Request::get("/")
        .header("host", "a")
        .body(Full::default())
        .unwrap();
    let mut body = client.0.send_request(request).await.unwrap().into_body();
    let (mut got, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().all(|&byte| byte == 7));
        got += data.len() as u64;
        most = most.max(made.load(Ordering::SeqCst).saturating_sub(got));
        if got < 2 * PIECE as u64 {
            // A pause in which a balancer that gathers would gather.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(got, PIECES * PIECE as u64);
    assert!(most < MOST_ON_THE_WAY, "{most} bytes were on the way");
}

#[tokio::test]
async fn large_requests_stream_at_the_targets_pace() {
    let got = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&got);
    let made = Arc::new(AtomicU64::new(0));
    let (most, sent) = (Arc::new(AtomicU64::new(0)), Arc::clone(&made));
    let seen = Arc::clone(&most);
    let large = Upstream::http(move |request| {
        let (got, sent, most) = (Arc::clone(&counted), Arc::clone(&sent), Arc::clone(&seen));
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let n = frame.into_data().unwrap().len() as u64;
                let total = got.fetch_add(n, Ordering::SeqCst) + n;
                let ahead = sent.load(Ordering::SeqCst).saturating_sub(total);
                most.fetch_max(ahead, Ordering::SeqCst);
                if total < 2 * PIECE as u64 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Response::new(Full::from(got.load(Ordering::SeqCst).to_string()))
        }
    })
    .await;
    let lb = Lb::to(&[&large]).await;
    let stream = TcpStream::connect(lb.addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::put("/")
        .header("host", "a")
        .body(pieces(made))
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, (PIECES * PIECE as u64).to_string());
    let most = most.load(Ordering::SeqCst);
    assert!(most < MOST_ON_THE_WAY, "{most} bytes were on the way");
}

#[tokio::test]
async fn pieces_of_a_response_arrive_as_they_are_sent() {
    let (tell, mut reported) = tokio::sync::mpsc::unbounded_channel::<()>();
    let reported = Arc::new(tokio::sync::Mutex::new({
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<()>();
        tokio::spawn(async move {
            while let Some(()) = reported.recv().await {
                sender.send(()).unwrap();
            }
        });
        receiver
    }));
    let events = Upstream::healthy_but(move |mut stream, _| {
        let reported = Arc::clone(&reported);
        async move {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            for n in 0..3 {
                // Each event only after the client has the one before.
                reported.lock().await.recv().await.unwrap();
                stream
                    .write_all(format!("7\r\nevent {n}\r\n").as_bytes())
                    .await
                    .unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let lb = Lb::to(&[&events]).await;
    let mut client = Client::connect(lb.addr).await;
    let request = Request::get("/")
        .header("host", "a")
        .body(Full::default())
        .unwrap();
    let mut body = client.0.send_request(request).await.unwrap().into_body();
    for n in 0..3 {
        tell.send(()).unwrap();
        let frame = timeout(DEADLINE, body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("event {n}"));
    }
    assert!(timeout(DEADLINE, body.frame()).await.unwrap().is_none());
}

#[tokio::test]
async fn expect_100_continue_is_answered_here() {
    let echo = Upstream::http(|request| async move {
        assert!(!request.headers().contains_key("expect"));
        Response::new(Full::from(
            request.into_body().collect().await.unwrap().to_bytes(),
        ))
    })
    .await;
    let lb = Lb::to(&[&echo]).await;
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\
                connection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    timeout(DEADLINE, client.read_exact(&mut interim))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\nbody"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_response_may_come_before_the_request_has_ended() {
    let refusing = Upstream::healthy_but(|mut stream, _| async move {
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(answer).await.unwrap();
        // Keeps its side open until the balancer gives up on the rest.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let lb = Lb::to(&[&refusing]).await;
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nstart";
    client.write_all(head).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = timeout(DEADLINE, client.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Changes to the protocol `echo`, and repeats what it gets until it ends.
async fn echoing() -> Upstream {
    Upstream::healthy_but(|mut stream, head| async move {
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.write_all(b"bye").await;
    })
    .await
}

async fn upgraded(lb: &Lb) -> TcpStream {
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    let head = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
                 upgrade: echo\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(DEADLINE, client.read_u8()).await.unwrap().unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{answer}"
    );
    assert!(answer.contains("upgrade: echo\r\n"), "{answer}");
    client
}

#[tokio::test]
async fn upgraded_connections_pass_bytes_both_ways() {
    let echoing = echoing().await;
    let lb = Lb::to(&[&echoing]).await;
    let mut client = upgraded(&lb).await;
    for n in 0..100_u8 {
        client.write_all(&[n; 300]).await.unwrap();
        let mut back = [0; 300];
        timeout(DEADLINE, client.read_exact(&mut back))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(back, [n; 300]);
    }
    // The tunnel is a request in flight.
    let mut drain = lb.balancer.deregister("web", "i-0").unwrap();
    assert!(
        timeout(Duration::from_millis(50), &mut drain)
            .await
            .is_err()
    );
    // Half closed: the target still has something to say.
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    timeout(DEADLINE, client.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest, "bye");
    timeout(DEADLINE, drain).await.expect("the tunnel is over");
}

#[tokio::test]
async fn quiet_tunnels_are_closed_and_busy_ones_are_not() {
    let echoing = echoing().await;
    let attributes = Attributes {
        idle_timeout: Duration::from_millis(400),
        ..Attributes::default()
    };
    let lb = Lb::with(attributes, &[&echoing]).await;
    let mut client = upgraded(&lb).await;
    for _ in 0..12 {
        client.write_all(b"x").await.unwrap();
        assert_eq!(
            timeout(DEADLINE, client.read_u8()).await.unwrap().unwrap(),
            b'x'
        );
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let end = timeout(DEADLINE, client.read(&mut [0; 8]))
        .await
        .expect("it is closed");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn refused_upgrades_are_ordinary_responses() {
    let one = Upstream::named("no tunnel").await;
    let lb = Lb::to(&[&one]).await;
    let head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n\
                GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let reply = lb.raw(head).await;
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 2, "{reply}");
}
