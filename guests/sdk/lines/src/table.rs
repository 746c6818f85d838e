//! One table: checked as it is read, and looked up in.

use crate::{
    Broken, Budget, FRAMES_MAX, Frame, NAME_BYTES_MAX, NAMES_MAX, PLACES_MAX, SECTION_BYTES_MAX, TABLES_MAX, VERSION,
};
use std::{iter, ops::Range};
use wasmparser::BinaryReader;
use xxhash_rust::xxh3::xxh3_64;

/// The lines of a core module's code.
///
/// **Invariant**: every number in it is of something that it has, a caller stands before those that it calls, and places ascend
/// and do not overlap.
#[derive(Debug, Default)]
pub struct Table {
    /// All names, one behind the other.
    names: String,
    /// Where each of them ends.
    name_ends: Vec<u32>,
    frames: Vec<Entry>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    function: u32,
    file: u32,
    line: u32,
    /// Its number, or [`NO_CALLER`].
    caller: u32,
}

/// There are far fewer frames.
const NO_CALLER: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    end: u32,
    frame: u32,
}

impl Table {
    /// Reads the contents of a section, which has to be of `code`, the contents of a code section, and takes what it has from
    /// the budget.
    ///
    /// # Errors
    /// When it breaks a rule or a bound; the first that it does.
    pub fn read(section: &[u8], code: &[u8], budget: &mut Budget) -> Result<Self, Broken> {
        budget.tables = budget
            .tables
            .checked_sub(1)
            .ok_or_else(|| Broken::new(format!("a component has more of them than {TABLES_MAX}")))?;
        if section.len() > budget.bytes {
            return Err(Broken::new(format!(
                "it has {} bytes; accepted are {SECTION_BYTES_MAX} in all tables of a component",
                section.len()
            )));
        }
        budget.bytes -= section.len();
        let mut reader = BinaryReader::new(section, 0);
        let version = reader.read_u8()?;
        if version != VERSION {
            return Err(Broken::new(format!(
                "it is of version {version}; accepted is {VERSION}"
            )));
        }
        let (length, hash) = (reader.read_var_u32()?, reader.read_u64()?);
        if length as usize != code.len() || hash != xxh3_64(code) {
            return Err(Broken::new(
                "it is of other code than stands beside it: something changed that after the table was made",
            ));
        }
        let mut table = Self::default();
        table.read_names(&mut reader, budget)?;
        table.read_frames(&mut reader, budget)?;
        table.read_places(&mut reader, budget, length)?;
        match reader.bytes_remaining() {
            0 => Ok(table),
            left => Err(Broken::new(format!("{left} bytes stand behind its end"))),
        }
    }

    fn read_names(&mut self, reader: &mut BinaryReader<'_>, budget: &mut Budget) -> Result<(), Broken> {
        let count = count(reader, "names", &mut budget.names, NAMES_MAX, 1)?;
        self.name_ends.reserve_exact(count);
        for _ in 0..count {
            let name = reader.read_string()?;
            if name.len() > NAME_BYTES_MAX {
                return Err(Broken::new(format!(
                    "one of its names has {} bytes; accepted are {NAME_BYTES_MAX}",
                    name.len()
                )));
            }
            self.names.push_str(name);
            // All of them stand in a section, whose bytes are bounded.
            self.name_ends.push(self.names.len() as u32);
        }
        self.names.shrink_to_fit();
        Ok(())
    }

    fn read_frames(&mut self, reader: &mut BinaryReader<'_>, budget: &mut Budget) -> Result<(), Broken> {
        let count = count(reader, "frames", &mut budget.frames, FRAMES_MAX, 4)?;
        self.frames.reserve_exact(count);
        for number in 0..count as u32 {
            let names = self.name_ends.len();
            let function = number_of("a name", reader.read_var_u32()?, names)?;
            let file = number_of("a name", reader.read_var_u32()?, names)?;
            let line = reader.read_var_u32()?;
            let caller = match reader.read_var_u32()? {
                0 => NO_CALLER,
                distance => number.checked_sub(distance).ok_or_else(|| {
                    Broken::new(format!(
                        "the caller of its frame {number} stands {distance} before it, where there is none"
                    ))
                })?,
            };
            self.frames.push(Entry {
                function,
                file,
                line,
                caller,
            });
        }
        Ok(())
    }

    fn read_places(&mut self, reader: &mut BinaryReader<'_>, budget: &mut Budget, code: u32) -> Result<(), Broken> {
        let count = count(reader, "places", &mut budget.places, PLACES_MAX, 3)?;
        self.places.reserve_exact(count);
        let mut before = 0_u32;
        for _ in 0..count {
            let (gap, length) = (reader.read_var_u32()?, reader.read_var_u32()?);
            let start = before.checked_add(gap);
            let end = start.and_then(|start| start.checked_add(length));
            let (Some(start), Some(end)) = (start, end.filter(|&end| length > 0 && end <= code)) else {
                return Err(Broken::new(format!(
                    "a place of it begins {gap} bytes behind {before} and has {length}, in code of {code}"
                )));
            };
            let frame = number_of("a frame", reader.read_var_u32()?, self.frames.len())?;
            self.places.push(Place { start, end, frame });
            before = end;
        }
        Ok(())
    }

    /// The frames of a place in the code, the innermost first; none where it has no lines.
    pub fn at(&self, place: u32) -> impl Iterator<Item = Frame<'_>> {
        let behind = self.places.partition_point(|other| other.start <= place);
        let found = behind.checked_sub(1).and_then(|at| self.places.get(at));
        let innermost = found.filter(|found| place < found.end);
        self.frames_from(innermost.map_or(NO_CALLER, |place| place.frame))
    }

    /// All places, in ascending order, with their frames.
    pub fn places(&self) -> impl Iterator<Item = (Range<u32>, Vec<Frame<'_>>)> {
        let of = |place: &Place| (place.start..place.end, self.frames_from(place.frame).collect());
        self.places.iter().map(of)
    }

    /// Each frame's caller stands before it, so this ends.
    fn frames_from(&self, innermost: u32) -> impl Iterator<Item = Frame<'_>> {
        let entry = |number: u32| self.frames.get(number as usize);
        iter::successors(entry(innermost), move |inner| entry(inner.caller)).map(|entry| Frame {
            function: self.name(entry.function),
            file: self.name(entry.file),
            line: entry.line,
        })
    }

    fn name(&self, number: u32) -> &str {
        let end = |number: u32| self.name_ends.get(number as usize).map(|&end| end as usize);
        let start = number.checked_sub(1).map_or(Some(0), end);
        let range = start.zip(end(number)).map(|(start, end)| start..end);
        range.and_then(|range| self.names.get(range)).unwrap_or_default()
    }
}

/// How many `what` follow, of which each has `bytes` at least: no more than the budget and the section have.
fn count(
    reader: &mut BinaryReader<'_>,
    what: &str,
    left: &mut usize,
    most: usize,
    bytes: usize,
) -> Result<usize, Broken> {
    let count = reader.read_var_u32()? as usize;
    if count > *left {
        return Err(Broken::new(format!(
            "it has {count} {what}; accepted are {most} in all tables of a component"
        )));
    }
    if count * bytes > reader.bytes_remaining() {
        return Err(Broken::new(format!("it ends within its {count} {what}")));
    }
    *left -= count;
    Ok(count)
}

fn number_of(what: &str, number: u32, count: usize) -> Result<u32, Broken> {
    match (number as usize) < count {
        true => Ok(number),
        false => Err(Broken::new(format!(
            "{what} has the number {number}; there are {count}"
        ))),
    }
}

#[cfg(test)]
mod tests;
