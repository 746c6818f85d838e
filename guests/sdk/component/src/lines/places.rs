//! The table of a module's own lines.

use super::{Reader, Section, frames_at, load, own_lines};
use gimli::write::ConvertError;
use std::collections::BTreeSet;
use weir_lines::{Budget, Builder, Built};

/// The table of the rule's own lines that debug information has of `code`, the contents of a code section.
pub(super) fn table(debug: &[Section<'_>], code: &[u8], budget: Budget) -> Result<Built, ConvertError> {
    let own = own_lines(debug)?;
    let own: Vec<Section<'_>> = own.iter().map(|(name, data)| (*name, data.as_slice())).collect();
    let dwarf = load(&own)?;
    let mut edges = edges(&dwarf)?;
    edges.insert(code.len() as u64);
    let context = addr2line::Context::from_dwarf(dwarf)?;
    let mut table = Builder::new(budget);
    let mut edges = edges
        .into_iter()
        .take_while(|&edge| edge <= code.len() as u64)
        .peekable();
    while let (Some(start), Some(&end)) = (edges.next(), edges.peek()) {
        let frames = frames_at(&context, start);
        let own: Vec<_> = frames
            .iter()
            .filter(|frame| frame.is_own())
            .map(super::Frame::of_table)
            .collect();
        table.push(start as u32..end as u32, &own);
    }
    Ok(table.finish(code))
}

/// Every address at which a line, a function, or a call that was inlined begins or ends: between two of them the frames are
/// the same.
fn edges(dwarf: &gimli::Dwarf<Reader<'_>>) -> Result<BTreeSet<u64>, gimli::Error> {
    let mut edges = BTreeSet::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if let Some(program) = unit.line_program.clone() {
            let mut rows = program.rows();
            while let Some((_, row)) = rows.next_row()? {
                edges.insert(row.address());
            }
        }
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            let mut ranges = dwarf.die_ranges(&unit, entry)?;
            while let Some(range) = ranges.next()? {
                edges.extend([range.begin, range.end]);
            }
        }
    }
    Ok(edges)
}
