//! What an argument names that is a pipeline file, a folder with a `pipeline.toml`, or the folder of a project.

use crate::{
    definition::{File, PROJECT_FILE, ProjectFile},
    error::{Context, Error, Result},
    files::private_file,
    storage::Location,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file of a pipeline that stands alone.
pub(super) const PIPELINE_FILE: &str = "pipeline.toml";

/// The folder of a project that holds the crates of its rules.
const GUESTS: &str = "guests";

/// The folder of a project that holds, for each pipeline, a folder of cases.
pub(super) const CASES: &str = "cases";

/// Which pipeline is meant.
#[derive(Debug, clap::Args)]
pub(super) struct OnePipeline {
    /// The pipeline file; or a folder that holds it, as pipeline.toml or, in a project, in the folder pipelines.
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// Which pipeline of the project that is named.
    #[arg(long = "pipeline", value_name = "NAME")]
    of_project: Option<String>,
}

impl OnePipeline {
    /// Its file.
    ///
    /// # Errors
    /// When the argument names no pipeline, or several.
    pub(super) fn file(&self) -> Result<PathBuf> {
        let mut files = files(&self.pipeline, self.of_project.as_slice())?;
        match (files.pop(), files.is_empty()) {
            (Some(file), true) => Ok(file),
            (last, _) => {
                files.extend(last);
                let shown = self.pipeline.display();
                let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
                Err(Error::definition(format!(
                    "the project {shown} has {}; say which, as in --pipeline {}, or name its file, as in {first}",
                    listed(&files),
                    names(&files).next().unwrap_or_default()
                )))
            }
        }
    }
}

/// The files of the pipelines that `path` names: itself, or those of a folder; of a project those that are `named`, or all.
///
/// # Errors
/// When there are none, or one that is named is not there.
pub(super) fn files(path: &Path, named: &[String]) -> Result<Vec<PathBuf>> {
    let shown = path.display();
    let project = project_at(path)?;
    let Some(project) = project else {
        if !named.is_empty() {
            return Err(Error::definition(format!(
                "--pipeline goes with the folder of a project, and {shown} has no {PROJECT_FILE}"
            )));
        }
        return match from_or_here(path).is_dir() {
            false => Ok(vec![path.to_owned()]),
            true => Ok(vec![alone_in(path)?]),
        };
    };
    let all = project.pipelines()?;
    if named.is_empty() {
        return Ok(all);
    }
    let of_name = |name: &String| {
        let file = project.pipeline(name);
        match all.contains(&file) {
            true => Ok(file),
            false => Err(Error::definition(format!(
                "the project {shown} has no pipeline \"{name}\"; it has {}",
                listed(&all)
            ))),
        }
    };
    named.iter().map(of_name).collect()
}

/// The project whose folder `path` is.
pub(super) fn project_at(path: &Path) -> Result<Option<ProjectFile>> {
    match from_or_here(path).is_dir() {
        true => ProjectFile::in_folder(from_here(path)),
        false => Ok(None),
    }
}

/// A folder as messages name what is in it: as one would from here.
pub(super) fn from_here(folder: &Path) -> &Path {
    match folder == Path::new(".") {
        true => Path::new(""),
        false => folder,
    }
}

/// The pipeline of a folder that is no project.
fn alone_in(folder: &Path) -> Result<PathBuf> {
    let file = from_here(folder).join(PIPELINE_FILE);
    match file.is_file() {
        true => Ok(file),
        false => Err(Error::definition(format!(
            "there is no pipeline in {}; a folder with one has a {PIPELINE_FILE}, or is a project: a {PROJECT_FILE}, and \
             pipelines/NAME.toml",
            folder.display()
        ))),
    }
}

/// The names of pipelines, as their files are called.
fn names(files: &[PathBuf]) -> impl Iterator<Item = String> {
    let stems = files.iter().filter_map(|file| file.file_stem());
    stems.map(|stem| stem.to_string_lossy().into_owned())
}

/// The same in words: `pipelines alerts, totals`.
fn listed(files: &[PathBuf]) -> String {
    let names: Vec<String> = names(files).collect();
    format!(
        "{} {}",
        if names.len() == 1 { "pipeline" } else { "pipelines" },
        names.join(", ")
    )
}

/// Where a pipeline keeps its tables unless somebody says otherwise: `NAME.db` in this folder, or in that of its project.
pub(super) fn database_of(file: &File, name: &str) -> Location {
    match file.project() {
        Some(project) => Location::in_folder(&project.databases(), name),
        None => Location::of_pipeline(name),
    }
}

/// The same, with a place for it: the folder of the project's databases is made when it is missing.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_database_of(file: &File, name: &str) -> Result<Location> {
    if let Some(project) = file.project() {
        let folder = project.databases();
        private_file::folder(&folder).environment(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Ok(database_of(file, name))
}

/// The crates of rules and aggregates of a project: the folders of `guests` with a `Cargo.toml` whose library is a component.
///
/// # Errors
/// When a folder or a manifest cannot be read.
pub(super) fn guests_of(project: &ProjectFile) -> Result<Vec<PathBuf>> {
    let folder = project.folder().join(GUESTS);
    let mut guests = Vec::new();
    if !folder.is_dir() {
        return Ok(guests);
    }
    let wrap = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(&folder).environment(wrap)? {
        let guest = entry.environment(wrap)?.path();
        let manifest = guest.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = fs::read_to_string(&manifest).environment(|| format!("cannot read {}", manifest.display()))?;
        // What cargo cannot read, it says when it builds.
        let manifest: Option<toml::Table> = text.parse().ok();
        let is_library = manifest.is_some_and(|manifest| {
            let kinds = manifest.get("lib").and_then(|lib| lib.get("crate-type"));
            let kinds = kinds.and_then(toml::Value::as_array);
            kinds.is_none_or(|kinds| !kinds.iter().any(|kind| kind.as_str() == Some("cdylib")))
        });
        if !is_library {
            guests.push(guest);
        }
    }
    guests.sort();
    Ok(guests)
}

/// The project of whose guests `folder` is one.
///
/// # Errors
/// When its `weir.toml` cannot be read.
pub(super) fn project_of_guest(folder: &Path) -> Result<Option<ProjectFile>> {
    project_around(folder, GUESTS)
}

/// The project that holds `folder` in its folder `part`, named as `folder` is.
///
/// # Errors
/// When its `weir.toml` cannot be read.
pub(super) fn project_around(folder: &Path, part: &str) -> Result<Option<ProjectFile>> {
    let Ok(whole) = fs::canonicalize(from_or_here(folder)) else {
        return Ok(None);
    };
    let within = whole.parent().filter(|within| within.ends_with(part));
    let Some(root) = within.and_then(Path::parent) else {
        return Ok(None);
    };
    let named = folder.parent().and_then(Path::parent);
    let named = named.filter(|named| fs::canonicalize(from_or_here(named)).is_ok_and(|named| named == root));
    ProjectFile::in_folder(named.unwrap_or(root))
}

fn from_or_here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}
