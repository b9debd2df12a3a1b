//! Interruptions of a run for any provider: after a kill or signal at any moment, the next deploy
//! recovers, and destroy leaves nothing.
//!
//! The moments are drawn from a seed, which a failure prints; `LANDFALL_TEST_SEED` repeats it.

#![expect(
    clippy::print_stderr,
    reason = "a failure shows the seed and the moments"
)]

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Ran;

/// The number of moments in a deploy.
const ROUNDS: u32 = 10;

/// The time limit for a graceful stop: CI systems send SIGKILL about ten seconds after SIGINT.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for an immediate stop.
const AT_ONCE: Duration = Duration::from_secs(2);

const DEPLOY: &[&str] = &["deploy"];
const CHANGE: &[&str] = &["deploy", "--yes"];
const DESTROY: &[&str] = &["destroy", "--yes"];

/// The provider of the stack, and the checks of its state.
pub(crate) trait Target {
    /// The program in the project's directory, not started.
    fn command(&self, args: &[&str]) -> Command;

    /// Writes the original file, or one with another port and another environment of the service.
    fn wants(&self, changed: bool);

    /// Fails unless the deploy's output belongs to a complete stack that matches the file, without
    /// duplicates.
    fn is_whole(&self, url: &str);

    /// Fails unless nothing is left.
    fn is_clean(&self);

    /// After a killed run: releases its lock, and fails unless the program reports it.
    fn frees_the_lock(&self);

    /// Whether a deploy can recover after half a destroy here.
    fn takes_a_deploy_after_half_a_destroy(&self) -> bool;

    /// Whether the provider reports the template version of each instance.
    fn knows_versions(&self) -> bool;

    /// Runs the program and waits for it.
    fn landfall(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Starts the program.
    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Deploys, with a confirmation if there is an irreversible change; returns the duration.
    fn deploys_by(&self, args: &[&str]) -> Duration {
        let began = Instant::now();
        let url = self.landfall(args).ended_with(0).stdout;
        let took = began.elapsed();
        self.is_whole(url.trim_end());
        // The leftovers of the previous run are part of the stack, without duplicates.
        let plan = self.landfall(&["plan"]).ended_with(0).stdout;
        let is_to_roll = plan.contains("Plan: 1 to roll out, ") && !self.knows_versions();
        assert!(plan.contains("Nothing to do") || is_to_roll, "{plan}");
        took
    }

    fn deploys(&self) -> Duration {
        self.deploys_by(DEPLOY)
    }

    fn destroys(&self) -> Duration {
        let began = Instant::now();
        self.landfall(DESTROY).ended_with(0);
        let took = began.elapsed();
        self.is_clean();
        took
    }

    /// The durations of an undisturbed deploy and destroy.
    fn undisturbed(&self) -> (Duration, Duration) {
        // The image is in the store after the first deploy, as for the interrupted ones.
        self.deploys();
        self.destroys();
        let took = (self.deploys(), self.destroys());
        eprintln!("a deploy that nobody disturbs, and a destroy: {took:?}");
        took
    }
}

/// Pseudo-random numbers from a seed (xorshift64*).
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Self {
        let drawn = || RandomState::new().hash_one("seed") | 1;
        let seed = std::env::var("LANDFALL_TEST_SEED")
            .map_or_else(|_| drawn(), |set| set.parse().unwrap());
        eprintln!("LANDFALL_TEST_SEED={seed}");
        Self(seed)
    }

    /// A moment within this duration.
    pub(crate) fn within(&mut self, all: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let draw = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 44;
        all.mul_f64(draw as f64 / f64::from(1 << 20))
    }
}

/// Sends a signal to a child process, by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    // The shell's own kill: not every machine has the program.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Runs of one command that are interrupted.
struct Strikes<'a, P> {
    place: &'a P,
    args: &'a [&'a str],
    moments: Moments,
    /// The estimated duration of a run: less than a moment that came too late.
    took: Duration,
    /// The number of runs that were interrupted.
    hit: u32,
    /// The number of runs that were already complete. They show nothing and do not count as
    /// interrupted.
    late: u32,
}

impl<'a, P: Target> Strikes<'a, P> {
    fn new(place: &'a P, args: &'a [&'a str], took: Duration) -> Self {
        Self {
            place,
            args,
            moments: Moments::new(),
            took,
            hit: 0,
            late: 0,
        }
    }

    fn moment(&mut self) -> Duration {
        self.moments.within(self.took)
    }

    /// Starts the program, and sends it the signal after a while; returns its output, and the time
    /// from the signal to its end.
    fn at(&mut self, after: Duration, name: &str) -> (Ran, Duration) {
        let child = self.place.spawn(self.args);
        std::thread::sleep(after);
        signal(&child, name);
        let sent = Instant::now();
        let ran: Ran = child.wait_with_output().unwrap().into();
        let ended_in = sent.elapsed();
        eprintln!("{} {name} after {after:?}: {:?}", self.args[0], ran.code);
        match ran.code {
            // Killed by the signal.
            None => self.hit += 1,
            Some(130) if name != "KILL" => self.hit += 1,
            Some(0) => {
                self.late += 1;
                self.took = self.took.min(after);
            }
            Some(_) => panic!("{ran:#?}"),
        }
        assert!(self.late <= ROUNDS, "most of the strikes came too late");
        (ran, ended_in)
    }

    /// The same with SIGINT and SIGTERM in turn: the program stops by itself in time, and prints
    /// the state and the command to continue.
    fn interrupted(&mut self) {
        let name = ["INT", "TERM"][self.hit as usize % 2];
        let after = self.moment();
        let (ran, ended_in) = self.at(after, name);
        assert!(ended_in < WAIT_TIMEOUT, "{ended_in:?}");
        match ran.code {
            Some(130) => {
                let says = |part: &str| ran.stderr.contains(part);
                let nothing_yet = says("nothing was changed");
                let next = format!("`{}` continues from here", self.args[0]);
                assert!(nothing_yet || says(&next), "{ran:#?}");
                assert!(nothing_yet || says("the stack has"), "{ran:#?}");
                if self.args[0] == "deploy" {
                    tells_every_step(&ran.stderr);
                }
            }
            // Before the program listens for signals there is nothing to clean up.
            None => assert_eq!(ran.stderr, "", "{ran:#?}"),
            _ => {}
        }
    }
}

impl<P> Drop for Strikes<'_, P> {
    fn drop(&mut self) {
        let Self {
            args, hit, late, ..
        } = self;
        eprintln!("{}: {hit} struck, {late} done before", args[0]);
    }
}

pub(crate) fn a_deploy_that_is_killed_is_made_good(place: &impl Target) {
    let (took, _) = place.undisturbed();
    let mut strikes = Strikes::new(place, DEPLOY, took);
    while strikes.hit < 2 * ROUNDS {
        let after = strikes.moment();
        strikes.at(after, "KILL");
        place.frees_the_lock();
        place.deploys();
        place.destroys();
        // Also destroyed without a deploy in between.
        strikes.at(after, "KILL");
        place.frees_the_lock();
        place.destroys();
    }
}

/// A complete stack gets another port and another environment for its service, there and back, this
/// many times.
pub(crate) fn a_change_that_is_killed_is_made_good(place: &impl Target, rounds: u32) {
    place.deploys();
    place.wants(true);
    let took = place.deploys_by(CHANGE);
    let mut changed = true;
    let mut strikes = Strikes::new(place, CHANGE, took);
    while strikes.hit < rounds {
        changed = !changed;
        place.wants(changed);
        let after = strikes.moment();
        strikes.at(after, "KILL");
        place.frees_the_lock();
        if strikes.hit % 3 == 2 {
            // The user reverts the change.
            changed = !changed;
            place.wants(changed);
        }
        place.deploys_by(CHANGE);
    }
    place.destroys();
}

pub(crate) fn a_destroy_that_is_killed_is_continued(place: &impl Target) {
    struck_destroys(place, |strikes| {
        let after = strikes.moment();
        strikes.at(after, "KILL");
        place.frees_the_lock();
    });
}

pub(crate) fn an_interrupted_destroy_says_how_to_go_on(place: &impl Target) {
    // No lock to release: the run stops gracefully.
    struck_destroys(place, Strikes::interrupted);
}

/// Interrupts destroys of complete stacks, and lets the next ones recover: after a deploy in every
/// second case, if the provider supports that.
fn struck_destroys<'a, P: Target>(place: &'a P, strike: impl Fn(&mut Strikes<'a, P>)) {
    let (_, took) = place.undisturbed();
    let mut strikes = Strikes::new(place, DESTROY, took);
    while strikes.hit < ROUNDS / 2 {
        place.deploys();
        strike(&mut strikes);
        if strikes.hit.is_multiple_of(2) && place.takes_a_deploy_after_half_a_destroy() {
            place.deploys();
        }
        place.destroys();
    }
}

pub(crate) fn an_interrupted_deploy_says_how_to_go_on(place: &impl Target) {
    let (took, _) = place.undisturbed();
    let mut strikes = Strikes::new(place, DEPLOY, took);
    while strikes.hit < ROUNDS {
        strikes.interrupted();
        // No lock to release: the run stopped gracefully.
        if !strikes.hit.is_multiple_of(3) {
            place.deploys();
        }
        place.destroys();
    }
}

/// Fails unless an interrupted run reports every step: done, in progress, or not started, the last
/// two by name.
fn tells_every_step(stderr: &str) {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let of = |marker: &str| {
        let line = stderr.lines().find(|line| line.contains(marker));
        line.and_then(|line| number(line.split(" step").next()?))
            .unwrap_or(0)
    };
    let reported = stderr.split("interrupted: ").nth(1).and_then(|rest| {
        let (done, rest) = rest.split_once(" of ")?;
        Some((number(done)?, number(rest.split(" step").next()?)?))
    });
    // Interrupted before the first step or after the last one, it reports none.
    if let Some((done, all)) = reported {
        let left = of("no longer waited for:") + of("not started:");
        assert_eq!(done + left, all, "{stderr}");
        assert!(left > 0, "{stderr}");
    }
}

/// Interrupts a run a second time as soon as it has announced that this stops it at once; returns
/// its output up to then.
pub(crate) fn ends_when_interrupted_twice(mut child: Child) -> String {
    signal(&child, "INT");
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("interrupt again to stop at once") {
        if stderr.read_line(&mut said).unwrap() == 0 {
            break;
        }
    }
    let sent = Instant::now();
    // A run that has ended by itself cannot be interrupted.
    if child.try_wait().unwrap().is_none() {
        signal(&child, "INT");
    }
    let ended = child.wait().unwrap();
    assert!(sent.elapsed() < AT_ONCE, "{:?}", sent.elapsed());
    stderr.read_to_string(&mut said).unwrap();
    // Already complete, interrupted, or killed before it listened for signals.
    assert!(matches!(ended.code(), Some(0 | 130) | None), "{said}");
    said
}
