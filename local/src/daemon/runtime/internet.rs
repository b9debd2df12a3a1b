//! A host on the simulated internet that answers with the caller's address, so that an instance can learn its own.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::OPERATOR;
use landfall_kernel::accept::{AcceptErrors, Newcomers};
use landfall_kernel::descriptors::Budget;
use landfall_kernel::netns::Namespace;

/// The time limit for a request and its answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Answers every request to port 80 of the host with the address of the client, like public services of this kind.
pub(super) fn say_who_asks(internet: &Namespace) -> io::Result<()> {
    let listener = internet.enter(|| StdListener::bind((OPERATOR, 80)))??;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        let newcomers = Newcomers::new(Budget::now().internet());
        let mut errors = AcceptErrors::new("the host on the internet");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    errors.passed();
                    let newcomer = newcomers.enter();
                    tokio::spawn(async move {
                        let answer = answer(TokioIo::new(stream), peer);
                        newcomer.within(ANSWERED_WITHIN, answer).await
                    });
                }
                Err(error) => errors.failed(&error).await,
            }
        }
    });
    Ok(())
}

async fn answer(stream: TokioIo<tokio::net::TcpStream>, peer: SocketAddr) {
    let service = service_fn(move |_: Request<Incoming>| async move {
        Ok::<_, Infallible>(Response::new(format!("{}\n", peer.ip())))
    });
    // A client may disconnect early.
    let _ = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(stream, service)
        .await;
}
