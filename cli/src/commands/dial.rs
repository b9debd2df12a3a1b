//! `dial`: carries a connection into the local provider's network, for the system's ssh.

use std::io::Write;
use std::time::Duration;

use landfall_local::{Local, LocalOptions, Reached};

use crate::args::Dial;
use crate::cli_error::CliError;
use crate::{exit, input, output, render};

/// The time limit for an answer. Traffic that a security group denies is never answered.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects from the local provider's internet, and forwards standard input and output.
pub(crate) async fn dial(args: &Dial) -> Result<u8, CliError> {
    let options = LocalOptions {
        dir: Some(args.runtime_dir.clone()),
        ..LocalOptions::default()
    };
    let local = Local::open(options)?;
    let (address, port) = (args.address, args.port);
    let (reached, dialled) = local.dial(address, port, WAIT_TIMEOUT).await?;
    let Some(dialled) = dialled else {
        let me = landfall_local::OPERATOR;
        let why = match reached {
            Reached::Refused => format!("landfall: {address} refuses connections to port {port}\n"),
            _ => format!(
                "landfall: {address}:{port} does not answer {me}, which is what this machine is on the local provider's \
                 internet. If that is not among those who may connect, put it into `allow` of [network.bastion], or \
                 deploy with --my-address; `explain {me} bastion:{port} --live` tells more\n"
            ),
        };
        output::message(&why);
        return Ok(exit::FAILED);
    };
    let carried = dialled
        .carry(input::chunks(), |bytes| {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        })
        .await;
    match carried {
        Ok(()) => Ok(exit::DONE),
        Err(error) => {
            output::message(&format!("landfall: {}", render::error::error(&error)));
            Ok(exit::FAILED)
        }
    }
}
