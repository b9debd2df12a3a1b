//! A session with AWS: who and where it is, said before anything is done.

use landfall_aws::{Aws, AwsOptions, Check, ServiceQuotas};
use landfall_container::Workshop;
use landfall_provider::{Event, Events, Result};

use super::Said;
use crate::args::Common;

/// Opens a session, and says whose it is.
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
    landfall_container::aws::make_in(&aws, Workshop::open(None, events.clone())?);
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

/// What each crate has to say against a plan.
fn checks() -> Vec<Box<dyn Check>> {
    vec![
        landfall_network::aws::check(),
        landfall_network::aws::quotas(ServiceQuotas),
        landfall_compute::aws::check(),
        landfall_container::aws::check(),
    ]
}
