//! What a component of an expression carries along: the program, and what people call it.

use crate::program::{BrokenProgram, Program, broken};

/// A program with its name. The component that evaluates it reads this from its attachment.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// What the rule is called.
    pub name: String,
    /// Its version, of whatever scheme.
    pub version: String,
    /// What it does, for people.
    pub doc: String,
    /// The program.
    pub program: Program,
}

impl Attached {
    /// The bytes; the same for the same.
    ///
    /// # Errors
    ///
    /// The program is larger than programs may be.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BrokenProgram> {
        let mut bytes = Vec::new();
        for text in [&self.name, &self.version, &self.doc] {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend(self.program.to_bytes()?);
        Ok(bytes)
    }

    /// Reads what [`Attached::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// The bytes are none of it.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Attached, BrokenProgram> {
        let mut text = || -> Option<String> {
            let (length, rest) = bytes.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            bytes = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (Some(name), Some(version), Some(doc)) = (text(), text(), text()) else {
            return Err(broken("it has no name, version and description in front"));
        };
        Ok(Attached {
            name,
            version,
            doc,
            program: Program::from_bytes(bytes)?,
        })
    }
}
