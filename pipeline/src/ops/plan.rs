//! Plan: the changes that a deploy would make.

use landfall_provider::{Error, Event, Plan, Snapshot, Stack};

use super::lockout::lockouts;
use super::prebuild::{SameImage, with_held};
use crate::cloud::Cloud;
use crate::config::Config;
use crate::outcome::{Failure, Stage};
use crate::review::Review;
use crate::run::SavedPlan;
use crate::run::{Options, Run};
use crate::stack::Sources;
use crate::validate::ValidatedStack;

/// A plan, its inputs, and the provider's objections.
#[derive(Debug)]
pub struct Planned {
    /// The plan for the engine.
    pub plan: Plan,
    /// The review of the plan.
    pub review: Review,
    /// The provider's objections: with any of them, a deploy fails before its first change.
    pub findings: Vec<Error>,
    /// Existing images that get a new source.
    pub(crate) same_images: Vec<SameImage>,
    pub(crate) wanted: Stack,
    pub(crate) live: Snapshot,
    pub(crate) place: String,
}

impl Planned {
    /// Returns itself, unless the provider has objections.
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

    /// The saved plan, to be applied later.
    pub fn save(&self) -> SavedPlan {
        SavedPlan::of(&self.wanted, &self.live, &self.plan, &self.place)
    }
}

/// Returns the changes that a deploy would make; no resource is changed.
///
/// The `before` commands run unless the options skip them, because their output determines the source of an image.
/// Images that would replace others are built on this machine, because only their digests show whether
/// there is a new release.
///
/// # Errors
/// A [`Failure`] up to [`Stage::Build`].
pub async fn plan<P: Cloud + ?Sized>(
    cloud: &P,
    config: &Config,
    options: &Options,
) -> Result<Planned, Box<Failure>> {
    let run = Run::new(cloud, &config.stack, options);
    let stack = run.validate(config)?;
    run.check_reachability(&stack)?;
    run.prepare(&stack).await
}

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// The validated stack, built once for all later steps.
    pub(crate) fn validate<'a>(
        &self,
        config: &'a Config,
    ) -> Result<ValidatedStack<'a>, Box<Failure>> {
        ValidatedStack::new(config).map_err(|error| Failure::new(Stage::Plan, error))
    }

    /// Lists the current resources and makes the plan: the `before` commands and the hashing of build contexts run
    /// in parallel with the listing.
    pub(crate) async fn prepare(
        &self,
        stack: &ValidatedStack<'_>,
    ) -> Result<Planned, Box<Failure>> {
        let (live, sources, place) = futures::try_join!(
            self.first_look(),
            self.sources(stack.config()),
            self.provider_identity()
        )?;
        let (mut wanted, mut plan) = self.planned(stack, &sources, &live)?;
        let findings = if plan.is_empty() {
            Vec::new()
        } else {
            self.preflight(&plan).await?
        };
        let mut same_images = Vec::new();
        if findings.is_empty() {
            same_images = self.same_images(&plan, &live).await?;
            if !same_images.is_empty() {
                let sources = with_held(sources, &same_images);
                (wanted, plan) = self.planned(stack, &sources, &live)?;
            }
        }
        for net in lockouts(&plan) {
            let text = format!(
                "{net} may connect to the bastion no longer: neither the file nor --my-address names it"
            );
            self.options.apply.events.emit(Event::Notice { text });
        }
        let mut review = Review::of(&plan, self.catalog.schema());
        review.rollouts = self.pending_rollouts(&plan).await?;
        Ok(Planned {
            review,
            plan,
            findings,
            same_images,
            wanted,
            live,
            place,
        })
    }

    fn planned(
        &self,
        stack: &ValidatedStack<'_>,
        sources: &Sources,
        live: &Snapshot,
    ) -> Result<(Stack, Plan), Box<Failure>> {
        let wanted = stack.with_sources(sources);
        let wanted = wanted.map_err(|error| Failure::new(Stage::Plan, error))?;
        let plan = self.plan(&wanted, live)?;
        Ok((wanted, plan))
    }

    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>, Box<Failure>> {
        let doing = "cannot find out whether the plan can be carried out";
        let findings = self.cloud.preflight(plan);
        self.ask(Stage::Preflight, doing, findings).await
    }

    async fn provider_identity(&self) -> Result<String, Box<Failure>> {
        let doing = "cannot find out which account this is";
        self.ask(Stage::Look, doing, self.cloud.provider_identity())
            .await
    }
}
