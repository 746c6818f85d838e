//! Makes a table.

use crate::{Budget, FRAMES_MAX, Frame, NAME_BYTES_MAX, NAMES_MAX, PLACES_MAX, SECTION_BYTES_MAX, VERSION};
use std::{collections::HashMap, fmt, ops::Range};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a number at most.
const NUMBER_BYTES_MAX: usize = 5;

/// Bytes beside names, frames and places at most: version, code, and how many there are of each.
const REST_BYTES_MAX: usize = 1 + 8 + 4 * NUMBER_BYTES_MAX;

/// A table under construction. The same calls give the same bytes.
#[derive(Debug, Default)]
pub struct Builder {
    budget: Budget,
    /// Written as they come, each once.
    names: Vec<u8>,
    name_numbers: HashMap<String, u32>,
    frames: Vec<u8>,
    frame_numbers: HashMap<Entry, u32>,
    places: Vec<u8>,
    place_count: usize,
    /// The last place, which may yet grow, and where the one before it ends.
    open: Option<(Range<u32>, u32)>,
    written_to: u32,
    left_out: LeftOut,
}

/// The function's name, the file's, the line, and the caller.
type Entry = (u32, u32, u32, Option<u32>);

/// A table, and what it came to.
#[derive(Debug)]
pub struct Built {
    /// The contents of the section; none where no place has lines.
    pub section: Option<Vec<u8>>,
    /// What is not in it.
    pub left_out: LeftOut,
    /// What other tables of the same component may have.
    pub rest: Budget,
}

/// What a table lacks, since it would pass a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Places behind the last for which there was room.
    pub places: usize,
    /// Frames whose function or file has too long a name, at how many places they stand.
    pub frames: usize,
}

impl LeftOut {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.places > 0 {
            parts.push(format!(
                "lines are left out from some place in the code on: a component has lines of up to {PLACES_MAX} places, with \
                 {FRAMES_MAX} calls and {NAMES_MAX} names, in {SECTION_BYTES_MAX} bytes (places left out: {})",
                self.places
            ));
        }
        if self.frames > 0 {
            parts.push(format!(
                "functions are left out whose names, or those of their files, have more than {NAME_BYTES_MAX} bytes (places in the \
                 code: {})",
                self.frames
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

impl Builder {
    /// A table that may have so much.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    /// Adds the frames of a place in the code, the innermost first. Places come in ascending order: what of one stands before
    /// the end of the one before it is not added. What does not fit any more is left out, and all places behind it.
    pub fn push(&mut self, place: Range<u32>, frames: &[Frame<'_>]) {
        let end = self.open.as_ref().map_or(0, |(open, _)| open.end);
        let place = place.start.max(end)..place.end;
        if place.is_empty() {
            return;
        }
        let is_short = |frame: &Frame<'_>| frame.function.len().max(frame.file.len()) <= NAME_BYTES_MAX;
        let (short, long): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| is_short(frame));
        self.left_out.frames += long.len();
        if short.is_empty() {
            return;
        }
        if self.left_out.places > 0 || !self.has_room(&short) {
            self.left_out.places += 1;
            return;
        }
        let Some(innermost) = short
            .iter()
            .rev()
            .fold(None, |caller, frame| Some(self.frame(frame, caller)))
        else {
            return;
        };
        match &mut self.open {
            Some((open, frame)) if open.end == place.start && *frame == innermost => open.end = place.end,
            _ => {
                self.close();
                self.open = Some((place, innermost));
            }
        }
    }

    /// Whether one more place fits, with so many frames of which none is there yet.
    fn has_room(&self, frames: &[&Frame<'_>]) -> bool {
        let names: usize = frames.iter().map(|frame| frame.function.len() + frame.file.len()).sum();
        let numbers = 6 * frames.len() + 2 * 3;
        let written = self.names.len() + self.frames.len() + self.places.len();
        self.budget.tables > 0
            && written + names + numbers * NUMBER_BYTES_MAX + REST_BYTES_MAX <= self.budget.bytes
            && self.name_numbers.len() + 2 * frames.len() <= self.budget.names
            && self.frame_numbers.len() + frames.len() <= self.budget.frames
            && self.place_count + 2 <= self.budget.places
    }

    fn frame(&mut self, frame: &Frame<'_>, caller: Option<u32>) -> u32 {
        let entry = (self.name(frame.function), self.name(frame.file), frame.line, caller);
        let number = self.frame_numbers.len() as u32;
        if let Some(&known) = self.frame_numbers.get(&entry) {
            return known;
        }
        self.frame_numbers.insert(entry, number);
        let (function, file, line, caller) = entry;
        let distance = caller.map_or(0, |caller| number - caller);
        for value in [function, file, line, distance] {
            push_number(&mut self.frames, value);
        }
        number
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(&known) = self.name_numbers.get(name) {
            return known;
        }
        let number = self.name_numbers.len() as u32;
        self.name_numbers.insert(name.to_owned(), number);
        push_number(&mut self.names, name.len() as u32);
        self.names.extend_from_slice(name.as_bytes());
        number
    }

    /// Writes the last place down.
    fn close(&mut self) {
        let Some((place, frame)) = self.open.take() else { return };
        for value in [place.start - self.written_to, place.end - place.start, frame] {
            push_number(&mut self.places, value);
        }
        self.written_to = place.end;
        self.place_count += 1;
    }

    /// The table, of a module with `code`, the contents of its code section.
    pub fn finish(mut self, code: &[u8]) -> Built {
        self.close();
        let left_out = self.left_out;
        if self.place_count == 0 {
            return Built {
                section: None,
                left_out,
                rest: self.budget,
            };
        }
        let mut section = vec![VERSION];
        push_number(&mut section, code.len() as u32);
        section.extend_from_slice(&xxh3_64(code).to_le_bytes());
        let (names, frames) = (self.name_numbers.len(), self.frame_numbers.len());
        for (count, written) in [
            (names, &self.names),
            (frames, &self.frames),
            (self.place_count, &self.places),
        ] {
            push_number(&mut section, count as u32);
            section.extend_from_slice(written);
        }
        let rest = Budget {
            tables: self.budget.tables - 1,
            bytes: self.budget.bytes - section.len(),
            names: self.budget.names - names,
            frames: self.budget.frames - frames,
            places: self.budget.places - self.place_count,
        };
        Built {
            section: Some(section),
            left_out,
            rest,
        }
    }
}

fn push_number(bytes: &mut Vec<u8>, number: u32) {
    if let Some((written, length)) = leb128fmt::encode_u32(number) {
        bytes.extend(written.iter().take(length));
    }
}
