//! How long crates take to compile, so that a bar can say how long a build lasts.
//!
//! In processor seconds of a server of 2024, from `cargo build --timings`. They are for a first guess: after a while a build
//! goes by its own pace. What is no longer right makes the guess worse, and nothing else.

/// What a build costs, in processor seconds.
#[derive(Debug)]
pub(crate) struct Costs {
    /// The whole build, from nothing.
    pub(crate) all: f64,
    /// The crates that take long; with ` (test)` after the name, if compiled with their tests.
    pub(crate) crates: &'static [(&'static str, f64)],
}

/// The guests, to core modules.
pub(crate) const GUESTS: Costs = Costs {
    all: 150.0,
    crates: &[],
};

/// The tool that makes components, alone.
pub(crate) const COMPONENT_TOOL: Costs = Costs { all: 60.0, crates: &[] };

/// The command, to be tried out.
pub(crate) const HOST: Costs = Costs {
    all: 500.0,
    crates: &[],
};

/// The tests, with the command that they run.
pub(crate) const TESTS: Costs = Costs {
    all: 900.0,
    crates: &[],
};

/// The command with something around it, optimised: the benchmark, or the fuzz targets.
pub(crate) const OPTIMISED: Costs = Costs {
    all: 900.0,
    crates: &[],
};
