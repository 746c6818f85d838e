//! The text of a pipeline file, and errors that point into it in words of TOML.

use super::Definition;
use crate::{
    error::{Error, Result},
    files::input,
    limits::PIPELINE_BYTES_MAX,
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// A pipeline file as text, for messages that point into it.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it was read from.
    pub path: PathBuf,
    text: String,
}

impl File {
    /// Reads `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is no text, or is larger than [`PIPELINE_BYTES_MAX`].
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: input::read_text(path, "pipeline file", PIPELINE_BYTES_MAX)?,
        })
    }

    /// A file that is already in memory.
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    /// Reads the text as a pipeline.
    ///
    /// # Errors
    /// When it is not TOML, or not of a pipeline's shape: with file, line, key, and what would be accepted.
    pub fn parse(&self) -> Result<Definition> {
        toml::from_str(&self.text).map_err(|error| self.error(error.span(), &in_words_of_toml(error.message().trim())))
    }

    /// The key that stands at `offset`, or whose value does, as far as its line tells.
    fn key_of(&self, offset: usize) -> Option<&str> {
        let before = self.text.get(..offset)?;
        let line = before.get(before.rfind('\n').map_or(0, |at| at + 1)..)?;
        let rest = self.text.get(offset..)?.lines().next()?;
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

    /// The line in which `offset` lies, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }

    /// An error at a place in the file: `file:line:column: message`, with the key that stands there.
    pub fn error(&self, span: Option<Range<usize>>, message: &str) -> Error {
        let path = self.path.display();
        let Some(before) = span.and_then(|span| self.text.get(..span.start)) else {
            return Error::definition(format!("{path}: {message}"));
        };
        let key = match self.key_of(before.len()) {
            Some(key) if !message.contains("key `") => format!("key `{key}`: "),
            _ => String::new(),
        };
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::definition(format!("{path}:{line}:{column}: {key}{message}"))
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
