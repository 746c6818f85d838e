//! Tables against the state that they were made of.

use super::super::{schema::quote, values::value_of};
use crate::{
    error::Result,
    model::{
        column::Value,
        ids::SinkId,
        row::{cells, push_cell},
    },
    plan::{SinkPlan, Target},
    storage::Contents,
    text::printable,
};
use rusqlite::Connection;
use std::collections::HashSet;

/// The table that a sink writes.
pub(super) fn name(sink: &SinkPlan) -> Option<&str> {
    match &sink.target {
        Target::Table { name, .. } | Target::Append { name } => Some(name),
        Target::Subject { .. } => None,
    }
}

/// The rows of a sink that the state says; nothing where it does not tell.
pub(super) fn expected(sink: SinkId, state: &dyn Contents) -> Result<Option<HashSet<Vec<u8>>>> {
    let mut expected: HashSet<Vec<u8>> = HashSet::new();
    let is_told = state.table_rows(sink, &mut |row| {
        expected.insert(as_stored(&row));
    })?;
    Ok(is_told.then_some(expected))
}

/// What differs between the rows of `table` and those that are expected, and how many these are.
pub(super) fn compare(
    connection: &Connection,
    sink: &SinkPlan,
    table: &str,
    mut expected: HashSet<Vec<u8>>,
) -> rusqlite::Result<(Vec<String>, usize)> {
    let rows_expected = expected.len();
    let names: Vec<String> = sink.columns.iter().map(|(field, _)| quote(&field.name)).collect();
    let mut select = connection.prepare(&format!("SELECT {} FROM {}", names.join(", "), quote(table)))?;
    let mut rows = select.query([])?;
    let mut faults = Vec::new();
    while let Some(row) = rows.next()? {
        let mut found = Vec::new();
        for (index, (field, _)) in sink.columns.iter().enumerate() {
            push_cell(&mut found, value_of(row.get_ref(index)?, field.column_type));
        }
        if !expected.remove(&as_stored(&found)) {
            faults.push(format!("has {}, and the state does not", shown(sink, &found)));
        }
    }
    let mut missing: Vec<String> = expected
        .iter()
        .map(|row| format!("has no {}, and the state does", shown(sink, row)))
        .collect();
    missing.sort_unstable();
    faults.extend(missing);
    Ok((faults, rows_expected))
}

/// SQLite has one zero.
fn as_stored(row: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(row.len());
    for cell in cells(row) {
        match cell {
            Value::Double(0.0) => push_cell(&mut stored, Value::Double(0.0)),
            cell => push_cell(&mut stored, cell),
        }
    }
    stored
}

fn shown(sink: &SinkPlan, row: &[u8]) -> String {
    let cells = sink.columns.iter().zip(cells(row)).map(|((field, _), value)| {
        let value = field
            .column_type
            .text(value)
            .map_or("null".to_owned(), |text| printable(&text));
        format!("{} = {value}", field.name)
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}
