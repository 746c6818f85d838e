//! What operators and sinks mean, over whole inputs: lists that are searched from one end to the other, and results that
//! are computed anew for every event. Nothing here is shared with the engine.

use super::exact;
use crate::table::Cell;
use std::collections::BTreeSet;

/// Cells in the order of a schema.
pub type Row = Vec<Cell>;

/// A change of one row.
#[derive(Clone, Debug)]
pub enum Change {
    /// A row that is new.
    Insert(Row),
    /// A row, and what takes its place.
    Update(Row, Row),
    /// A row that goes.
    Delete(Row),
}

/// For each event the changes that it makes, in order.
pub type Changes = Vec<Vec<Change>>;

/// What an aggregate computes of which column, with nulls counted as `coalesce`; no column counts rows.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// The function, as the file names it.
    pub function: &'static str,
    /// The column of the input.
    pub column: Option<usize>,
    /// What stands for a null.
    pub coalesce: Option<Cell>,
    /// For a column of decimals, how many digits stand behind the point.
    pub decimal: Option<u8>,
}

/// Every event stands for itself.
pub fn source(events: &[Row]) -> Changes {
    events.iter().map(|event| vec![Change::Insert(event.clone())]).collect()
}

/// Per key and column the last value that was not null.
///
/// # Panics
/// When the input is a changelog.
pub fn last_value(input: &Changes, key: &[usize], columns: &[usize]) -> Changes {
    let mut rows: Vec<Row> = Vec::new();
    let mut update = |event: &Row| {
        let key = pick_key(event, key);
        let Some(row) = rows.iter_mut().find(|row| row.starts_with(&key)) else {
            rows.push([key, pick(event, columns)].concat());
            return rows.last().cloned().map(Change::Insert);
        };
        let before = row.clone();
        for (cell, &column) in row[key.len()..].iter_mut().zip(columns) {
            if event[column] != Cell::Null {
                cell.clone_from(&event[column]);
            }
        }
        (*row != before).then(|| Change::Update(before, row.clone()))
    };
    let mut updates = |change: &Change| match change {
        Change::Insert(event) => update(event),
        _ => panic!("last_value reads events"),
    };
    let events = input
        .iter()
        .map(|changes| changes.iter().filter_map(&mut updates).collect());
    events.collect()
}

/// The groups of the rows that there are.
///
/// # Panics
/// When something is taken away that was not there.
pub fn aggregate(input: &Changes, group: &[usize], aggregates: &[Aggregate]) -> Changes {
    let mut rows: Vec<Row> = Vec::new();
    let result = |rows: &[Row], key: &Row| {
        let members: Vec<&Row> = rows.iter().filter(|row| pick_key(row, group) == *key).collect();
        let results = aggregates.iter().map(|aggregate| compute(aggregate, &members));
        (!members.is_empty()).then(|| key.iter().cloned().chain(results).collect::<Row>())
    };
    let mut update = |changes: &Vec<Change>| {
        let before = rows.clone();
        let mut touched: Vec<Row> = Vec::new();
        let mut touch = |row: &Row| {
            let key = pick_key(row, group);
            if !touched.contains(&key) {
                touched.push(key);
            }
        };
        for change in changes {
            if let Change::Delete(gone) | Change::Update(gone, _) = change {
                touch(gone);
                let at = rows
                    .iter()
                    .position(|row| row == gone)
                    .expect("what is taken away was there");
                rows.remove(at);
            }
            if let Change::Insert(new) | Change::Update(_, new) = change {
                touch(new);
                rows.push(new.clone());
            }
        }
        let changed = touched
            .iter()
            .filter_map(|key| match (result(&before, key), result(&rows, key)) {
                (None, Some(after)) => Some(Change::Insert(after)),
                (Some(before), None) => Some(Change::Delete(before)),
                (Some(before), Some(after)) => (before != after).then_some(Change::Update(before, after)),
                (None, None) => None,
            });
        changed.collect()
    };
    input.iter().map(&mut update).collect()
}

/// The result of an aggregate over some rows.
///
/// # Panics
/// When there is no such function.
pub fn compute(aggregate: &Aggregate, rows: &[&Row]) -> Cell {
    let Some(column) = aggregate.column else {
        return Cell::Int(rows.len() as i64);
    };
    let coalesced = |row: &&Row| match (&row[column], &aggregate.coalesce) {
        (Cell::Null, Some(instead)) => instead.clone(),
        (cell, _) => cell.clone(),
    };
    let values: Vec<Cell> = rows.iter().map(coalesced).filter(|cell| *cell != Cell::Null).collect();
    let distinct: BTreeSet<Cell> = values.iter().map(key_cell).collect();
    let int_sum: i128 = values
        .iter()
        .map(|cell| {
            if let Cell::Int(value) = cell {
                i128::from(*value)
            } else {
                0
            }
        })
        .sum();
    let doubles = || {
        values.iter().filter_map(|cell| {
            if let Cell::Double(value) = cell {
                Some(*value)
            } else {
                None
            }
        })
    };
    let is_int = matches!(values.first(), Some(Cell::Int(_)));
    match (aggregate.function, values.len()) {
        ("count", count) => Cell::Int(count as i64),
        ("count_distinct", _) => Cell::Int(distinct.len() as i64),
        (_, 0) => Cell::Null,
        ("min", _) => distinct.first().cloned().expect("there is a value"),
        ("max", _) => distinct.last().cloned().expect("there is a value"),
        ("sum", _) if aggregate.decimal.is_some() => {
            let places = usize::from(aggregate.decimal.unwrap_or_default());
            let sum: i128 = values.iter().map(|cell| unscaled(cell, places)).sum();
            Cell::Text(scaled(sum, places))
        }
        ("sum", _) if is_int => i64::try_from(int_sum).map_or(Cell::Null, Cell::Int),
        ("sum", _) => Some(exact::sum(doubles()))
            .filter(|sum| sum.is_finite())
            .map_or(Cell::Null, Cell::Double),
        ("avg", count) if is_int => Cell::Double(exact::mean_of_ints(int_sum, count)),
        ("avg", _) => Cell::Double(exact::mean(doubles())),
        (other, _) => panic!("no function {other}"),
    }
}

/// A decimal without its point.
fn unscaled(cell: &Cell, places: usize) -> i128 {
    let written = match cell {
        Cell::Double(value) => format!("{value:.places$}"),
        Cell::Text(text) => text.clone(),
        other => panic!("{other:?} is no decimal"),
    };
    written.replace('.', "").parse().expect("it has digits")
}

/// And with it again.
fn scaled(unscaled: i128, places: usize) -> String {
    let digits = format!("{:0width$}", unscaled.abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

/// A table by primary key over a changelog whose rows are told apart by `rows_by`: of the rows of one primary key the one
/// that changed last.
pub fn table(input: &Changes, primary_key: &[usize], rows_by: &[usize]) -> Vec<Row> {
    // In the order of their last changes.
    let mut rows: Vec<&Row> = Vec::new();
    for change in input.iter().flatten() {
        if let Change::Delete(gone) | Change::Update(gone, _) = change {
            rows.retain(|row| pick_key(row, rows_by) != pick_key(gone, rows_by));
        }
        if let Change::Insert(new) | Change::Update(_, new) = change {
            rows.push(new);
        }
    }
    last_of_each(&rows, primary_key)
}

/// A table by primary key over events.
pub fn upserts(input: &Changes, primary_key: &[usize]) -> Vec<Row> {
    last_of_each(&inserted(input), primary_key)
}

/// A table without a key over events.
pub fn appends(input: &Changes) -> Vec<Row> {
    inserted(input).into_iter().cloned().collect()
}

fn inserted(input: &Changes) -> Vec<&Row> {
    let rows = input.iter().flatten().map(|change| match change {
        Change::Insert(row) => row,
        _ => panic!("events are inserted and nothing else"),
    });
    rows.collect()
}

fn last_of_each(rows: &[&Row], key: &[usize]) -> Vec<Row> {
    let is_last = |at: usize| {
        rows[at + 1..]
            .iter()
            .all(|later| pick_key(later, key) != pick_key(rows[at], key))
    };
    (0..rows.len())
        .filter(|&at| is_last(at))
        .map(|at| rows[at].clone())
        .collect()
}

/// Changes as rows that come and rows that go, each with whether it goes.
pub fn single(changes: &[Change]) -> Vec<(Row, bool)> {
    let rows = changes.iter().flat_map(|change| match change {
        Change::Insert(row) => vec![(row.clone(), false)],
        Change::Update(before, after) => vec![(before.clone(), true), (after.clone(), false)],
        Change::Delete(row) => vec![(row.clone(), true)],
    });
    rows.collect()
}

/// These cells of a row.
pub fn pick(row: &Row, columns: &[usize]) -> Row {
    columns.iter().map(|&column| row[column].clone()).collect()
}

/// The same, as a key.
pub fn pick_key(row: &Row, columns: &[usize]) -> Row {
    columns.iter().map(|&column| key_cell(&row[column])).collect()
}

/// Both zeros are one key, and one value.
pub fn key_cell(cell: &Cell) -> Cell {
    match cell {
        Cell::Double(0.0) => Cell::Double(0.0),
        other => other.clone(),
    }
}
