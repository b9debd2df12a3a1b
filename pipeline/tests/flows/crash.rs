//! Whole flows that die at every call, and the run after them: not the engine's calls alone, as in `tests/crash`, but
//! those for the lock, the rollout and the targets' health as well.

#![expect(
    clippy::print_stdout,
    reason = "how many positions there are is part of the result"
)]

use std::time::Duration;

use landfall_pipeline::{Failure, deploy, destroy, plan};
use landfall_provider::{PollInterval, StackLock as _, StackName};
use landfall_testkit::crash::Position;
use landfall_testkit::sim::{Cut, Sim};

use crate::fake::{App, Fake, How, Rollouts, Seen, seen};

/// What a run is about.
#[derive(Clone, Copy)]
enum Goal {
    /// A deploy with these further keys of the service.
    There(&'static str),
    /// A destroy.
    Gone,
}

/// A flow that is struck.
struct Course<'a> {
    app: &'a App,
    /// What there is before.
    before: &'a Sim,
    /// The launch template's version, where the instances run an older one.
    newest: Option<u32>,
    /// What the run wants that is struck, and what the one after it wants.
    goals: (Goal, Goal),
}

fn name() -> StackName {
    StackName::new("digipay").unwrap()
}

/// Two healthy instances, of this version of their template.
fn instances(version: u32) -> Vec<Seen> {
    vec![
        seen("i-1", version, How::Healthy),
        seen("i-2", version, How::Healthy),
    ]
}

/// The service.
const SERVICE: &str = "health = { deadline = 60 }";

/// The same with another environment and another check.
const CHANGED: &str = "env = { LOG = 'debug' }\nhealth = { deadline = 60, path = '/other' }";

impl Course<'_> {
    /// The cloud before the run.
    fn cloud(&self) -> Fake {
        let cloud = Fake::on(self.before.fork(), |_| Vec::new());
        *cloud.rollouts.lock().unwrap() = Rollouts {
            newest: self.newest,
            ..Rollouts::default()
        };
        are_healthy(&cloud);
        cloud
    }

    async fn run(&self, cloud: &Fake, goal: Goal) -> Result<(), Box<Failure>> {
        match goal {
            Goal::There(keys) => {
                let deployed = deploy(cloud, &self.app.config(keys), &self.app.options).await;
                deployed.map(|_| ())
            }
            Goal::Gone => {
                let destroyed = destroy(cloud, &name(), &self.app.options).await;
                destroyed.map(|_| ())
            }
        }
    }

    /// The run that may have been struck, and the one after it; gives what there is then, and whether the first one
    /// has left its lock.
    async fn both(&self, cut_off: Option<Position>) -> Result<(Vec<String>, bool), String> {
        let cloud = self.cloud();
        let struck = self.run(&cloud, self.goals.0);
        match cut_off {
            None => drop(struck.await),
            Some(Position { nth, cut }) => match cloud.sim.until_cut(nth, cut, struck).await {
                None => {}
                Some(_) => return Err("no run was".to_owned()),
            },
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What `unlock` does.
        let holder = cloud.holder(&name()).await.unwrap();
        if let Some(holder) = &holder {
            let refused = self.run(&cloud, self.goals.1).await.unwrap_err();
            let why = format!("{refused:?}");
            assert!(why.contains("another run holds it"), "{why}");
            cloud.break_lock(&name(), holder).await.unwrap();
        }
        are_healthy(&cloud);
        let done = self.run(&cloud, self.goals.1).await;
        done.map_err(|failure| format!("{failure:#?}"))?;
        if let Goal::There(keys) = self.goals.1 {
            let config = self.app.config(keys);
            let left = plan(&cloud, &config, &self.app.options).await.unwrap();
            if !left.review.is_empty() {
                return Err(format!("there is something left to do: {:#?}", left.review));
            }
        }
        let asked = cloud.rollouts.lock().unwrap().asked.last().copied();
        if asked != self.newest {
            return Err(format!("version {asked:?} was asked for in the end"));
        }
        // Images outlive their stack: they may be there or not.
        let mut lines = cloud.sim.lines();
        lines.retain(|line| !line.contains(" image/"));
        Ok((lines, holder.is_some()))
    }

    /// Strikes it at every call in every way.
    async fn everywhere(&self, what: &str) {
        let undisturbed = self.cloud();
        let _ = self.run(&undisturbed, self.goals.0).await;
        let calls = undisturbed.sim.calls();
        let (expected, _) = self.both(None).await.unwrap();
        let (mut positions, mut locked) = (0, 0);
        for (nth, call) in calls.iter().enumerate() {
            for cut in Cut::ALL {
                let position = Position { nth, cut };
                let outcome = self.both(Some(position)).await;
                let (lines, was_locked) = outcome
                    .unwrap_or_else(|why| panic!("{what}, cut off {position} ({call:?}): {why}"));
                assert_eq!(lines, expected, "{what}, cut off {position}");
                positions += 1;
                locked += usize::from(was_locked);
            }
        }
        println!(
            "{what}: {positions} positions, all made good by the next run; {locked} left a lock"
        );
        assert!(locked > positions / 2, "{what}: {locked} left a lock");
    }
}

/// The instances are healthy, and of the version that was asked for last.
fn are_healthy(cloud: &Fake) {
    let rollouts = std::sync::Arc::clone(&cloud.rollouts);
    cloud.now(move |_| {
        let version = rollouts.lock().unwrap().asked.last().copied();
        instances(version.unwrap_or(1))
    });
}

fn app() -> App {
    let mut app = App::new();
    app.options.apply.events = landfall_provider::Events::nowhere();
    app.options.apply.poll_interval = PollInterval::default();
    app
}

/// Where the service is deployed already.
async fn deployed(app: &App) -> Sim {
    let cloud = Fake::on(Sim::aws(), |_| instances(1));
    deploy(&cloud, &app.config(SERVICE), &app.options)
        .await
        .unwrap();
    cloud.sim.fork()
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_dies_anywhere_is_made_good_by_the_next() {
    let app = app();
    let course = Course {
        before: &deployed(&app).await,
        app: &app,
        newest: Some(2),
        goals: (Goal::There(CHANGED), Goal::There(CHANGED)),
    };
    course.everywhere("change with a rollout").await;
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_dies_anywhere_is_made_good_by_the_next() {
    let app = app();
    let course = Course {
        before: &deployed(&app).await,
        app: &app,
        newest: None,
        goals: (Goal::Gone, Goal::Gone),
    };
    course.everywhere("destroy").await;
}
