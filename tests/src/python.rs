//! A Python with libraries of other people's formats.

use crate::workspace;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Runs a script, and gives what it printed.
///
/// # Panics
/// When it fails, with what it said.
#[track_caller]
pub fn run(script: &Path, arguments: &[PathBuf]) -> String {
    let mut command = Command::new(program());
    // Nothing of Python's is left in the checkout.
    command.arg("-B").arg(script).args(arguments);
    let output = command.output().expect("Python can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed\n{said}", script.display());
    String::from_utf8(output.stdout).expect("the script prints UTF-8")
}

/// The interpreter: the one that `WEIR_PYTHON` names (`cargo xtask test` sets it), else the one that `cargo xtask setup` put below
/// `target/`.
///
/// # Panics
/// When there is none.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_PYTHON").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let installed = workspace().join("target/python/bin/python3");
    assert!(
        installed.is_file(),
        "there is no Python with pyarrow and DuckDB; `cargo xtask setup` gets one, or WEIR_PYTHON names it"
    );
    installed
}
