//! Debian's compiler with the source of its standard library, which is then compiled for wasm like any crate.
//!
//! Debian keeps a current Rust for its web browsers, in packages of their own beside the older `rustc`. Compiling the
//! library is a feature of the nightly compiler only; `RUSTC_BOOTSTRAP` opens it in this one, where compiler and
//! library are known to fit, being made from one source package.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{OwnToolchain, find_linker};
use crate::error::{Error, Result};
use crate::say::say;
use crate::version::Version;
use crate::{apt, process};

/// The compiler, its cargo, and its library's source. They must be of one version.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The oldest Rust that builds the workspace, from the workspace's manifest.
const RUST_VERSION_MIN: &str = env!("CARGO_PKG_RUST_VERSION");

/// Debian's compiler with its library's source, installed.
#[derive(Debug)]
pub(crate) struct DebianToolchain {
    version: Version,
    rustc: PathBuf,
    cargo: PathBuf,
    /// Not Debian's: its compiler comes without the linker that it calls for wasm.
    linker: PathBuf,
}

impl DebianToolchain {
    pub(super) fn rustc(&self) -> &Path {
        &self.rustc
    }

    /// A `cargo build` that also compiles the standard library.
    pub(super) fn cargo_build(&self) -> Command {
        let mut cargo = process::cargo_at(&self.cargo);
        cargo
            .args(["build", "-Zbuild-std=std,panic_abort"])
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
        // What rustup and the outer cargo say of the user's toolchain does not hold for this one; the last would make
        // it load that toolchain's libraries.
        for name in [
            "CARGO",
            "RUSTUP_TOOLCHAIN",
            "RUSTUP_TOOLCHAIN_SOURCE",
            "RUSTDOC",
            "LD_LIBRARY_PATH",
        ] {
            cargo.env_remove(name);
        }
        cargo
    }
}

impl fmt::Display for DebianToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc-web {} with its library source (Debian)", self.version)
    }
}

/// The toolchain, if all of its packages are installed and recent enough.
///
/// # Errors
/// If they are there and of no use.
pub(super) fn find(own: &OwnToolchain) -> Result<Option<DebianToolchain>> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["--show", "--showformat=${db:Status-Status} ${Version}\\n"])
        .args(PACKAGES);
    // It fails if it does not know one of them, and cannot be started where there is no Debian: not installed.
    let Some(version) = process::read(&mut query).ok().as_deref().and_then(common_version) else {
        return Ok(None);
    };
    if Some(version) < Version::find(RUST_VERSION_MIN) {
        return Ok(None);
    }
    Ok(Some(DebianToolchain {
        version,
        rustc: program_of("rustc-web", "rustc")?,
        cargo: program_of("cargo-web", "cargo")?,
        linker: find_linker(own)?,
    }))
}

/// Installs the packages.
///
/// # Errors
/// If this is no Debian, has no recent enough version of them, or may not install them; the error names the command.
pub(super) fn install(own: &OwnToolchain) -> Result<DebianToolchain> {
    if !apt::is_here() {
        return Err(Error::new("not a Debian"));
    }
    // Before the download, since nothing can be linked without it.
    find_linker(own)?;

    let wanted = Version::find(RUST_VERSION_MIN);
    let mut is_list_new = false;
    if candidate()? < wanted {
        update_list()?;
        is_list_new = true;
    }
    match candidate()? {
        Some(version) if Some(version) >= wanted => {}
        Some(version) => {
            return Err(Error::new(format!(
                "its rustc-web is {version}, and the workspace needs {RUST_VERSION_MIN} (is its security archive among \
                 the sources of apt?)"
            )));
        }
        None => return Err(Error::new("its sources of packages have no rustc-web")),
    }

    say("wasm target", format_args!("installing {} …", PACKAGES.join(", ")));
    // They exclude a rustup or rustc that came as a Debian package.
    let mut outcome = apt::install(&PACKAGES);
    if outcome.is_err() && !is_list_new {
        // An old list names files that the archive has replaced since.
        update_list()?;
        outcome = apt::install(&PACKAGES);
    }
    outcome?;
    find(own)?.ok_or_else(|| {
        Error::new(format!(
            "apt-get installed {}, but not all of them",
            PACKAGES.join(", ")
        ))
    })
}

fn update_list() -> Result<()> {
    say("wasm target", "bringing Debian's list of packages up to date …");
    apt::update(&PACKAGES)
}

/// The version of the compiler that apt would install, if it knows one.
fn candidate() -> Result<Option<Version>> {
    // In no language, so that the word that is looked for is the word that is printed.
    let answer = process::read(
        Command::new("apt-cache")
            .args(["policy", "rustc-web"])
            .env("LC_ALL", "C"),
    )?;
    Ok(candidate_in(&answer))
}

fn candidate_in(policy: &str) -> Option<Version> {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .and_then(Version::find)
}

/// The version that all packages have in what dpkg-query answered (a line of status and version for each), if all are
/// installed and of one version.
fn common_version(answer: &str) -> Option<Version> {
    let lines: Vec<&str> = answer.lines().collect();
    let (first, rest) = lines.split_first()?;
    let version = first.strip_prefix("installed ")?;
    (lines.len() == PACKAGES.len() && rest.iter().all(|line| line == first))
        .then(|| Version::find(version))
        .flatten()
}

/// The program `name` among the files of the installed `package`.
fn program_of(package: &str, name: &str) -> Result<PathBuf> {
    let files = process::read(Command::new("dpkg").args(["--listfiles", package]))?;
    program_in(&files, name).ok_or_else(|| {
        Error::new(format!("the package {package:?} has no program {name:?}"))
            .remedy(format!("sudo apt-get install --reinstall {package}"))
    })
}

fn program_in(files: &str, name: &str) -> Option<PathBuf> {
    let mut programs = files
        .lines()
        .map(Path::new)
        .filter(|file| file.file_name().is_some_and(|found| found == name));
    programs.find(|file| is_in_program_folder(file)).map(Path::to_path_buf)
}

/// Whether `file` lies in a folder for programs, and not for a package's data.
fn is_in_program_folder(file: &Path) -> bool {
    file.parent()
        .is_some_and(|folder| folder.ends_with("bin") && !folder.starts_with("/usr/share"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apts_answer() {
        let policy =
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n     1.85.0";
        assert_eq!(candidate_in(policy), Version::find("1.96.0"));
        assert_eq!(
            candidate_in("rustc-web:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate_in(""), None);
    }

    #[test]
    fn packages_count_when_all_are_installed_in_one_version() {
        let one = "installed 1.96.0+dfsg1-1~deb12u2";
        let check = |lines: [&str; 3]| common_version(&lines.join("\n"));
        assert_eq!(check([one, one, one]), Version::find("1.96.0"));
        assert_eq!(check([one, one, "config-files 1.96.0+dfsg1-1~deb12u2"]), None);
        assert_eq!(check([one, one, "installed 1.85.0+dfsg3-1~deb12u3"]), None);
        assert_eq!(common_version(&[one, one].join("\n")), None);
        assert_eq!(common_version(""), None);
    }

    #[test]
    fn a_packages_program_is_not_its_wrapper_script() {
        let files = "/.\n/usr/share/cargo/bin/cargo\n/usr/share/bash-completion/completions/cargo\n/usr/bin/cargo\n";
        assert_eq!(program_in(files, "cargo"), Some(PathBuf::from("/usr/bin/cargo")));
        assert_eq!(program_in(files, "rustc"), None);
    }

    #[test]
    fn the_workspace_says_the_oldest_rust() {
        assert!(Version::find(RUST_VERSION_MIN).is_some());
    }
}
