//! `weir build`: the guest of a folder, as a component.

mod package;
mod toolchain;

use super::{
    project::{from_here, guests_of, project_at, project_of_guest},
    show, stage_host,
    supervise::{Supervised, check_going_on, not_started},
    write_failed,
};
use crate::{
    command::terminal::{self, say},
    error::{Context, Error, Result},
    files::private_file,
    source::Stop,
    wasm::{AnyModule, digest_of},
};
use package::Package;
use serde_json::json;
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};
use toolchain::{TRIPLE, Toolchain};

/// The profile of cargo, unless another one is named.
pub(super) const PROFILE: &str = "release";

/// Builds the guest in a folder to a component, and says its size and digest; of a project builds all.
///
/// The component is put into FOLDER/target/NAME.wasm, NAME being the package's; that of a guest of a project into
/// PROJECT/target/NAME.wasm. The guests of a project are the folders PROJECT/guests/NAME. A component holds no path of
/// this machine and no time: the same source, SDK and compiler give the same digest in any folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  built
  1  cargo or the compiler failed, or is missing
  2  the folder holds no guest, or the host refuses the component

Example:
  weir build large-orders
  weir build large-orders/guests/large-orders
  weir build guests/last-page --profile guest --out target/guests/last-page.wasm")]
pub(super) struct Build {
    /// The folder with the guest's Cargo.toml, or of a project.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component goes instead.
    #[arg(long, value_name = "FILE.wasm")]
    out: Option<PathBuf>,
    /// The profile of cargo to build it in.
    #[arg(long, value_name = "NAME", default_value = PROFILE)]
    profile: String,
}

impl Build {
    pub(super) fn run(self) -> Result<ExitCode> {
        let guests = guests_at(&self.folder)?;
        if let (Some(out), true) = (&self.out, guests.len() > 1) {
            return Err(Error::definition(format!(
                "--out names one component, {}, and {} has {} guests; name the folder of one",
                out.display(),
                self.folder.display(),
                guests.len()
            )));
        }
        for (number, guest) in guests.iter().enumerate() {
            if number > 0 && !terminal::is_json() {
                terminal::stdout().line("")?;
            }
            // Ctrl-C ends us at once, and cargo with us.
            let component = build(guest, &self.profile, self.out.clone(), &Stop::default())?;
            say_built(&component)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The guests in a folder: that of its Cargo.toml, or those of a project, of which there is at least one.
pub(super) fn guests_at(folder: &Path) -> Result<Vec<PathBuf>> {
    let Some(project) = project_at(folder)? else {
        return Ok(vec![folder.to_owned()]);
    };
    let guests = guests_of(&project)?;
    match guests.is_empty() {
        false => Ok(guests),
        true => Err(Error::definition(format!(
            "the project {} has no guests; each is a crate in a folder guests/NAME, with crate-type = [\"cdylib\", \"rlib\"] under [lib]",
            folder.display()
        ))),
    }
}

/// Says what a component is.
fn say_built(component: &Path) -> Result<()> {
    let bytes = fs::read(component).environment(|| format!("cannot read {}", component.display()))?;
    // What the host would refuse later is better known now.
    let described = match stage_host()?.load_any(component)? {
        AnyModule::Stage(module) => {
            let described = &module.description;
            ("rule", (described.name.clone(), described.version.clone()))
        }
        AnyModule::Aggregate(module) => {
            let described = &module.description;
            ("aggregate", (described.name.clone(), described.version.clone()))
        }
        AnyModule::Keyed(module) => {
            let described = &module.description;
            ("keyed function", (described.name.clone(), described.version.clone()))
        }
    };
    let (kind, (name, version)) = described;
    if terminal::is_json() {
        terminal::stdout().json(&json!({
            "kind": kind,
            "name": name,
            "version": version,
            "component": component.display().to_string(),
            "bytes": bytes.len(),
            "sha256": digest_of(&bytes),
        }))?;
        return Ok(());
    }
    let rule = (kind, format!("{name} {version}"));
    let lines = [
        rule,
        ("component", component.display().to_string()),
        ("bytes", show::thousands(bytes.len() as u64)),
        ("sha256", digest_of(&bytes)),
    ];
    let mut out = terminal::stdout();
    for (name, value) in lines {
        writeln!(out, "{name:<10} {value}").map_err(|cause| write_failed(&cause))?;
    }
    Ok(())
}

/// Builds the guest in `folder`, and answers with the component's path. Cargo ends with us, and when we are to stop.
pub(super) fn build(folder: &Path, profile: &str, out: Option<PathBuf>, stop: &Stop) -> Result<PathBuf> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let shown = folder.display();
    if !folder.join("Cargo.toml").is_file() {
        return Err(Error::definition(format!(
            "there is no Cargo.toml in {shown}; name the folder of a guest, or make one with `weir new NAME`"
        )));
    }
    let toolchain = Toolchain::find(folder)?;
    let package = Package::of(folder, &toolchain, stop)?;
    // Messages name files as one would from here.
    let target = match project_of_guest(folder)? {
        Some(project) => project.folder().join("target"),
        None => from_here(folder).join("target"),
    };
    let core = compile(&package, &toolchain, profile, &target, stop)?;
    let component = out.unwrap_or_else(|| target.join(format!("{}.wasm", package.name)));

    let bytes = fs::read(&core).environment(|| format!("cannot read {}", core.display()))?;
    let random = weir_component::users_of_random_keys(&bytes);
    let made = weir_component::component_from_core(&bytes).map_err(|cause| {
        match package.browser_crates(&bytes, &toolchain, stop) {
            Some(crates) => Error::definition(format!("{shown}: package {}: {crates}", package.name)),
            None => Error::definition(format!("{shown}: package {}: {cause}", package.name)),
        }
    })?;
    private_file::write_whole(&component, &made.bytes)?;
    if let Some(missing) = made.missing_lines {
        say!(
            Warning,
            "weir: package {}: {missing}; where it fails there, no lines are named",
            package.name
        );
    }
    if !random.is_empty() {
        say!(
            Warning,
            "weir: package {} makes a HashMap or HashSet with random keys of the standard library, in {}: the order in which it \
             iterates differs between batches, runs and replays; use weir_guest::HashMap or HashSet, whose keys are fixed, or a \
             BTreeMap",
            package.name,
            random.join(", ")
        );
    }
    Ok(component)
}

/// The core module that cargo makes of the package.
fn compile(package: &Package, toolchain: &Toolchain, profile: &str, target: &Path, stop: &Stop) -> Result<PathBuf> {
    let target = std::path::absolute(target).environment(|| format!("cannot find {}", target.display()))?;
    let mut cargo = toolchain.cargo_build();
    cargo
        .args([
            "--target",
            TRIPLE,
            "--lib",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--profile", profile])
        .arg("--manifest-path")
        .arg(&package.manifest)
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(package, toolchain));
    let cannot = || "cannot start cargo".to_owned();
    let cargo = Supervised::start(&cargo, Stdio::piped(), terminal::said_by_others()).environment(cannot)?;
    let attended = cargo.attend(stop, |cargo| {
        let mut core = None;
        if let Some(messages) = cargo.stdout.take() {
            for line in BufReader::new(messages).lines() {
                let line = line.environment(|| "cannot read what cargo says".to_owned())?;
                core = package.core_module(&line).or(core);
            }
        }
        let status = cargo.wait().environment(|| "cannot wait for cargo".to_owned())?;
        Ok((core, status))
    });
    let (core, status) = attended.environment(cannot)??;
    check_going_on(stop)?;
    if let Some(why) = not_started(status) {
        return Err(Error::environment(format!("cannot start cargo: {why}")));
    }
    if !status.success() {
        return Err(Error::environment(format!(
            "package {} cannot be built: cargo ended with {status}; what it said stands above",
            package.name
        )));
    }
    core.ok_or_else(|| {
        Error::definition(format!(
            "{}: package {} makes no WebAssembly module; its manifest needs crate-type = [\"cdylib\", \"rlib\"] under [lib]",
            package.manifest.display(),
            package.name
        ))
    })
}

/// Takes the paths of this machine out of what the compiler writes: panics and debug information name files.
fn rustflags(package: &Package, toolchain: &Toolchain) -> OsString {
    let mut remaps = toolchain.remaps();
    remaps.extend(package.remaps());
    // Of several that fit the compiler takes the last: the longest has to win.
    remaps.sort_by_key(|(from, _)| from.as_os_str().len());
    let mut flags = OsString::new();
    for (from, to) in remaps {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}
