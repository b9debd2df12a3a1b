//! What is done to a run and what has to come of it, wherever its stack is held: struck at any moment, the next deploy
//! makes good what it has left, and destroy leaves nothing.
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

/// How many moments.
const ROUNDS: u32 = 10;

/// For how long whoever stops a run is patient: CI systems send SIGKILL about ten seconds after SIGINT.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long "at once" may take.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Where the stack is held, and how it is looked what of it is there.
pub(crate) trait Place {
    /// The program in the project's directory, not started yet.
    fn command(&self, args: &[&str]) -> Command;

    /// Fails unless what a deploy has printed stands for a stack that is whole, with nothing there twice.
    fn is_whole(&self, url: &str);

    /// Fails unless nothing is left.
    fn is_clean(&self);

    /// After a run that could not come to its end: frees what it still holds, and fails unless the program says so
    /// itself.
    fn frees_the_lock(&self);

    /// Runs the program to its end.
    fn landfall(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Starts the program.
    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn deploys(&self) {
        let url = self.landfall(&["deploy"]).ended_with(0).stdout;
        self.is_whole(url.trim_end());
        // Whatever the run before has left is part of the stack, and nothing is there twice.
        let plan = self.landfall(&["plan"]).ended_with(0).stdout;
        assert!(plan.contains("Nothing to do"), "{plan}");
    }

    fn destroys(&self) {
        self.landfall(&["destroy", "--yes"]).ended_with(0);
        self.is_clean();
    }

    /// How long a deploy takes that nobody disturbs.
    fn undisturbed(&self) -> Duration {
        // The image is in the store after the first one, as it is for those that are struck.
        self.deploys();
        self.destroys();
        let began = Instant::now();
        self.landfall(&["deploy"]).ended_with(0);
        let took = began.elapsed();
        eprintln!("a deploy that nobody disturbs: {took:?}");
        self.destroys();
        took
    }
}

/// Numbers that are the same for the same seed (xorshift64*).
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Self {
        let drawn = || RandomState::new().hash_one("seed") | 1;
        let seed = std::env::var("LANDFALL_TEST_SEED")
            .map_or_else(|_| drawn(), |set| set.parse().unwrap());
        eprintln!("LANDFALL_TEST_SEED={seed}");
        Self(seed)
    }

    /// A moment between none and all of this.
    pub(crate) fn within(&mut self, all: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let draw = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 44;
        all.mul_f64(draw as f64 / f64::from(1 << 20))
    }
}

/// Sends a signal to a child, by its name.
pub(crate) fn signal(child: &Child, name: &str) {
    // The shell's own: not every machine has the program.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Starts the program, and sends it the signal after a while.
fn struck(place: &impl Place, args: &[&str], after: Duration, name: &str) -> (Ran, Duration) {
    let child = place.spawn(args);
    std::thread::sleep(after);
    signal(&child, name);
    let sent = Instant::now();
    let ran: Ran = child.wait_with_output().unwrap().into();
    eprintln!("{} {name} after {after:?}: {:?}", args[0], ran.code);
    (ran, sent.elapsed())
}

pub(crate) fn a_deploy_that_is_killed_is_made_good(place: &impl Place) {
    let mut took = place.undisturbed();
    let mut moments = Moments::new();
    for _ in 0..ROUNDS {
        let after = moments.within(took);
        let (ran, _) = struck(place, &["deploy"], after, "KILL");
        if ran.code == Some(0) {
            // Done already: on a machine with more time to spare than before, a deploy takes less.
            took = after;
        }
        place.frees_the_lock();
        place.deploys();
        place.destroys();
        // Destroyed without a deploy in between, too.
        struck(place, &["deploy"], after, "KILL");
        place.frees_the_lock();
        place.destroys();
    }
}

/// `took` is about as long as a destroy takes.
pub(crate) fn a_destroy_that_is_killed_is_continued(place: &impl Place, took: Duration) {
    let mut moments = Moments::new();
    for round in 0..ROUNDS / 2 {
        place.deploys();
        let after = moments.within(took);
        struck(place, &["destroy", "--yes"], after, "KILL");
        place.frees_the_lock();
        if round % 2 == 0 {
            place.deploys();
        }
        place.destroys();
    }
}

pub(crate) fn an_interrupted_deploy_says_how_to_go_on(place: &impl Place) {
    let mut took = place.undisturbed();
    let mut moments = Moments::new();
    for round in 0..ROUNDS {
        let name = ["INT", "TERM"][round as usize % 2];
        let after = moments.within(took);
        let (ran, ended_in) = struck(place, &["deploy"], after, name);
        assert!(ended_in < PATIENCE, "{ended_in:?}");
        match ran.code {
            // It was done already.
            Some(0) => {
                assert!(ran.stdout.starts_with("http://"), "{ran:#?}");
                took = after;
            }
            Some(130) => {
                let says = |part: &str| ran.stderr.contains(part);
                let nothing_yet = says("nothing was changed");
                assert!(
                    nothing_yet || says("`deploy` goes on from here"),
                    "{ran:#?}"
                );
                assert!(nothing_yet || says("are there:"), "{ran:#?}");
                tells_every_step(&ran.stderr);
            }
            // Before the program listens to signals there is nothing to be tidied up.
            None => assert_eq!(ran.stderr, "", "{ran:#?}"),
            Some(_) => panic!("{ran:#?}"),
        }
        // No lock to be freed: the run came to its end.
        if round % 3 > 0 {
            place.deploys();
        }
        place.destroys();
    }
}

/// Fails unless an interrupted run accounts for every step: done, going on, or not begun, the last two by name.
fn tells_every_step(stderr: &str) {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let of = |marker: &str| {
        let line = stderr.lines().find(|line| line.contains(marker));
        line.and_then(|line| number(line.split(" step").next()?))
            .unwrap_or(0)
    };
    let told = stderr.split("interrupted: ").nth(1).and_then(|rest| {
        let (done, rest) = rest.split_once(" of ")?;
        Some((number(done)?, number(rest.split(" step").next()?)?))
    });
    // Interrupted before the first step or after the last one, there are none to be told.
    if let Some((done, all)) = told {
        let left = of("no longer waited for:") + of("not begun:");
        assert_eq!(done + left, all, "{stderr}");
        assert!(left > 0, "{stderr}");
    }
}

/// Interrupts a run that has begun once more as soon as it has said that this ends it at once; gives what it had said
/// by then.
pub(crate) fn ends_when_interrupted_twice(mut child: Child) -> String {
    signal(&child, "INT");
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("once more to end at once") {
        if stderr.read_line(&mut said).unwrap() == 0 {
            break;
        }
    }
    let sent = Instant::now();
    // One that has ended by itself in between has nobody who could be interrupted.
    if child.try_wait().unwrap().is_none() {
        signal(&child, "INT");
    }
    let ended = child.wait().unwrap();
    assert!(sent.elapsed() < AT_ONCE, "{:?}", sent.elapsed());
    stderr.read_to_string(&mut said).unwrap();
    // Done already, interrupted, or struck before it listened to signals.
    assert!(matches!(ended.code(), Some(0 | 130) | None), "{said}");
    said
}
