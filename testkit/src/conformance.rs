//! Conformance tests: the rules of the provider contract, checked on one kind of resource: for the
//! simulation, this machine, AWS.

use std::fmt;
use std::time::Duration;

use landfall_provider::{
    Change, Error, ErrorKind, Key, Live, Probe, Provider, Resource, ResourceName, StackName,
};
use tokio::time::Instant;

/// A kind of resource for a provider's conformance test. No resource may exist under that name.
pub struct Case<'a, P: ?Sized, R> {
    /// The provider.
    pub provider: &'a P,
    /// The stack of the created resources.
    pub stack: &'a StackName,
    /// Its name.
    pub name: ResourceName,
    /// The spec to create; all inputs are known.
    pub desired: R,
    /// A spec for an update in place, if there is one.
    pub other: Option<R>,
    /// The time limit of each operation.
    pub time_limit: Duration,
}

/// A violated rule, with the evidence.
#[derive(Debug)]
pub struct RuleViolation {
    rule: &'static str,
    how: String,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.how)
    }
}

fn broken(rule: &'static str, how: impl fmt::Display) -> RuleViolation {
    let how = how.to_string();
    RuleViolation { rule, how }
}

/// Converts an unexpected error.
fn failed(rule: &'static str) -> impl Fn(Error) -> RuleViolation {
    move |error| broken(rule, format_args!("{:?}: {error}", error.kind()))
}

fn demand(holds: bool, rule: &'static str, how: impl fmt::Display) -> Result<(), RuleViolation> {
    match holds {
        true => Ok(()),
        false => Err(broken(rule, how)),
    }
}

impl<P, R> Case<'_, P, R>
where
    P: Provider<R> + ?Sized,
    R: Resource,
{
    /// Creates, updates and deletes the resource, each operation twice.
    ///
    /// # Errors
    /// The first violated rule; the created resources then remain.
    pub async fn life(&self) -> Result<(), RuleViolation> {
        let there = self.listed().await?;
        demand(there.is_empty(), "nothing is there before", there.len())?;

        let id = self.create("create makes one").await?;
        let live = self
            .seen(
                "what was made is listed with what was wanted",
                &self.desired,
            )
            .await?;
        demand(live.id == id, "it is listed by its id", &live.id)?;
        self.until("what was made becomes usable", &id, |probe| match probe {
            Probe::Usable(_) => Some(Ok(())),
            Probe::Failed(why) => Some(Err(why.clone())),
            _ => None,
        })
        .await?;
        self.strangers().await?;

        let again = self.create("create can be called again").await?;
        demand(
            again == id,
            "create called again gives what is there",
            &again,
        )?;
        let there = self.listed().await?;
        demand(
            there.len() == 1,
            "create called again makes no double",
            there.len(),
        )?;

        let live = match &self.other {
            Some(other) => self.change(&live, other).await?,
            None => live,
        };
        self.end(&live).await
    }

    /// Another stack's listing must not contain it.
    async fn strangers(&self) -> Result<(), RuleViolation> {
        let rule = "a stack lists nothing of another";
        let other = StackName::new("somebody-elses").map_err(|error| broken(rule, error))?;
        let listed = self.provider.list(&other).await.map_err(failed(rule))?;
        demand(listed.is_empty(), rule, listed.len())
    }

    async fn change(&self, live: &Live<R>, other: &R) -> Result<Live<R>, RuleViolation> {
        let rule = "update changes in place";
        for _ in 0..2 {
            let updated = self.provider.update(live, other).await;
            updated.map_err(failed("update can be called, and called again"))?;
        }
        let changed = self.seen(rule, other).await?;
        demand(changed.id == live.id, rule, &changed.id)?;
        Ok(changed)
    }

    async fn end(&self, live: &Live<R>) -> Result<(), RuleViolation> {
        for _ in 0..2 {
            let deleted = self.provider.delete(live).await;
            deleted.map_err(failed("delete can be called, and called again"))?;
        }
        self.until("what was deleted is absent", &live.id, |probe| {
            matches!(probe, Probe::Absent).then_some(Ok(()))
        })
        .await?;
        let there = self.listed().await?;
        demand(
            there.is_empty(),
            "what is absent is not listed",
            there.len(),
        )?;
        let deleted = self.provider.delete(live).await;
        deleted.map_err(failed("deleting what is gone succeeds"))?;
        match self.provider.update(live, &self.desired).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("changing what is gone is NotFound")(error)),
            Ok(()) => Err(broken("changing what is gone is NotFound", "it succeeded")),
        }
    }

    /// Tries to delete it while an existing resource refers to it.
    ///
    /// # Errors
    /// When the error is not [`InUse`](ErrorKind::InUse), or the resource is deleted nevertheless.
    pub async fn in_use(&self) -> Result<(), RuleViolation> {
        let rule = "what others mention cannot go";
        let live = self.seen(rule, &self.desired).await?;
        match self.provider.delete(&live).await {
            Err(error) if error.kind() == ErrorKind::InUse => {}
            Err(error) => return Err(failed(rule)(error)),
            Ok(()) => return Err(broken(rule, "it was accepted")),
        }
        let state = self.provider.probe(&live.id).await.map_err(failed(rule))?;
        demand(
            matches!(state, Probe::Usable(_)),
            rule,
            format_args!("{state:?}"),
        )
    }

    fn key(&self) -> Key {
        Key::new(R::KIND, self.name.clone())
    }

    async fn create(&self, rule: &'static str) -> Result<R::Id, RuleViolation> {
        let key = self.key();
        let created = self.provider.create(self.stack, &key, &self.desired).await;
        created.map_err(failed(rule))
    }

    /// All resources of that name in the stack.
    async fn listed(&self) -> Result<Vec<Live<R>>, RuleViolation> {
        let listed = self.provider.list(self.stack).await;
        let mut listed = listed.map_err(failed("list answers"))?;
        listed.retain(|live| live.name == self.name && live.state != Probe::Absent);
        Ok(listed)
    }

    /// The resource of that name, once it is listed with the expected spec.
    async fn seen(&self, rule: &'static str, desired: &R) -> Result<Live<R>, RuleViolation> {
        let mut pause = Pause::new(self.time_limit);
        loop {
            let listed = self.listed().await?;
            if let [live] = &listed[..]
                && R::change(&live.spec, desired) == Change::Keep
            {
                return Ok(live.clone());
            }
            if !pause.again().await {
                return Err(broken(
                    rule,
                    format_args!("{listed:#?} and not {desired:#?}"),
                ));
            }
        }
    }

    async fn until(
        &self,
        rule: &'static str,
        id: &R::Id,
        done: impl Fn(&Probe<R::Output>) -> Option<Result<(), String>>,
    ) -> Result<(), RuleViolation> {
        let mut pause = Pause::new(self.time_limit);
        loop {
            let probe = self.provider.probe(id).await.map_err(failed(rule))?;
            match done(&probe) {
                Some(outcome) => return outcome.map_err(|why| broken(rule, why)),
                None if pause.again().await => {}
                None => return Err(broken(rule, format_args!("{probe:?}"))),
            }
        }
    }
}

/// Pauses of growing length, up to a total limit.
struct Pause {
    ends: Instant,
    next: Duration,
}

impl Pause {
    fn new(time_limit: Duration) -> Self {
        Self {
            ends: Instant::now() + time_limit,
            next: Duration::from_millis(5),
        }
    }

    /// Waits; `false` when no time is left.
    async fn again(&mut self) -> bool {
        if Instant::now() >= self.ends {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Duration::from_secs(5));
        true
    }
}
