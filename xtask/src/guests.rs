//! Building the guests: Rust to core module by cargo, core module to component by `weir-component`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::build::Build;
use crate::costs::{self, Costs};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::say::say;
use crate::wasm_target::WasmTarget;
use crate::{process, workspace};

/// The folder whose sub-folders are the scenarios.
const SCENARIOS: &str = "guests";

/// The folder whose sub-folders are the guests that tests alone run.
const TEST_GUESTS: &str = "tests/guests";

/// The crate of the tool that makes components.
pub(crate) const COMPONENT_TOOL: &str = "weir-component";

/// The packages that the demo has built: the command, and with it the tool, so that what both are made of is compiled once.
pub(crate) const DEMO_PACKAGES: [&str; 4] = ["-p", "weir", "-p", COMPONENT_TOOL];

/// Without optimisation the command compiles in a third of the time, and keeps up with the demo. The tests share what it is made of,
/// and not the command itself: they have it with fail points.
pub(crate) const DEMO_PROFILE: [&str; 2] = ["--config", "profile.dev.package.weir.opt-level=0"];

/// What that tool is made from: its own crate, the format of the lines that it writes, and the versions of the crates that it stands on.
/// A change there makes every component stale.
const COMPONENT_TOOL_PARTS: [&str; 3] = ["guests/sdk/component", "guests/sdk/lines", "Cargo.lock"];

/// The ending of the notes on what a component was made from.
const NOTE_EXTENSION: &str = "made-from";

/// Under which of the workspace's `[profile]`s the guests are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile(String);

impl Profile {
    /// The profile `name`, which cargo will refuse if the workspace has none of that name.
    pub(crate) fn named(name: &str) -> Profile {
        Profile(name.to_owned())
    }

    /// The folder that cargo puts the profile's results in: the built-in ones are older than the rule that the folder
    /// has the profile's name.
    fn folder(&self) -> &str {
        match &*self.0 {
            "dev" | "test" => "debug",
            "bench" => "release",
            name => name,
        }
    }
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::named("guest")
    }
}

/// For what guests are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For the demo: the scenarios. Some of those that tests alone run take the macro of `wit-bindgen`, which takes longer to
    /// compile than all the scenarios.
    Demo,
    /// For the campaign and the benchmark: all.
    Runs,
    /// For the tests: all, and a Python that reads what Weir writes.
    Tests,
}

impl Purpose {
    /// Whether something is run that takes a Python.
    pub(crate) fn needs_python(self) -> bool {
        self == Purpose::Tests
    }

    /// The folders whose sub-folders are the guests.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Purpose::Demo => &[SCENARIOS],
            Purpose::Runs | Purpose::Tests => &[SCENARIOS, TEST_GUESTS],
        }
    }

    fn costs(self) -> &'static Costs {
        match self {
            Purpose::Demo => &costs::SCENARIOS,
            Purpose::Runs | Purpose::Tests => &costs::GUESTS,
        }
    }

    /// The build of the tool that makes components: of the packages that are built for the same purpose, so that what the tool is
    /// made of is compiled with the features that those have, and once.
    fn component_tool(self) -> Build {
        let mut cargo = process::cargo();
        cargo.arg("build");
        match self {
            Purpose::Demo => cargo.args(DEMO_PROFILE).args(DEMO_PACKAGES),
            Purpose::Runs | Purpose::Tests => cargo.arg("--workspace"),
        };
        cargo.args(["--bin", COMPONENT_TOOL]);
        Build::new("component tool", cargo, &costs::COMPONENT_TOOL)
    }
}

/// The core modules of guests of the workspace, as cargo made them.
#[derive(Debug)]
pub(crate) struct Modules {
    purpose: Purpose,
    guests: Vec<Manifest>,
    /// Where the components go.
    components: PathBuf,
    /// Where cargo builds.
    build: PathBuf,
    /// Where cargo put the modules.
    folder: PathBuf,
}

/// The build of the guests of the workspace to core modules, or nothing where there is no guest.
///
/// # Errors
/// If the workspace or the compiler cannot be read.
pub(crate) fn plan(target: &WasmTarget, profile: &Profile, purpose: Purpose) -> Result<Option<(Build, Modules)>> {
    let guests = find(&workspace::root(), purpose)?;
    if guests.is_empty() {
        let folders = purpose.folders().join("/ or ");
        say("guests", format_args!("none: no cdylib in {folders}/"));
        return Ok(None);
    }
    let components = workspace::target().join("guests");
    // Apart from the host's own folder: the two may have different compilers and would lock each other out.
    let build = components.join("build");
    let mut cargo = target.cargo_build();
    cargo.arg("--profile").arg(&profile.0).arg("--target-dir").arg(&build);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", target.path_remaps()?);
    for guest in &guests {
        cargo.args(["-p", &guest.package]);
    }
    let folder = build.join(crate::wasm_target::TRIPLE).join(profile.folder());
    let modules = Modules {
        purpose,
        guests,
        components,
        build,
        folder,
    };
    Ok(Some((Build::new("guests", cargo, purpose.costs()), modules)))
}

impl Modules {
    /// Makes a component of each module that is newer than its component: `target/guests/<package>.wasm`.
    ///
    /// # Errors
    /// If the component tool fails to build or to work. Components that were made before stay as they are, and so does the
    /// older component of a guest that fails.
    pub(crate) fn make_components(&self) -> Result<()> {
        let Modules {
            purpose,
            guests,
            components,
            build,
            folder,
        } = self;
        let mut stale = Vec::new();
        for guest in guests {
            let component = Component {
                module: folder.join(guest.library_file()).with_extension("wasm"),
                file: components.join(&guest.package).with_extension("wasm"),
                partial: components.join(format!(".{}.wasm.part", guest.package)),
                note: build.join(&guest.package).with_extension(NOTE_EXTENSION),
            };
            let origin = Origin::of(&component.module)?;
            if !component.is_made_from(&origin) {
                stale.push((component, origin));
            }
        }
        if !stale.is_empty() {
            let tool = purpose.component_tool().program()?;
            for (component, origin) in &stale {
                component.make(&tool, origin)?;
            }
        }
        // Those that were not built this time are there all the same.
        remove_orphans(&find(&workspace::root(), Purpose::Tests)?, components, build)?;

        say(
            "guests",
            format_args!("{} in target/guests ({} new)", guests.len(), stale.len()),
        );
        Ok(())
    }
}

/// Removes the components of guests that are no more, which a pipeline might go on finding.
///
/// Only those that have a note of ours: what somebody else put into the folder is theirs.
fn remove_orphans(guests: &[Manifest], components: &Path, build: &Path) -> Result<()> {
    for entry in fs::read_dir(build).into_iter().flatten().flatten() {
        let note = entry.path();
        let is_note = note.extension().is_some_and(|ending| ending == NOTE_EXTENSION);
        let Some(package) = note.file_stem().filter(|_| is_note) else {
            continue;
        };
        if guests.iter().any(|guest| package == &*guest.package) {
            continue;
        }
        let component = components.join(package).with_extension("wasm");
        for file in [&component, &note] {
            if file.exists() {
                fs::remove_file(file).map_err(|error| file_error("remove", file, &error))?;
            }
        }
    }
    Ok(())
}

/// The guests below the workspace's `root` that are for `purpose`, by folder name: each folder with a manifest that makes a
/// `cdylib`, those right inside of it (a scenario may have several rules), and the guests of a project.
///
/// So a new scenario is a new folder, and no list names it. `guests/sdk` makes none, and the same rule passes it over.
fn find(root: &Path, purpose: Purpose) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for folder in purpose.folders() {
        for guest in folders_in(&root.join(folder)) {
            let folders = folders_in(&guest).into_iter().chain(folders_in(&guest.join("guests")));
            manifests.extend(folders.chain([guest]).map(|folder| folder.join("Cargo.toml")));
        }
    }
    manifests.retain(|file| file.is_file());
    manifests.sort();

    let mut guests = Vec::new();
    for file in manifests {
        let text = fs::read_to_string(&file).map_err(|error| file_error("read", &file, &error))?;
        let manifest = Manifest::parse(&text);
        // What `weir new` made here is built by `weir build`.
        if manifest.is_cdylib && !manifest.is_workspace {
            guests.push(manifest);
        }
    }
    Ok(guests)
}

/// The entries of a folder, which may be missing: that is no mistake.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// A component to be made, and the files that have to do with it.
struct Component {
    /// The core module that it is made from.
    module: PathBuf,
    /// Where it shall be.
    file: PathBuf,
    /// Where it is until it is whole.
    partial: PathBuf,
    /// Holds the [`Origin`] of the one that is there.
    note: PathBuf,
}

impl Component {
    /// Whether it is there and was made from this very module by this very tool.
    fn is_made_from(&self, origin: &Origin) -> bool {
        self.file.is_file() && fs::read_to_string(&self.note).is_ok_and(|noted| noted == origin.to_string())
    }

    /// Makes it. It appears under its name in one step: a host that looks at the folder never loads half of one.
    fn make(&self, tool: &Path, origin: &Origin) -> Result<()> {
        let mut command = Command::new(tool);
        command.arg(&self.module).arg("-o").arg(&self.partial);
        process::read(&mut command)?;
        fs::rename(&self.partial, &self.file).map_err(|error| file_error("write", &self.file, &error))?;
        // Last: without the note, or with an older one, it is made again and nothing is lost.
        fs::write(&self.note, origin.to_string()).map_err(|error| file_error("write", &self.note, &error))
    }
}

/// What a component is made from. Two that print the same text would make the same component.
///
/// Times are compared for being the same and not for being later: after a change of compiler and back, cargo puts the
/// older module in place again, with its older time.
struct Origin {
    module: PathBuf,
    module_changed: SystemTime,
    module_bytes: u64,
    tool_changed: SystemTime,
}

impl Origin {
    fn of(module: &Path) -> Result<Origin> {
        let root = workspace::root();
        let metadata = module.metadata().map_err(|error| file_error("read", module, &error))?;
        Ok(Origin {
            module: module.to_owned(),
            module_changed: metadata
                .modified()
                .map_err(|error| file_error("read", module, &error))?,
            module_bytes: metadata.len(),
            tool_changed: COMPONENT_TOOL_PARTS
                .map(|part| last_change(&root.join(part)))
                .into_iter()
                .fold(UNIX_EPOCH, SystemTime::max),
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ns = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        writeln!(f, "module: {}", self.module.display())?;
        writeln!(f, "module changed at ns: {}", ns(self.module_changed))?;
        writeln!(f, "module bytes: {}", self.module_bytes)?;
        writeln!(f, "tool changed at ns: {}", ns(self.tool_changed))
    }
}

/// When `folder` (or a plain file) or anything in it was last changed, or added (which changes the folder itself).
fn last_change(folder: &Path) -> SystemTime {
    let own = folder
        .metadata()
        .and_then(|metadata| metadata.modified())
        .unwrap_or(UNIX_EPOCH);
    let Ok(entries) = fs::read_dir(folder) else { return own };
    entries
        .flatten()
        .map(|entry| last_change(&entry.path()))
        .fold(own, SystemTime::max)
}

fn file_error(what: &str, file: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot {what} {:?}: {error}", file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test alone, removed when it ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str, files: &[(&str, &str)]) -> Scratch {
            let root = std::env::temp_dir().join(format!("weir-xtask-{test}-{}", std::process::id()));
            for (name, text) in files {
                let file = root.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Scratch(root)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn guests_are_the_folders_that_make_a_cdylib() {
        let guest = |name: &str| format!("[package]\nname = \"{name}\"\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n");
        let root = Scratch::new(
            "discovery",
            &[
                ("guests/last-page/Cargo.toml", &guest("last-page")),
                ("guests/hourly-orders/Cargo.toml", &guest("hourly-orders")),
                (
                    "guests/hourly-orders/cases/deep/Cargo.toml",
                    &guest("not-directly-below"),
                ),
                ("guests/sdk/Cargo.toml", "[package]\nname = \"weir-guest\"\n"),
                ("guests/notes/README.md", "no crate"),
                ("guests/apart/Cargo.toml", &format!("{}[workspace]\n", guest("apart"))),
                ("guests/README.md", "no folder"),
                ("tests/guests/traps/Cargo.toml", &guest("traps")),
            ],
        );
        let names = |purpose| -> Vec<String> {
            let guests = find(&root.0, purpose).unwrap();
            guests.into_iter().map(|guest| guest.package).collect()
        };
        assert_eq!(names(Purpose::Tests), ["hourly-orders", "last-page", "traps"]);
        assert_eq!(names(Purpose::Demo), ["hourly-orders", "last-page"]);
    }

    #[test]
    fn a_workspace_without_guests_is_no_mistake() {
        let root = Scratch::new("empty", &[("Cargo.toml", "[workspace]\n")]);
        assert_eq!(find(&root.0, Purpose::Tests).unwrap(), []);
    }

    #[test]
    fn only_components_that_we_made_are_removed_with_their_guest() {
        let root = Scratch::new(
            "orphans",
            &[
                ("here.wasm", ""),
                ("gone.wasm", ""),
                ("theirs.wasm", ""),
                ("build/here.made-from", ""),
                ("build/gone.made-from", ""),
            ],
        );
        let guests = [Manifest::parse("[package]\nname = \"here\"\n")];
        remove_orphans(&guests, &root.0, &root.0.join("build")).unwrap();
        let left = ["here", "gone", "theirs"].map(|name| root.0.join(name).with_extension("wasm").exists());
        assert_eq!(left, [true, false, true]);
    }

    #[test]
    fn a_change_deep_in_a_folder_is_seen() {
        let root = Scratch::new("change", &[("src/bin/main.rs", "")]);
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::options()
            .append(true)
            .open(root.0.join("src/bin/main.rs"))
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(last_change(&root.0), later);
    }

    #[test]
    fn built_in_profiles_have_folders_of_other_names() {
        assert_eq!(Profile::named("dev").folder(), "debug");
        assert_eq!(Profile::default().folder(), "guest");
    }
}
