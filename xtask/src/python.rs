//! A Python with libraries of other people's formats: the tests hold what Weir writes and reads against what those make of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::{process, venv, workspace};

/// The variable that names the interpreter: for a person to set, and for the tests to read.
pub(crate) const VARIABLE: &str = "WEIR_PYTHON";

/// The libraries, as pip takes them. The versions are pinned: what another release reads differently is a change to look at.
const REQUIREMENTS: [&str; 4] = [
    // Parquet, CSV and lines of JSON, as Arrow reads them.
    "pyarrow==26.0.1",
    // The same, as an analyst's database reads them.
    "duckdb==2.0.1",
    // Avro.
    "fastavro==1.13.1",
    // Protocol Buffers.
    "protobuf==7.36.2",
];

/// Prints a line `NAME==VERSION` for each of the packages that its arguments name.
const PROBE: &str = "\
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name + '==' + version(name))
    except PackageNotFoundError:
        pass";

/// An interpreter that has the libraries.
#[derive(Debug)]
pub(crate) struct Python {
    /// Its path. Links are not followed: an interpreter knows by its path which environment it belongs to.
    pub(crate) path: PathBuf,
    is_ours: bool,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_ours { "PyPI, in target/" } else { VARIABLE };
        write!(f, "{} ({place})", REQUIREMENTS.join(", "))
    }
}

/// Finds an interpreter with the libraries: the one that `WEIR_PYTHON` names, else the one in a virtual environment below
/// `target/`, which is made if need be.
///
/// # Errors
/// If `WEIR_PYTHON` names one that lacks a library (who sets it means that one and no other), or if there is none and it cannot
/// be installed.
pub(crate) fn find_or_install() -> Result<Python> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Python::probe(PathBuf::from(path), false)
            .map_err(|error| Error::new(format!("{VARIABLE}: {error}")).remedy(format!("unset {VARIABLE}")));
    }
    let folder = workspace::target().join("python");
    let path = folder.join("bin").join("python3");
    if let Ok(python) = Python::probe(path.clone(), true) {
        return Ok(python);
    }
    let by_hand = format!(
        "install these with pip and set {VARIABLE} to that interpreter: {}",
        REQUIREMENTS.join(" ")
    );
    venv::install(&folder, "python", &REQUIREMENTS, &by_hand)?;
    Python::probe(path, true)
}

impl Python {
    /// Asks the interpreter at `path` for the versions of its libraries, and refuses it if one is missing or another.
    fn probe(path: PathBuf, is_ours: bool) -> Result<Python> {
        let names = REQUIREMENTS
            .iter()
            .filter_map(|requirement| requirement.split("==").next());
        let mut command = Command::new(&path);
        command.args(["-c", PROBE]).args(names);
        let missing = missing(&process::read(&mut command)?);
        match missing.is_empty() {
            // In full, since the tests run in other folders.
            true => Ok(Python {
                path: std::path::absolute(&path).unwrap_or(path),
                is_ours,
            }),
            false => Err(lacks(&path, &missing)),
        }
    }
}

fn lacks(path: &Path, missing: &[&str]) -> Error {
    Error::new(format!("\"{}\" has no {}", path.display(), missing.join(", "))).remedy(format!(
        "{} -m pip install {}",
        path.display(),
        missing.join(" ")
    ))
}

/// Which of the requirements are not among those that an interpreter has.
fn missing(found: &str) -> Vec<&'static str> {
    let is_missing = |requirement: &&str| !found.lines().any(|line| line.trim() == *requirement);
    REQUIREMENTS.into_iter().filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_with_another_version_lacks_the_library() {
        let all = REQUIREMENTS.join("\n");
        assert_eq!(missing(&all), [""; 0]);
        let others = all.replace("duckdb==", "duckdb==0.");
        assert_eq!(missing(&others), [REQUIREMENTS[1]]);
        assert_eq!(missing(""), REQUIREMENTS);
    }
}
