//! Projects: a folder whose `weir.toml` says once what several pipelines read.
//!
//! A pipeline that names a source or a table of its project gets it put in where it names it, before anything is read of
//! the pipeline: whatever is true of a table that stands in the pipeline file is true of a shared one. What came from
//! `weir.toml` has its places behind those of the pipeline file, see [`ProjectFile::place`].

use super::{Definition, File, Project};
use crate::{
    error::{Context, Error, Result},
    files::input,
    limits::PIPELINE_BYTES_MAX,
};
use serde::Deserialize;
use serde_spanned::Spanned;
use std::{
    fs,
    path::{Component, Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "weir.toml";

/// The folder of a project that holds its pipelines.
const PIPELINES: &str = "pipelines";

/// The folder of a project that holds the databases of its pipelines.
const DATABASES: &str = "data";

/// A `weir.toml` as text.
#[derive(Clone, Debug)]
pub struct ProjectFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl ProjectFile {
    /// The project in `folder`, if it is one.
    ///
    /// # Errors
    /// When its `weir.toml` cannot be read, is no text, or is larger than [`PIPELINE_BYTES_MAX`].
    pub fn in_folder(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(PROJECT_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = input::read_text(&path, "project file", PIPELINE_BYTES_MAX)?;
        Ok(Some(Self { path, text }))
    }

    /// The project that the file at `path` lies in: that of the nearest folder above it.
    ///
    /// # Errors
    /// As [`Self::in_folder`].
    pub fn above(path: &Path) -> Result<Option<Self>> {
        for folder in folders_above(path) {
            if let Some(project) = Self::in_folder(&folder)? {
                return Ok(Some(project));
            }
        }
        Ok(None)
    }

    /// A project that is already in memory.
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// Its `weir.toml`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that is the project.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The folder of the pipelines' databases.
    pub fn databases(&self) -> PathBuf {
        self.folder().join(DATABASES)
    }

    /// The file of the pipeline with this name.
    pub fn pipeline(&self, name: &str) -> PathBuf {
        self.folder().join(PIPELINES).join(format!("{name}.toml"))
    }

    /// The files of its pipelines, by name.
    ///
    /// # Errors
    /// When the folder `pipelines` cannot be read, or holds none.
    pub fn pipelines(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder().join(PIPELINES);
        let wrap = || format!("cannot read {}", folder.display());
        let mut files = Vec::new();
        if folder.is_dir() {
            for entry in fs::read_dir(&folder).environment(wrap)? {
                let path = entry.environment(wrap)?.path();
                let is_hidden = path
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if path.extension().is_some_and(|ending| ending == "toml") && !is_hidden && path.is_file() {
                    files.push(path);
                }
            }
        }
        if files.is_empty() {
            return Err(Error::definition(format!(
                "the project of {} has no pipelines; each is a file {}",
                self.path.display(),
                folder.join("NAME.toml").display()
            )));
        }
        files.sort();
        Ok(files)
    }

    /// Reads the whole text, also what no pipeline uses.
    ///
    /// # Errors
    /// When it is not TOML, or not of a project's shape: with file, line, key, and what would be accepted.
    pub fn parse(&self) -> Result<Project> {
        self.shared().map(|(_, project)| project)
    }

    /// What it shares and none of the pipelines names, a sentence each.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn unused(&self, pipelines: &[Named]) -> Result<Vec<String>> {
        let project = self.parse()?;
        let (file, path) = (self.as_file(), self.path.display());
        let note = |what: &str, name: &str, place: usize| {
            format!(
                "{path}:{}: no pipeline of the project uses {what} \"{name}\"",
                file.line(place)
            )
        };
        let is_source = |name: &str| pipelines.iter().any(|named| named.source.as_deref() == Some(name));
        let is_table = |name: &str| {
            pipelines
                .iter()
                .any(|named| named.tables.iter().any(|table| table == name))
        };
        let sources = project.sources.iter().filter(|(name, _)| !is_source(name));
        let tables = project.tables.iter().filter(|(name, _)| !is_table(name));
        let sources = sources.map(|(name, source)| note("source", name, source.span().start));
        let tables = tables.map(|(name, table)| note("table", name, table.span().start));
        Ok(sources.chain(tables).collect())
    }

    /// It as a file, for messages that point into it.
    fn as_file(&self) -> File {
        File::from_text(&*self.path, &*self.text)
    }

    /// What it holds as TOML, and read.
    fn shared(&self) -> Result<(DeTable<'_>, Project)> {
        let mistake = |error: &toml::de::Error| self.as_file().toml_error(error);
        let table = DeTable::parse(&self.text).map_err(|error| mistake(&error))?;
        let project = Project::deserialize(toml::Deserializer::from(table.clone())).map_err(|error| mistake(&error))?;
        for (name, table) in &project.tables {
            if let Some(step) = &table.get_ref().update_from {
                let message = format!(
                    "table \"{name}\" is set by the rows of step \"{}\", and steps are of one pipeline; declare the table in that \
                     pipeline, [table.{name}]",
                    step.get_ref()
                );
                return Err(self.as_file().error(Some(step.span()), &message));
            }
        }
        Ok((table.into_inner(), project))
    }
}

/// The folders above a file, nearest first; named as the file is, as far as it names them.
fn folders_above(path: &Path) -> Vec<PathBuf> {
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    if leads_up {
        let whole = fs::canonicalize(path).unwrap_or_default();
        let named = path.ancestors().skip(1);
        let named = named.take_while(|folder| matches!(folder.components().next_back(), Some(Component::Normal(_))));
        return named.chain(whole.ancestors().skip(1)).map(Path::to_owned).collect();
    }
    let mut folders: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
    if let (true, Ok(here)) = (path.is_relative(), std::env::current_dir()) {
        let mut up = PathBuf::new();
        for _ in here.ancestors().skip(1) {
            up.push("..");
            folders.push(up.clone());
        }
    }
    folders
}

/// What a pipeline names of its project.
#[derive(Debug, Default)]
pub struct Named {
    /// Its source, where that is a shared one.
    pub source: Option<String>,
    /// The shared tables.
    pub tables: Vec<String>,
}

impl File {
    /// Puts what `pipeline` names of its project in the places where it names it, and the times of its source where they
    /// are read.
    pub(super) fn put_shared<'t>(&'t self, pipeline: &mut DeTable<'t>) -> Result<()> {
        let names_source = pipeline.get("source").is_some_and(|source| source.get_ref().is_str());
        let names_tables = pipeline.contains_key("tables");
        if names_source || names_tables {
            let (mut shared, _) = self.shared_of_project(pipeline)?;
            if names_source {
                self.put_source(pipeline, &mut shared)?;
            }
            if names_tables {
                self.put_tables(pipeline, &mut shared)?;
            }
        }
        put_event_time(pipeline);
        Ok(())
    }

    /// What the project of this file says, with its places behind those of the file.
    fn shared_of_project(&self, pipeline: &DeTable<'_>) -> Result<(DeTable<'_>, Project)> {
        let Some(project) = self.project() else {
            let key = ["source", "tables"].into_iter().find(|key| {
                let value = pipeline.get(*key);
                value.is_some_and(|value| *key == "tables" || value.get_ref().is_str())
            });
            let place = key.and_then(|key| pipeline.get(key)).map(Spanned::span);
            let message = format!(
                "key `{}` names what a project shares, and there is no {PROJECT_FILE} in the folder of this file or above; declare it \
                 here, as [source] or [table.NAME], or make one with [source.NAME] and [table.NAME]",
                key.unwrap_or("source")
            );
            return Err(self.error(place, &message));
        };
        let (table, read) = project.shared()?;
        Ok((moved_table(table, self.project_begins()), read))
    }

    fn put_source<'t>(&self, pipeline: &mut DeTable<'t>, shared: &mut DeTable<'t>) -> Result<()> {
        let Some(named) = pipeline.get_mut("source") else {
            return Ok(());
        };
        let name = named.get_ref().as_str().unwrap_or_default();
        match take(shared, "source", name) {
            Ok(source) => {
                *named = source;
                Ok(())
            }
            Err(known) => {
                let message = self.not_shared("source", name, &known);
                Err(self.error(Some(named.span()), &message))
            }
        }
    }

    fn put_tables<'t>(&self, pipeline: &mut DeTable<'t>, shared: &mut DeTable<'t>) -> Result<()> {
        let names = pipeline.get("tables").and_then(|names| names.get_ref().as_array());
        // What is no list of names is told when the pipeline is read.
        let Some(names) = names.cloned() else { return Ok(()) };
        for named in names {
            let Some(name) = named.get_ref().as_str() else { continue };
            let taken = take(shared, "table", name);
            let own = match pipeline.get_mut("table").map(Spanned::get_mut) {
                Some(DeValue::Table(own)) => own,
                // A table of no tables is told as well.
                Some(_) => return Ok(()),
                None => {
                    let key = Spanned::new(named.span(), "table".into());
                    pipeline.insert(key, Spanned::new(named.span(), DeValue::Table(DeTable::new())));
                    match pipeline.get_mut("table").map(Spanned::get_mut) {
                        Some(DeValue::Table(own)) => own,
                        _ => return Ok(()),
                    }
                }
            };
            let table = match taken {
                _ if own.contains_key(name) => {
                    let message = format!(
                        "table \"{name}\" is there already; name a shared table once, and give one of this pipeline another name"
                    );
                    return Err(self.error(Some(named.span()), &message));
                }
                Ok(table) => table,
                Err(known) => {
                    let message = self.not_shared("table", name, &known);
                    return Err(self.error(Some(named.span()), &message));
                }
            };
            own.insert(Spanned::new(named.span(), name.to_owned().into()), table);
        }
        Ok(())
    }

    fn not_shared(&self, what: &str, name: &str, known: &[String]) -> String {
        let project = self.project().map(|project| project.path().display().to_string());
        let known = match known {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        format!(
            "{} has no {what} \"{name}\"; it has {known}, each under [{what}.NAME]",
            project.unwrap_or_default()
        )
    }

    /// What of its project this file names, as far as it can be read.
    pub fn named_of_project(&self) -> Named {
        let table = DeTable::parse(&self.text).map(Spanned::into_inner).unwrap_or_default();
        let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
        let tables = table.get("tables").and_then(|names| names.get_ref().as_array());
        Named {
            source: table.get("source").and_then(text),
            tables: tables.into_iter().flatten().filter_map(text).collect(),
        }
    }

    /// In a project the file of a pipeline is called by its name: cases, databases and `--pipeline` go by that.
    pub(super) fn check_called_by_name(&self, definition: &Definition<'_>) -> Result<()> {
        let Some(project) = self.project() else { return Ok(()) };
        let is_of_project = self.path.parent() == Some(&project.folder().join(PIPELINES));
        let called = self.path.file_stem().and_then(|called| called.to_str());
        let name = definition.name.get_ref();
        match called {
            Some(called) if is_of_project && called != name => {
                let message = format!(
                    "the pipeline is named \"{name}\", and its file {called}.toml; in a project the two are the same: rename the file, \
                     or say name = \"{called}\""
                );
                Err(self.error(Some(definition.name.span()), &message))
            }
            _ => Ok(()),
        }
    }
}

/// Takes a source or a table out of what is shared; or says which there are.
fn take<'t>(shared: &mut DeTable<'t>, what: &str, name: &str) -> Result<Spanned<DeValue<'t>>, Vec<String>> {
    let Some(DeValue::Table(all)) = shared.get_mut(what).map(Spanned::get_mut) else {
        return Err(Vec::new());
    };
    let known: Vec<String> = all.keys().map(|key| key.get_ref().to_string()).collect();
    // Where it is named again, that is told for what it is.
    all.get(name).cloned().ok_or(known)
}

/// When its events happened is said of a source or of a pipeline; a key of the pipeline stands above that of the source.
fn put_event_time(pipeline: &mut DeTable<'_>) {
    let Some(DeValue::Table(source)) = pipeline.get_mut("source").map(Spanned::get_mut) else {
        return;
    };
    // What is of no such shape stays, and is told where it stands.
    if !source.get("event_time").is_some_and(|time| time.get_ref().is_table()) {
        return;
    }
    let Some((key, of_source)) = source.remove_entry("event_time") else {
        return;
    };
    match pipeline.get_mut("event_time").map(Spanned::get_mut) {
        None => {
            pipeline.insert(key, of_source);
        }
        Some(DeValue::Table(own)) => {
            let DeValue::Table(of_source) = of_source.into_inner() else {
                return;
            };
            for (key, value) in of_source {
                if !own.contains_key(&**key.get_ref()) {
                    own.insert(key, value);
                }
            }
        }
        Some(_) => {}
    }
}

/// The same table, its places `by` further behind.
fn moved_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = table.into_iter().map(|(key, value)| {
        let (span, name) = (key.span(), key.into_inner());
        (Spanned::new(span.start + by..span.end + by, name), moved(value, by))
    });
    moved.collect()
}

fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Array(values) => DeValue::Array(values.into_iter().map(|value| moved(value, by)).collect()),
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        other => other,
    };
    Spanned::new(span.start + by..span.end + by, value)
}
