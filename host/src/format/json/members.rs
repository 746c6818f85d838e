//! What a scanner knows of the places of a payload: which members and elements are declared, and in which order they come.

use super::{
    declared::Declared,
    fault::Fault,
    text::{Ignored, Name, text},
    window::{WIDTH, window},
};
use crate::{
    limits::PATH_NAMES_MAX,
    model::{column::ColumnType, decimal::DecimalType},
    plan::{Reading, SourceColumn},
};

/// No member: the end of a chain of guesses.
pub(super) const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Integer(usize),
    Double(usize),
    Boolean(usize),
    Text(usize),
    /// A timestamp in quotes, as RFC 3339 has it.
    Rfc3339(usize),
    Decimal {
        column: usize,
        of: DecimalType,
        in_quotes: bool,
    },
    /// One whose value the column says how to read.
    Other(usize),
    Object(usize),
    /// An array with declared elements.
    Array(usize),
}

/// A declared member: a column, or an object with declared members.
#[derive(Debug)]
pub(super) struct Member {
    /// The name and its closing quote.
    pub(super) quoted: Box<[u8]>,
    /// The first bytes of `quoted`, and a mask of how many of a window's bytes they are.
    head: u128,
    head_mask: u128,
    pub(super) target: Target,
    /// The member that came after this one last time.
    pub(super) next: usize,
    /// The last payload that had this member.
    pub(super) seen: u64,
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

/// The declared members and elements of payloads.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    /// Objects that hold declared members; the payload itself is the first.
    objects: Vec<Object>,
    /// For each array with declared elements what they are, by index.
    arrays: Vec<Vec<Option<Target>>>,
    /// An escaped name, unescaped.
    name: Vec<u8>,
}

impl Members {
    /// Those of a payload of which this is declared.
    pub(super) fn new(root: Declared, columns: &[SourceColumn]) -> Self {
        let mut members = Self::default();
        // Members with the object that each is of.
        let mut owners: Vec<usize> = Vec::new();
        members.lay_out(root, columns, &mut owners);
        for (index, object) in members.objects.iter_mut().enumerate() {
            let slots: Vec<usize> = owners
                .iter()
                .enumerate()
                .filter(|(_, owner)| **owner == index)
                .map(|(slot, _)| slot)
                .collect();
            // Until events show their order, the declared one is the guess.
            object.first = slots.first().copied().unwrap_or(NONE);
            for (slot, next) in slots.iter().zip(slots.iter().skip(1)) {
                if let Some(member) = members.all.get_mut(*slot) {
                    member.next = *next;
                }
            }
            object.table = vec![None; slots.len().saturating_mul(2).next_power_of_two()];
            for slot in slots {
                let Some(member) = members.all.get(slot) else {
                    continue;
                };
                object.enter(place(member.name()), slot);
            }
        }
        members
    }

    /// Makes members, objects and arrays of what is declared, from the outermost on.
    fn lay_out(&mut self, declared: Declared, columns: &[SourceColumn], owners: &mut Vec<usize>) -> Target {
        match declared {
            Declared::Column(index) => {
                let column = columns.get(index);
                match column.map(|column| (&column.reading, column.field.column_type)) {
                    Some((None, ColumnType::Int)) => Target::Integer(index),
                    Some((None, ColumnType::Double)) => Target::Double(index),
                    Some((None, ColumnType::Boolean)) => Target::Boolean(index),
                    Some((None, ColumnType::Text)) => Target::Text(index),
                    Some((Some(Reading::Rfc3339), _)) => Target::Rfc3339(index),
                    Some((Some(Reading::Decimal { of, in_quotes }), _)) => Target::Decimal {
                        column: index,
                        of: *of,
                        in_quotes: *in_quotes,
                    },
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
                    let target = self.lay_out(inner, columns, owners);
                    self.all.push(Member::new(&name, target));
                    owners.push(object);
                }
                Target::Object(object)
            }
            Declared::Array(elements) => {
                let array = self.arrays.len();
                self.arrays.push(Vec::new());
                for (index, inner) in elements {
                    let target = self.lay_out(inner, columns, owners);
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

    /// The member that an object is likely to begin with.
    #[inline(always)]
    pub(super) fn first(&self, object: usize) -> usize {
        self.objects.get(object).map_or(NONE, |object| object.first)
    }

    /// What is declared of an element.
    pub(super) fn element(&self, array: usize, index: usize) -> Option<Target> {
        self.arrays.get(array)?.get(index).copied().flatten()
    }

    /// Finds the member whose name starts at `name` and is not the guess, `NONE` if it is not declared, and where its
    /// name ends.
    #[inline(never)]
    pub(super) fn find(
        &mut self,
        payload: &[u8],
        name: usize,
        object: usize,
        before: usize,
        guess: usize,
    ) -> Result<(usize, usize), Fault> {
        // The likeliest: one member is missing.
        if let Some(slot) = self.all.get(guess).map(|member| member.next)
            && let Some(member) = self.all.get(slot)
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
            if self.all.get(*slot).is_some_and(|member| member.name() == name) {
                return *slot;
            }
            place = place.wrapping_add(1);
        }
        NONE
    }

    /// Remembers that `slot` came after `before`, unless it comes up anyway once the missing members are passed over.
    fn learn(&mut self, object: usize, before: usize, guess: usize, slot: usize) {
        let mut ahead = guess;
        for _ in 0..self.all.len() {
            let Some(member) = self.all.get(ahead) else { break };
            ahead = member.next;
            if ahead == slot {
                return;
            }
        }
        if let Some(member) = self.all.get_mut(before) {
            member.next = slot;
        } else if let Some(object) = self.objects.get_mut(object) {
            object.first = slot;
        }
    }

    /// The column at a member, or the first one inside it.
    #[cold]
    pub(super) fn column_under(&self, slot: usize) -> usize {
        let member = self.all.get(slot);
        member.map_or(NONE, |member| self.column_of(member.target))
    }

    /// The column that is read at a place, or the first one inside it.
    #[cold]
    pub(super) fn column_of(&self, mut target: Target) -> usize {
        for _ in 0..=PATH_NAMES_MAX {
            let inner = match target {
                Target::Integer(column)
                | Target::Double(column)
                | Target::Boolean(column)
                | Target::Text(column)
                | Target::Rfc3339(column)
                | Target::Decimal { column, .. }
                | Target::Other(column) => return column,
                Target::Object(object) => self.all.get(self.first_slot(object)).map(|member| member.target),
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
    pub(super) fn column_within(&self, object: usize) -> usize {
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
    pub(super) fn is_at(&self, payload: &[u8], at: usize) -> bool {
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
