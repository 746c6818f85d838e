//! A compiler that can build guests.
//!
//! The compiler itself always knows wasm; what may be missing is its standard library for it. In order: the one that
//! the toolchain has; the one that rustup downloads; one that is compiled from source with Debian's compiler, for
//! machines that reach Debian's packages and not rustup's server.

mod debian;
mod rustup;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::version::Version;
use crate::{process, workspace};

use debian::DebianToolchain;

/// The target that guests are built for: no operating system, so no clock, no files and no randomness.
pub(crate) const TRIPLE: &str = "wasm32-unknown-unknown";

/// What the user has set for native builds, which would break a wasm one (`-C target-cpu=native`, say) or bring in
/// another compiler.
const NATIVE_SETTINGS: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// A compiler that can build guests, and how to call it.
#[derive(Debug)]
pub(crate) enum WasmTarget {
    /// The user's own toolchain has the library.
    Own(Version),
    /// Debian's compiler with the library's source.
    Debian(DebianToolchain),
}

impl WasmTarget {
    /// A `cargo build` for the target, to which packages, profile and folder are to be added.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut cargo = match self {
            WasmTarget::Own(_) => {
                let mut cargo = process::cargo();
                cargo.arg("build");
                cargo
            }
            WasmTarget::Debian(toolchain) => toolchain.cargo_build(),
        };
        cargo.args(["--target", TRIPLE]);
        for name in NATIVE_SETTINGS {
            cargo.env_remove(name);
        }
        cargo
    }

    /// Flags for the compiler, as cargo wants them encoded, that take the paths of this machine out of what it writes:
    /// panics and lines name files. `weir build` calls folders the same (`host/src/command/build.rs`).
    ///
    /// # Errors
    /// If the compiler does not answer.
    pub(crate) fn path_remaps(&self) -> Result<String> {
        let rustc = match self {
            WasmTarget::Own(_) => own_rustc(),
            WasmTarget::Debian(toolchain) => toolchain.rustc().to_owned(),
        };
        let version = process::read(Command::new(&rustc).arg("-vV"))?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        let sysroot = PathBuf::from(process::read(Command::new(&rustc).args(["--print", "sysroot"]))?);
        let library = sysroot.join("lib/rustlib/src/rust");
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));

        let library_name = format!("/rustc/{}", commit.unwrap_or("unknown"));
        let mut remaps = vec![(library.clone(), library_name.clone())];
        // Debian's source is a link, and the compiler may follow it.
        remaps.extend(fs::canonicalize(library).ok().map(|library| (library, library_name)));
        remaps.extend(home.map(|home| (home, "/cargo".to_owned())));
        remaps.push((workspace::root(), String::new()));
        remaps.push((PathBuf::from("guests/sdk"), "weir-guest".to_owned()));
        // Of several that fit the compiler takes the last: the longest has to win.
        remaps.sort_by_key(|(from, _)| from.as_os_str().len());
        let flags = remaps
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
        Ok(flags.collect::<Vec<_>>().join("\u{1f}"))
    }
}

/// The compiler that plain cargo calls.
fn own_rustc() -> PathBuf {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into()
}

impl fmt::Display for WasmTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WasmTarget::Own(version) => write!(f, "rustc {version} with its own library"),
            WasmTarget::Debian(toolchain) => write!(f, "{toolchain}"),
        }
    }
}

/// Finds a compiler that can build guests, or gets what it lacks.
///
/// # Errors
/// If there is none and none can be got; the error says what each way came to.
pub(crate) fn find_or_install() -> Result<WasmTarget> {
    let own = OwnToolchain::ask()?;
    if own.has_library() {
        return Ok(WasmTarget::Own(own.version));
    }

    // A download that cannot work takes its time to fail. So it is tried once per toolchain, and again only if the
    // other way is not (or no longer) in place.
    let installed = debian::find(&own);
    let rustup_error = match (rustup::earlier_failure(&own), &installed) {
        (Some(error), Ok(Some(_))) => error,
        _ => match rustup::add_target(&own) {
            Ok(()) => return Ok(WasmTarget::Own(own.version)),
            Err(error) => error,
        },
    };

    let debian_error = match installed.and_then(|found| found.map_or_else(|| debian::install(&own), Ok)) {
        Ok(toolchain) => return Ok(WasmTarget::Debian(toolchain)),
        Err(error) => error,
    };
    Err(Error::new(format!(
        "rustc {} has no standard library for {TRIPLE}\n  rustup: {rustup_error}\n  Debian: {debian_error}",
        own.version
    )))
}

/// The user's toolchain: the `rustc` that plain cargo calls.
#[derive(Debug)]
struct OwnToolchain {
    version: Version,
    /// Where its library for wasm is, or would be.
    wasm_libraries: PathBuf,
    /// Where its library for this machine is.
    native_libraries: PathBuf,
}

impl OwnToolchain {
    fn ask() -> Result<OwnToolchain> {
        let rustc = own_rustc();
        let ask = |args: &[&str]| process::read(Command::new(&rustc).args(args));
        let version = ask(&["--version"])?;
        Ok(OwnToolchain {
            version: Version::find(&version).ok_or_else(|| Error::new(format!("rustc has no version: {version:?}")))?,
            wasm_libraries: ask(&["--print", "target-libdir", "--target", TRIPLE])?.into(),
            native_libraries: ask(&["--print", "target-libdir"])?.into(),
        })
    }

    /// Whether the library for wasm is there. The folder alone is no proof: an uninstall can leave it empty.
    fn has_library(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.wasm_libraries) else {
            return false;
        };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
        })
    }

    /// The linker for wasm that comes with it, if it comes with one.
    fn linker(&self) -> Option<PathBuf> {
        let linker = self
            .native_libraries
            .parent()
            .map(|folder| folder.join("bin").join("rust-lld"))?;
        process::is_executable(&linker).then_some(linker)
    }
}

/// The linker for wasm: the user's toolchain's, else one on the `PATH`.
///
/// # Errors
/// If there is none. (Debian's compiler comes without.)
fn find_linker(own: &OwnToolchain) -> Result<PathBuf> {
    own.linker()
        .or_else(|| process::find_on_path("rust-lld"))
        .or_else(|| process::find_on_path("wasm-ld"))
        .ok_or_else(|| {
            Error::new("no linker for wasm: neither rust-lld nor wasm-ld").remedy("sudo apt-get install lld")
        })
}
