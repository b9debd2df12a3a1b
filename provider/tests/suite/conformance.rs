//! The provider contract on the simulation; every violation is detected.

use std::time::Duration;

use async_trait::async_trait;
use landfall_provider::{
    Error, ErrorKind, Key, Live, Probe, Provider, Resource, ResourceName, Result, StackName,
};
use landfall_testkit::conformance::Case;
use landfall_testkit::crash::run_in_full;
use landfall_testkit::sim::Sim;

use crate::things::{Early, Facts, Plain, catalog, stack, stack_name};

fn facts(value: u32) -> Facts {
    Facts {
        value,
        ..Facts::default()
    }
}

fn case<'a, P, R: Resource + From<Facts>>(provider: &'a P, stack: &'a StackName) -> Case<'a, P, R> {
    Case {
        provider,
        stack,
        name: ResourceName::new("a").unwrap(),
        desired: facts(1).into(),
        other: Some(facts(2).into()),
        time_limit: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn the_simulation_keeps_the_rules() {
    let stack = stack_name();
    for sim in [
        Sim::new(),
        Sim::new().lag(Duration::from_secs(2)),
        Sim::aws(),
    ] {
        let plain = case::<_, Plain>(&sim, &stack).life().await;
        plain.unwrap_or_else(|broken| panic!("{broken}"));
        let early = case::<_, Early>(&sim, &stack).life().await;
        early.unwrap_or_else(|broken| panic!("{broken}"));
        assert!(sim.held().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_simulation_nobody_goes_who_is_in_use() {
    let (sim, name) = (Sim::new(), stack_name());
    let used = stack(&["plain/a value=1", "plain/b fixed=plain/a"]);
    run_in_full(&sim, &catalog(), &used).await.unwrap();
    let outcome = case::<_, Plain>(&sim, &name).in_use().await;
    outcome.unwrap_or_else(|broken| panic!("{broken}"));
}

/// A violation of the contract.
#[derive(Clone, Copy, PartialEq)]
enum Sin {
    /// Creates a second resource when it is called again.
    Doubles,
    /// Lists other stacks' resources.
    Shows,
    /// Ignores updates.
    Ignores,
    /// Fails when the resource to delete is already gone.
    Complains,
}

/// The simulation with one violation.
struct Sinner(Sim, Sin);

#[async_trait]
impl Provider<Plain> for Sinner {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Plain>>> {
        match self.1 {
            Sin::Shows => self.0.list(&stack_name()).await,
            _ => self.0.list(stack).await,
        }
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &Plain,
    ) -> Result<<Plain as Resource>::Id> {
        let mut desired = desired.clone();
        if self.1 == Sin::Doubles {
            // A field that is not compared makes it another resource.
            let build_spec = u32::try_from(self.0.calls().len()).unwrap();
            desired = Facts {
                build_spec,
                ..facts(1)
            }
            .into();
        }
        self.0.create(stack, key, &desired).await
    }

    async fn update(&self, live: &Live<Plain>, desired: &Plain) -> Result<()> {
        match self.1 {
            Sin::Ignores => Ok(()),
            _ => self.0.update(live, desired).await,
        }
    }

    async fn probe(&self, id: &<Plain as Resource>::Id) -> Result<Probe<()>> {
        <Sim as Provider<Plain>>::probe(&self.0, id).await
    }

    async fn delete(&self, live: &Live<Plain>) -> Result<()> {
        let gone = <Sim as Provider<Plain>>::probe(&self.0, &live.id).await? == Probe::Absent;
        match self.1 {
            Sin::Complains if gone => Err(Error::new(ErrorKind::NotFound, "gone")),
            _ => self.0.delete(live).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_breaks_a_rule_is_found_out() {
    let stack = stack_name();
    for (sin, rule) in [
        (Sin::Doubles, "create called again gives what is there"),
        (Sin::Shows, "a stack lists nothing of another"),
        (Sin::Ignores, "update changes in place"),
        (Sin::Complains, "deleting what is gone succeeds"),
    ] {
        let sinner = Sinner(Sim::new(), sin);
        let broken = case::<_, Plain>(&sinner, &stack).life().await.unwrap_err();
        assert!(broken.to_string().starts_with(rule), "{broken}");
    }
}
