//! What `exec`, `logs`, `ssh` and `ssh-config` have in common: the stack's instances, by what people call them.

use landfall_compute::InstanceState;
use landfall_pipeline::{Access, Host};
use landfall_provider::{Error, ErrorKind, Events};

use super::stack_of;
use crate::args::OnStack;
use crate::place::Place;
use crate::problem::Problem;

/// A stack that somebody wants to get into.
pub(super) struct Inside {
    pub(super) place: Place,
    pub(super) access: Access,
}

impl Inside {
    /// Looks which instances there are.
    pub(super) async fn open(on: &OnStack) -> Result<Self, Problem> {
        let (stack, said) = stack_of(on)?;
        let place = Place::open(&on.common, said, &Events::nowhere()).await?;
        let access = ask(&place, landfall_pipeline::access(place.cloud(), &stack)).await?;
        let access = access.ok_or(Problem::Missing { stack })?;
        Ok(Self { place, access })
    }

    /// Awaits an answer of the provider, as long as it may be silent.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = landfall_provider::Result<T>>,
    ) -> Result<T, Problem> {
        ask(&self.place, call).await
    }

    /// Those that the words stand for.
    pub(super) fn hosts(&self, words: &str) -> Result<Vec<&Host>, Problem> {
        self.access.find(words).map_err(|error| Problem::Usage {
            hint: Some(error.hint.clone()),
            message: error.message,
        })
    }

    /// One that runs, of those that the words stand for.
    pub(super) fn running(&self, words: &str) -> Result<&Host, Problem> {
        let hosts = self.hosts(words)?;
        let runs = |host: &&&Host| host.state == InstanceState::Running;
        if let Some(host) = hosts.iter().find(runs) {
            return Ok(host);
        }
        let states: Vec<String> = hosts
            .iter()
            .map(|host| format!("{} {}", host.name, told(&host.state)))
            .collect();
        Err(Problem::usage(
            format!("nothing of {words} runs: {}", states.join(", ")),
            Some("`logs` shows what it wrote last, `status` what there is"),
        ))
    }
}

async fn ask<T>(
    place: &Place,
    call: impl Future<Output = landfall_provider::Result<T>>,
) -> Result<T, Problem> {
    let patience = place.patience().0;
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let silent = format_args!("the provider has not answered for {} s", patience.as_secs());
            Err(Error::new(ErrorKind::Timeout, silent).into())
        }
    }
}

fn told(state: &InstanceState) -> String {
    match state {
        InstanceState::Pending => "is being started".to_owned(),
        InstanceState::Running => "runs".to_owned(),
        InstanceState::Terminating => "is being ended".to_owned(),
        InstanceState::Failed(why) => format!("has ended: {why}"),
    }
}
