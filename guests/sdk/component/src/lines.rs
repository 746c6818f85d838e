//! What the compiler says for debuggers (DWARF), reduced to a table.
//!
//! A host wants to name the function and the line in which a rule failed, and to parse nothing for it. So a component has no
//! debug information, but the table of `weir-lines`, of its author's own source. It is made here, on the author's machine.

mod own;
mod places;

use gimli::{LittleEndian, SectionId};
use own::own_lines;
use std::fmt;
use wasm_encoder::{CustomSection, Module, RawSection};
use wasmparser::{Parser, Payload};
use weir_lines::{Budget, LeftOut, SECTION};

type Reader<'a> = gimli::EndianSlice<'a, LittleEndian>;

/// The name of a custom section, and its contents.
type Section<'a> = (&'a str, &'a [u8]);

/// How the sections that debuggers read are called.
const DEBUG_SECTION: &str = ".debug_";

/// What stands in the name of a source file that is not the rule's own: the standard library, crates as cargo unpacks
/// them, and the SDK, each as `weir build` calls it.
const FOREIGN_SOURCE: [&str; 4] = ["/rustc/", "/rust/deps/", REGISTRY, "weir-guest/src/"];

/// What stands before the name of a crate that cargo unpacked, and the folder of its registry.
const REGISTRY: &str = "/registry/src/";

/// A core module whose debug information is a table.
pub(crate) struct Reduced {
    pub(crate) module: Vec<u8>,
    /// What to tell its author of lines that are missing.
    pub(crate) missing: Option<String>,
    /// What the tables of other modules of the same component may have.
    pub(crate) rest: Budget,
}

/// A core module with the lines of the rule's own source in a table, and without any other debug information. What cannot be
/// read of that is left out: a rule runs as well without.
pub(crate) fn reduce(core: &[u8], budget: Budget) -> Result<Reduced, wasmparser::Error> {
    let mut module = Module::new();
    let mut debug: Vec<Section<'_>> = Vec::new();
    let mut code: &[u8] = &[];
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        match &payload {
            Payload::CustomSection(section) if section.name().starts_with(DEBUG_SECTION) => {
                debug.push((section.name(), section.data()));
            }
            // A table that was there is of what was there then.
            Payload::CustomSection(section) if section.name() == SECTION => {}
            _ => {
                let Some((id, range)) = payload.as_section() else {
                    continue;
                };
                let data = core.get(range).unwrap_or_default();
                if matches!(payload, Payload::CodeSectionStart { .. }) {
                    code = data;
                }
                module.section(&RawSection { id, data });
            }
        }
    }
    let unchanged = |missing: Option<String>| (None, missing, budget);
    let (section, missing, rest) = if debug.is_empty() {
        unchanged(None)
    } else {
        match places::table(&debug, code, budget) {
            Ok(built) => (built.section, missing(built.left_out), built.rest),
            Err(error) => unchanged(Some(format!(
                "its debug information cannot be read, so there are no lines: {error}"
            ))),
        }
    };
    if let Some(section) = section {
        module.section(&CustomSection {
            name: SECTION.into(),
            data: section.into(),
        });
    }
    Ok(Reduced {
        module: module.finish(),
        missing,
        rest,
    })
}

/// A component whose core modules are [reduced](reduce), also those of components within it.
pub(crate) fn reduce_component(component: &[u8]) -> Result<(Vec<u8>, Option<String>), wasmparser::Error> {
    let (mut budget, mut missing) = (Budget::default(), Vec::new());
    let component = within(component, &mut budget, &mut missing)?;
    Ok((component, (!missing.is_empty()).then(|| missing.join("; "))))
}

fn within(component: &[u8], budget: &mut Budget, missing: &mut Vec<String>) -> Result<Vec<u8>, wasmparser::Error> {
    let mut made = wasm_encoder::Component::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        let mut within_it = None;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            // What stands within one of them was copied with it.
            _ if depth > 1 => continue,
            Payload::ModuleSection { unchecked_range, .. } => {
                let reduced = reduce(component.get(unchecked_range.clone()).unwrap_or_default(), *budget)?;
                *budget = reduced.rest;
                missing.extend(reduced.missing);
                within_it = Some(reduced.module);
            }
            Payload::ComponentSection { unchecked_range, .. } => {
                let inner = component.get(unchecked_range.clone()).unwrap_or_default();
                within_it = Some(within(inner, budget, missing)?);
            }
            Payload::CustomSection(section) if section.name().starts_with(DEBUG_SECTION) => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let data = within_it.as_deref().or(component.get(range)).unwrap_or_default();
            made.section(&RawSection { id, data });
        }
    }
    Ok(made.finish())
}

fn missing(left_out: LeftOut) -> Option<String> {
    (!left_out.is_nothing()).then(|| left_out.to_string())
}

/// A function that a place in the code is in.
pub(crate) struct Frame {
    function: String,
    file: String,
    line: u32,
}

impl Frame {
    /// Whether it is of the standard library or of the SDK.
    pub(crate) fn is_library(&self) -> bool {
        self.registry_crate().is_none() && !self.is_own()
    }

    /// The crate of a registry that it is of, with its version.
    pub(crate) fn registry_crate(&self) -> Option<&str> {
        let (_, inside) = self.file.split_once(REGISTRY)?;
        inside.split('/').nth(1)
    }

    fn is_own(&self) -> bool {
        !FOREIGN_SOURCE.iter().any(|mark| self.file.contains(mark))
    }

    fn of_table(&self) -> weir_lines::Frame<'_> {
        weir_lines::Frame {
            function: &self.function,
            file: &self.file,
            line: self.line,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of_table().fmt(f)
    }
}

/// The debug information of a core module.
pub(crate) struct Debug<'a> {
    /// Where the contents of the code section stand.
    code: u64,
    context: addr2line::Context<Reader<'a>>,
}

impl<'a> Debug<'a> {
    /// None where there is none that can be read.
    pub(crate) fn of(core: &'a [u8]) -> Option<Self> {
        let mut code = None;
        let mut sections: Vec<Section<'_>> = Vec::new();
        for payload in Parser::new(0).parse_all(core) {
            match payload.ok()? {
                Payload::CodeSectionStart { range, .. } => code = Some(range.start as u64),
                Payload::CustomSection(section) if section.name().starts_with(DEBUG_SECTION) => {
                    sections.push((section.name(), section.data()));
                }
                _ => {}
            }
        }
        Some(Self {
            code: code?,
            context: addr2line::Context::from_dwarf(load(&sections).ok()?).ok()?,
        })
    }

    /// All functions that `offset`, a place in the module, is in, the innermost first.
    pub(crate) fn frames_at(&self, offset: u64) -> Vec<Frame> {
        let address = offset.checked_sub(self.code);
        address.map_or_else(Vec::new, |address| frames_at(&self.context, address))
    }
}

fn load<'a>(sections: &[Section<'a>]) -> Result<gimli::Dwarf<Reader<'a>>, gimli::Error> {
    gimli::Dwarf::load(|id: SectionId| {
        let data = sections.iter().find(|(name, _)| *name == id.name());
        Ok(Reader::new(data.map_or(&[], |(_, data)| data), LittleEndian))
    })
}

/// All functions that an address in the code is in, the innermost first; none where something of that cannot be read.
fn frames_at(context: &addr2line::Context<Reader<'_>>, address: u64) -> Vec<Frame> {
    let find = || {
        let mut frames = context.find_frames(address).skip_all_loads().ok()?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next().ok()? {
            let (Some(function), Some(place)) = (frame.function, frame.location) else {
                continue;
            };
            let (Some(file), Some(line)) = (place.file, place.line) else {
                continue;
            };
            found.push(Frame {
                function: function.demangle().ok()?.into_owned(),
                file: file.to_owned(),
                line,
            });
        }
        Some(found)
    };
    find().unwrap_or_default()
}

#[cfg(test)]
mod tests;
