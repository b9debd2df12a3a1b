//! A small web service to deploy: a page, the instance's identity as JSON, and a health check.
//!
//! It listens on `$PORT`, reports its identity from `$LANDFALL_INSTANCE_ID` and `$LANDFALL_ZONE`,
//! and on SIGTERM or SIGINT accepts no new connections, finishes its requests and exits with 0.

#![expect(
    clippy::print_stderr,
    reason = "standard error is where a container's messages are read"
)]

mod identity;
mod page;
mod service;

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::identity::Identity;
use crate::service::Service;

/// The time limit for requests in flight during a shutdown; longer than any of its own answers.
const FINISH_WITHIN: Duration = Duration::from_secs(20);

/// The idle timeout of a connection. Longer than the 60 seconds after which a balancer drops an
/// idle one, so that the service never closes a connection that the balancer is about to use.
const SILENT_FOR: Duration = Duration::from_secs(75);

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("digipay: {why}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    let port = port(std::env::var("PORT").ok().as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, serve(port, Identity::from_env()))
}

/// The port in `$PORT`.
fn port(value: Option<&str>) -> Result<u16, String> {
    let value =
        value.ok_or("PORT is not set; set it to the port to listen on, for example PORT=8000")?;
    match value.parse() {
        Ok(0) | Err(_) => Err(format!(
            "PORT is `{value}`, which is not a port; it has to be a number from 1 to 65535"
        )),
        Ok(port) => Ok(port),
    }
}

async fn serve(port: u16, identity: Identity) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let on = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);

    eprintln!(
        "digipay: instance {} in {} listens on port {port}",
        identity.instance, identity.zone
    );
    let connections = Rc::new(GracefulShutdown::new());
    let accepting = tokio::task::spawn_local(accept(
        listener,
        Rc::new(Service::new(identity)),
        Rc::clone(&connections),
    ));
    poll_fn(|cx| {
        let asked = [&mut terminate, &mut interrupt].map(|signal| signal.poll_recv(cx).is_ready());
        if asked.contains(&true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;

    eprintln!("digipay: asked to end, finishing what runs");
    accepting.abort();
    // It ends cancelled, and drops the listening socket and its reference to the connections.
    let _ = accepting.await;
    let Some(connections) = Rc::into_inner(connections) else {
        return Ok(());
    };
    tokio::time::timeout(FINISH_WITHIN, connections.shutdown())
        .await
        .map_err(|_| {
            format!(
                "requests were still running after {} s",
                FINISH_WITHIN.as_secs()
            )
        })
}

/// Accepts connections until it is aborted.
async fn accept(listener: TcpListener, service: Rc<Service>, connections: Rc<GracefulShutdown>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(SILENT_FOR);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often the file descriptors are exhausted: closed connections release some.
                eprintln!("digipay: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = Rc::clone(&service);
        let answer = service_fn(move |request: Request<Incoming>| {
            let service = Rc::clone(&service);
            async move { service.answer(&request).await }
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), answer));
        tokio::task::spawn_local(async move {
            // A client that disconnects early is not worth a message.
            let _ = connection.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!(port(Some("8000")), Ok(8000));
        for bad in ["", "0", "65536", "-1", "http"] {
            let why = port(Some(bad)).unwrap_err();
            assert!(why.contains("1 to 65535"), "{bad}: {why}");
        }
        assert!(port(None).unwrap_err().contains("PORT is not set"));
    }
}
