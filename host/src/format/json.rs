//! JSON payloads to columns, in one pass.
//!
//! The scanner knows what it is looking for. It guesses each member's name from the order in which the events before
//! had theirs, and checks the guess with one masked compare of sixteen bytes; the declared type then says how to read
//! the value, and the value goes straight into its column. Nothing is built in between. Members that are not declared
//! are checked to be JSON and passed over without recursion, so no payload can exhaust the stack.
//!
//! UTF-8 is checked text by text, and only in texts that go beyond ASCII: anywhere else such a byte is no JSON.

mod declared;
mod envelope;
mod fault;
mod line;
mod number;
mod skip;
mod text;
mod value;
mod window;

pub(super) use envelope::EnvelopeScanner;
pub use line::{Line, LineScanner, ObjectKind};
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
use number::{boolean, double, integer, literal, skip_number};
use skip::{Nesting, skip_value, space};
use std::ops::Range;
use text::{Checked, Ignored, Name, text};
use window::{WIDTH, byte, window};

/// Decodes the payloads of one source.
#[derive(Debug)]
pub struct Scanner {
    columns: Vec<SourceColumn>,
    members: Vec<Member>,
    /// Objects that hold declared members; the payload itself is the first.
    objects: Vec<Object>,
    /// For each array with declared elements what they are, by index.
    arrays: Vec<Vec<Option<Target>>>,
    /// Payload columns, all of which a payload may have.
    columns_declared: usize,
    /// Number of the payload, from 1, so that `Member::seen` needs no clearing.
    payload: u64,
    /// Declared columns that the payload has had so far.
    columns_seen: usize,
    nesting: Nesting,
    /// An escaped name, unescaped.
    name: Vec<u8>,
    /// A list under construction.
    list: String,
}

/// A declared member: a column, or an object with declared members.
#[derive(Debug)]
struct Member {
    /// The name and its closing quote.
    quoted: Box<[u8]>,
    /// The first bytes of `quoted`, and a mask of how many of a window's bytes they are.
    head: u128,
    head_mask: u128,
    target: Target,
    /// The member that came after this one last time.
    next: usize,
    /// The last payload that had this member.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Integer(usize),
    Double(usize),
    Boolean(usize),
    Text(usize),
    /// One whose value the column says how to read.
    Other(usize),
    Object(usize),
    /// An array with declared elements.
    Array(usize),
}

#[derive(Debug)]
struct Object {
    /// The member that came first last time.
    first: usize,
    /// The object's members by `place` of their names, in open addressing; a power of two, at most half full.
    table: Vec<Option<usize>>,
}

impl Object {
    /// Puts `slot` into the first free entry from `place` on; the table always has one.
    fn enter(&mut self, place: usize, slot: usize) {
        let mask = self.table.len().wrapping_sub(1);
        let mut places = (0..self.table.len()).map(|step| place.wrapping_add(step) & mask);
        if let Some(free) = places.find(|place| self.table.get(*place).is_some_and(Option::is_none))
            && let Some(entry) = self.table.get_mut(free)
        {
            *entry = Some(slot);
        }
    }
}

/// No member: the end of a chain of guesses.
const NONE: usize = usize::MAX;

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
        let mut scanner = Scanner {
            columns: columns.to_vec(),
            members: Vec::new(),
            objects: Vec::new(),
            arrays: Vec::new(),
            columns_declared,
            payload: 0,
            columns_seen: 0,
            nesting: Nesting::default(),
            name: Vec::new(),
            list: String::new(),
        };
        // Members with the object that each is of.
        let mut owners: Vec<usize> = Vec::new();
        scanner.lay_out(root, &mut owners);
        for (index, object) in scanner.objects.iter_mut().enumerate() {
            let slots: Vec<usize> = owners
                .iter()
                .enumerate()
                .filter(|(_, owner)| **owner == index)
                .map(|(slot, _)| slot)
                .collect();
            // Until events show their order, the declared one is the guess.
            object.first = slots.first().copied().unwrap_or(NONE);
            for (slot, next) in slots.iter().zip(slots.iter().skip(1)) {
                if let Some(member) = scanner.members.get_mut(*slot) {
                    member.next = *next;
                }
            }
            object.table = vec![None; slots.len().saturating_mul(2).next_power_of_two()];
            for slot in slots {
                let Some(member) = scanner.members.get(slot) else {
                    continue;
                };
                object.enter(place(member.name()), slot);
            }
        }
        Ok(scanner)
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

    /// Makes members, objects and arrays of what is declared, from the outermost on.
    fn lay_out(&mut self, declared: Declared, owners: &mut Vec<usize>) -> Target {
        match declared {
            Declared::Column(index) => {
                let column = self.columns.get(index);
                match column.map(|column| (&column.reading, column.field.column_type)) {
                    Some((None, ColumnType::Int)) => Target::Integer(index),
                    Some((None, ColumnType::Double)) => Target::Double(index),
                    Some((None, ColumnType::Boolean)) => Target::Boolean(index),
                    Some((None, ColumnType::Text)) => Target::Text(index),
                    _ => Target::Other(index),
                }
            }
            Declared::Object(members) => {
                let object = self.objects.len();
                self.objects.push(Object {
                    first: NONE,
                    table: Vec::new(),
                });
                for (name, inner) in members {
                    let target = self.lay_out(inner, owners);
                    self.members.push(Member::new(&name, target));
                    owners.push(object);
                }
                Target::Object(object)
            }
            Declared::Array(elements) => {
                let array = self.arrays.len();
                self.arrays.push(Vec::new());
                for (index, inner) in elements {
                    let target = self.lay_out(inner, owners);
                    if let Some(targets) = self.arrays.get_mut(array) {
                        let len = targets.len().max(index.saturating_add(1));
                        targets.resize(len, None);
                        if let Some(place) = targets.get_mut(index) {
                            *place = Some(target);
                        }
                    }
                }
                Target::Array(array)
            }
        }
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
        let mut guess = self.objects.get(object).map_or(NONE, |object| object.first);
        loop {
            if byte(payload, at) != b'"' {
                return Err(Fault::new(Found::NoName, at));
            }
            let name = at.saturating_add(1);
            let slot;
            match self.members.get(guess) {
                Some(member) if member.is_at(payload, name) => {
                    slot = guess;
                    at = name.saturating_add(member.quoted.len());
                }
                _ => (slot, at) = self.find(payload, name, object, before, guess)?,
            }
            if byte(payload, at) != b':' {
                at = space(payload, at);
                if byte(payload, at) != b':' {
                    return Err(Fault::new(Found::NoColon, at));
                }
            }
            let value = space(payload, at.saturating_add(1));
            let mut column = NONE;
            if let Some(member) = self.members.get_mut(slot) {
                if member.seen == self.payload {
                    return Err(Fault::new(Found::Twice, name).of(self.column_under(slot)));
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
            Target::Other(column) => (self.other(payload, at, column, sink)?, column),
            Target::Object(object) => {
                let first = byte(payload, at);
                if first == b'{' {
                    return Ok((self.object(payload, at.saturating_add(1), object, sink)?, NONE));
                }
                // The columns of an object that is null are missing; of anything else the path says what it is not.
                let end = skip_value(payload, at, &mut self.nesting)?;
                if first != b'n' {
                    return Err(Fault::new(Found::NotOnPath, at).of(self.column_within(object)));
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
                _ => Err(Fault::new(Found::NoArrayOnPath, at).of(self.column_of(Target::Array(array)))),
            };
        }
        let mut at = space(payload, at.saturating_add(1));
        if byte(payload, at) == b']' {
            return Ok(at.saturating_add(1));
        }
        for index in 0.. {
            let target = self
                .arrays
                .get(array)
                .and_then(|targets| targets.get(index))
                .copied()
                .flatten();
            let (end, column) = match target {
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
            let (raw, end) = raw(payload, at, &mut self.name, &mut self.nesting)?;
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
                let (raw, end) = raw(payload, at, &mut self.name, &mut self.nesting).map_err(of_column)?;
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

    /// Finds the member whose name starts at `name` and is not the guess, `NONE` if it is not declared, and where its
    /// name ends.
    #[inline(never)]
    fn find(
        &mut self,
        payload: &[u8],
        name: usize,
        object: usize,
        before: usize,
        guess: usize,
    ) -> Result<(usize, usize), Fault> {
        // The likeliest: one member is missing.
        if let Some(slot) = self.members.get(guess).map(|member| member.next)
            && let Some(member) = self.members.get(slot)
            && member.is_at(payload, name)
        {
            return Ok((slot, name.saturating_add(member.quoted.len())));
        }
        let span = text(payload, name, &mut Ignored)?;
        let written = payload.get(name..span.quote).unwrap_or_default();
        let slot = if span.escaped {
            self.name.clear();
            text(payload, name, &mut Name(&mut self.name))?;
            self.look_up(object, &self.name)
        } else {
            self.look_up(object, written)
        };
        if slot != NONE {
            self.learn(object, before, guess, slot);
        }
        Ok((slot, span.quote.saturating_add(1)))
    }

    fn look_up(&self, object: usize, name: &[u8]) -> usize {
        let table = self
            .objects
            .get(object)
            .map(|object| object.table.as_slice())
            .unwrap_or_default();
        let mut place = place(name);
        while let Some(Some(slot)) = table.get(place & table.len().wrapping_sub(1)) {
            if self.members.get(*slot).is_some_and(|member| member.name() == name) {
                return *slot;
            }
            place = place.wrapping_add(1);
        }
        NONE
    }

    /// Remembers that `slot` came after `before`, unless it comes up anyway once the missing members are passed over.
    fn learn(&mut self, object: usize, before: usize, guess: usize, slot: usize) {
        let mut ahead = guess;
        for _ in 0..self.members.len() {
            let Some(member) = self.members.get(ahead) else { break };
            ahead = member.next;
            if ahead == slot {
                return;
            }
        }
        if let Some(member) = self.members.get_mut(before) {
            member.next = slot;
        } else if let Some(object) = self.objects.get_mut(object) {
            object.first = slot;
        }
    }

    fn is_integer(&self, column: usize) -> bool {
        self.columns
            .get(column)
            .is_some_and(|column| column.reading.is_none() && column.field.column_type == ColumnType::Int)
    }

    /// The column at a member, or the first one inside it.
    #[cold]
    fn column_under(&self, slot: usize) -> usize {
        let member = self.members.get(slot);
        member.map_or(NONE, |member| self.column_of(member.target))
    }

    /// The column that is read at a place, or the first one inside it.
    #[cold]
    fn column_of(&self, mut target: Target) -> usize {
        for _ in 0..=PATH_NAMES_MAX {
            let inner = match target {
                Target::Integer(column)
                | Target::Double(column)
                | Target::Boolean(column)
                | Target::Text(column)
                | Target::Other(column) => return column,
                Target::Object(object) => self.members.get(self.first_slot(object)).map(|member| member.target),
                Target::Array(array) => self
                    .arrays
                    .get(array)
                    .and_then(|targets| targets.iter().flatten().next().copied()),
            };
            let Some(inner) = inner else { break };
            target = inner;
        }
        NONE
    }

    /// The first member that is declared of an object.
    fn first_slot(&self, object: usize) -> usize {
        let table = self
            .objects
            .get(object)
            .map(|object| object.table.as_slice())
            .unwrap_or_default();
        table.iter().flatten().copied().min().unwrap_or(NONE)
    }

    /// A column whose path leads through an object.
    #[cold]
    fn column_within(&self, object: usize) -> usize {
        self.column_under(self.first_slot(object))
    }
}

impl Member {
    fn new(name: &str, target: Target) -> Self {
        let quoted: Box<[u8]> = name.bytes().chain([b'"']).collect();
        // A name with one of these is written with escapes; read raw, it would hide the end of another text.
        let raw = !name.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\');
        let head_mask = match 8 * quoted.len().min(WIDTH) {
            _ if !raw => 0,
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        };
        Member {
            // Outside its mask, a head matches nothing.
            head: if raw {
                u128::from_le_bytes(window(&quoted, 0))
            } else {
                1
            },
            head_mask,
            quoted,
            target,
            next: NONE,
            seen: 0,
        }
    }

    fn name(&self) -> &[u8] {
        self.quoted.split_last().map(|(_, name)| name).unwrap_or_default()
    }

    /// Whether the name, with its closing quote, starts at `at`, just after an opening quote.
    #[inline(always)]
    fn is_at(&self, payload: &[u8], at: usize) -> bool {
        let head = u128::from_le_bytes(window(payload, at));
        head & self.head_mask == self.head
            && (self.quoted.len() <= WIDTH || payload.get(at..).is_some_and(|rest| rest.starts_with(&self.quoted)))
    }
}

/// Where a name's search in a table begins, before it is cut to the table's size.
fn place(name: &[u8]) -> usize {
    let head = u128::from_le_bytes(window(name, 0));
    let tail = name.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
    let mixed = (head as u64) ^ ((head >> 64) as u64).rotate_left(29) ^ tail.rotate_left(17) ^ name.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

/// The value at a place, without a judgement of it, and where it ends. A text is unescaped into `unescaped`.
#[inline]
fn raw<'r>(
    payload: &'r [u8],
    at: usize,
    unescaped: &'r mut Vec<u8>,
    nesting: &mut Nesting,
) -> Result<(Raw<'r>, usize), Fault> {
    Ok(match byte(payload, at) {
        b'n' => (Raw::Null, literal(payload, at)?),
        b'"' => {
            unescaped.clear();
            let span = text(payload, at.saturating_add(1), unescaped)?;
            (Raw::Text(unescaped), span.quote.saturating_add(1))
        }
        b'-' | b'0'..=b'9' => {
            let end = skip_number(payload, at)?;
            (Raw::Number(payload.get(at..end).unwrap_or_default()), end)
        }
        first @ (b't' | b'f') => (Raw::Boolean(first == b't'), literal(payload, at)?),
        _ => (Raw::Other, skip_value(payload, at, nesting)?),
    })
}

/// Reads a text column's value; returns where it ends.
#[inline(always)]
fn text_value(payload: &[u8], at: usize, builder: Option<&mut Builder>) -> Result<usize, Fault> {
    let start = at.saturating_add(1);
    if byte(payload, at) == b'"' {
        let Some(Builder::Text(builder)) = builder else {
            return text(payload, start, &mut Checked).map(|span| span.quote.saturating_add(1));
        };
        let span = text(payload, start, &mut builder.texts.data)?;
        if !builder.close(true) {
            return Err(Fault::new(Found::ColumnFull, at));
        }
        return Ok(span.quote.saturating_add(1));
    }
    if byte(payload, at) != b'n' {
        let value = matches!(byte(payload, at), b'{' | b'[' | b't' | b'f' | b'-' | b'0'..=b'9');
        return Err(Fault::new(if value { Found::NotAccepted } else { Found::NoValue }, at));
    }
    let end = literal(payload, at)?;
    if let Some(Builder::Text(builder)) = builder
        && !builder.close(false)
    {
        return Err(Fault::new(Found::ColumnFull, at));
    }
    Ok(end)
}
