//! The `weir` command as it is shipped.

use crate::{Result, root, say};
use std::{path::PathBuf, process::Command};

/// Builds `weir` as it is shipped, and gives its path.
pub(crate) fn build_weir() -> Result<PathBuf> {
    say(format_args!("building weir"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "weir", "--bin", "weir"])
        .current_dir(root())
        .status()?;
    match built.success() {
        true => Ok(root().join("target/release/weir")),
        false => Err("weir could not be built".into()),
    }
}
