//! The differential test: what `landfall_network::reach` says of a network, and what packets do in it.
//!
//! Networks and flows are drawn from a seed. Each network is asked about with [`reach::trace()`], and built
//! by the cloud's own way from records to the kernel; then packets are sent, and have to do what the
//! verdict says: arrive or not, and be answered or not.

mod check;
mod coverage;
mod generate;
mod mend;
mod model;
mod named;
mod packets;
mod shrink;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use landfall_network::Protocol;
use landfall_network::reach::{self, Verdict};

use self::check::Trial;
use self::coverage::Coverage;
use self::packets::Fate;
use self::world::{Flow, OPERATORS, TestTopology};
use crate::daemon::records::topology::topology;
use landfall_kernel::testing::isolated_test;
use landfall_vnet::Fabric;

/// How long nothing must have happened before it is held that nothing will.
const QUIET: Duration = Duration::from_millis(100);

/// The same before it is held that packets do otherwise than was said, on a busy machine too.
const LONG_QUIET: Duration = Duration::from_secs(2);

/// Networks in a run that is not told otherwise.
const TOPOLOGIES: u64 = 160;

/// Networks that are built and asked at the same time: most of it is waiting.
const WORKERS: usize = 4;

/// A packet that did not do what the verdict says.
#[derive(Debug, Clone)]
struct Disagreement {
    verdict: Verdict,
    trial: Trial,
    fate: Fate,
}

/// The verdict about each flow.
fn verdicts(world: &TestTopology, flows: &[Flow]) -> Vec<Verdict> {
    let model = model::model(world);
    let verdict = |flow| reach::trace(&model, &model::asked(flow));
    let verdicts = flows.iter().map(verdict);
    verdicts.collect::<Result<_, _>>().unwrap()
}

/// What was built and sent.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    /// How many times the kernel was given a network.
    networks: usize,
    packets: usize,
}

/// Every flow for which packets show that the verdict is wrong.
fn disagreements(
    world: &TestTopology,
    flows: &[Flow],
    verdicts: &[Verdict],
    tried: &mut Tried,
) -> Vec<Disagreement> {
    let trials = flows.iter().zip(verdicts).enumerate();
    let trials = trials
        .flat_map(|(index, (flow, verdict))| check::trials(world, flow, index, verdict))
        // To itself nobody can send from the port on which it listens.
        .filter(|trial| {
            let flow = &flows[trial.flow];
            trial.source_port != flow.port || !world.is_to_itself(flow)
        })
        .collect();
    let doubtful = wrong(world, flows, trials, QUIET, tried);
    let trials = doubtful.into_iter().map(|(trial, _)| trial).collect();
    let mut seen = BTreeSet::new();
    wrong(world, flows, trials, LONG_QUIET, tried)
        .into_iter()
        .filter(|(trial, _)| seen.insert(trial.flow))
        .map(|(trial, fate)| Disagreement {
            verdict: verdicts[trial.flow].clone(),
            trial,
            fate,
        })
        .collect()
}

/// The trials that do not come out as expected.
fn wrong(
    world: &TestTopology,
    flows: &[Flow],
    trials: Vec<Trial>,
    quiet: Duration,
    tried: &mut Tried,
) -> Vec<(Trial, Fate)> {
    let mut left = trials;
    let mut wrong = Vec::new();
    while !left.is_empty() {
        // Two packets from one port may look alike once they are translated, and a server's port is not
        // free to send from: those get networks of their own.
        let (mut sources, mut served) = (BTreeSet::new(), BTreeSet::new());
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for trial in left {
            let flow = &flows[trial.flow];
            if flow.protocol == Protocol::Icmp {
                now.push(trial);
                continue;
            }
            let (port, asked) = (trial.source_port, flow.port);
            let free = !sources.contains(&port) && !served.contains(&port);
            if free && !sources.contains(&asked) {
                sources.insert(port);
                served.insert(asked);
                now.push(trial);
            } else {
                later.push(trial);
            }
        }
        left = later;
        let probes: Vec<_> = now
            .iter()
            .map(|trial| {
                let flow = &flows[trial.flow];
                world.probe(flow, trial.source_port, trial.through.as_ref())
            })
            .collect();
        let mut network = topology(&world.records());
        network.internet_hosts.extend(OPERATORS);
        let mut fabric = Fabric::new().unwrap();
        fabric.apply(&network).unwrap();
        tried.networks += 1;
        tried.packets += probes.len();
        let fates = packets::send(&fabric, &probes, quiet);
        let outcomes = now.into_iter().zip(fates);
        wrong.extend(outcomes.filter(|(trial, fate)| !trial.expected.holds(*fate)));
    }
    wrong
}

/// What came of one seed.
struct Judged {
    seed: u64,
    coverage: Coverage,
    faults: Vec<(TestTopology, Flow, Disagreement)>,
}

fn judge(seed: u64) -> Judged {
    let (world, flows) = generate::case(seed);
    let drawn = world.clone();
    let verdicts = verdicts(&world, &flows);
    let mut tried = Tried::default();
    let wrong = disagreements(&world, &flows, &verdicts, &mut tried);
    let mut coverage = Coverage::default();
    for (flow, verdict) in flows.iter().zip(&verdicts) {
        coverage.count(flow, verdict);
    }
    let mut faults: Vec<_> = wrong
        .into_iter()
        .map(|it| (world.clone(), flows[it.trial.flow].clone(), it))
        .collect();
    // One of those that are stopped is helped as the verdicts say, and packets have to get through then.
    let helped = flows.iter().zip(&verdicts).find_map(|(flow, verdict)| {
        verdict.block.as_ref()?;
        Some((flow, mend::mended(&world, flow)?))
    });
    if let Some((flow, (world, verdict))) = helped {
        coverage.count_mended();
        let flows = std::slice::from_ref(flow);
        let wrong = disagreements(&world, flows, &[verdict], &mut tried);
        faults.extend(
            wrong
                .into_iter()
                .map(|it| (world.clone(), flows[0].clone(), it)),
        );
    }
    coverage.count_built(&drawn, tried);
    Judged {
        seed,
        coverage,
        faults,
    }
}

/// Judges these seeds, several at a time, and gives the results in their order.
fn run(seeds: std::ops::Range<u64>) -> Vec<Judged> {
    let left = Mutex::new(seeds);
    let mut judged: Vec<Judged> = thread::scope(|scope| {
        let worker = || {
            let next = || left.lock().unwrap().next();
            std::iter::from_fn(next).map(judge).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        let judged = workers.into_iter().map(|it| it.join().unwrap());
        judged.flatten().collect()
    });
    judged.sort_by_key(|judged| judged.seed);
    judged
}

/// A number from the environment, by which `cargo xtask diff` asks for other runs than CI's.
fn option(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

isolated_test! {
    fn verdicts_and_packets_agree() {
        let topologies = option("LANDFALL_DIFF_TOPOLOGIES");
        let seed = option("LANDFALL_DIFF_SEED").unwrap_or(1);
        let seeds = seed..seed + topologies.unwrap_or(TOPOLOGIES);
        let started = Instant::now();
        let judged = run(seeds.clone());
        let mut coverage = Coverage::default();
        let mut faults = String::new();
        for one in &judged {
            coverage.add(&one.coverage);
            for (world, flow, fault) in &one.faults {
                // One is enough to begin with, and every step to a smaller one costs seconds.
                let smaller = faults.is_empty().then(|| shrink::shrunk(world, flow, fault));
                let (world, fault) = smaller.unwrap_or_else(|| (world.clone(), fault.clone()));
                writeln!(faults, "seed {}: {}", one.seed, shrink::reported(&world, flow, &fault)).unwrap();
            }
        }
        println!("seeds {} to {}, in {:.1?}", seeds.start, seeds.end - 1, started.elapsed());
        println!("{coverage}");
        assert!(faults.is_empty(), "{faults}");
        if topologies.is_none() {
            coverage.assert_enough();
        }
    }
}
