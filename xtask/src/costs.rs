//! How long crates take to compile, so that a bar can say how long a build lasts.
//!
//! In processor seconds of one core at about 3 GHz. They are for a first guess: after a while a build goes by its own pace.
//! What is no longer right makes the guess worse, and nothing else.

/// What a build costs, in processor seconds.
#[derive(Debug)]
pub(crate) struct Costs {
    /// The whole build, from nothing.
    pub(crate) all: f64,
    /// The crates that take long; with ` (test)` after the name, if compiled with their tests.
    pub(crate) crates: &'static [(&'static str, f64)],
}

/// The guests of the scenarios, to core modules.
pub(crate) const SCENARIOS: Costs = Costs { all: 10.0, crates: &[] };

/// All guests. What takes long is the macro that reads the contract, which those of the tests take.
pub(crate) const GUESTS: Costs = Costs {
    all: 60.0,
    crates: &[
        ("wasmparser", 7.0),
        ("wit_parser", 5.0),
        ("wit_component", 4.0),
        ("syn", 3.0),
    ],
};

/// The tool that makes components, alone.
pub(crate) const COMPONENT_TOOL: Costs = Costs {
    all: 60.0,
    crates: &[("wasmparser", 15.0), ("wit_parser", 10.0), ("wit_component", 10.0)],
};

/// The command, to be tried out, with the tool that makes components.
pub(crate) const DEMO: Costs = Costs {
    all: 500.0,
    crates: &[
        ("cranelift_codegen", 80.0),
        ("weir", 45.0),
        ("wasmtime", 40.0),
        ("wasmtime_environ", 25.0),
        ("wasmparser", 20.0),
        ("wasmtime_internal_cranelift", 20.0),
    ],
};

/// The tests, with the command that they run.
pub(crate) const TESTS: Costs = Costs {
    all: 700.0,
    crates: &[
        ("weir", 150.0),
        ("weir (test)", 70.0),
        ("all (test)", 45.0),
        ("jetstream (test)", 40.0),
        ("wasmtime", 35.0),
        ("cranelift_codegen", 35.0),
        ("wasmparser", 15.0),
        ("isolation (test)", 12.0),
    ],
};

/// The command with something around it, optimised: the benchmark, or the fuzz targets.
pub(crate) const OPTIMISED: Costs = Costs {
    all: 900.0,
    crates: &[("weir", 250.0), ("wasmtime", 60.0), ("cranelift_codegen", 60.0)],
};
