//! Debian's packages, as root or by sudo.

use std::process::Command;

use crate::error::{Error, Result};
use crate::process;

/// How long apt waits while another one works, rather than fail.
const LOCK_WAIT: &str = "-oDPkg::Lock::Timeout=120";

/// Whether this is a Debian, or something like it.
pub(crate) fn is_here() -> bool {
    ["apt-get", "apt-cache", "dpkg-query"]
        .iter()
        .all(|name| process::find_on_path(name).is_some())
}

/// Brings the list of packages up to date; `packages` are those that it is for.
///
/// # Errors
/// Names the command that a person can type.
pub(crate) fn update(packages: &[&str]) -> Result<()> {
    get(&["update"], packages)
}

/// Installs `packages`.
///
/// # Errors
/// Names the command that a person can type.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    // Nothing is removed for them: what excludes them is the user's to decide.
    let mut args = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    args.extend(packages);
    get(&args, packages)
}

/// Runs `apt-get args…` as root, unseen: its output is for whoever has to find out why it failed.
fn get(args: &[&str], packages: &[&str]) -> Result<()> {
    let is_root = is_root();
    let by_hand = by_hand(is_root, packages);
    let mut command = match (is_root, process::find_on_path("sudo")) {
        (true, _) => Command::new("env"),
        (false, Some(sudo)) => {
            let mut command = Command::new(sudo);
            // Past sudo, which drops the environment.
            command.arg("env");
            command
        }
        (false, None) => return Err(Error::new("not root, and there is no sudo").remedy(by_hand)),
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", LOCK_WAIT])
        .args(args);
    process::read(&mut command)
        .map(|_| ())
        .map_err(|error| error.remedy(by_hand))
}

/// The whole of what apt is asked for, for a person to type.
fn by_hand(is_root: bool, packages: &[&str]) -> String {
    let packages = packages.join(" ");
    let commands = format!("apt-get update && apt-get install --no-install-recommends {packages}");
    if is_root {
        commands
    } else {
        format!("sudo sh -c '{commands}'  (or as root, without sudo)")
    }
}

fn is_root() -> bool {
    process::read(Command::new("id").arg("--user")).is_ok_and(|id| id == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_can_type_what_apt_is_asked_for() {
        let commands = "apt-get update && apt-get install --no-install-recommends a b";
        assert_eq!(by_hand(true, &["a", "b"]), commands);
        assert!(by_hand(false, &["a", "b"]).starts_with(&format!("sudo sh -c '{commands}'")));
    }
}
