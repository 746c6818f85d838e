//! Where things are in the workspace.

use std::path::{Path, PathBuf};

/// The root of the workspace.
///
/// Cargo says at run time where this crate is; the folder that it was compiled in is the fallback for a binary that is
/// started by hand, and would be wrong after the checkout was moved.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// The folder for everything that is made and may be deleted.
///
/// Always `target/` at the root, whatever `CARGO_TARGET_DIR` says: the host and the tests look for the guests there.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}
