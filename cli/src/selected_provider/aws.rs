//! A session with AWS: its identity and region are printed before any operation.

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_aws::{Aws, AwsOptions, Check, ServiceQuotas};
use landfall_container::ImageBuilder;
use landfall_pipeline::{AccountZones, Config};
use landfall_provider::{Event, Events, Result, kind};

use super::Said;
use crate::args::Common;
use crate::cli_error::CliError;

/// Opens a session, and prints its identity.
///
/// # Errors
/// Without valid credentials or a region, or in another account than the file's.
pub(super) async fn open(common: &Common, said: Said, events: &Events) -> Result<Aws> {
    let options = AwsOptions {
        profile: common.profile.clone(),
        region: common.region.clone().or(said.region),
        account: said.account,
        ..AwsOptions::default()
    };
    let aws = Aws::open(options, checks()).await?;
    landfall_container::aws::make_in(&aws, ImageBuilder::open(None, events.clone())?);
    let identity = aws.identity();
    events.emit(Event::Notice {
        text: format!(
            "AWS account {} in {}, as {}",
            identity.account,
            aws.region(),
            identity.arn
        ),
    });
    Ok(aws)
}

/// The zones of the stack's subnets. If these are not enough, also the zones of the account that offer the instance
/// types of the file.
///
/// # Errors
/// When a call fails, most often for a missing permission.
pub(super) async fn zones(aws: &Aws, config: &Config) -> Result<AccountZones> {
    let listing = |error: landfall_provider::Error| error.listing(&kind::SUBNET);
    let in_use = landfall_network::aws::zones_in_use(aws, &config.stack);
    let mut zones = AccountZones {
        in_use: in_use.await.map_err(listing)?,
        available: None,
    };
    if config.needs_available_zones(&zones) {
        let types = config.instance_types();
        let offering = landfall_network::aws::zones_offering(aws, &types);
        zones.available = Some(offering.await.map_err(listing)?);
    }
    Ok(zones)
}

/// The service that reports the caller's address: AWS's own.
const ADDRESS_URL: &str = "https://checkip.amazonaws.com/";
/// The time limit for its answer.
const ADDRESS_WITHIN: Duration = Duration::from_secs(10);
/// Overrides it: any URL that answers with an address only.
const ADDRESS_VARIABLE: &str = "LANDFALL_ADDRESS_URL";

/// The address by which the internet sees this machine.
///
/// # Errors
/// When the service does not answer, or not with an IPv4 address.
pub(super) async fn address() -> std::result::Result<Ipv4Addr, CliError> {
    let url = std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| ADDRESS_URL.to_owned());
    address_by(&url).await
}

async fn address_by(url: &str) -> std::result::Result<Ipv4Addr, CliError> {
    let reported = text_of(url).await;
    let why = match reported {
        Ok(text) => match text.trim().parse() {
            Ok(address) => return Ok(address),
            Err(_) => "the answer is no IPv4 address".to_owned(),
        },
        Err(why) => why,
    };
    Err(CliError::usage(
        format!("{url} does not tell by which address this machine is seen: {why}"),
        Some("name it: --my-address=198.51.100.7"),
    ))
}

async fn text_of(url: &str) -> std::result::Result<String, String> {
    // Another part of the process may already have installed a provider, and either one works.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reported = async {
        let client = reqwest::Client::builder().timeout(ADDRESS_WITHIN).build()?;
        let answer = client.get(url).send().await?.error_for_status()?;
        answer.text().await
    };
    reported.await.map_err(|error| error.to_string())
}

/// The preflight checks of each crate.
fn checks() -> Vec<Box<dyn Check>> {
    vec![
        landfall_network::aws::check(),
        landfall_network::aws::quotas(ServiceQuotas),
        landfall_compute::aws::check(),
        landfall_lb::aws::check(),
        landfall_container::aws::check(),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one request with this body.
    fn answering(body: &'static str) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        });
        url
    }

    #[tokio::test]
    async fn the_address_is_what_the_service_answers() {
        let reported = address_by(&answering("198.51.100.7\n")).await;
        assert_eq!(reported.unwrap(), Ipv4Addr::new(198, 51, 100, 7));
        let error = address_by(&answering("<html>")).await.unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::USAGE);
    }
}
