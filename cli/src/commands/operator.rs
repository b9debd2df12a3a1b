//! Who may log in: the operator's key and address, found out before the stack is put together.
//!
//! The stack is a function of the file, the images and this: what a plan shows is what a deploy makes, as long as
//! both find the same.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_compute::{KeyPair, PublicKey};
use landfall_network::{Direction, Peer, SecurityGroupRules};
use landfall_pipeline::{Cloud, Config};
use landfall_provider::{Event, Live, Provider, Resource, StackName};

use super::Session;
use crate::my_address::MyAddress;
use crate::problem::Problem;
use crate::ssh::keys;

/// Completes what the file says about who may log in.
///
/// # Errors
/// Where there is no bastion that an address could be let in to, or the address is not to be found out.
pub(super) async fn settle(
    session: &Session,
    config: &mut Config,
    my_address: Option<&MyAddress>,
) -> Result<(), Problem> {
    let stack = config.stack.clone();
    let Some(bastion) = &mut config.network.bastion else {
        return match my_address {
            None => Ok(()),
            Some(_) => Err(Problem::usage(
                "there is no bastion that --my-address could be let in to",
                Some("add [network.bastion] to landfall.toml"),
            )),
        };
    };
    let say = |text: String| session.options.apply.events.emit(Event::Notice { text });
    if bastion.key.is_none() {
        let pairs: Vec<Live<KeyPair>> = listed(session, &stack).await?;
        let theirs: Vec<PublicKey> = pairs.into_iter().map(|pair| pair.spec.public_key).collect();
        let mine = keys::all();
        bastion.public_key = Some(
            match (keys::choose(&mine, &theirs), theirs.into_iter().next()) {
                (Some(key), _) => key.public.clone(),
                // Who has no key, such as a build server, takes away nobody else's.
                (None, Some(key)) => key,
                (None, None) => {
                    let key = keys::generate()?;
                    if let Some(file) = &key.private {
                        say(format!(
                            "there was no key to log in with: made one in {}",
                            file.display()
                        ));
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
    let rules: Vec<Live<SecurityGroupRules>> = listed(session, &stack).await?;
    for net in lose_access(&rules, &bastion.allow) {
        say(format!(
            "{net} may connect to the bastion no longer: neither the file nor --my-address names it"
        ));
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

/// What the stack holds of a kind.
async fn listed<R: Resource>(session: &Session, stack: &StackName) -> Result<Vec<Live<R>>, Problem>
where
    for<'c> dyn Cloud + 'c: Provider<R>,
{
    let cloud = session.place.cloud();
    let looking = async {
        let listed = Provider::<R>::list(cloud, stack).await;
        listed.map_err(|error| error.listing(&R::KIND))
    };
    session.look(looking).await
}

/// The addresses that may connect to the bastion now, and no longer when only these may.
fn lose_access(rules: &[Live<SecurityGroupRules>], allow: &[Ipv4Net]) -> BTreeSet<Ipv4Net> {
    let of_bastion = rules.iter().filter(|live| live.name.as_str() == "bastion");
    of_bastion
        .flat_map(|live| &live.spec.rules)
        // Others are written in the file, and the plan shows them.
        .filter(|rule| {
            rule.direction == Direction::Ingress && rule.description.starts_with("SSH from ")
        })
        .filter_map(|rule| match &rule.peer {
            Peer::Cidr(net) => Some(*net),
            Peer::Group(_) => None,
        })
        .filter(|net| !allow.iter().any(|allowed| allowed.contains(net)))
        .collect()
}
