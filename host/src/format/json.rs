//! JSON payloads to columns, in one pass.
//!
//! The scanner knows what it is looking for. It guesses each member's name from the order in which the events before
//! had theirs, and checks the guess with one masked compare of sixteen bytes; the declared type then says how to read
//! the value, and the value goes straight into its column. Nothing is built in between. Members that are not declared
//! are checked to be JSON and passed over without recursion, so no payload can exhaust the stack.
//!
//! UTF-8 is checked text by text, and only in texts that go beyond ASCII: anywhere else such a byte is no JSON.

mod fault;
mod line;
mod number;
mod skip;
mod text;
mod window;

pub use line::{Line, LineScanner, ObjectKind};

use super::{
    columns::{Builder, ColumnBuilders, Decoded, RejectedPayload},
    reading::{Raw, read},
};
use crate::{limits::PATH_NAMES_MAX, model::column::ColumnType, plan::SourceColumn};
use fault::{Fault, Found, full_name};
use number::{boolean, double, integer, literal, skip_number};
use skip::{Nesting, skip_value, space};
use text::{Checked, Ignored, Name, text};
use window::{WIDTH, byte, window};

/// Decodes the payloads of one source.
#[derive(Debug)]
pub struct Scanner {
    columns: Vec<SourceColumn>,
    members: Vec<Member>,
    /// Objects that hold declared members; the payload itself is the first.
    objects: Vec<Object>,
    /// Number of the payload, from 1, so that `Member::seen` needs no clearing.
    payload: u64,
    /// Declared columns that the payload has had so far.
    columns_seen: usize,
    nesting: Nesting,
    /// An escaped name, unescaped.
    name: Vec<u8>,
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
        let mut scanner = Scanner {
            columns: columns.to_vec(),
            members: Vec::new(),
            objects: vec![Object {
                first: NONE,
                table: Vec::new(),
            }],
            payload: 0,
            columns_seen: 0,
            nesting: Nesting::default(),
            name: Vec::new(),
        };
        let mut owners: Vec<(usize, &str)> = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let Some((last, parents)) = column.path.split_last().filter(|_| column.path.len() <= PATH_NAMES_MAX) else {
                return Err(format!(
                    "column {:?}: a path has 1 to {PATH_NAMES_MAX} names, this one has {}",
                    full_name(column),
                    column.path.len()
                ));
            };
            let clash = || {
                format!(
                    "column {:?}: its path is, or leads through, that of another column",
                    full_name(column)
                )
            };
            let known = |owners: &[(usize, &str)], object, name: &str| owners.iter().position(|o| *o == (object, name));
            let mut object = 0;
            for name in parents {
                object = match known(&owners, object, name) {
                    Some(member) => match scanner.members.get(member).map(|m| m.target) {
                        Some(Target::Object(inner)) => inner,
                        _ => return Err(clash()),
                    },
                    None => {
                        let inner = scanner.objects.len();
                        scanner.objects.push(Object {
                            first: NONE,
                            table: Vec::new(),
                        });
                        scanner.members.push(Member::new(name, Target::Object(inner)));
                        owners.push((object, name));
                        inner
                    }
                };
            }
            if known(&owners, object, last).is_some() {
                return Err(clash());
            }
            let target = match (&column.reading, column.field.column_type) {
                (None, ColumnType::Int) => Target::Integer(index),
                (None, ColumnType::Double) => Target::Double(index),
                (None, ColumnType::Boolean) => Target::Boolean(index),
                (None, ColumnType::Text) => Target::Text(index),
                _ => Target::Other(index),
            };
            scanner.members.push(Member::new(last, target));
            owners.push((object, last));
        }
        for (index, object) in scanner.objects.iter_mut().enumerate() {
            let slots: Vec<usize> = owners
                .iter()
                .enumerate()
                .filter(|(_, owner)| owner.0 == index)
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

    /// Appends the event in `payload` as one row to the materialised columns of `sink`, which were made for the columns
    /// that this scanner was made for. Every declared column is checked.
    ///
    /// # Errors
    ///
    /// Says what was found and what is accepted. The sink then holds what it held before.
    pub fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        self.payload = self.payload.wrapping_add(1);
        self.columns_seen = 0;
        match self.document(payload, sink) {
            Ok(decoded) => Ok(decoded),
            Err(fault) => {
                sink.roll_back();
                Err(fault.reject(payload, &self.columns))
            }
        }
    }

    #[inline(always)]
    fn document(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, Fault> {
        let start = space(payload, 0);
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
        if self.columns_seen == self.columns.len() {
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
                        _ if matches!(byte(payload, at), b'.' | b'e' | b'E') && self.is_integer(column) => {
                            return Err(Fault::new(Found::NotAccepted, value).of(column));
                        }
                        _ => return Err(Fault::new(Found::NoMemberEnd, end)),
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
        };
        self.columns_seen = self.columns_seen.wrapping_add(1);
        Ok((end, column))
    }

    /// Reads a value as its column says; returns where it ends.
    fn other(&mut self, payload: &[u8], at: usize, column: usize, sink: &mut ColumnBuilders) -> Result<usize, Fault> {
        let of = |fault: Fault| fault.of(column);
        let reading = self.columns.get(column).and_then(|column| column.reading.as_ref());
        let Some(reading) = reading else {
            return Err(of(Fault::new(Found::NotAccepted, at)));
        };
        let (raw, end) = match byte(payload, at) {
            b'n' => (Raw::Null, literal(payload, at).map_err(of)?),
            _ if reading.is_json() => {
                let end = skip_value(payload, at, &mut self.nesting).map_err(of)?;
                (Raw::Json(payload.get(at..end).unwrap_or_default()), end)
            }
            b'"' => {
                let start = at.saturating_add(1);
                self.name.clear();
                let span = text(payload, start, &mut self.name).map_err(of)?;
                (Raw::Text(&self.name), span.quote.saturating_add(1))
            }
            b'-' | b'0'..=b'9' => {
                let end = skip_number(payload, at).map_err(of)?;
                (Raw::Number(payload.get(at..end).unwrap_or_default()), end)
            }
            _ => (Raw::Other, skip_value(payload, at, &mut self.nesting).map_err(of)?),
        };
        let Some(cell) = read(reading, raw) else {
            return Err(of(Fault::new(Found::NotAccepted, at)));
        };
        match sink.columns.get_mut(column).is_none_or(|builder| builder.push(cell)) {
            true => Ok(end),
            false => Err(Fault::new(Found::ColumnFull, at)),
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
        let mut slot = slot;
        for _ in 0..=PATH_NAMES_MAX {
            match self.members.get(slot).map(|member| member.target) {
                Some(
                    Target::Integer(column)
                    | Target::Double(column)
                    | Target::Boolean(column)
                    | Target::Text(column)
                    | Target::Other(column),
                ) => return column,
                Some(Target::Object(object)) => slot = self.first_slot(object),
                None => break,
            }
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
