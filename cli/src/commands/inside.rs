//! Common parts of `exec`, `logs`, `ssh` and `ssh-config`: the instances of a stack, by their names
//! on the command line.

use landfall_compute::InstanceState;
use landfall_pipeline::{Access, Host};
use landfall_provider::{Error, ErrorKind, Events};

use super::stack_of;
use crate::args::OnStack;
use crate::cli_error::CliError;
use crate::selected_provider::SelectedProvider;

/// A stack with its instances.
pub(super) struct Inside {
    pub(super) place: SelectedProvider,
    pub(super) access: Access,
}

impl Inside {
    /// Lists the instances.
    pub(super) async fn open(on: &OnStack) -> Result<Self, CliError> {
        let (stack, said) = stack_of(on)?;
        let place = SelectedProvider::open(&on.common, said, &Events::nowhere()).await?;
        let access = ask(&place, landfall_pipeline::access(place.cloud(), &stack)).await?;
        let access = access.ok_or(CliError::Missing { stack })?;
        Ok(Self { place, access })
    }

    /// Awaits an answer of the provider, within its request timeout.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = landfall_provider::Result<T>>,
    ) -> Result<T, CliError> {
        ask(&self.place, call).await
    }

    /// The instances of this name.
    pub(super) fn hosts(&self, words: &str) -> Result<Vec<&Host>, CliError> {
        self.access.find(words).map_err(|error| CliError::Usage {
            hint: Some(error.hint.clone()),
            message: error.message,
        })
    }

    /// A running instance of this name.
    pub(super) fn running(&self, words: &str) -> Result<&Host, CliError> {
        let hosts = self.hosts(words)?;
        let runs = |host: &&&Host| host.state == InstanceState::Running;
        if let Some(host) = hosts.iter().find(runs) {
            return Ok(host);
        }
        let states: Vec<String> = hosts
            .iter()
            .map(|host| format!("{} {}", host.name, reported(&host.state)))
            .collect();
        Err(CliError::usage(
            format!("no instance of {words} is running: {}", states.join(", ")),
            Some("`logs` shows the last output, `status` shows the instances"),
        ))
    }
}

async fn ask<T>(
    place: &SelectedProvider,
    call: impl Future<Output = landfall_provider::Result<T>>,
) -> Result<T, CliError> {
    let request_timeout = place.request_timeout().0;
    match tokio::time::timeout(request_timeout, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let silent = format_args!(
                "the provider has not answered for {} s",
                request_timeout.as_secs()
            );
            Err(Error::new(ErrorKind::Timeout, silent).into())
        }
    }
}

fn reported(state: &InstanceState) -> String {
    match state {
        InstanceState::Pending => "is starting".to_owned(),
        InstanceState::Running => "runs".to_owned(),
        InstanceState::Terminating => "is terminating".to_owned(),
        InstanceState::Failed(why) => format!("has ended: {why}"),
    }
}
