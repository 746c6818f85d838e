//! What the tests share: running Weir (as a command, and in this process), reading what it left, and saying what it
//! should have left.
//!
//! - [`command`] runs the `weir` binary; [`replay`] runs a pipeline in this process, which is faster.
//! - [`table`] reads tables, dead letters and counts out of a database; equality is to the byte.
//! - [`generator`] draws pipelines and their events, and says what they have to leave.
//! - [`golden`] finds the cases under `guests/*/cases`, and compares a database with what they expect.
//! - [`guide`] reads the pages of the documentation, and runs the commands that they show.
//! - [`oracle`] decodes payloads a second time, slowly, without a line of the host's decoder.
//! - [`seed`] gives random tests a seed that can be set and is printed when one fails.
//! - [`swaps`] runs a pipeline without end, whose rule is swapped while it runs.
//! - [`fuzz`] is what takes bytes from strangers, with what must hold of it.
//! - [`hostile`] grows components that mean harm from a good one.
//! - [`usage`] says what a child process used.
//! - [`python`] runs scripts that read and write other people's formats.
//! - [`nats`] starts a real `nats-server` for one test.

pub mod command;
pub mod replay;

pub mod generator;
pub mod golden;
pub mod guide;
pub mod made;
pub mod oracle;
pub mod stored;
pub mod swaps;
pub mod table;

pub mod fuzz;
pub mod hostile;
pub mod nats;
pub mod python;
pub mod seed;
pub mod usage;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a condition may take on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not in time.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "still waiting for: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The root of the workspace.
///
/// # Panics
/// When this crate is not in a folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is a folder of the workspace")
}

/// The component of a guest, by its package's name.
///
/// # Panics
/// When it was not built.
#[track_caller]
pub fn guest(package: &str) -> PathBuf {
    let path = workspace().join("target/guests").join(package).with_extension("wasm");
    assert!(
        path.is_file(),
        "{} is missing; `cargo xtask guests` builds it",
        path.display()
    );
    path
}

/// The pipeline file of a scenario, by its folder's name.
pub fn pipeline(scenario: &str) -> PathBuf {
    workspace().join("guests").join(scenario).join("pipeline.toml")
}

/// A folder of one test alone, removed when it ends.
///
/// # Panics
/// When none can be made.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("weir-test-")
        .tempdir()
        .expect("a temporary folder can be made")
}

/// The same for databases by the thousand, in memory where the system has a place for that: each would wait for the disk
/// several times, to be safe from a power cut that no such test makes.
///
/// # Panics
/// When none can be made.
pub fn scratch_in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::Builder::new().prefix("weir-test-").tempdir_in(memory);
    folder.unwrap_or_else(|_| scratch())
}
