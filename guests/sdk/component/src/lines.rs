//! The lines of a rule's own source, out of all that the compiler says for debuggers.
//!
//! What the compiler and its linker leave in a module is twenty times as large as the rule, and nearly all of it is about
//! the standard library. A host wants to name the function and the line in which a rule failed. So this keeps, of the
//! rule's own crate and of those that lie beside it, each function that is in the module, the calls that were inlined
//! into it, and the lines of both; nothing else.

use std::{borrow::Cow, fmt};

use gimli::write::{
    Address, ConvertError, ConvertLineRow, ConvertUnit, ConvertUnitEntry, EndianVec, FilterUnitSection, Sections,
    UnitEntryId,
};
use gimli::{AttributeValue, DwAt, LittleEndian, SectionId, constants};
use wasmparser::{Parser, Payload};

type Reader<'a> = gimli::EndianSlice<'a, LittleEndian>;

/// How the sections that debuggers read are called.
const DEBUG_SECTION: &str = ".debug_";

/// What stands in the name of a source file that is not the rule's own: the standard library, crates as cargo unpacks
/// them, and the SDK, each as `weir build` calls it.
const FOREIGN_SOURCE: [&str; 4] = ["/rustc/", "/rust/deps/", REGISTRY, "weir-guest/src/"];

/// What stands before the name of a crate that cargo unpacked, and the folder of its registry.
const REGISTRY: &str = "/registry/src/";

/// Code does not begin here: the linker's mark for functions that it left out.
const DEAD: [u64; 3] = [0, 0xFFFF_FFFE, 0xFFFF_FFFF];

/// What is kept of a function, and of a call that was inlined.
const KEPT: [DwAt; 7] = [
    constants::DW_AT_name,
    constants::DW_AT_low_pc,
    constants::DW_AT_high_pc,
    constants::DW_AT_ranges,
    constants::DW_AT_abstract_origin,
    constants::DW_AT_call_file,
    constants::DW_AT_call_line,
];

/// `core` with no more debug information than the lines of the rule's own source. What it cannot read it leaves out: a
/// rule runs as well without.
pub(crate) fn keep_own_lines(core: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    let mut kept = core.get(..8).unwrap_or(core).to_vec();
    let mut debug: Vec<(&str, &[u8])> = Vec::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        match &payload {
            Payload::CustomSection(section) if section.name().starts_with(DEBUG_SECTION) => {
                debug.push((section.name(), section.data()));
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    push_section(&mut kept, id, core.get(range).unwrap_or_default());
                }
            }
        }
    }
    if !debug.is_empty() {
        for (name, data) in own_lines(&debug).unwrap_or_default() {
            let mut section = Vec::with_capacity(data.len() + 32);
            push_length(&mut section, name.len());
            section.extend_from_slice(name.as_bytes());
            section.extend_from_slice(&data);
            push_section(&mut kept, 0, &section);
        }
    }
    Ok(kept)
}

/// The functions of the rule's own source that `offset`, a place in the code of a component, is in, the innermost first:
/// `digit (src/lib.rs:12)`. None where the component has no lines, or that code is of other source.
pub fn lines_at(component: &[u8], offset: u64) -> Vec<String> {
    let frames = frames_at(component, offset).into_iter();
    let own = frames.filter(|frame| !FOREIGN_SOURCE.iter().any(|mark| frame.file.contains(mark)));
    own.map(|frame| frame.to_string()).collect()
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
        self.registry_crate().is_none() && FOREIGN_SOURCE.iter().any(|mark| self.file.contains(mark))
    }

    /// The crate of a registry that it is of, with its version.
    pub(crate) fn registry_crate(&self) -> Option<&str> {
        let (_, inside) = self.file.split_once(REGISTRY)?;
        inside.split('/').nth(1)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.function, self.file, self.line)
    }
}

/// All functions that `offset`, a place in the code of a module or component, is in, the innermost first.
pub(crate) fn frames_at(component: &[u8], offset: u64) -> Vec<Frame> {
    find_frames(component, offset).unwrap_or_default()
}

fn find_frames(component: &[u8], offset: u64) -> Option<Vec<Frame>> {
    let mut code = None;
    let mut sections: Vec<(&str, &[u8])> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        match &payload {
            // Of the modules of a component the rule's own is the one with lines.
            Payload::CodeSectionStart { .. } if sections.is_empty() => {
                code = payload.as_section().map(|(_, range)| range);
            }
            Payload::CustomSection(section) if section.name().starts_with(DEBUG_SECTION) => {
                sections.push((section.name(), section.data()));
            }
            _ => {}
        }
    }
    let address = code
        .map(|code| code.start as u64..code.end as u64)
        .filter(|code| code.contains(&offset))
        .map(|code| offset - code.start)?;
    let load = |id: SectionId| {
        let data = sections.iter().find(|(name, _)| *name == id.name());
        Ok::<_, gimli::Error>(gimli::EndianSlice::new(
            data.map_or(&[][..], |(_, data)| data),
            LittleEndian,
        ))
    };
    let context = addr2line::Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()?;
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
}

fn own_lines(sections: &[(&str, &[u8])]) -> Result<Vec<(&'static str, Vec<u8>)>, ConvertError> {
    let load = |id: SectionId| {
        let data = sections.iter().find(|(name, _)| *name == id.name());
        Ok::<_, gimli::Error>(gimli::EndianSlice::new(
            data.map_or(&[], |(_, data)| data),
            LittleEndian,
        ))
    };
    let dwarf = gimli::Dwarf::load(load)?;

    let mut filter = FilterUnitSection::new(&dwarf)?;
    while let Some(mut unit) = filter.read_unit()? {
        if is_foreign(unit.read_unit.name) {
            // Read all the same: a function of its may have been inlined into one of the rule's.
            let mut entry = unit.null_entry();
            while unit.read_entry(&mut entry)? {}
            continue;
        }
        let mut entry = unit.null_entry();
        while unit.read_entry(&mut entry)? {
            let begins = entry.attr_value(constants::DW_AT_low_pc);
            let is_code = matches!(begins, Some(AttributeValue::Addr(address)) if !DEAD.contains(&address));
            if entry.tag() == constants::DW_TAG_subprogram && is_code {
                unit.require_entry(entry.offset());
            }
        }
    }

    let mut own = gimli::write::Dwarf::new();
    let mut convert = own.convert_with_filter(filter)?;
    while let Some((mut unit, root)) = convert.read_unit()? {
        let is_own = !is_foreign(unit.read_unit.name);
        if is_own {
            convert_lines(&mut unit)?;
            let place = [
                constants::DW_AT_comp_dir,
                constants::DW_AT_low_pc,
                constants::DW_AT_ranges,
            ];
            let root_id = unit.unit.root();
            convert_attributes(&mut unit, root_id, &root, &place)?;
        }
        let mut is_needed = false;
        let mut entry = root;
        while let Some(id) = unit.read_entry(&mut entry)? {
            if id.is_none() {
                continue;
            }
            is_needed = true;
            let id = unit.add_entry(id, &entry);
            if [constants::DW_TAG_subprogram, constants::DW_TAG_inlined_subroutine].contains(&entry.tag()) {
                convert_attributes(&mut unit, id, &entry, &KEPT)?;
            }
        }
        if !is_needed {
            unit.skip();
        }
    }

    let mut written = Sections::new(EndianVec::new(LittleEndian));
    own.write(&mut written)?;
    let mut kept = Vec::new();
    written.for_each_mut(|id, data| {
        let data = data.take();
        if !data.is_empty() {
            kept.push((id.name(), data));
        }
        Ok::<_, ConvertError>(())
    })?;
    Ok(kept)
}

fn is_foreign(unit: Option<Reader<'_>>) -> bool {
    let name = unit.map_or(Cow::Borrowed(""), |name| name.to_string_lossy());
    FOREIGN_SOURCE.iter().any(|mark| name.contains(mark))
}

/// Converts the lines of the functions that are in the module.
fn convert_lines(unit: &mut ConvertUnit<'_, Reader<'_>>) -> Result<(), ConvertError> {
    let Some(mut lines) = unit.read_line_program(None, None)? else {
        return Ok(());
    };
    let mut is_code = false;
    while let Some(row) = lines.read_row()? {
        match row {
            ConvertLineRow::SetAddress(address) => {
                is_code = !DEAD.contains(&address);
                if is_code {
                    lines.set_address(Address::Constant(address));
                }
            }
            ConvertLineRow::Row(row) if is_code => lines.generate_row(row),
            ConvertLineRow::EndSequence(length) if is_code => {
                lines.end_sequence(length);
                is_code = false;
            }
            ConvertLineRow::Row(_) | ConvertLineRow::EndSequence(_) => {}
        }
    }
    let (program, files) = lines.program();
    unit.set_line_program(program, files);
    Ok(())
}

fn convert_attributes<'a>(
    unit: &mut ConvertUnit<'_, Reader<'a>>,
    id: UnitEntryId,
    entry: &ConvertUnitEntry<'_, Reader<'a>>,
    kept: &[DwAt],
) -> Result<(), ConvertError> {
    for attribute in entry.attrs.iter().filter(|attribute| kept.contains(&attribute.name())) {
        let address = |address| Some(Address::Constant(address));
        let value = match attribute.name() {
            constants::DW_AT_name => {
                // Without the types that it is generic over: they are longer than all else.
                let name = entry.read_unit.attr_string(attribute.value())?.slice();
                let name = name.split(|&byte| byte == b'<').next().unwrap_or_default();
                gimli::write::AttributeValue::StringRef(unit.strings.add(name))
            }
            _ => unit.convert_attribute_value(entry.read_unit, attribute, &address)?,
        };
        unit.unit.get_mut(id).set(attribute.name(), value);
    }
    Ok(())
}

fn push_section(module: &mut Vec<u8>, id: u8, contents: &[u8]) {
    module.push(id);
    push_length(module, contents.len());
    module.extend_from_slice(contents);
}

/// A length as WebAssembly writes it: seven bits a byte, the lowest first.
fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::keep_own_lines;

    /// A module with a function, and custom sections of these names.
    fn module(sections: &[(&str, &str)]) -> Vec<u8> {
        let sections = sections
            .iter()
            .map(|(name, data)| format!("(@custom \"{name}\" \"{data}\")"));
        let text = format!("(module (func (export \"f\")) {})", sections.collect::<String>());
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn a_module_without_debug_information_stays_as_it_is() {
        let core = module(&[("producers", "x")]);
        assert_eq!(keep_own_lines(&core).unwrap(), core);
    }

    #[test]
    fn debug_information_that_cannot_be_read_is_left_out() {
        let core = module(&[
            (".debug_info", "what is this"),
            ("other", "kept"),
            (".debug_abbrev", "?"),
        ]);
        assert_eq!(keep_own_lines(&core).unwrap(), module(&[("other", "kept")]));
    }
}
