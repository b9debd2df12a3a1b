//! The operator's key and address for logins, determined before the stack is built.
//!
//! The stack is a function of the file, the images and these two: a plan shows the same changes as
//! a deploy, as long as both find the same key and address.

use landfall_compute::{KeyPair, PublicKey};
use landfall_pipeline::{Config, Mode};
use landfall_provider::{Event, Live, Provider, Resource as _, StackName};

use super::Session;
use crate::cli_error::CliError;
use crate::my_address::MyAddress;
use crate::ssh::keys;

/// Completes the file's settings for logins.
///
/// # Errors
/// Where no bastion exists for the address, or the address cannot be determined.
pub(super) async fn settle(
    session: &Session,
    config: &mut Config,
    my_address: Option<&MyAddress>,
) -> Result<(), CliError> {
    let stack = config.stack.clone();
    let Some(bastion) = &mut config.network.bastion else {
        return match my_address {
            None => Ok(()),
            Some(_) if config.mode == Mode::Single => Err(CliError::usage(
                "--my-address needs a bastion, and a single instance has none",
                Some("`allow` in [single] lists the addresses that may connect to its port"),
            )),
            Some(_) => Err(CliError::usage(
                "--my-address needs a bastion, and the stack has none",
                Some("add [network.bastion] to landfall.toml"),
            )),
        };
    };
    let say = |text: String| session.options.apply.events.emit(Event::Notice { text });
    if bastion.key.is_none() {
        let pairs = key_pairs(session, &stack).await?;
        let theirs: Vec<PublicKey> = pairs.into_iter().map(|pair| pair.spec.public_key).collect();
        let mine = keys::all();
        bastion.public_key = Some(
            match (keys::choose(&mine, &theirs), theirs.into_iter().next()) {
                (Some(key), _) => key.public.clone(),
                // A caller without a key, such as a build server, removes nobody else's key.
                (None, Some(key)) => key,
                (None, None) => {
                    let key = keys::generate()?;
                    if let Some(file) = &key.private {
                        say(format!("no key found; created one in {}", file.display()));
                    }
                    key.public
                }
            },
        );
    }
    if let Some(mine) = my_address {
        let mine = match mine {
            MyAddress::Given(net) => *net,
            MyAddress::Seen => session.place.address().await?.into(),
        };
        if !bastion.allow.iter().any(|net| net.contains(&mine)) {
            bastion.allow.push(mine);
        }
    }
    if bastion.allow.is_empty() {
        say(
            "nobody may connect to the bastion: name addresses in `allow` of [network.bastion], or deploy with \
             --my-address"
                .to_owned(),
        );
    }
    Ok(())
}

/// The key pairs of the stack.
async fn key_pairs(session: &Session, stack: &StackName) -> Result<Vec<Live<KeyPair>>, CliError> {
    let cloud = session.place.cloud();
    let looking = async {
        let listed = Provider::<KeyPair>::list(cloud, stack).await;
        listed.map_err(|error| error.listing(&KeyPair::KIND))
    };
    session.look(looking).await
}
