//! The tables of a component, found and read in one pass.

use crate::{Broken, Budget, Frame, NESTING_MAX, SECTION, Table};
use std::ops::Range;
use wasmparser::{Encoding, Parser, Payload};

/// The lines of all core modules of a component.
#[derive(Debug, Default)]
pub struct Lines {
    /// Where the code of each module with a table stands in the component, in ascending order, with that table.
    modules: Vec<(Range<usize>, Table)>,
}

/// A component or a module that the pass is within.
struct Open<'a> {
    is_module: bool,
    code: Option<Range<usize>>,
    table: Option<&'a [u8]>,
}

impl Lines {
    /// Reads the tables of a component, or of a core module, that was found to be valid. None at all is fine.
    ///
    /// # Errors
    /// When a table breaks a rule or a bound of this crate; all of the component's are then to be ignored.
    pub fn read(component: &[u8]) -> Result<Self, Broken> {
        let mut budget = Budget::default();
        let mut modules = Vec::new();
        let mut open: Vec<Open<'_>> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    if open.len() == NESTING_MAX {
                        return Err(Broken::new(format!(
                            "components and modules stand within one another, more than {NESTING_MAX} deep"
                        )));
                    }
                    open.push(Open {
                        is_module: encoding == Encoding::Module,
                        code: None,
                        table: None,
                    });
                }
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(module) = open.last_mut() {
                        module.code = Some(range);
                    }
                }
                Payload::CustomSection(section) if section.name() == SECTION => {
                    let Some(module) = open.last_mut().filter(|open| open.is_module) else {
                        return Err(Broken::new("it stands outside of a core module"));
                    };
                    if module.table.replace(section.data()).is_some() {
                        return Err(Broken::new("a core module has two of them"));
                    }
                }
                Payload::End(_) => {
                    let Some((table, code)) = open.pop().and_then(|module| Some((module.table?, module.code))) else {
                        continue;
                    };
                    let code = code.and_then(|range| Some((component.get(range.clone())?, range)));
                    let Some((code, range)) = code else {
                        return Err(Broken::new("the core module that it stands in has no code"));
                    };
                    modules.push((range, Table::read(table, code, &mut budget)?));
                }
                _ => {}
            }
        }
        // They are complete in the order of their ends, and no module stands within another.
        modules.sort_by_key(|(code, _)| code.start);
        Ok(Self { modules })
    }

    /// The frames of a place in the component, counted from its first byte; the innermost first. None where that is no code,
    /// or code without lines.
    pub fn at(&self, offset: usize) -> impl Iterator<Item = Frame<'_>> {
        let behind = self.modules.partition_point(|(code, _)| code.start <= offset);
        let found = behind.checked_sub(1).and_then(|at| self.modules.get(at));
        let found = found.filter(|(code, _)| code.contains(&offset));
        found
            .into_iter()
            .flat_map(move |(code, table)| table.at((offset - code.start) as u32))
    }

    /// The table of each module that has one, in the order of the modules.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.modules.iter().map(|(_, table)| table)
    }
}

#[cfg(test)]
mod tests;
