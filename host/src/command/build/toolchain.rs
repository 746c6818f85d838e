//! A compiler that can build guests.
//!
//! The compiler always knows wasm; what may be missing is its standard library for it. `cargo xtask setup` gets that for
//! this repository, and this finds the same two: the one of the toolchain that the folder uses, else the packages of
//! Debian. Nothing is installed from here.

use crate::error::{Context, Error, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The target that guests are built for: no operating system, so no clock, no files and no randomness.
pub(super) const TRIPLE: &str = "wasm32-unknown-unknown";

/// Debian's compiler, its cargo, and its library's source. They must be of one version.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What is set for native builds, which would break a wasm one (`-C target-cpu=native`, say), bring in another compiler,
/// or change what comes out.
const NATIVE_SETTINGS: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// What rustup and an outer cargo say of another toolchain.
const OF_OTHER_TOOLCHAINS: [&str; 5] = [
    "CARGO",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_TOOLCHAIN_SOURCE",
    "RUSTDOC",
    "LD_LIBRARY_PATH",
];

/// A compiler that can build guests, and how to call it.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// Where cargo and rustc are called, so that rustup obeys the folder's `rust-toolchain.toml`.
    folder: PathBuf,
    debian: Option<Debian>,
    sysroot: PathBuf,
    /// The commit that the compiler was built from: names its standard library's source.
    commit: String,
}

/// Debian's compiler, which compiles the library's source like any crate.
#[derive(Debug)]
struct Debian {
    rustc: PathBuf,
    cargo: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// The compiler for the guest in `folder`.
    ///
    /// # Errors
    /// When cargo or rustc is not there, or neither toolchain has the library; says how to get it.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let has_library = has_library(Path::new(&ask(
            &rustc,
            folder,
            &["--print", "target-libdir", "--target", TRIPLE],
        )?));
        let native = ask(&rustc, folder, &["--print", "target-libdir"])?;
        let debian = match has_library {
            true => None,
            false => Some(Debian::find(Path::new(&native)).ok_or_else(|| missing(&rustc, folder))?),
        };
        let rustc = debian.as_ref().map_or(&rustc, |debian| &debian.rustc);
        let version = ask(rustc, folder, &["-vV"])?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        Ok(Self {
            folder: folder.to_owned(),
            sysroot: ask(rustc, folder, &["--print", "sysroot"])?.into(),
            commit: commit.unwrap_or("unknown").to_owned(),
            debian,
        })
    }

    /// Cargo, without what describes the package of a cargo that may have started us.
    pub(super) fn cargo(&self) -> Command {
        let mut cargo = match &self.debian {
            None => Command::new("cargo"),
            Some(debian) => {
                let mut cargo = Command::new(&debian.cargo);
                cargo
                    .env("RUSTC", &debian.rustc)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &debian.linker);
                for name in OF_OTHER_TOOLCHAINS {
                    cargo.env_remove(name);
                }
                cargo
            }
        };
        cargo.current_dir(&self.folder);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        cargo
    }

    /// A `cargo build` for wasm, to which target, package and profile are to be added.
    pub(super) fn cargo_build(&self) -> Command {
        let mut cargo = self.cargo();
        cargo.arg("build");
        if self.debian.is_some() {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        for name in NATIVE_SETTINGS {
            cargo.env_remove(name);
        }
        cargo
    }

    /// Folders of the toolchain, and what the component calls them.
    pub(super) fn remaps(&self) -> Vec<(PathBuf, String)> {
        // Where the library comes compiled, it names its source so already.
        let library = self.sysroot.join("lib/rustlib/src/rust");
        let mut remaps = vec![(library, format!("/rustc/{}", self.commit))];
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        remaps.extend(home.map(|home| (home, "/cargo".to_owned())));
        // Debian's source is a link, and the compiler may follow it.
        let seen: Vec<_> = remaps
            .iter()
            .filter_map(|(from, to)| Some((fs::canonicalize(from).ok()?, to.clone())))
            .collect();
        remaps.extend(seen);
        remaps
    }
}

impl Debian {
    fn find(native_libraries: &Path) -> Option<Self> {
        let query = Command::new("dpkg-query")
            .args(["--show", "--showformat=${db:Status-Status} ${Version}\\n"])
            .args(DEBIAN_PACKAGES)
            .output()
            .ok()?;
        let answer = String::from_utf8_lossy(&query.stdout).into_owned();
        let mut lines = answer.lines();
        let first = lines.next().filter(|line| line.starts_with("installed "))?;
        let is_of_one_version = answer.lines().count() == DEBIAN_PACKAGES.len() && lines.all(|line| line == first);
        if !query.status.success() || !is_of_one_version {
            return None;
        }
        // Its compiler comes without a linker for wasm.
        let linker = native_libraries.parent()?.join("bin/rust-lld");
        Some(Self {
            rustc: program_of("rustc-web", "rustc")?,
            cargo: program_of("cargo-web", "cargo")?,
            linker: Some(linker)
                .filter(|linker| linker.is_file())
                .or_else(|| find_on_path("rust-lld"))
                .or_else(|| find_on_path("wasm-ld"))?,
        })
    }
}

/// Whether the standard library is in this folder. The folder alone is no proof: an uninstall can leave it empty.
fn has_library(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn missing(rustc: &Path, folder: &Path) -> Error {
    let version = ask(rustc, folder, &["--version"]).unwrap_or_else(|_| "rustc".to_owned());
    Error::environment(format!(
        "{version} has no standard library for {TRIPLE}; get it with one of\n  rustup target add {TRIPLE}\n  \
         sudo apt-get install --no-install-recommends {} lld   (Debian)",
        DEBIAN_PACKAGES.join(" ")
    ))
}

/// What `rustc` answers.
fn ask(rustc: &Path, folder: &Path, arguments: &[&str]) -> Result<String> {
    let said = Command::new(rustc).current_dir(folder).args(arguments).output();
    let said = said.environment(|| {
        format!(
            "cannot start {}; Rust is installed as https://rustup.rs says",
            rustc.display()
        )
    })?;
    if !said.status.success() {
        let words = String::from_utf8_lossy(&said.stderr);
        return Err(Error::environment(format!(
            "`{} {}` failed: {}",
            rustc.display(),
            arguments.join(" "),
            words.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// The program `name` among the files of an installed package of Debian's.
fn program_of(package: &str, name: &str) -> Option<PathBuf> {
    let said = Command::new("dpkg").args(["--listfiles", package]).output().ok()?;
    let files = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut files = files.lines().map(PathBuf::from);
    files.find(|file| {
        let is_in_bin = |folder: &Path| folder.ends_with("bin") && !folder.starts_with("/usr/share");
        file.file_name().is_some_and(|found| found == name) && file.parent().is_some_and(is_in_bin)
    })
}

fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}
