//! Bodies that are cut, malformed or not wanted.

use super::*;

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_uploads() {
    // Answers after the head and closes, with the upload unread.
    let refusing = Upstream::healthy_but(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").await;
    })
    .await;
    let lb = Lb::to(&[&refusing]).await;
    for size in [100_000, 500_000, 2_000_000] {
        for round in 0..7 {
            let mut client = TcpStream::connect(lb.addr).await.unwrap();
            let head = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
            );
            client.write_all(head.as_bytes()).await.unwrap();
            let body = vec![b'x'; 16 * 1024];
            // A client that sends all before it reads.
            let mut left = size;
            while left > 0 {
                let n = left.min(body.len());
                if let Err(error) = client.write_all(&body[..n]).await {
                    panic!("{size} bytes, round {round}: {error}");
                }
                left -= n;
            }
            let mut out = Vec::new();
            timeout(DEADLINE, client.read_to_end(&mut out))
                .await
                .unwrap_or_else(|_| panic!("{size}, round {round}: open after {out:?}"))
                .unwrap();
            assert!(
                out.starts_with(b"HTTP/1.1 413 ") && out.ends_with(b"big"),
                "{size}, round {round}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    let one = Upstream::named("one").await;
    let lb = Lb::to(&[&one]).await;
    let mut client = TcpStream::connect(lb.addr).await.unwrap();
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a b\r\ncontent-length: 400000\r\n\r\n")
        .await
        .unwrap();
    client.write_all(&vec![b'x'; 400_000]).await.unwrap();
    let mut out = Vec::new();
    timeout(DEADLINE, client.read_to_end(&mut out))
        .await
        .expect("it closes")
        .unwrap();
    assert!(
        out.starts_with(b"HTTP/1.1 400 "),
        "{}",
        String::from_utf8_lossy(&out)
    );
}

#[tokio::test]
async fn a_bad_body_is_not_the_targets_fault() {
    let reading = Upstream::http(|request| async move {
        let _ = request.into_body().collect().await;
        Response::new(Full::from("never"))
    })
    .await;
    let lb = Lb::to(&[&reading]).await;
    let reply = lb
        .raw("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        .await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert!(reply.contains("body"), "{reply}");
}
