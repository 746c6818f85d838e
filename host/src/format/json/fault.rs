//! What is wrong with a payload, and how it is said.

use super::NONE;
use crate::{
    format::columns::{RejectedPayload, accepted},
    plan::SourceColumn,
    text::printable,
};

/// What is wrong, small enough to be returned by value; [`Fault::reject`] puts it in words.
#[derive(Clone, Copy)]
pub(in crate::format) struct Fault {
    found: Found,
    at: usize,
    column: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Found {
    NotAccepted,
    /// No object, where the path of a column leads through one.
    NotOnPath,
    /// No array, where it leads through one.
    NoArrayOnPath,
    ListTooLong,
    Twice,
    LoneSurrogate,
    NotUtf8,
    Control,
    BadEscape,
    End,
    NoValue,
    NoObject,
    NoSubject,
    NoName,
    NoColon,
    NoMemberEnd,
    NoElementEnd,
    Trailing,
    ColumnFull,
}

impl Fault {
    #[inline(always)]
    pub(super) fn new(found: Found, at: usize) -> Self {
        Fault {
            found,
            at,
            column: NONE,
        }
    }

    #[cold]
    pub(super) fn of(self, column: usize) -> Self {
        Fault { column, ..self }
    }

    /// In words, of the columns of the scanner that met it.
    #[cold]
    pub(in crate::format) fn reject(self, payload: &[u8], columns: &[SourceColumn]) -> RejectedPayload {
        let fault = self;
        let column = columns.get(fault.column);
        let accepted = match (fault.found, column) {
            (Found::NotAccepted | Found::NoValue | Found::LoneSurrogate, Some(column)) => &accepted(column),
            (Found::NotAccepted | Found::NoValue, None) => "a JSON value",
            (Found::NotOnPath, _) => "an object or null, since the column's path leads through it",
            (Found::NoArrayOnPath, _) => "an array or null, since the column's path leads through it",
            (Found::ListTooLong, _) => "a list that takes at most 16 MiB",
            (Found::Twice, Some(_)) => "each declared column once",
            (Found::Twice, None) => "each member once",
            (Found::LoneSurrogate, None) | (Found::NotUtf8, _) => "valid UTF-8",
            (Found::Control, _) => "control characters only as escapes",
            (Found::BadEscape, _) => "the escapes of RFC 8259",
            (Found::End, _) => "a whole JSON object",
            (Found::NoObject, _) => "one JSON object",
            (Found::NoSubject, _) => "a subject in quotes",
            (Found::NoName, _) => "a member's name in quotes",
            (Found::NoColon, _) => "a colon",
            (Found::NoMemberEnd, _) => "a comma or a closing brace",
            (Found::NoElementEnd, _) => "a comma or a closing bracket",
            (Found::Trailing, _) => "nothing after the object",
            (Found::ColumnFull, _) => "at most 2^32-1 bytes of text in a batch",
        };
        let found = match fault.found {
            Found::Twice => "the name a second time".to_owned(),
            Found::LoneSurrogate => format!("a lone surrogate, {}", excerpt(payload, fault.at)),
            Found::NotUtf8 => "a text that is not valid UTF-8".to_owned(),
            Found::Control => "a raw control character".to_owned(),
            Found::ColumnFull => "more text than a batch holds".to_owned(),
            Found::ListTooLong => "a longer list".to_owned(),
            _ => excerpt(payload, fault.at),
        };
        RejectedPayload {
            column: column.map(|column| column.field.name.clone()),
            reason: format!("found {found} at byte {}; accepted is {accepted}", fault.at),
        }
    }
}

/// What is written at `at`, short enough for a reason.
pub(in crate::format) fn excerpt(payload: &[u8], at: usize) -> String {
    const BYTES_MAX: usize = 40;
    let rest = payload.get(at..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|b| matches!(b, b',' | b'}' | b']' | b'\n'))
        .unwrap_or(rest.len());
    let shown = rest.get(..end.clamp(1, BYTES_MAX)).unwrap_or_default();
    if shown.is_empty() {
        "the end of the payload".to_owned()
    } else {
        format!("`{}`", printable(&String::from_utf8_lossy(shown)))
    }
}
