//! Plan: what a deploy would do, without doing it.

use landfall_provider::{Error, Event, Plan, Snapshot, Stack};

use crate::cloud::Cloud;
use crate::config::Config;
use crate::lockout::lockouts;
use crate::outcome::{Failure, Stage};
use crate::review::Review;
use crate::run::{Options, Run};
use crate::saved::SavedPlan;

/// What has been planned, from what, and what stands against it.
#[derive(Debug)]
pub struct Planned {
    /// The plan, as the engine carries it out.
    pub plan: Plan,
    /// The plan, as it is read.
    pub review: Review,
    /// What the provider has against it: with any of these, a deploy would refuse to begin.
    pub findings: Vec<Error>,
    pub(crate) wanted: Stack,
    pub(crate) live: Snapshot,
    pub(crate) place: String,
}

impl Planned {
    /// Itself, unless the provider has something against it.
    ///
    /// # Errors
    /// A [`Failure`] of [`Stage::Preflight`] with all [`findings`](Self::findings).
    pub fn feasible(mut self) -> Result<Self, Box<Failure>> {
        let message = match self.findings.len() {
            0 => return Ok(self),
            1 => "the plan cannot be carried out".to_owned(),
            number => format!("the plan cannot be carried out, for {number} reasons"),
        };
        let mut failure = Failure::new(Stage::Preflight, message);
        failure.errors = std::mem::take(&mut self.findings);
        Err(failure)
    }

    /// The plan for a file, to be carried out later.
    pub fn save(&self) -> SavedPlan {
        SavedPlan::of(self)
    }
}

/// What would be done, without doing it; nothing of the provider's is changed.
///
/// The `before` commands run unless the options leave them out, because what they build decides what an image is
/// made from.
///
/// # Errors
/// A [`Failure`] up to [`Stage::Preflight`].
pub async fn plan<P: Cloud + ?Sized>(
    cloud: &P,
    config: &Config,
    options: &Options,
) -> Result<Planned, Box<Failure>> {
    let run = Run::new(cloud, &config.stack, options);
    run.prove(config)?;
    run.prepare(config).await
}

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// What there is and what is to be done: the `before` commands and the hashing of build contexts go on
    /// while the provider is asked.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<Planned, Box<Failure>> {
        let (live, sources, place) =
            futures::try_join!(self.first_look(), self.sources(config), self.place())?;
        let wanted = crate::stack::stack(config, &sources)
            .map_err(|error| Failure::new(Stage::Plan, error))?;
        let plan = self.plan(&wanted, &live)?;
        for net in lockouts(&plan) {
            let text = format!(
                "{net} may connect to the bastion no longer: neither the file nor --my-address names it"
            );
            self.options.apply.events.emit(Event::Notice { text });
        }
        let findings = if plan.is_empty() {
            Vec::new()
        } else {
            self.preflight(&plan).await?
        };
        Ok(Planned {
            review: Review::of(&plan, self.catalog.schema()),
            plan,
            findings,
            wanted,
            live,
            place,
        })
    }

    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>, Box<Failure>> {
        let doing = "cannot find out whether the plan can be carried out";
        let findings = self.cloud.preflight(plan);
        self.ask(Stage::Preflight, doing, findings).await
    }

    async fn place(&self) -> Result<String, Box<Failure>> {
        let doing = "cannot find out which account this is";
        self.ask(Stage::Look, doing, self.cloud.place()).await
    }
}
