//! Interruptions at any moment on emulated AWS, where a lock outlives the run that took it.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::account::{Account, EXAMPLE};
use crate::eye::{list, look, what_is_there};
use crate::strike::{self, Moments, Target};

/// An account whose emulators run beside the test; the test waits for the program like a shell.
struct There {
    runtime: Runtime,
    account: Account,
    /// The number of resources of each kind after an undisturbed deploy.
    whole: OnceCell<BTreeMap<String, usize>>,
    /// The port of the service in the file.
    port: Cell<u16>,
    /// The number of broken locks of dead runs.
    broken: Cell<usize>,
}

impl There {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        Self {
            account: runtime.block_on(Account::new(EXAMPLE)),
            runtime,
            whole: OnceCell::new(),
            port: Cell::new(8000),
            broken: Cell::new(0),
        }
    }

    fn look(&self) -> Value {
        self.runtime.block_on(look(&self.account))
    }
}

impl Target for There {
    fn command(&self, args: &[&str]) -> Command {
        self.account.command(args)
    }

    fn wants(&self, changed: bool) {
        let file = match changed {
            false => EXAMPLE.to_owned(),
            true => EXAMPLE.replace("8000", "9000").replace("info", "debug"),
        };
        self.account.write("landfall.toml", &file);
        self.port.set(if changed { 9000 } else { 8000 });
    }

    fn is_whole(&self, url: &str) {
        assert!(url.starts_with("http://digipay-main-"), "{url}");
        let seen = self.look();
        let kinds = seen.as_object().unwrap().iter();
        let number = |things: &Value| match things {
            Value::Object(things) => things.len(),
            things => list(things).len(),
        };
        let numbers: BTreeMap<_, _> = kinds
            .map(|(kind, things)| (kind.clone(), number(things)))
            .collect();
        assert_eq!(numbers["parameters"], 0, "the lock is left: {seen:#}");
        assert_eq!(self.whole.get_or_init(|| numbers.clone()), &numbers);
        assert_eq!(seen["targets"][0]["Port"], self.port.get(), "{seen:#}");
    }

    fn is_clean(&self) {
        let left = self.look();
        assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
    }

    fn frees_the_lock(&self) {
        let asked = self.landfall(&["unlock"]);
        if asked.code == Some(0) {
            assert!(asked.stdout.contains("is not locked"), "{asked:#?}");
            return;
        }
        // No terminal for a question: that is reported at once.
        let asked = asked.ended_with(2).stderr;
        assert!(asked.contains("digipay is locked: "), "{asked}");
        let began = Instant::now();
        let refused = self.landfall(&["deploy"]).ended_with(1).stderr;
        assert!(began.elapsed() < Duration::from_secs(5));
        for part in ["another run holds it: ", "`unlock` breaks its lock"] {
            assert!(refused.contains(part), "{refused}");
        }
        let broke = self.landfall(&["unlock", "--yes"]).ended_with(0).stdout;
        assert!(broke.contains("broke the lock of "), "{broke}");
        self.broken.set(self.broken.get() + 1);
    }

    /// moto keeps the address of a deleted NAT gateway in use, which the next deploy finds.
    fn takes_a_deploy_after_half_a_destroy(&self) -> bool {
        false
    }

    /// moto reports the template's default version for each instance. A killed run may have created
    /// a version without setting it as the default: only moto's instances then have the previous
    /// one.
    fn knows_versions(&self) -> bool {
        false
    }
}

impl Drop for There {
    fn drop(&mut self) {
        eprintln!("locks of dead runs: {}", self.broken.get());
    }
}

#[test]
fn needs_emulators_killed_deploy_is_continued_and_destroyed() {
    strike::a_deploy_that_is_killed_is_made_good(&There::new());
}

#[test]
fn needs_emulators_killed_change_is_continued_or_reverted() {
    strike::a_change_that_is_killed_is_made_good(&There::new(), 6);
}

#[test]
fn needs_emulators_killed_destroy_is_continued() {
    strike::a_destroy_that_is_killed_is_continued(&There::new());
}

#[test]
fn needs_emulators_interrupted_destroy_ends_in_time() {
    strike::an_interrupted_destroy_says_how_to_go_on(&There::new());
}

#[test]
fn needs_emulators_interrupted_deploy_ends_in_time() {
    let place = There::new();
    strike::an_interrupted_deploy_says_how_to_go_on(&place);
}

#[test]
fn needs_emulators_second_interruption_releases_the_lock() {
    let place = There::new();
    let (took, _) = place.undisturbed();
    let mut moments = Moments::new();
    for _ in 0..4 {
        let child = place.spawn(&["deploy"]);
        std::thread::sleep(moments.within(took / 2));
        let said = strike::ends_when_interrupted_twice(child);
        eprintln!("{}", said.lines().last().unwrap_or_default());
        place.frees_the_lock();
        place.deploys();
        place.destroys();
    }
    assert_eq!(place.broken.get(), 0);
}
