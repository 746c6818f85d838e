//! What cargo says of a guest's crate.

use super::toolchain::{TRIPLE, Toolchain};
use crate::{
    command::supervise,
    error::{Context, Error, Result},
    source::Stop,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Crates that call the JavaScript of a browser.
const BROWSER_CRATES: [&str; 3] = ["wasm-bindgen", "js-sys", "web-sys"];

/// The crate that rules are written with.
const SDK: &str = "weir-guest";

/// A guest's crate.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest: PathBuf,
    workspace: PathBuf,
    /// The crates that come from folders and not from a registry, with their names: this one, the SDK, and what else
    /// the author keeps apart.
    local: Vec<(PathBuf, String)>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<PackageMetadata>,
    workspace_root: PathBuf,
    resolve: Option<Resolve>,
}

/// Which crates are built, with which features.
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    #[serde(default)]
    features: Vec<String>,
    /// The crates that it reads.
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
    manifest_path: PathBuf,
    source: Option<String>,
}

/// A line that `cargo build --message-format json` writes, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// What cargo says of the package or workspace of a `Cargo.toml`.
fn metadata(manifest: &Path, toolchain: &Toolchain, arguments: &[&str], stop: &Stop) -> Result<Metadata> {
    let mut cargo = toolchain.cargo();
    cargo
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .arg("--manifest-path")
        .arg(manifest);
    let said = supervise::output(&cargo, stop).environment(|| "cannot start cargo".to_owned())?;
    supervise::check_going_on(stop)?;
    if let Some(why) = supervise::not_started(said.status) {
        return Err(Error::environment(format!("cannot start cargo: {why}")));
    }
    if !said.status.success() {
        let words = String::from_utf8_lossy(&said.stderr);
        return Err(Error::environment(format!(
            "cargo cannot read {}: {}",
            manifest.display(),
            words.trim()
        )));
    }
    serde_json::from_slice(&said.stdout)
        .environment(|| format!("cannot read what cargo says of {}", manifest.display()))
}

impl Package {
    /// The package whose `Cargo.toml` is in `folder`.
    pub(super) fn of(folder: &Path, toolchain: &Toolchain, stop: &Stop) -> Result<Self> {
        let manifest = std::path::absolute(folder.join("Cargo.toml"))
            .and_then(std::fs::canonicalize)
            .environment(|| format!("cannot find {}/Cargo.toml", folder.display()))?;
        // First without what it depends on, which may not be fetched where there is no package.
        let own = metadata(&manifest, toolchain, &["--no-deps"], stop)?;
        if !own.packages.iter().any(|package| package.manifest_path == manifest) {
            return Err(Error::definition(format!(
                "{} is a workspace and no package; name the folder of one of its guests",
                manifest.display()
            )));
        }
        let metadata = metadata(&manifest, toolchain, &["--filter-platform", TRIPLE], stop)?;
        let packages = metadata.packages.into_iter();
        let local: Vec<_> = packages.filter(|package| package.source.is_none()).collect();
        let own = local.iter().find(|package| package.manifest_path == manifest);
        let name = own.map(|package| package.name.clone()).unwrap_or_default();
        let folder_of = |package: PackageMetadata| Some((package.manifest_path.parent()?.to_owned(), package.name));
        Ok(Self {
            name,
            workspace: metadata.workspace_root,
            local: local.into_iter().filter_map(folder_of).collect(),
            manifest,
        })
    }

    /// Folders, and what the component calls them. Cargo names the files of a workspace from its root, so that root is
    /// nothing; crates of other folders go by their names, and so does the SDK wherever it is.
    pub(super) fn remaps(&self) -> Vec<(PathBuf, String)> {
        let mut remaps = vec![(self.workspace.clone(), String::new())];
        for (folder, name) in &self.local {
            match folder.strip_prefix(&self.workspace) {
                Ok(inside) if name == SDK => remaps.push((inside.to_owned(), name.clone())),
                Ok(_) => {}
                Err(_) => remaps.push((folder.clone(), name.clone())),
            }
        }
        remaps
    }

    /// Why a core module calls JavaScript, where it does: the crates that bring that in, with the features that do. No host
    /// of rules has it.
    pub(super) fn browser_crates(&self, core: &[u8], toolchain: &Toolchain, stop: &Stop) -> Option<String> {
        // What wasm-bindgen puts into the imports of a module.
        let calls = |name: &[u8]| core.windows(name.len()).any(|bytes| bytes == name);
        if !calls(b"__wbindgen") {
            return None;
        }
        let metadata = metadata(&self.manifest, toolchain, &["--filter-platform", TRIPLE], stop).ok()?;
        let by_id = |id: &str| metadata.packages.iter().find(|package| package.id == id);
        let mut found = Vec::new();
        for node in &metadata.resolve.as_ref()?.nodes {
            let Some(package) = by_id(&node.id) else { continue };
            let browser: Vec<&str> = node
                .dependencies
                .iter()
                .filter_map(|id| by_id(id))
                .map(|read| read.name.as_str())
                .filter(|name| BROWSER_CRATES.contains(name))
                .collect();
            if browser.is_empty() || BROWSER_CRATES.contains(&package.name.as_str()) {
                continue;
            }
            let brings = |feature: &&String| {
                let needs = package.features.get(*feature).into_iter().flatten();
                let mut needs =
                    needs.map(|need| need.trim_start_matches("dep:").split(['/', '?']).next().unwrap_or(""));
                browser.contains(&feature.as_str()) || needs.any(|need| browser.contains(&need))
            };
            let features: Vec<&str> = node.features.iter().filter(brings).map(String::as_str).collect();
            let named = format!("{} {}", package.name, package.version);
            found.push(match features.as_slice() {
                [] => format!("crate {named}"),
                [feature] => format!("crate {named} by its feature \"{feature}\""),
                features => format!("crate {named} by its features \"{}\"", features.join("\", \"")),
            });
        }
        (!found.is_empty()).then(|| {
            format!(
                "it calls JavaScript, which a rule does not have: {} brings that in; leave the feature out, with \
                 default-features = false and without it under features",
                found.join(", ")
            )
        })
    }

    /// The module that this line of cargo's reports, if it does.
    pub(super) fn core_module(&self, line: &str) -> Option<PathBuf> {
        let message: Message = serde_json::from_str(line).ok()?;
        let is_own = message.reason == "compiler-artifact" && message.manifest_path.as_ref() == Some(&self.manifest);
        let mut files = message.filenames.into_iter().filter(|_| is_own);
        files.find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
    }
}
