//! Mutated bytes from clients and from targets: each connection is answered or closed, and the next one is served.

use landfall_testkit::fuzz::Fuzz;

use super::*;

const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    ":",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +1\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "0\r\n\r\n",
    "5;ext=\"\r\n",
    "ffffffffffffffff\r\n",
    "Host: a b\r\n",
    "Host: a@b\r\n",
    "Host:\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "GET ",
    "POST ",
    "CONNECT ",
    "OPTIONS * ",
    "http://x/",
    "%",
    "%00",
    "//",
    "..",
    "é",
    "GET /second HTTP/1.1\r\nHost: b\r\n\r\n",
    " folded\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "200",
    "-1",
    "Trailer: X\r\n",
];

/// How long an unfinished request waits for more bytes before its client ends the connection.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends bytes and reads what comes back. Once something came back, or nothing did for a while, the sending side ends.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
    let mut answer = Vec::new();
    let conversation = async {
        // The balancer may answer and close before it has read everything.
        let _ = write.write_all(bytes).await;
        let _ = timeout(PAUSE, read.read_buf(&mut answer)).await;
        let _ = write.shutdown().await;
        let _ = read.read_to_end(&mut answer).await;
    };
    timeout(DEADLINE, conversation)
        .await
        .expect("the balancer answers or closes");
    answer
}

fn runtime() -> tokio::runtime::Runtime {
    // The target works while a test waits in blocking code.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Whatever comes back begins like a response of HTTP.
fn check(answer: &[u8], input: &[u8]) {
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "{} gave {}",
        input.escape_ascii(),
        answer.escape_ascii()
    );
}

#[test]
fn requests() {
    let runtime = runtime();
    let (target, lb) = runtime.block_on(async {
        let target = Upstream::named("target").await;
        let lb = Lb::to(&[&target]).await;
        (target, lb)
    });
    let fuzz = Fuzz {
        name: "http requests",
        seeds: &[
            b"GET /path?x=1 HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\n\r\n",
            b"POST /p HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: shop.test\r\n\r\n",
            b"POST /c HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ],
        words: WORDS,
        inputs: 300,
    };
    fuzz.run(|input| check(&runtime.block_on(exchange(lb.addr, input)), input));
    let served = target.served();
    assert!(served > 30, "only {served} of the inputs were requests");
    assert_eq!(runtime.block_on(lb.get("/")).status, 200);
}

#[test]
fn responses() {
    let runtime = runtime();
    let response = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (_target, lb) = runtime.block_on(async {
        let response = Arc::clone(&response);
        let target = Upstream::healthy_but(move |mut stream, _| {
            let bytes = response.lock().unwrap().clone();
            async move {
                let _ = stream.write_all(&bytes).await;
            }
        })
        .await;
        let lb = Lb::to(&[&target]).await;
        (target, lb)
    });
    let fuzz = Fuzz {
        name: "http responses",
        seeds: &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
            b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        ],
        words: WORDS,
        inputs: 300,
    };
    let request = b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    fuzz.run(|input| {
        *response.lock().unwrap() = input.to_vec();
        check(&runtime.block_on(exchange(lb.addr, request)), input);
    });
    *response.lock().unwrap() = fuzz.seeds[0].to_vec();
    assert_eq!(runtime.block_on(lb.get("/")).body, "hello");
}
