//! What people pick out of a database: dead letters, and messages that wait.

use super::{show as shown, write_failed};
use crate::{
    command::terminal::{self, answer, say},
    error::{Error, Result},
    storage::Location,
    text::printable,
};
use serde_json::{Value, json};
use std::io::{BufWriter, Write};

/// Characters of a payload that a list shows; --json has all of it.
const SHOWN_CHARACTERS: usize = 100;

/// Things of one kind that are picked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// One of them.
    pub(super) one: &'static str,
    /// No number of them: "no messages wait".
    pub(super) none: &'static str,
    /// The same of those that are asked for.
    pub(super) none_such: &'static str,
    /// The options that say which are meant.
    pub(super) options: &'static str,
}

/// A pipeline that is named has to be in the database, which is there.
pub(super) fn check_pipeline(database: &Location, pipeline: Option<&str>) -> Result<()> {
    let known = database.inspect().pipelines()?;
    match pipeline {
        Some(pipeline) if !known.iter().any(|(name, _)| name == pipeline) => {
            let known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
            Err(Error::definition(format!(
                "database {database} has no pipeline \"{pipeline}\"; it has {}",
                known.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// What changes everything is said on purpose.
pub(super) fn check_meant(kind: Kind, is_everything: bool, all: bool, verb: &str) -> Result<()> {
    match is_everything && !all {
        true => Err(Error::definition(format!(
            "say which {}s to {verb}, with {}; or --all",
            kind.one, kind.options
        ))),
        false => Ok(()),
    }
}

/// Writes what `read` gives, each on its own: in JSON, or in short. Says so where there is nothing.
pub(super) fn list<T>(
    kind: Kind,
    database: &Location,
    is_everything: bool,
    read: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()>,
    json: impl Fn(&T) -> String,
    in_short: impl Fn(&T) -> String,
) -> Result<()> {
    let mut out = BufWriter::new(terminal::stdout());
    let mut is_empty = true;
    read(&mut |picked| {
        is_empty = false;
        let text = if terminal::is_json() {
            json(&picked)
        } else {
            in_short(&picked)
        };
        writeln!(out, "{text}").map_err(|cause| write_failed(&cause))
    })?;
    out.flush().map_err(|cause| write_failed(&cause))?;
    if is_empty && !terminal::is_json() {
        let none = if is_everything { kind.none } else { kind.none_such };
        say!(Info, "{none} in {database}");
    }
    Ok(())
}

/// Answers how many were dropped.
pub(super) fn answer_dropped(kind: Kind, database: &Location, dropped: u64) -> Result<()> {
    if terminal::is_json() {
        return terminal::stdout().json(&json!({ "database": database.to_string(), "dropped": dropped }));
    }
    answer!("dropped {} of {database}", shown::count(dropped, kind.one))
}

/// An object of JSON with a payload, as `payload` or, where that is no text, `payload_hex`.
pub(super) fn with_payload(mut object: Value, payload: &[u8]) -> String {
    if let Some(object) = object.as_object_mut() {
        match payload_text(payload) {
            Ok(text) => object.insert("payload".to_owned(), text.into()),
            Err(hex) => object.insert("payload_hex".to_owned(), hex.into()),
        };
    }
    object.to_string()
}

/// A payload as text, or its bytes in hexadecimal where it is none.
pub(super) fn payload_text(payload: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(payload).map_err(|_| payload.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The beginning of a payload. Payloads are strangers: their control characters do not reach the terminal.
pub(super) fn payload_in_short(payload: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(payload);
    let mut characters = lossy.chars();
    let shown: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", printable(&shown))
}
