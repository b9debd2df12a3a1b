//! Tunnels after `101 Switching Protocols`: bytes in both directions until one side ends.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::meter::Meter;
use super::room::Seat;
use super::table::InFlight;
use super::upstream::Upstream;
use super::worker::Worker;

/// The client's side of a tunnel.
pub(super) struct TunnelClient {
    pub(super) upgrade: OnUpgrade,
    pub(super) meter: Arc<Meter>,
    /// The place of the connection, which the tunnel keeps.
    pub(super) seat: Arc<Seat>,
}

/// Connects client and target as soon as the client has received its 101. The request counts as in flight, so a
/// draining target keeps it for its deregistration delay.
pub(super) fn start(
    worker: &Worker,
    client: TunnelClient,
    response: &mut Response<Incoming>,
    upstream: Upstream,
    in_flight: InFlight,
) {
    let target = hyper::upgrade::on(response);
    let TunnelClient {
        upgrade,
        meter,
        seat,
    } = client;
    meter.set_tunnel();
    let idle = worker.shared.attributes.idle_timeout;
    let stop = worker.abort.clone();
    worker.tasks.spawn(async move {
        let _held = (in_flight, seat);
        let (Ok(client), Ok(target)) = tokio::join!(upgrade, target) else {
            return;
        };
        // `target` now owns the connection.
        let upstream_meter = upstream.meter();
        drop(upstream);
        let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
        tokio::select! {
            // Both ends see how the tunnel ended.
            _ = tokio::io::copy_bidirectional(&mut client, &mut target) => {}
            () = idle_for(idle, &meter, &upstream_meter) => {}
            () = stop.cancelled() => {}
        }
    });
}

/// Returns when neither side has moved a byte for `idle`, within an eighth of it.
async fn idle_for(idle: Duration, client: &Meter, target: &Meter) {
    let mut look = tokio::time::interval(idle / 8);
    let mut quiet = 0;
    while quiet <= 8 {
        look.tick().await;
        quiet = if client.take_progress() | target.take_progress() {
            0
        } else {
            quiet + 1
        };
    }
}
