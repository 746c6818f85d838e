//! The library that rustup downloads.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{OwnToolchain, TRIPLE};
use crate::error::{Error, Result};
use crate::say::say;
use crate::{process, workspace};

/// Asks rustup for the target, so that `own` has the library afterwards. On failure, notes it for [`earlier_failure`].
///
/// # Errors
/// If there is no rustup, it cannot get the target (normal on a machine without a network), or `own` is not rustup's.
pub(super) fn add_target(own: &OwnToolchain) -> Result<()> {
    if process::find_on_path("rustup").is_none() {
        return Err(Error::new("not installed"));
    }
    let mut rustup = Command::new("rustup");
    // A backtrace of rustup would hide its reason, which comes before it.
    rustup.args(["target", "add", TRIPLE]).env_remove("RUST_BACKTRACE");
    say("wasm target", format_args!("trying `{}` …", process::words(&rustup)));
    let outcome = process::read(&mut rustup).map_err(|error| error.remedy(process::words(&rustup)));
    let error = match outcome {
        Ok(_) if own.has_library() => return Ok(()),
        Ok(_) => Error::new(format!(
            "has it for a toolchain of its own, which is not the rustc {} in use",
            own.version
        )),
        Err(error) => error,
    };
    // A note that cannot be written costs the next run some seconds and nothing else.
    let note = note();
    let _ = note.parent().map(fs::create_dir_all);
    let _ = fs::write(&note, format!("{}\n{error}", own.wasm_libraries.display()));
    Err(error)
}

/// Why rustup could not get the target for this toolchain when it was last asked, if it was asked and could not.
///
/// The note holds a failure and never a success: what is there is looked at, what is not there need not be asked for
/// again. It goes with `target/`, and another toolchain asks anew.
pub(super) fn earlier_failure(own: &OwnToolchain) -> Option<Error> {
    let text = fs::read_to_string(note()).ok()?;
    let (toolchain, error) = text.split_once('\n')?;
    (toolchain == own.wasm_libraries.display().to_string()).then(|| Error::new(error))
}

fn note() -> PathBuf {
    workspace::target().join("setup").join("rustup-target-failed")
}
