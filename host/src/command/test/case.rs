//! Cases: folders with events and what becomes of them.

use crate::{
    command::parse_now,
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

/// The folder of the pipeline, and its cases by name: all of them, or the one that `path` is.
pub(super) fn find(path: &Path) -> Result<(PathBuf, Vec<Case>)> {
    let shown = path.display();
    if path.join("input.jsonl").is_file() {
        let whole = fs::canonicalize(path).environment(|| format!("cannot find {shown}"))?;
        let folder = whole.parent().and_then(Path::parent).unwrap_or(&whole);
        if !folder.join("pipeline.toml").is_file() {
            return Err(Error::definition(format!(
                "the case {shown} has no pipeline: {}/pipeline.toml is not there; a case is a folder cases/NAME beside it",
                folder.display()
            )));
        }
        return Ok((folder.to_owned(), vec![Case::read(path, &whole)?]));
    }
    if !path.join("pipeline.toml").is_file() {
        return Err(Error::definition(format!(
            "there is no pipeline.toml in {shown}; name the folder of a pipeline, or one of its cases"
        )));
    }
    // Messages name files as one would from here.
    let base = if path == Path::new(".") { Path::new("") } else { path };
    let mut cases = Vec::new();
    for entry in entries(&base.join("cases"))?.iter().filter(|entry| entry.is_dir()) {
        if !entry.join("input.jsonl").is_file() {
            return Err(Error::definition(format!(
                "the case {} has no input.jsonl",
                entry.display()
            )));
        }
        cases.push(Case::read(entry, entry)?);
    }
    if cases.is_empty() {
        return Err(Error::definition(format!(
            "there are no cases in {shown}; a case is a folder {}/NAME with input.jsonl, one payload a line",
            base.join("cases").display()
        )));
    }
    Ok((base.to_owned(), cases))
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
