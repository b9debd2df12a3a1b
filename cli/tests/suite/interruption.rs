//! Struck at any moment: the next deploy makes good what a killed or interrupted run has left, and destroy leaves nothing.
//!
//! The moments are drawn from a seed, which a failure prints; `LANDFALL_TEST_SEED` repeats it.

#![expect(
    clippy::print_stderr,
    reason = "a failure shows the seed and the moments"
)]

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::support::{Project, Ran, get, signal, wait_for};

/// How many moments.
const ROUNDS: u32 = 10;

/// For how long whoever stops a run is patient: CI systems send SIGKILL about ten seconds after SIGINT.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the stack is held, and how it is looked whether anything of it is left.
struct Place {
    project: Project,
    /// Fails unless nothing is left.
    clean: fn(&Project),
}

impl Place {
    fn local(stack: &str) -> Self {
        let file = format!(
            "stack = \"{stack}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
        );
        Self {
            project: Project::with_service(&file),
            clean: Project::nothing_is_left,
        }
    }

    /// How long a deploy takes that nobody disturbs.
    fn undisturbed(&self) -> Duration {
        // The image is in the store after the first one, as it is for those that are struck.
        self.deploys_and_answers();
        self.destroys();
        let began = Instant::now();
        self.project.landfall(&["deploy"]).ended_with(0);
        let took = began.elapsed();
        self.destroys();
        took
    }

    fn deploys_and_answers(&self) {
        let url = self.project.landfall(&["deploy"]).ended_with(0).stdout;
        assert_eq!(get(url.trim_end(), "/").unwrap().0, 200);
        // Whatever the run before has left is part of the stack, and nothing is there twice.
        let plan = self.project.landfall(&["plan"]).ended_with(0).stdout;
        assert!(plan.contains("Nothing to do"), "{plan}");
    }

    fn destroys(&self) {
        self.project.landfall(&["destroy", "--yes"]).ended_with(0);
        (self.clean)(&self.project);
    }
}

/// Numbers that are the same for the same seed (xorshift64*).
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let drawn = || RandomState::new().hash_one("seed") | 1;
        let seed = std::env::var("LANDFALL_TEST_SEED")
            .map_or_else(|_| drawn(), |set| set.parse().unwrap());
        eprintln!("LANDFALL_TEST_SEED={seed}");
        Self(seed)
    }

    /// A moment between none and all of this.
    fn within(&mut self, all: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let draw = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 44;
        all.mul_f64(draw as f64 / f64::from(1 << 20))
    }
}

/// Starts the program, and sends it the signal after a while.
fn struck(project: &Project, args: &[&str], after: Duration, name: &str) -> (Ran, Duration) {
    let child = project.spawn(args);
    std::thread::sleep(after);
    signal(&child, name);
    let sent = Instant::now();
    (child.wait_with_output().unwrap().into(), sent.elapsed())
}

fn a_deploy_that_is_killed_is_made_good(place: &Place) {
    let took = place.undisturbed();
    let mut moments = Moments::new();
    for round in 0..ROUNDS {
        let after = moments.within(took);
        let (ran, _) = struck(&place.project, &["deploy"], after, "KILL");
        eprintln!("round {round}: killed after {after:?}: {:?}", ran.code);
        place.deploys_and_answers();
        place.destroys();
        // Destroyed without a deploy in between, too.
        struck(&place.project, &["deploy"], after, "KILL");
        place.destroys();
    }
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_is_continued_by_deploy_and_ended_by_destroy() {
    a_deploy_that_is_killed_is_made_good(&Place::local("shop-kill"));
}

#[test]
fn a_destroy_that_is_killed_at_any_moment_is_continued() {
    let place = Place::local("shop-fell");
    let mut moments = Moments::new();
    for round in 0..ROUNDS / 2 {
        place.deploys_and_answers();
        let after = moments.within(Duration::from_millis(500));
        let (ran, _) = struck(&place.project, &["destroy", "--yes"], after, "KILL");
        eprintln!("round {round}: killed after {after:?}: {:?}", ran.code);
        if round % 2 == 0 {
            place.deploys_and_answers();
        }
        place.destroys();
    }
}

#[test]
fn an_interrupted_deploy_comes_to_an_end_in_time_and_says_how_to_go_on() {
    let place = Place::local("shop-stop");
    let took = place.undisturbed();
    let mut moments = Moments::new();
    for round in 0..ROUNDS {
        let name = ["INT", "TERM"][round as usize % 2];
        let after = moments.within(took);
        let (ran, ended_in) = struck(&place.project, &["deploy"], after, name);
        eprintln!(
            "round {round}: {name} after {after:?}: {:?} in {ended_in:?}",
            ran.code
        );
        assert!(ended_in < PATIENCE, "{ended_in:?}");
        match ran.code {
            // It was done already.
            Some(0) => assert!(ran.stdout.starts_with("http://"), "{ran:#?}"),
            Some(130) => {
                let says = |part: &str| ran.stderr.contains(part);
                let nothing_yet = says("nothing was changed");
                assert!(
                    nothing_yet || says("`deploy` goes on from here"),
                    "{ran:#?}"
                );
                assert!(nothing_yet || says("are there:"), "{ran:#?}");
            }
            // Before the program listens to signals there is nothing to be tidied up.
            None => assert_eq!(ran.stderr, "", "{ran:#?}"),
            Some(_) => panic!("{ran:#?}"),
        }
        if round % 3 > 0 {
            place.deploys_and_answers();
        }
        place.destroys();
    }
}

#[test]
fn a_second_interruption_ends_at_once() {
    let place = Place::local("shop-twice");
    // A command that does not listen either: an interrupted run would wait for it a while.
    let file = std::fs::read_to_string(place.project.directory().join("landfall.toml")).unwrap();
    let stubborn = "image = { before = \"trap '' INT TERM; touch begun; sleep 4\" }\n";
    place.project.write("landfall.toml", &(file + stubborn));
    let mut child = place.project.spawn(&["deploy"]);
    wait_for(&place.project.directory().join("begun"));
    signal(&child, "INT");
    let told = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let first = told
        .map(Result::unwrap)
        .find(|line| line.contains("once more to end at once"));
    assert!(first.is_some());
    let sent = Instant::now();
    signal(&child, "INT");
    let ended = child.wait().unwrap();
    assert!(
        sent.elapsed() < Duration::from_secs(2),
        "{:?}",
        sent.elapsed()
    );
    assert_eq!(ended.code(), Some(130));
    place.destroys();
}
