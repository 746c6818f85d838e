//! JSON payloads to columns, in one pass.
//!
//! The scanner knows what it is looking for. It guesses each member's name from the order in which the events before
//! had theirs, and checks the guess with one masked compare of sixteen bytes; the declared type then says how to read
//! the value, and the value goes straight into its column. Nothing is built in between. Members that are not declared
//! are checked to be JSON and passed over without recursion, so no payload can exhaust the stack.
//!
//! UTF-8 is checked text by text, and only in texts that go beyond ASCII: anywhere else such a byte is no JSON.

mod declared;
mod elements;
mod envelope;
mod fault;
mod line;
mod members;
mod number;
mod scalars;
mod skip;
mod text;
mod value;
mod window;

pub(super) use elements::ElementCheck;
pub(super) use envelope::EnvelopeScanner;
pub(super) use fault::excerpt;
pub use line::{Line, LineScanner, ObjectKind};
pub(super) use scalars::scalar;
pub(super) use value::JsonCheck;

use super::{
    columns::{Builder, ColumnBuilders, Decoded, RejectedPayload},
    reading::{Cell, Raw, push_element, read, read_element},
};
use crate::{
    limits::{LIST_BYTES_MAX, PATH_NAMES_MAX},
    model::{
        column::{ColumnType, ElementType},
        path::ValuePath,
    },
    plan::{Place, Reading, SourceColumn},
};
use declared::Declared;
use fault::{Fault, Found};
use members::{Members, NONE, Target};
use number::{boolean, double, integer};
use scalars::{decimal, quoted_time, raw, text_value};
use skip::{Nesting, skip_value, space};
use std::ops::Range;
use window::byte;

/// Decodes the payloads of one source.
#[derive(Debug)]
pub struct Scanner {
    columns: Vec<SourceColumn>,
    members: Members,
    /// Payload columns, all of which a payload may have.
    columns_declared: usize,
    /// Number of the payload, from 1, so that `Member::seen` needs no clearing.
    payload: u64,
    /// Declared columns that the payload has had so far.
    columns_seen: usize,
    nesting: Nesting,
    /// A text that was written with escapes.
    unescaped: Vec<u8>,
    /// A list under construction.
    list: String,
}

impl Scanner {
    /// Prepares for these columns.
    ///
    /// # Errors
    ///
    /// Says which column is wrong if a path is empty or too long, occurs twice, or leads through another column.
    pub fn new(columns: &[SourceColumn]) -> Result<Self, String> {
        let mut root = Declared::Object(Vec::new());
        let mut columns_declared = 0;
        for (index, column) in columns.iter().enumerate() {
            let Place::Payload(ValuePath(path)) = &column.place else {
                continue;
            };
            columns_declared += 1;
            let name = &column.field.name;
            if path.is_empty() || path.len() > PATH_NAMES_MAX {
                return Err(format!(
                    "column {name:?}: a path has 1 to {PATH_NAMES_MAX} names, this one has {}",
                    path.len()
                ));
            }
            if !root.declare(path, index) {
                return Err(format!(
                    "column {name:?}: its path is, or leads through, that of another column"
                ));
            }
        }
        Ok(Self {
            columns: columns.to_vec(),
            members: Members::new(root, columns),
            columns_declared,
            payload: 0,
            columns_seen: 0,
            nesting: Nesting::default(),
            unescaped: Vec::new(),
            list: String::new(),
        })
    }

    /// The same, where the sink has columns beside these that a payload may have: they are null.
    ///
    /// # Errors
    /// As [`Scanner::new`].
    pub(super) fn of_part(columns: &[SourceColumn]) -> Result<Self, String> {
        Ok(Self {
            // So many no payload has, and each row is filled up.
            columns_declared: usize::MAX,
            ..Self::new(columns)?
        })
    }

    /// Appends the event in `payload` as one row to the materialised columns of `sink`, which were made for the columns
    /// that this scanner was made for. Every declared column is checked.
    ///
    /// # Errors
    ///
    /// Says what was found and what is accepted. The sink then holds what it held before.
    pub fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        self.decode_from(payload, 0, sink)
    }

    /// The same of what stands at a place within a payload.
    ///
    /// # Errors
    /// As [`Scanner::decode`].
    pub(super) fn decode_within(
        &mut self,
        payload: &[u8],
        place: Range<usize>,
        sink: &mut ColumnBuilders,
    ) -> Result<Decoded, RejectedPayload> {
        self.decode_from(payload.get(..place.end).unwrap_or(payload), place.start, sink)
    }

    #[inline(always)]
    fn decode_from(
        &mut self,
        payload: &[u8],
        start: usize,
        sink: &mut ColumnBuilders,
    ) -> Result<Decoded, RejectedPayload> {
        self.payload = self.payload.wrapping_add(1);
        self.columns_seen = 0;
        match self.document(payload, start, sink) {
            Ok(decoded) => Ok(decoded),
            Err(fault) => {
                sink.roll_back();
                Err(fault.reject(payload, &self.columns))
            }
        }
    }

    #[inline(always)]
    fn document(&mut self, payload: &[u8], start: usize, sink: &mut ColumnBuilders) -> Result<Decoded, Fault> {
        let start = space(payload, start);
        if byte(payload, start) != b'{' {
            return if start >= payload.len() {
                Ok(Decoded::Empty)
            } else {
                Err(Fault::new(Found::NoObject, start))
            };
        }
        let end = self.object(payload, start.saturating_add(1), 0, sink)?;
        if end < payload.len() {
            let end = space(payload, end);
            if end < payload.len() {
                return Err(Fault::new(Found::Trailing, end));
            }
        }
        if self.columns_seen == self.columns_declared {
            sink.close_full_row();
        } else if !sink.close_row() {
            sink.rows = sink.rows.saturating_sub(1);
            return Err(Fault::new(Found::ColumnFull, end));
        }
        Ok(Decoded::Row)
    }

    /// Reads an object that holds declared members, from after its brace; returns where it ends.
    fn object(
        &mut self,
        payload: &[u8],
        start: usize,
        object: usize,
        sink: &mut ColumnBuilders,
    ) -> Result<usize, Fault> {
        let mut at = space(payload, start);
        if byte(payload, at) == b'}' {
            return Ok(at.saturating_add(1));
        }
        let mut before = NONE;
        let mut guess = self.members.first(object);
        loop {
            if byte(payload, at) != b'"' {
                return Err(Fault::new(Found::NoName, at));
            }
            let name = at.saturating_add(1);
            let slot;
            match self.members.all.get(guess) {
                Some(member) if member.is_at(payload, name) => {
                    slot = guess;
                    at = name.saturating_add(member.quoted.len());
                }
                _ => (slot, at) = self.members.find(payload, name, object, before, guess)?,
            }
            if byte(payload, at) != b':' {
                at = space(payload, at);
                if byte(payload, at) != b':' {
                    return Err(Fault::new(Found::NoColon, at));
                }
            }
            let value = space(payload, at.saturating_add(1));
            let mut column = NONE;
            if let Some(member) = self.members.all.get_mut(slot) {
                if member.seen == self.payload {
                    return Err(Fault::new(Found::Twice, name).of(self.members.column_under(slot)));
                }
                member.seen = self.payload;
                before = slot;
                guess = member.next;
                let target = member.target;
                (at, column) = self.value(payload, value, target, sink)?;
            } else {
                at = skip_value(payload, value, &mut self.nesting)?;
            }
            match byte(payload, at) {
                b',' => {}
                b'}' => return Ok(at.saturating_add(1)),
                _ => {
                    let end = space(payload, at);
                    match byte(payload, end) {
                        b',' => at = end,
                        b'}' => return Ok(end.saturating_add(1)),
                        _ => return Err(self.no_end(Found::NoMemberEnd, payload, (value, at, end), column)),
                    }
                }
            }
            at = space(payload, at.saturating_add(1));
        }
    }

    /// Reads a declared member's value; returns where it ends, and which column it was.
    #[inline(always)]
    fn value(
        &mut self,
        payload: &[u8],
        at: usize,
        target: Target,
        sink: &mut ColumnBuilders,
    ) -> Result<(usize, usize), Fault> {
        let (end, column) = match target {
            Target::Integer(column) => {
                let (value, end) = integer(payload, at).map_err(|fault| fault.of(column))?;
                if let Some(Builder::Integer(builder)) = sink.columns.get_mut(column) {
                    builder.push(value);
                }
                (end, column)
            }
            Target::Double(column) => {
                let (value, end) = double(payload, at).map_err(|fault| fault.of(column))?;
                if let Some(Builder::Double(builder)) = sink.columns.get_mut(column) {
                    builder.push(value);
                }
                (end, column)
            }
            Target::Boolean(column) => {
                let (value, end) = boolean(payload, at).map_err(|fault| fault.of(column))?;
                if let Some(Builder::Boolean(builder)) = sink.columns.get_mut(column) {
                    builder.push(value);
                }
                (end, column)
            }
            Target::Text(column) => {
                let builder = sink.columns.get_mut(column);
                (
                    text_value(payload, at, builder).map_err(|fault| fault.of(column))?,
                    column,
                )
            }
            Target::Rfc3339(column) => match quoted_time(payload, at) {
                Some((us, end)) => {
                    if let Some(Builder::Integer(builder)) = sink.columns.get_mut(column) {
                        builder.push(Some(us));
                    }
                    (end, column)
                }
                None => (self.other(payload, at, column, sink)?, column),
            },
            Target::Decimal { column, of, in_quotes } => match decimal(payload, at, of, in_quotes) {
                Some((unscaled, end)) => {
                    if let Some(Builder::Decimal(builder)) = sink.columns.get_mut(column) {
                        builder.push(Some(unscaled));
                    }
                    (end, column)
                }
                None => (self.other(payload, at, column, sink)?, column),
            },
            Target::Other(column) => (self.other(payload, at, column, sink)?, column),
            Target::Object(object) => {
                let first = byte(payload, at);
                if first == b'{' {
                    return Ok((self.object(payload, at.saturating_add(1), object, sink)?, NONE));
                }
                // The columns of an object that is null are missing; of anything else the path says what it is not.
                let end = skip_value(payload, at, &mut self.nesting)?;
                if first != b'n' {
                    return Err(Fault::new(Found::NotOnPath, at).of(self.members.column_within(object)));
                }
                return Ok((end, NONE));
            }
            Target::Array(array) => return Ok((self.array(payload, at, array, sink)?, NONE)),
        };
        self.columns_seen = self.columns_seen.wrapping_add(1);
        Ok((end, column))
    }

    /// Reads an array with declared elements; returns where it ends. The columns of elements that it does not have are missing.
    #[inline(never)]
    fn array(&mut self, payload: &[u8], at: usize, array: usize, sink: &mut ColumnBuilders) -> Result<usize, Fault> {
        let first = byte(payload, at);
        if first != b'[' {
            let end = skip_value(payload, at, &mut self.nesting)?;
            return match first {
                b'n' => Ok(end),
                _ => Err(Fault::new(Found::NoArrayOnPath, at).of(self.members.column_of(Target::Array(array)))),
            };
        }
        let mut at = space(payload, at.saturating_add(1));
        if byte(payload, at) == b']' {
            return Ok(at.saturating_add(1));
        }
        for index in 0.. {
            let (end, column) = match self.members.element(array, index) {
                Some(target) => self.value(payload, at, target, sink)?,
                None => (skip_value(payload, at, &mut self.nesting)?, NONE),
            };
            let (value, next) = (at, space(payload, end));
            match byte(payload, next) {
                b',' => at = space(payload, next.saturating_add(1)),
                b']' => {
                    at = next;
                    break;
                }
                _ => return Err(self.no_end(Found::NoElementEnd, payload, (value, end, next), column)),
            }
        }
        Ok(at.saturating_add(1))
    }

    /// Reads the array of a list, from after its bracket, and builds the list; returns where it ends.
    fn list(
        &mut self,
        payload: &[u8],
        start: usize,
        of: ElementType,
        reading: Option<&Reading>,
    ) -> Result<usize, Fault> {
        self.list.clear();
        self.list.push('[');
        let mut at = space(payload, start);
        let mut more = byte(payload, at) != b']';
        while more {
            let (raw, end) = raw(payload, at, &mut self.unescaped, &mut self.nesting)?;
            let Some(cell) = read_element(of, reading, raw) else {
                return Err(Fault::new(Found::NotAccepted, at));
            };
            push_element(&mut self.list, of, &cell);
            if self.list.len() > LIST_BYTES_MAX {
                return Err(Fault::new(Found::ListTooLong, start.saturating_sub(1)));
            }
            at = space(payload, end);
            more = match byte(payload, at) {
                b',' => true,
                b']' => false,
                _ => return Err(Fault::new(Found::NoElementEnd, at)),
            };
            if more {
                self.list.push(',');
                at = space(payload, at.saturating_add(1));
            }
        }
        self.list.push(']');
        Ok(at.saturating_add(1))
    }

    /// Reads a value as its column says; returns where it ends.
    fn other(&mut self, payload: &[u8], at: usize, column: usize, sink: &mut ColumnBuilders) -> Result<usize, Fault> {
        let of_column = |fault: Fault| fault.of(column);
        let reading = self.columns.get(column).and_then(|column| column.reading.as_ref());
        let Some(reading) = reading else {
            return Err(of_column(Fault::new(Found::NotAccepted, at)));
        };
        let first = byte(payload, at);
        let (cell, end) = match reading {
            Reading::List { of, reading } if first == b'[' => {
                let (of, reading) = (*of, reading.clone());
                let end = self
                    .list(payload, at.saturating_add(1), of, reading.as_deref())
                    .map_err(of_column)?;
                (Some(Cell::Bytes(self.list.as_bytes().into())), end)
            }
            reading if reading.is_json() && first != b'n' => {
                let end = skip_value(payload, at, &mut self.nesting).map_err(of_column)?;
                (read(reading, Raw::Json(payload.get(at..end).unwrap_or_default())), end)
            }
            reading => {
                let (raw, end) = raw(payload, at, &mut self.unescaped, &mut self.nesting).map_err(of_column)?;
                (read(reading, raw), end)
            }
        };
        let Some(cell) = cell else {
            return Err(of_column(Fault::new(Found::NotAccepted, at)));
        };
        match sink.columns.get_mut(column).is_none_or(|builder| builder.push(cell)) {
            true => Ok(end),
            false => Err(Fault::new(Found::ColumnFull, at)),
        }
    }

    /// What is wrong behind a value that began at `value` and ended at `at`: an integer may have gone on as another number.
    #[cold]
    fn no_end(&self, found: Found, payload: &[u8], (value, at, end): (usize, usize, usize), column: usize) -> Fault {
        match matches!(byte(payload, at), b'.' | b'e' | b'E') && self.is_integer(column) {
            true => Fault::new(Found::NotAccepted, value).of(column),
            false => Fault::new(found, end),
        }
    }

    fn is_integer(&self, column: usize) -> bool {
        self.columns
            .get(column)
            .is_some_and(|column| column.reading.is_none() && column.field.column_type == ColumnType::Int)
    }
}
