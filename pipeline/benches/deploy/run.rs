//! One deploy and destroy of the example on a simulation of AWS in virtual time, and what they can be held against.
//!
//! The run is `landfall_pipeline::deploy` itself, with its defaults for a cloud. Everything takes as long as
//! public logs say (`landfall_testkit::sim`), and the targets become healthy as [`health`] says.

#[path = "health.rs"]
mod health;
#[path = "schedule.rs"]
mod schedule;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_lb::HealthReason;
use landfall_pipeline::{Config, Options, deploy, destroy, plan};
use landfall_provider::{Key, Plan, PollInterval, Schema, Snapshot, Stack, kind};
use landfall_testkit::sim::{Sim, Span, Times};
use serde::Serialize;
use tokio::time::Instant;

use self::health::Targets;
use self::schedule::{Moments, Order, Schedule, earliest, last_gone};
use crate::fake::{App, Fake, How, seen};

/// From the build to the registry that holds the image: both together. Assumed.
const IMAGE: Duration = Duration::from_secs(20);

/// All figures, in seconds.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) deploy: f64,
    pub(crate) bound: f64,
    pub(crate) each_usable: f64,
    pub(crate) behind_way_out: f64,
    pub(crate) tiers: f64,
    pub(crate) destroy: f64,
    pub(crate) destroy_bound: f64,
    /// Deploy by bound, with durations drawn from their spreads: run by run.
    pub(crate) drawn: Vec<f64>,
    /// The run with the medians.
    bars: Vec<Bar>,
    targets: TargetBar,
}

#[derive(Serialize)]
struct Bar {
    key: Key,
    start: f64,
    exists: f64,
    usable: f64,
    is_critical: bool,
}

/// The instances of the group.
#[derive(Serialize)]
struct TargetBar {
    running: f64,
    serving: f64,
    checked: f64,
    healthy: f64,
}

/// In a virtual time of its own.
pub(crate) fn block_on<T>(run: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true);
    runtime.build().unwrap().block_on(run)
}

/// Deploys and destroys; gives what came of it, and the bound of the deploy.
pub(crate) async fn one(seed: Option<u64>) -> (Report, f64) {
    let image = Times {
        call: Span::always(IMAGE),
        create: Span::always(IMAGE),
        ..Times::default()
    };
    let sim = Sim::aws().times(kind::IMAGE, image);
    let sim = match seed {
        Some(seed) => sim.seed(seed),
        None => sim,
    };
    let app = App::new();
    let config = example(app.path());
    let interval = config.service.values().next().unwrap().health.interval;
    let interval = Duration::from_secs(interval.into());

    let began = Instant::now();
    let zero = Arc::new(Mutex::new(Duration::ZERO));
    let cloud = {
        let zero = Arc::clone(&zero);
        Fake::watching(sim, move |sim, _| {
            let zero = *zero.lock().unwrap();
            let targets = Targets::of(&observed(sim, zero), interval);
            let how = match began.elapsed() >= zero + targets.healthy {
                true => How::Healthy,
                false => How::UnhealthyTarget(HealthReason::InitialHealthChecking, ""),
            };
            vec![seen("i-1", 1, how), seen("i-2", 1, how)]
        })
    };
    let mut options = Options {
        who: "bench".to_owned(),
        ..Options::default()
    };
    options.apply.poll_interval = PollInterval::default();
    let planned = plan(&cloud, &config, &options).await.unwrap().plan;

    let started = Instant::now();
    *zero.lock().unwrap() = started - began;
    deploy(&cloud, &config, &options).await.unwrap();
    let deployed = started.elapsed();

    let takes = |key: &Key| cloud.sim.making(key);
    let healthy = |order| Targets::of(&earliest(&planned, order, &takes), interval).healthy;
    let run = observed(&cloud.sim, started - began);
    let targets = Targets::of(&run, interval);
    let critical = targets.critical(&run, &planned);
    let bars = run
        .iter()
        .map(|(key, moments)| bar(key, moments, &critical));
    let bound = seconds(healthy(Order::Plan));
    let mut report = Report {
        deploy: seconds(deployed),
        bound,
        each_usable: seconds(healthy(Order::EachUsable)),
        behind_way_out: seconds(healthy(Order::BehindWayOut)),
        tiers: seconds(healthy(Order::Tiers)),
        destroy: 0.0,
        destroy_bound: 0.0,
        drawn: Vec::new(),
        bars: bars.collect(),
        targets: TargetBar {
            running: seconds(targets.running),
            serving: seconds(targets.serving),
            checked: seconds(targets.checked),
            healthy: seconds(targets.healthy),
        },
    };

    let live = landfall_pipeline::catalog()
        .snapshot(&cloud, &config.stack)
        .await
        .unwrap();
    let clearing = clearing(&config, &live);
    let started = Instant::now();
    destroy(&cloud, &config.stack, &options).await.unwrap();
    report.destroy = seconds(started.elapsed());
    report.destroy_bound = seconds(last_gone(&clearing, &|key| cloud.sim.ending(key)));
    (report, bound)
}

/// The repository's own file, with an image that takes no building.
fn example(context: &Path) -> Config {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../landfall.toml");
    let mut config = Config::load(Path::new(path)).unwrap();
    config.directory = context.to_owned();
    for service in config.service.values_mut() {
        service.image.context = ".".into();
        service.image.before = Default::default();
    }
    config
}

/// When each resource was made, from a moment of the simulation on.
fn observed(sim: &Sim, zero: Duration) -> Schedule {
    let calls = sim.calls().into_iter();
    let made = calls.filter(|call| call.verb == "create" && call.error.is_none());
    made.filter_map(|call| {
        let key: Key = call.what.parse().ok()?;
        let moments = Moments {
            start: call.at.checked_sub(zero)?,
            exists: call.answered?.checked_sub(zero)?,
            usable: sim.usable_at(&key)?.checked_sub(zero)?,
        };
        Some((key, moments))
    })
    .collect()
}

fn clearing(config: &Config, live: &Snapshot) -> Plan {
    let schema: Schema = landfall_pipeline::catalog::<Fake>().schema().clone();
    landfall_provider::plan(&Stack::new(config.stack.clone()), live, &schema).unwrap()
}

fn bar(key: &Key, moments: &Moments, critical: &[Key]) -> Bar {
    Bar {
        key: key.clone(),
        start: seconds(moments.start),
        exists: seconds(moments.exists),
        usable: seconds(moments.usable),
        is_critical: critical.contains(key),
    }
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}
