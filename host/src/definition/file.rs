//! The text of a pipeline file, and errors that point into it in words of TOML.

use super::{Definition, Name, ProjectFile};
use crate::{
    error::{Error, Result},
    files::input,
    limits::PIPELINE_BYTES_MAX,
};
use serde::Deserialize;
use serde_spanned::Spanned;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use toml::de::DeTable;

/// A pipeline file as text, for messages that point into it; with the `weir.toml` of the project that it lies in.
///
/// Places are counted in bytes over both texts, that of the pipeline first.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it was read from.
    pub path: PathBuf,
    pub(super) text: String,
    project: Option<Arc<ProjectFile>>,
    /// The files that it names, as they were when they were read first.
    named: Arc<Mutex<BTreeMap<PathBuf, Arc<[u8]>>>>,
}

/// A place in one of the two texts.
struct Place<'f> {
    path: &'f Path,
    text: &'f str,
    /// Where it is in that text.
    offset: usize,
}

impl File {
    /// Reads `path`, and the `weir.toml` of the nearest folder above that has one: what was read stays, whatever becomes of
    /// the files.
    ///
    /// # Errors
    /// When a file cannot be read, is no text, or is larger than [`PIPELINE_BYTES_MAX`].
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: input::read_text(path, "pipeline file", PIPELINE_BYTES_MAX)?,
            project: ProjectFile::above(path)?.map(Arc::new),
            named: Arc::default(),
        })
    }

    /// A file that is already in memory.
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            project: None,
            named: Arc::default(),
        }
    }

    /// The same file, in a project.
    pub fn in_project(self, project: ProjectFile) -> Self {
        let project = Some(Arc::new(project));
        Self { project, ..self }
    }

    /// The project that it lies in.
    pub fn project(&self) -> Option<&ProjectFile> {
        self.project.as_deref()
    }

    /// A path as the file means it in which it stands at `place`: from the folder of that file on.
    pub fn resolve(&self, place: Range<usize>, path: &Path) -> PathBuf {
        let file = self.place(place.start).path;
        file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// What a file holds that is named in this one, or in its project. It is read once: what it holds is part of what the file says,
    /// and every plan of it says the same.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, or is larger than `most` bytes.
    pub fn named(&self, name: &Name, what: &str, most: u64) -> Result<Arc<[u8]>> {
        let path = self.resolve(name.span(), Path::new(name.get_ref()));
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = named.get(&path) {
            return Ok(bytes.clone());
        }
        let bytes: Arc<[u8]> = input::read_bytes(&path, what, most)?.into();
        named.insert(path, bytes.clone());
        Ok(bytes)
    }

    /// Reads the text as a pipeline.
    ///
    /// # Errors
    /// When it is not TOML, or not of a pipeline's shape: with file, line, key, and what would be accepted.
    pub fn parse(&self) -> Result<Definition<'_>> {
        let table = self.whole()?;
        let mut definition = Definition::deserialize(toml::Deserializer::from(table.clone()))
            .map_err(|error| self.toml_error(&error))?;
        definition.take_kinds(table.into_inner());
        self.check_called_by_name(&definition)?;
        Ok(definition)
    }

    /// The pipeline as TOML, with what it names of its project put in: two files that give the same are the same pipeline.
    ///
    /// # Errors
    /// As [`Self::parse`], but for what is not of a pipeline's shape.
    pub fn as_table(&self) -> Result<toml::Table> {
        let table = self.whole()?;
        toml::Table::deserialize(toml::Deserializer::from(table)).map_err(|error| self.toml_error(&error))
    }

    fn whole(&self) -> Result<Spanned<DeTable<'_>>> {
        let mut table = DeTable::parse(&self.text).map_err(|error| self.toml_error(&error))?;
        self.put_shared(table.get_mut())?;
        Ok(table)
    }

    /// Where the places in the project's text begin.
    pub(super) fn project_begins(&self) -> usize {
        // The end of the pipeline's own text is a place too.
        self.text.len() + 1
    }

    fn place(&self, offset: usize) -> Place<'_> {
        match (&self.project, offset.checked_sub(self.project_begins())) {
            (Some(project), Some(offset)) => Place {
                path: &project.path,
                text: &project.text,
                offset,
            },
            _ => Place {
                path: &self.path,
                text: &self.text,
                offset,
            },
        }
    }

    /// What the reader of TOML says, at its place.
    pub(super) fn toml_error(&self, error: &toml::de::Error) -> Error {
        self.error(error.span(), &in_words_of_toml(error.message().trim()))
    }

    /// The line in which `offset` lies, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.place(offset).line()
    }

    /// An error at a place in the file: `file:line:column: message`, with the key that stands there.
    pub fn error(&self, span: Option<Range<usize>>, message: &str) -> Error {
        let place = span.map(|span| self.place(span.start));
        let before = place.as_ref().and_then(|place| place.text.get(..place.offset));
        let (Some(place), Some(before)) = (&place, before) else {
            return Error::definition(format!("{}: {message}", self.path.display()));
        };
        let key = match place.key() {
            Some(key) if !message.contains("key `") => format!("key `{key}`: "),
            _ => String::new(),
        };
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let (path, line) = (place.path.display(), place.line());
        Error::definition(format!("{path}:{line}:{column}: {key}{message}"))
    }
}

impl<'f> Place<'f> {
    /// The line, from 1.
    fn line(&self) -> usize {
        let before = self.text.bytes().take(self.offset);
        before.filter(|&byte| byte == b'\n').count() + 1
    }

    /// The key that stands here, or whose value does, as far as its line tells.
    fn key(&self) -> Option<&'f str> {
        let before = self.text.get(..self.offset)?;
        let line = before.get(before.rfind('\n').map_or(0, |at| at + 1)..)?;
        let rest = self.text.get(self.offset..)?.lines().next()?;
        if line.trim_start().starts_with('#') || rest.starts_with('#') {
            return None;
        }
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '"');
        let here = rest.get(..rest.find(|c| !is_key(c)).unwrap_or(rest.len()))?;
        if !here.is_empty() && rest.get(here.len()..)?.trim_start().starts_with('=') {
            return Some(here);
        }
        let key = line.get(..line.rfind('=')?)?.trim_end();
        key.get(key.rfind(|c| !is_key(c)).map_or(0, |at| at + 1)..)
            .filter(|key| !key.is_empty())
    }
}

/// serde's messages, which speak of the types of Rust, in words of TOML.
fn in_words_of_toml(message: &str) -> String {
    let words = [
        ("unknown field `", "unknown key `"),
        ("missing field `", "missing key `"),
        ("unknown variant `", "unknown value `"),
        ("invalid type: map", "found a table"),
        ("invalid type: sequence", "found a list"),
        ("invalid type: ", "found the "),
        ("invalid value: ", "found the "),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a table"),
        (
            "found a table, expected a list",
            "found a table, expected a list of tables, each under [[…]]",
        ),
        ("expected f64", "expected a number"),
        ("expected u64", "expected a whole number"),
        (
            "expected struct AggregateColumn",
            "expected a function with a column, such as { sum = \"amount\" }",
        ),
        (
            "expected struct Source",
            "expected a table such as { stream = \"ORDERS\", subject = \"orders\", columns = { … } }, or the name of a source of the \
             project",
        ),
        (
            "expected struct InputEventTime",
            "expected a table such as { column = \"at\", unit = \"ms\" }",
        ),
        (
            "expected struct EventTime",
            "expected a table such as { column = \"at\", out_of_orderness = \"10 s\" }",
        ),
        (
            "expected struct Trust",
            "expected a table such as { keys = [\"UD5Z…\"], require = true }",
        ),
        (
            "expected struct Commit",
            "expected a table such as { at_most_every = \"50 ms\" }",
        ),
        (
            "expected struct Hopping",
            "expected a table such as { size = \"1 h\", every = \"5 min\" }",
        ),
        (
            "expected struct Session",
            "expected a table such as { gap = \"30 min\" }",
        ),
        (
            "expected struct OverWindow",
            "expected a table such as { time = \"1 h\" } or { rows = 10 }",
        ),
        (
            "found the unit variant, expected newtype variant",
            "found no duration; accepted is a table such as { early = \"10 s\" }",
        ),
        ("expected struct ", "expected a table, of a "),
    ];
    words
        .iter()
        .fold(message.to_owned(), |message, (from, to)| message.replace(from, to))
}
