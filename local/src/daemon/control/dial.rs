//! `dial`: forwards a client's connection from a host on the simulated internet, for SSH to a bastion.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::daemon::runtime::cloud::Cloud;
use crate::inside::Reached;

/// Connects from the simulated internet. A refused or silent connection is an answer, not an error.
///
/// # Errors
/// When no socket can be created.
pub(super) async fn dial(
    cloud: &Arc<Cloud>,
    to: SocketAddr,
    time_limit: Duration,
) -> Result<(Reached, Option<TcpStream>)> {
    let internet = cloud.lock().fabric.internet().clone();
    let socket = internet
        .enter(TcpSocket::new_v4)
        .and_then(|socket| socket)
        .map_err(|error| {
            Error::new(ErrorKind::Other, "a host on the internet has no socket").caused_by(error)
        })?;
    Ok(match timeout(time_limit, socket.connect(to)).await {
        Ok(Ok(stream)) => {
            // Keystrokes must not be delayed.
            let _ = stream.set_nodelay(true);
            (Reached::Open, Some(stream))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            (Reached::Refused, None)
        }
        Ok(Err(error)) => (Reached::Silent(error.to_string()), None),
        Err(_) => {
            let why = format!("no answer within {} s", time_limit.as_secs_f32());
            (Reached::Silent(why), None)
        }
    })
}

/// Forwards in both directions until both sides are closed.
pub(super) async fn carry(
    stream: TcpStream,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let up = async {
        tokio::io::copy(&mut reader, &mut to).await?;
        to.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from, &mut writer).await?;
        writer.shutdown().await
    };
    tokio::try_join!(up, down).map(|_| ())
}
