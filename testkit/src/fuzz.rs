//! Fuzzing by mutation: valid inputs, changed in a few places, and a property that must hold for each of them.
//!
//! A test runs a fixed number of inputs from a fixed seed, so that it is the same everywhere. `cargo xtask fuzz` runs
//! the same tests for a given time, from a given seed: it sets [`SECONDS`] and [`SEED`].

use std::cell::Cell;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// The environment variable with the duration of a run, in seconds. Without it, a run has [`Fuzz::inputs`] inputs.
pub const SECONDS: &str = "LANDFALL_FUZZ_SECONDS";
/// The environment variable with the seed of a run; 1 without it.
pub const SEED: &str = "LANDFALL_FUZZ_SEED";

/// An input that keeps the program busy for longer counts as one that hangs it.
///
/// The largest input is of a few kilobytes, and a loaded machine answers it within milliseconds.
const HANG: Duration = Duration::from_secs(20);

/// The largest mutated input, in bytes. Large inputs have tests of their own.
const LARGEST: usize = 64 * 1024;

/// The target and the input of a fuzz test.
#[derive(Debug, Clone, Copy)]
pub struct Fuzz<'a> {
    /// The name in the printed figures.
    pub name: &'a str,
    /// Valid inputs to start from.
    pub seeds: &'a [&'a [u8]],
    /// Fragments with a meaning in this format, which random bytes would never form.
    pub words: &'a [&'a str],
    /// The number of inputs in a run without a given duration.
    pub inputs: u32,
}

/// One change of an input. Positions are fractions of the input's length, so that shrinking keeps them.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Word(Index, Index),
    Insert(Index, Vec<u8>),
    Delete(Index, u8),
    Repeat(Index, u8, u8),
    /// The rest of another seed follows from here.
    Splice(Index, Index, Index),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        5 => (at(), at()).prop_map(|(at, word)| Mutation::Word(at, word)),
        1 => (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        3 => (at(), 1_u8..40).prop_map(|(at, length)| Mutation::Delete(at, length)),
        2 => (at(), 1_u8..80, 1_u8..20).prop_map(|(at, length, times)| Mutation::Repeat(at, length, times)),
        1 => (at(), at(), at()).prop_map(|(at, seed, from)| Mutation::Splice(at, seed, from)),
        1 => at().prop_map(Mutation::Truncate),
    ]
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, fuzz: &Fuzz<'_>) {
        // One more position than there are bytes: the end.
        let place = |at: &Index| at.index(input.len() + 1);
        match self {
            Self::Flip(at, bit) => {
                let at = place(at);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Set(at, byte) => {
                let at = place(at);
                if let Some(old) = input.get_mut(at) {
                    *old = *byte;
                }
            }
            Self::Word(at, word) => {
                let at = place(at);
                if !fuzz.words.is_empty() {
                    input.splice(at..at, word.get(fuzz.words).bytes());
                }
            }
            Self::Insert(at, bytes) => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Delete(at, length) => {
                let at = place(at);
                let end = (at + usize::from(*length)).min(input.len());
                input.drain(at..end);
            }
            Self::Repeat(at, length, times) => {
                let at = place(at);
                let end = (at + usize::from(*length)).min(input.len());
                let copies = input[at..end].repeat(usize::from(*times));
                input.splice(end..end, copies);
            }
            Self::Splice(at, seed, from) => {
                let at = place(at);
                let seed = seed.get(fuzz.seeds);
                input.truncate(at);
                input.extend_from_slice(&seed[from.index(seed.len() + 1)..]);
            }
            Self::Truncate(at) => {
                let at = place(at);
                input.truncate(at);
            }
        }
        input.truncate(LARGEST);
    }
}

impl Fuzz<'_> {
    /// Runs `property` on the seeds as they are, and then on mutated ones, and prints the figures of the run.
    ///
    /// # Panics
    /// With the smallest input found for which `property` panics or takes too long.
    #[expect(
        clippy::print_stdout,
        reason = "the figures belong to the output of the test that runs it"
    )]
    pub fn run(&self, property: impl Fn(&[u8])) {
        let number = |variable| {
            let text = std::env::var(variable).ok()?;
            Some(
                text.parse::<u64>()
                    .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
            )
        };
        let seed = number(SEED).unwrap_or(1);
        let length = number(SECONDS).map(Duration::from_secs);
        let (started, slowest, inputs) =
            (Instant::now(), Cell::new(Duration::ZERO), Cell::new(0_u64));
        let timed = |input: &[u8]| {
            let began = Instant::now();
            property(input);
            let took = began.elapsed();
            slowest.set(slowest.get().max(took));
            inputs.set(inputs.get() + 1);
            assert!(took < HANG, "{}: an input took {took:?}", self.name);
        };
        for seed in self.seeds {
            timed(seed);
        }
        let mut round = 0_u64;
        loop {
            self.round(seed, round, &timed);
            round += 1;
            if length.is_none_or(|length| started.elapsed() >= length) {
                break;
            }
        }
        println!(
            "fuzz {}: seed {seed}, {} inputs in {:.1} s, slowest {:.1} ms",
            self.name,
            inputs.get(),
            started.elapsed().as_secs_f64(),
            slowest.get().as_secs_f64() * 1000.0,
        );
    }

    fn round(&self, seed: u64, round: u64, property: &dyn Fn(&[u8])) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&round.to_le_bytes());
        let config = Config {
            cases: self.inputs,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let strategy = (any::<Index>(), vec(mutation(), 1..6));
        let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |(start, mutations)| {
            property(&self.mutated(start, &mutations));
            Ok(())
        });
        if let Err(TestError::Fail(reason, (start, mutations))) = outcome {
            panic!(
                "{} (seed {seed}, round {round}): {reason}\nthe smallest input found: \"{}\"",
                self.name,
                self.mutated(start, &mutations).escape_ascii(),
            );
        }
    }

    fn mutated(&self, start: Index, mutations: &[Mutation]) -> Vec<u8> {
        let mut input = start.get(self.seeds).to_vec();
        for mutation in mutations {
            mutation.apply(&mut input, self);
        }
        input
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUZZ: Fuzz<'_> = Fuzz {
        name: "test",
        seeds: &[b"key = 1\n", b"[table]\n"],
        words: &["\"\"\"", "nan"],
        inputs: 2_000,
    };

    #[test]
    fn reports_smallest_failing_input() {
        let found = std::panic::catch_unwind(|| {
            FUZZ.run(|input| assert!(!input.windows(3).any(|part| part == b"nan")));
        });
        let text = *found.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("the smallest input found"), "{text}");
        assert!(text.contains("nan"), "{text}");
    }

    #[test]
    fn reaches_every_seed_and_word() {
        let seen = std::cell::RefCell::new(Vec::new());
        FUZZ.run(|input| seen.borrow_mut().push(input.to_vec()));
        let seen = seen.into_inner();
        assert_eq!(seen.len(), 2_002);
        for part in [&b"key = "[..], b"[tab", b"\"\"\"", b"nan"] {
            assert!(
                seen.iter()
                    .any(|input| input.windows(part.len()).any(|bytes| bytes == part))
            );
        }
    }
}
