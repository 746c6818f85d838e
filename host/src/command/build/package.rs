//! What cargo says of a guest's crate.

use super::toolchain::{TRIPLE, Toolchain};
use crate::error::{Context, Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

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
}

#[derive(Deserialize)]
struct PackageMetadata {
    name: String,
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
fn metadata(manifest: &Path, toolchain: &Toolchain, arguments: &[&str]) -> Result<Metadata> {
    let mut cargo = toolchain.cargo();
    cargo
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .arg("--manifest-path")
        .arg(manifest);
    let said = cargo.output().environment(|| "cannot start cargo".to_owned())?;
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
    pub(super) fn of(folder: &Path, toolchain: &Toolchain) -> Result<Self> {
        let manifest = std::path::absolute(folder.join("Cargo.toml"))
            .and_then(std::fs::canonicalize)
            .environment(|| format!("cannot find {}/Cargo.toml", folder.display()))?;
        // First without what it depends on, which may not be fetched where there is no package.
        let own = metadata(&manifest, toolchain, &["--no-deps"])?;
        if !own.packages.iter().any(|package| package.manifest_path == manifest) {
            return Err(Error::definition(format!(
                "{} is a workspace and no package; name the folder of one of its guests",
                manifest.display()
            )));
        }
        let metadata = metadata(&manifest, toolchain, &["--filter-platform", TRIPLE])?;
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

    /// The module that this line of cargo's reports, if it does.
    pub(super) fn core_module(&self, line: &str) -> Option<PathBuf> {
        let message: Message = serde_json::from_str(line).ok()?;
        let is_own = message.reason == "compiler-artifact" && message.manifest_path.as_ref() == Some(&self.manifest);
        let mut files = message.filenames.into_iter().filter(|_| is_own);
        files.find(|file| file.extension().is_some_and(|ending| ending == "wasm"))
    }
}
