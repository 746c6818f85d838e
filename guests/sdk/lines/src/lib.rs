//! The lines that a component carries: which function, file and line of its author's source each place in its code is of.
//!
//! What compilers leave for debuggers (DWARF) is a language of its own: a kilobyte of it can mean gigabytes to whoever reads
//! it. A host that runs strangers' code does not want to read that when a call has failed, or ever. So the tool that makes a
//! component reads it, on its author's machine, and leaves a table in its place, in a custom section of the core module that
//! the lines are of. [`Builder`] makes that table, and [`Lines`] reads those of a component: once, in one pass, whose work and
//! memory the [bounds](Budget) of this crate limit. A lookup is a binary search.
//!
//! # The section
//!
//! [`SECTION`] holds, one behind the other:
//!
//! | what | how |
//! | --- | --- |
//! | version | a byte, 1 |
//! | the code that it is of | the length of the module's code section, and XXH3 (64 bits, little-endian) of its contents |
//! | names | how many; of each its length, and so many bytes of UTF-8 |
//! | frames | how many; of each the number of the function's name, that of the file's, the line, and how many frames before this one its caller stands; 0 where it has none |
//! | places | how many, in ascending order; of each how many bytes it begins behind the end of the one before, how many it has, and the number of its innermost frame |
//!
//! Numbers are of 32 bits at most, in LEB128. A place is counted from the first byte of the code section's contents, as in
//! DWARF for WebAssembly. Places do not overlap, and what is between them has no lines. Nothing stands behind the last.
//!
//! # Rules
//!
//! A section that breaks any of this, a bound, or one of these is ignored, and with it every other one of its component:
//!
//! - A table stands in a core module, which has a code section and no second table. It is of that code and of no other: where
//!   the code has changed since, it is broken.
//! - The bounds are those of all tables of a component together.

mod budget;
mod builder;
mod component;
mod table;

pub use budget::{
    Budget, FRAMES_MAX, NAME_BYTES_MAX, NAMES_MAX, NESTING_MAX, PLACES_MAX, SECTION_BYTES_MAX, TABLES_MAX,
};
pub use builder::{Builder, Built, LeftOut};
pub use component::Lines;
pub use table::Table;

use std::fmt;

/// The name of the custom section.
pub const SECTION: &str = "weir:lines";

/// The version of the format that this crate writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// A function that a place in the code is in, and the line there: of the innermost one that of the place, of the others that of
/// the call that was inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// What the function is called.
    pub function: &'a str,
    /// The source file, as the compiler names it.
    pub file: &'a str,
    /// The number of the line; the first is 1.
    pub line: u32,
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.function, self.file, self.line)
    }
}

/// Which rule the tables of a component break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<wasmparser::Error> for Broken {
    fn from(error: wasmparser::Error) -> Self {
        Self(error.to_string())
    }
}
