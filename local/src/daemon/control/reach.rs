//! `reach`: tries a connection inside the cloud's network, to compare it with the computed verdict.

use std::io::ErrorKind as IoKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Result};

use crate::daemon::records::topology::instance_interface;
use crate::daemon::runtime::cloud::Cloud;
use crate::inside::Reached;
use crate::wire::Vantage;

/// Opens a TCP connection between two endpoints, and closes it again.
pub(super) async fn reach(
    cloud: &Arc<Cloud>,
    from: Vantage,
    to: Ipv4Addr,
    port: u16,
    time_limit: Duration,
) -> Result<Reached> {
    let namespace = {
        let inner = cloud.lock();
        match &from {
            Vantage::Internet => Some(inner.fabric.internet().clone()),
            Vantage::Instance(id) => inner.fabric.namespace(&instance_interface(id)).cloned(),
        }
    };
    let namespace = namespace.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("{from:?} is not in this cloud"),
        )
    })?;
    let address = SocketAddr::from((to, port));
    let tried = tokio::task::spawn_blocking(move || {
        namespace.enter(|| TcpStream::connect_timeout(&address, time_limit))
    });
    let failed = |error: String| {
        Error::new(
            ErrorKind::Other,
            format_args!("trying to connect failed: {error}"),
        )
    };
    let connected = tried.await.map_err(|error| failed(error.to_string()))?;
    Ok(
        match connected.map_err(|error| failed(error.to_string()))? {
            Ok(_) => Reached::Open,
            Err(error) if error.kind() == IoKind::ConnectionRefused => Reached::Refused,
            Err(error) => Reached::Silent(error.to_string()),
        },
    )
}
