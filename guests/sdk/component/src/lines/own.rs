//! The lines of a rule's own source, out of all that the compiler says for debuggers.
//!
//! What the compiler and its linker leave in a module is twenty times as large as the rule, and nearly all of it is about the
//! standard library. So this keeps, of the rule's own crate and of those that lie beside it, each function that is in the
//! module, the calls that were inlined into it, and the lines of both; nothing else.

use super::{FOREIGN_SOURCE, Reader, Section, load};
use gimli::write::{
    Address, ConvertError, ConvertLineRow, ConvertUnit, ConvertUnitEntry, EndianVec, FilterUnitSection, Sections,
    UnitEntryId,
};
use gimli::{AttributeValue, DwAt, LittleEndian, constants};
use std::borrow::Cow;

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

/// The sections of that.
pub(super) fn own_lines(sections: &[Section<'_>]) -> Result<Vec<(&'static str, Vec<u8>)>, ConvertError> {
    let dwarf = load(sections)?;

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
