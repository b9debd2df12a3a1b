//! Crash tests: runs that are cut off at any point, and the recovery by later runs.

use std::fmt;
use std::time::Duration;

use landfall_provider::{Applied, ApplyOptions, Catalog, Retention, Stack, apply, plan};

use crate::sim::times::mix;
use crate::sim::{Cut, Sim};

/// One run: snapshot, plan, apply.
///
/// # Errors
/// The error of the snapshot or the planning.
pub async fn run(sim: &Sim, catalog: &Catalog<Sim>, desired: &Stack) -> Result<Applied, String> {
    let current = catalog.snapshot(sim, desired.name()).await;
    let current = current.map_err(|error| format!("looking: {error}"))?;
    let plan =
        plan(desired, &current, catalog.schema()).map_err(|error| format!("planning: {error}"))?;
    Ok(apply(&plan, sim, catalog, &ApplyOptions::default()).await)
}

/// One complete run.
///
/// # Errors
/// Its error, or its incomplete steps.
pub async fn run_in_full(sim: &Sim, catalog: &Catalog<Sim>, desired: &Stack) -> Result<(), String> {
    let applied = run(sim, catalog, desired).await?;
    match applied.is_complete() {
        true => Ok(()),
        false => Err(incomplete(&applied)),
    }
}

/// The failed and the incomplete steps.
fn incomplete(applied: &Applied) -> String {
    let failed = applied.failed.iter().map(|(_, error)| error.to_string());
    let undone = applied.on_its_way.iter().chain(&applied.not_started);
    let undone = undone.map(|key| format!("{key}: not done"));
    failed.chain(undone).collect::<Vec<_>>().join("\n  ")
}

/// The position of a cut: the `nth` call of a run, from 0, and the kind of cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The call.
    pub nth: usize,
    /// The kind of cut.
    pub cut: Cut,
}

impl Position {
    /// Draws this many positions among this many calls, from the seed.
    pub fn draw(seed: u64, calls: usize, number: usize) -> Vec<Self> {
        let choices = (calls * Cut::ALL.len()).max(1) as u64;
        (0..number as u64)
            .map(|place| (mix(mix(seed + 1) ^ mix(place + 1)) % choices) as usize)
            .map(|choice| Self {
                nth: choice / Cut::ALL.len(),
                cut: Cut::ALL[choice % Cut::ALL.len()],
            })
            .collect()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nth, cut } = self;
        match cut {
            Cut::Before => write!(f, "before call {nth}"),
            Cut::After => write!(f, "after call {nth} had its effect"),
            Cut::Landing => write!(f, "at call {nth}, with all under way having their effect"),
        }
    }
}

/// The input of a crash test.
pub struct Scenario<'a> {
    /// The initial state; each run uses a fork of it.
    pub sim: &'a Sim,
    /// The kinds.
    pub catalog: &'a Catalog<Sim>,
    /// The desired stack of the run that is cut off.
    pub desired: &'a Stack,
    /// The desired stack of the next run.
    pub then: &'a Stack,
    /// The time between the two runs.
    pub rest: Duration,
}

impl Scenario<'_> {
    /// Cuts a run off at every call and in every way, and lets the next run recover; returns the
    /// number of positions.
    ///
    /// # Errors
    /// The first position that a run does not reach, or after which the next run fails, has steps
    /// left, or ends in another state than without a cut.
    pub async fn everywhere(&self) -> Result<usize, String> {
        let calls = self.calls().await?;
        let expected = self.undisturbed().await?;
        let mut positions = 0;
        for nth in 0..calls {
            for cut in Cut::ALL {
                let position = Position { nth, cut };
                let outcome = self.cut_at(&[position], &expected).await;
                match outcome.map_err(|why| format!("cut off {position}: {why}"))? {
                    1 => positions += 1,
                    _ => return Err(format!("no run was cut off {position}")),
                }
            }
        }
        Ok(positions)
    }

    /// The number of calls of a run without a cut.
    ///
    /// # Errors
    /// When it fails nevertheless.
    pub async fn calls(&self) -> Result<usize, String> {
        let sim = self.sim.fork();
        run_in_full(&sim, self.catalog, self.desired).await?;
        Ok(sim.calls().len())
    }

    /// The state after both runs without a cut.
    ///
    /// # Errors
    /// When one fails nevertheless.
    pub async fn undisturbed(&self) -> Result<Vec<String>, String> {
        let sim = self.sim.fork();
        run_in_full(&sim, self.catalog, self.desired).await?;
        run_in_full(&sim, self.catalog, self.then).await?;
        Ok(self.bound(&sim))
    }

    /// Cuts a run off at each of the positions, one run after the other, and lets a last one
    /// recover. A run that is complete before its position counts as an ordinary run; returns the
    /// number of runs that were cut off.
    ///
    /// # Errors
    /// When the last run fails, has steps left, or ends in another state than the expected one.
    pub async fn cut_at(
        &self,
        positions: &[Position],
        expected: &[String],
    ) -> Result<usize, String> {
        let sim = self.sim.fork();
        let mut cut_off = 0;
        for (number, Position { nth, cut }) in positions.iter().enumerate() {
            let desired = if number == 0 { self.desired } else { self.then };
            let run = run(&sim, self.catalog, desired);
            match sim.until_cut(*nth, *cut, run).await {
                Some(done) => drop(done?),
                None => cut_off += 1,
            }
            tokio::time::sleep(self.rest).await;
        }
        run_in_full(&sim, self.catalog, self.then).await?;
        let lines = self.bound(&sim);
        if lines != expected {
            return Err(difference(&lines, expected));
        }
        let current = self.catalog.snapshot(&sim, self.then.name()).await;
        let current = current.map_err(|error| error.to_string())?;
        let left = plan(self.then, &current, self.catalog.schema());
        match left.map_err(|error| error.to_string())? {
            left if left.is_empty() => Ok(cut_off),
            left => Err(format!("there is something left to do: {left:#?}")),
        }
    }

    /// The resources that are deleted with their stack: the others may exist or not.
    fn bound(&self, sim: &Sim) -> Vec<String> {
        let outlives = |kind: &str| {
            let metadata = self.catalog.schema().kinds();
            let mut lasting =
                metadata.filter(|(_, metadata)| metadata.retention == Retention::Outlives);
            lasting.any(|(lasting, _)| lasting.as_str() == kind)
        };
        let mut lines = sim.lines();
        lines.retain(|line| {
            let kind = line.split([' ', '/']).nth(1);
            !kind.is_some_and(outlives)
        });
        lines
    }
}

fn difference(lines: &[String], expected: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        let only: Vec<_> = these
            .iter()
            .filter(|line| !those.contains(line))
            .cloned()
            .collect();
        only.join("\n  ")
    };
    format!(
        "another end ({} instead of {}); only then:\n  {}\nonly without a cut:\n  {}",
        lines.len(),
        expected.len(),
        only(lines, expected),
        only(expected, lines)
    )
}
