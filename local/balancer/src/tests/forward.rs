//! The forwarder: from a listening socket to whichever node answers.

use super::super::{Forward, Forwarder};
use super::*;

async fn forwarder() -> Forwarder {
    Forwarder::start("forward", no_pin()).await.unwrap()
}

fn listening() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Says its name, then repeats what it gets until that ends, then says goodbye.
async fn named(name: &'static str) -> Upstream {
    Upstream::raw(move |mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = write.write_all(name.as_bytes()).await;
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.write_all(b" bye").await;
    })
    .await
}

/// Sends, ends its side, and reads to the other's end.
async fn talk(addr: SocketAddr, text: &str) -> std::io::Result<String> {
    let mut client = TcpStream::connect(addr).await?;
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await?;
    let mut out = String::new();
    timeout(DEADLINE, client.read_to_string(&mut out))
        .await
        .expect("it ends")?;
    Ok(out)
}

#[tokio::test]
async fn connections_alternate_and_keep_their_half_closes() {
    let (one, two) = (named("one").await, named("two").await);
    let forwarder = forwarder().await;
    let (listener, addr) = listening();
    let _forward = forwarder.forward(listener, [one.addr, two.addr]).unwrap();
    for name in ["one", "two", "one", "two"] {
        assert_eq!(
            talk(addr, " hello").await.unwrap(),
            format!("{name} hello bye")
        );
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_passed_over() {
    let one = named("one").await;
    let dead = nobody();
    let forwarder = forwarder().await;
    let (listener, addr) = listening();
    let forward = forwarder.forward(listener, [dead, one.addr]).unwrap();
    for _ in 0..4 {
        assert_eq!(talk(addr, "").await.unwrap(), "one bye");
    }
    // It gets its turn again when the nodes change.
    let two = named("two").await;
    forward.set_nodes([two.addr]);
    assert_eq!(talk(addr, "").await.unwrap(), "two bye");
}

#[tokio::test]
async fn without_any_node_the_client_is_reset() {
    let forwarder = forwarder().await;
    let dead = nobody();
    for nodes in [vec![], vec![dead]] {
        let (listener, addr) = listening();
        let _forward: Forward = forwarder.forward(listener, nodes).unwrap();
        // The reset may come as early as the connection is made.
        let attempt = async { TcpStream::connect(addr).await?.read(&mut [0; 8]).await };
        let end = timeout(DEADLINE, attempt).await.expect("it ends");
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn dropping_a_forward_closes_its_port_only() {
    let one = named("one").await;
    let forwarder = forwarder().await;
    let ((first, first_addr), (second, second_addr)) = (listening(), listening());
    let first = forwarder.forward(first, [one.addr]).unwrap();
    let _second = forwarder.forward(second, [one.addr]).unwrap();
    let mut open = TcpStream::connect(first_addr).await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'o');
    drop(first);
    timeout(DEADLINE, async {
        while TcpStream::connect(first_addr).await.is_ok() {}
    })
    .await
    .expect("the port closes");
    assert_eq!(talk(second_addr, "").await.unwrap(), "one bye");
    // A connection that was open goes on.
    open.write_all(b"!").await.unwrap();
    open.shutdown().await.unwrap();
    let mut rest = String::new();
    timeout(DEADLINE, open.read_to_string(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest, "ne! bye");
}

#[tokio::test]
async fn dropping_it_closes_its_ports_and_ends_what_is_open() {
    let one = named("one").await;
    let forwarder = forwarder().await;
    let (listener, addr) = listening();
    let _forward = forwarder.forward(listener, [one.addr]).unwrap();
    let mut open = TcpStream::connect(addr).await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'o');
    drop(forwarder);
    let end = timeout(DEADLINE, open.read_to_end(&mut Vec::new())).await;
    end.expect("the connection has ended").ok();
    timeout(DEADLINE, async {
        while TcpStream::connect(addr).await.is_ok() {}
    })
    .await
    .expect("the port closes");
}
