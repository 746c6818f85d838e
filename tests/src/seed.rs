//! Seeds of random tests.
//!
//! A test run uses the same seeds every time, so that a change is never blamed for what chance found. `WEIR_SEED=7 cargo
//! test -p weir-tests` looks elsewhere; a failure prints the seed that shows it again.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};
use std::{cell::Cell, panic, sync::Once};

/// The variable that sets the seed.
const VARIABLE: &str = "WEIR_SEED";

/// The seed of this run.
///
/// # Panics
/// When `WEIR_SEED` is no number.
pub fn of_run() -> u64 {
    match std::env::var(VARIABLE) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{VARIABLE} is {text:?}; accepted is a number from 0 to 2^64-1")),
        Err(_) => 1,
    }
}

/// Runs `test` with random numbers of this run's seed, and prints the seed when it panics.
pub fn with_seed<T>(test: impl FnOnce(&mut Random) -> T) -> T {
    struct Note(u64);
    impl Drop for Note {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with {VARIABLE}={}", self.0);
            }
        }
    }
    let note = Note(of_run());
    test(&mut Random::new(note.0))
}

/// Checks that `test` holds for `cases` values, and for the smallest value that it does not hold for says so, with the
/// seed. `WEIR_CASES=50` tries fifty times as many.
///
/// # Panics
/// When the test does.
#[track_caller]
pub fn check_property<S: Strategy>(cases: u32, values: &S, test: impl Fn(&S::Value)) {
    let factor = std::env::var("WEIR_CASES").map_or(1, |text| text.parse().expect("WEIR_CASES is a number"));
    let config = Config {
        cases: cases * factor,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&of_run().to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    quiet_in_this_thread(true);
    let outcome = runner.run(values, |value| {
        test(&value);
        Ok(())
    });
    quiet_in_this_thread(false);
    if let Err(TestError::Fail(reason, value)) = outcome {
        panic!("failed with {VARIABLE}={}: {reason}\n{value:?}", of_run());
    }
}

/// The search for the smallest value panics many times over in one thread; its outcome says it once.
fn quiet_in_this_thread(quiet: bool) {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    QUIET.set(quiet);
}

/// Random numbers from a seed: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() >> 16) as usize % count
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `all`.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Numbers from 1 up to `most`, ascending, at which something is cut.
    pub fn cuts(&mut self, count: usize, most: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..count).map(|_| 1 + self.below(most.max(1))).collect();
        cuts.sort_unstable();
        cuts
    }
}
