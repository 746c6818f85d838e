//! Tables against the state that they were made of.

use super::super::{
    schema::quote,
    values::{Cell, cell_of},
};
use crate::{
    error::Result,
    model::{
        column::Value,
        ids::SinkId,
        row::{cells, push_cell},
    },
    plan::SinkPlan,
    storage::Contents,
    text::printable,
};
use rusqlite::Connection;
use std::collections::HashSet;

/// The rows of a sink that the state says; nothing where it does not tell.
pub(super) fn expected(id: SinkId, sink: &SinkPlan, state: &dyn Contents) -> Result<Option<HashSet<Vec<u8>>>> {
    let mut expected: HashSet<Vec<u8>> = HashSet::new();
    let is_told = state.table_rows(id, &mut |row| {
        expected.insert(as_stored(sink, &row));
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
    let names: Vec<String> = sink.fields().map(|field| quote(&field.name)).collect();
    let mut select = connection.prepare(&format!("SELECT {} FROM {}", names.join(", "), quote(table)))?;
    let mut rows = select.query([])?;
    let mut faults = Vec::new();
    while let Some(row) = rows.next()? {
        let mut found = Vec::new();
        for (index, column) in sink.columns.iter().enumerate() {
            let cell = cell_of(row.get_ref(index)?, column.column_form());
            push_cell(&mut found, cell.as_ref().map_or(Value::Null, Cell::value));
        }
        if !expected.remove(&as_stored(sink, &found)) {
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

/// SQLite has one zero, and some forms cut.
fn as_stored(sink: &SinkPlan, row: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(row.len());
    for (cell, column) in cells(row).zip(&sink.columns) {
        match column.column_form().cut(cell) {
            Value::Double(0.0) => push_cell(&mut stored, Value::Double(0.0)),
            cell => push_cell(&mut stored, cell),
        }
    }
    stored
}

fn shown(sink: &SinkPlan, row: &[u8]) -> String {
    let cells = sink.fields().zip(cells(row)).map(|(field, value)| {
        let value = field
            .column_type
            .text(value)
            .map_or("null".to_owned(), |text| printable(&text));
        format!("{} = {value}", field.name)
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}
