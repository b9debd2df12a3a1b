//! The registry client, for pulls of base images and pushes of built ones.

#[cfg(feature = "aws")]
mod push;

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::{Client, Reference};

use crate::{Error, Result};

#[cfg(feature = "aws")]
pub(crate) use push::{Refusal, push, refusal};

/// The time limit for a connection to a registry.
const CONNECT: Duration = Duration::from_secs(20);
/// The time limit for a stalled transfer.
const READ: Duration = Duration::from_secs(60);

/// A client for the registry of this reference. `doing` names the operation in an error.
pub(crate) fn client(reference: &Reference, doing: &'static str) -> Result<Client> {
    // Another part of the process may already have installed a provider, and either one works.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = reference.resolve_registry().to_owned();
    let protocol = if is_loopback(&host) {
        ClientProtocol::HttpsExcept(vec![host])
    } else {
        ClientProtocol::Https
    };
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(READ),
        // Each blob is one request: every registry accepts it, and the size is known.
        use_monolithic_push: true,
        user_agent: concat!("landfall/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(failed(doing, reference))
}

/// Converts a failure between this machine and a registry.
pub(crate) fn failed<E: std::error::Error + Send + Sync + 'static>(
    doing: &'static str,
    reference: &Reference,
) -> impl FnOnce(E) -> Error {
    let reference = reference.to_string();
    move |error| Error::Registry {
        doing,
        reference,
        source: Box::new(error),
    }
}

/// Whether a registry is on this machine, where TLS is not used, as in Docker.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_registries_go_without_tls() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.1.2.3",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.com",
            "10.0.0.1:5000",
            "example.com",
            "[2001:db8::1]:5000",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
