//! Cases: folders with events and what becomes of them.

use crate::{
    command::{
        parse_now,
        project::{CASES, PIPELINE_FILE, files, from_here, project_around},
    },
    definition::ProjectFile,
    error::{Context, Error, Result},
    files::input,
    limits::PIPELINE_BYTES_MAX,
};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// What "now" is for every event; absent where case.toml does not say.
    pub(super) now: Option<jiff::Timestamp>,
    /// Files with the rows of lookup tables before the first event; a table's name, or none for the only one.
    pub(super) start: Vec<(Option<String>, PathBuf)>,
    /// Files with the rows that are expected, and what stands between `expected.` and `.jsonl`.
    pub(super) expected: Vec<(Option<String>, PathBuf)>,
}

/// `case.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    now: Option<String>,
}

/// A pipeline, and its cases by name.
#[derive(Debug)]
pub(super) struct Suite {
    /// The pipeline's file.
    pub(super) pipeline: PathBuf,
    /// What it is called where there are others in its project.
    pub(super) of_project: Option<String>,
    /// Where its guests are made: the folder of the pipeline, or of the project.
    pub(super) folder: PathBuf,
    pub(super) cases: Vec<Case>,
}

/// The pipelines that `path` leads to, with their cases: of a folder with a pipeline, of a project, of one of its pipelines;
/// or the one case that it is. Of a project those that are `named`, or all.
pub(super) fn find(path: &Path, named: &[String]) -> Result<Vec<Suite>> {
    let shown = path.display();
    let suites = match find_case(path, named)? {
        Some(suite) => return Ok(vec![suite]),
        None => find_suites(path, named)?,
    };
    if suites.iter().all(|suite| suite.cases.is_empty()) {
        let folder = match suites.as_slice() {
            [Suite { of_project: None, .. }] => CASES.to_owned(),
            [
                Suite {
                    of_project: Some(name), ..
                },
            ] => format!("{CASES}/{name}"),
            _ => format!("{CASES}/PIPELINE"),
        };
        return Err(Error::definition(format!(
            "there are no cases in {shown}; a case is a folder {folder}/NAME with input.jsonl, one payload a line"
        )));
    }
    Ok(suites)
}

/// The case that `path` is.
fn find_case(path: &Path, named: &[String]) -> Result<Option<Suite>> {
    if !path.join("input.jsonl").is_file() {
        return Ok(None);
    }
    let shown = path.display();
    if !named.is_empty() {
        return Err(Error::definition(format!(
            "{shown} is a case, and --pipeline goes with the folder of a project"
        )));
    }
    let whole = fs::canonicalize(path).environment(|| format!("cannot find {shown}"))?;
    let cases = vec![Case::read(path, &whole)?];
    let above = whole.parent().unwrap_or(&whole);
    let named = path.parent().filter(|named| named.file_name().is_some());
    if let Some((project, pipeline)) = pipeline_of(named.unwrap_or(above))? {
        return Ok(Some(Suite::of_project(&project, pipeline, cases)));
    }
    let folder = above.parent().unwrap_or(above);
    let pipeline = folder.join(PIPELINE_FILE);
    match pipeline.is_file() {
        true => Ok(Some(Suite::alone(folder.to_owned(), pipeline, cases))),
        false => Err(Error::definition(format!(
            "the case {shown} has no pipeline: {} is not there; a case is a folder cases/NAME beside it, or cases/PIPELINE/NAME in \
             a project",
            pipeline.display()
        ))),
    }
}

fn find_suites(path: &Path, named: &[String]) -> Result<Vec<Suite>> {
    // Messages name files as one would from here.
    let base = from_here(path);
    if let (Some((project, pipeline)), []) = (pipeline_of(path)?, named) {
        let cases = cases_in(base)?;
        return Ok(vec![Suite::of_project(&project, pipeline, cases)]);
    }
    let of_file = |file: PathBuf| -> Result<Suite> {
        let project = ProjectFile::above(&file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match project.filter(|project| project.pipeline(&name) == file) {
            Some(project) => {
                let cases = cases_in(&project.folder().join(CASES).join(&name))?;
                Ok(Suite::of_project(&project, file, cases))
            }
            None => {
                let folder = file.parent().unwrap_or(Path::new("")).to_owned();
                Ok(Suite::alone(folder.clone(), file, cases_in(&folder.join(CASES))?))
            }
        }
    };
    files(path, named)?.into_iter().map(of_file).collect()
}

/// The project and the pipeline whose cases are in `folder`.
fn pipeline_of(folder: &Path) -> Result<Option<(ProjectFile, PathBuf)>> {
    let (Some(project), Ok(whole)) = (project_around(folder, CASES)?, fs::canonicalize(folder)) else {
        return Ok(None);
    };
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let pipeline = project.pipeline(&name);
    match pipeline.is_file() {
        true => Ok(Some((project, pipeline))),
        false => Err(Error::definition(format!(
            "{} has no pipeline: {} is not there; the cases of a pipeline are in a folder that is called by its name",
            folder.display(),
            pipeline.display()
        ))),
    }
}

impl Suite {
    fn alone(folder: PathBuf, pipeline: PathBuf, cases: Vec<Case>) -> Self {
        Self {
            pipeline,
            of_project: None,
            folder,
            cases,
        }
    }

    fn of_project(project: &ProjectFile, pipeline: PathBuf, cases: Vec<Case>) -> Self {
        let name = pipeline.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            pipeline,
            of_project: Some(name),
            folder: project.folder().to_owned(),
            cases,
        }
    }
}

/// The cases in a folder, by name.
fn cases_in(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in entries(folder)?.iter().filter(|entry| entry.is_dir()) {
        if !entry.join("input.jsonl").is_file() {
            return Err(Error::definition(format!(
                "the case {} has no input.jsonl",
                entry.display()
            )));
        }
        cases.push(Case::read(entry, entry)?);
    }
    Ok(cases)
}

impl Case {
    fn read(folder: &Path, named: &Path) -> Result<Self> {
        let settings_file = folder.join("case.toml");
        let settings: Settings = match settings_file.exists() {
            true => {
                let text = input::read_text(&settings_file, "", PIPELINE_BYTES_MAX)?;
                toml::from_str(&text)
                    .map_err(|cause| Error::definition(format!("{}: {cause}", settings_file.display())))?
            }
            false => Settings::default(),
        };
        let now = settings.now.as_deref().map(parse_now).transpose();
        let now =
            now.map_err(|accepted| Error::definition(format!("{}: key `now`: {accepted}", settings_file.display())))?;
        let (mut start, mut expected) = (Vec::new(), Vec::new());
        for file in entries(folder)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".jsonl") else {
                if name == "case.toml" || name.starts_with('.') || name.ends_with(".md") {
                    continue;
                }
                return Err(no_file_of_a_case(&file));
            };
            match name.split_once('.') {
                Some(("start", table)) => start.push((Some(table.to_owned()), file)),
                Some(("expected", what)) => expected.push((Some(what.to_owned()), file)),
                None if name == "dim_start" => start.push((None, file)),
                None if name == "expected" => expected.push((None, file)),
                None if ["input", "dead_letters", "messages"].contains(&name) => {}
                _ => return Err(no_file_of_a_case(&file)),
            }
        }
        Ok(Self {
            name: named.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            now,
            start,
            expected,
        })
    }

    pub(super) fn input(&self) -> PathBuf {
        self.folder.join("input.jsonl")
    }

    pub(super) fn dead_letters(&self) -> PathBuf {
        self.folder.join("dead_letters.jsonl")
    }

    pub(super) fn messages(&self) -> PathBuf {
        self.folder.join("messages.jsonl")
    }
}

/// A file whose name says nothing would not be compared, and nobody would notice.
fn no_file_of_a_case(file: &Path) -> Error {
    Error::definition(format!(
        "{} is no file of a case; accepted are input.jsonl, expected.jsonl, expected.TABLE.jsonl, dead_letters.jsonl, \
         messages.jsonl, start.TABLE.jsonl and case.toml, and notes in *.md",
        file.display()
    ))
}

/// What is in a folder, by name; nothing when it is missing.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let wrap = || format!("cannot read {}", folder.display());
    let found = fs::read_dir(folder).environment(wrap)?;
    let mut paths = Vec::new();
    for entry in found {
        paths.push(entry.environment(wrap)?.path());
    }
    paths.sort();
    Ok(paths)
}
