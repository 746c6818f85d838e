//! The trace of changelogs that rules read: which event changed each current row last, under `/changelog/STEP`; and which rows
//! of a table swaps made of which current rows, under `/judged/STEP/TABLE`. No table is called so.

use super::{insert, take_hash};
use crate::{
    error::{Error, Result},
    model::{
        moved::{JudgedRow, MovedInTable},
        row::{push_length, take_length},
        turn::ChangelogTrace,
    },
    storage::{SwapOfRow, sqlite::failure::Sqlite},
};
use rusqlite::{Connection, Transaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What the names of traces begin with that are of no table.
const CHANGELOG: &str = "/changelog/";
const JUDGED: &str = "/judged/";

/// Writes what a turn did to the current rows of changelogs. Gives the bytes that it took.
pub(in crate::storage::sqlite) fn write_changelogs(
    transaction: &Transaction<'_>,
    pipeline: &str,
    number: u64,
    traces: Vec<ChangelogTrace>,
    behind: Option<u64>,
) -> rusqlite::Result<u64> {
    let mut bytes = 0;
    for ChangelogTrace { step, mut last, judged } in traces {
        last.sort_unstable();
        last.dedup();
        let swaps: BTreeSet<u64> = judged.iter().map(|(_, moved)| moved.behind).collect();
        let (mut entries, mut first_sequence) = (Vec::with_capacity(16 * last.len()), u64::MAX);
        for (at, &(key, sequence)) in last.iter().enumerate() {
            // The last of all, and the last in front of each swap.
            let next = last.get(at + 1).filter(|(next, _)| *next == key);
            if next.is_none_or(|&(_, next)| swaps.range(sequence..next).next().is_some()) {
                entries.extend_from_slice(&key.to_le_bytes());
                push_length(&mut entries, sequence as usize);
                first_sequence = first_sequence.min(sequence);
            }
        }
        let first_sequence = behind.map_or(first_sequence, |behind| behind + 1);
        let name = format!("{CHANGELOG}{step}");
        bytes += insert(transaction, pipeline, number, &name, first_sequence, &entries)?;
        let mut of_tables: BTreeMap<&str, Vec<&MovedInTable>> = BTreeMap::new();
        for (table, moved) in &judged {
            of_tables.entry(table).or_default().push(moved);
        }
        for (table, moved) in of_tables {
            let mut rows: Vec<JudgedRow> = moved.into_iter().flat_map(MovedInTable::judged).collect();
            rows.sort_unstable();
            rows.dedup();
            entries.clear();
            for JudgedRow { row, current, behind } in &rows {
                entries.extend_from_slice(&row.to_le_bytes());
                entries.extend_from_slice(&current.to_le_bytes());
                push_length(&mut entries, *behind as usize);
            }
            let name = format!("{JUDGED}{step}/{table}");
            let first_sequence = rows.iter().map(|row| row.behind).min().unwrap_or(0);
            bytes += insert(transaction, pipeline, number, &name, first_sequence, &entries)?;
        }
    }
    Ok(bytes)
}

/// Which event was the last to change the current row that a swap made a row of, for each of `swaps`.
pub(super) fn last_events(
    connection: &Connection,
    path: &Path,
    pipeline: &str,
    table: &str,
    hashes: &[u64],
    swaps: Vec<u64>,
) -> Result<Vec<SwapOfRow>> {
    let wrap = || format!("cannot read database {}", path.display());
    let damaged = || Error::mismatch(format!("the lineage in database {} is damaged", path.display()));
    // By swap, step and current row.
    let mut current: BTreeMap<(u64, String, u64), Option<u64>> = BTreeMap::new();
    each_trace(connection, pipeline, JUDGED, |name, mut entries| {
        let Some((step, _)) = name.split_once('/').filter(|(_, of)| *of == table) else {
            return Some(());
        };
        while !entries.is_empty() {
            let (row, of) = (take_hash(&mut entries)?, take_hash(&mut entries)?);
            let behind = take_length(&mut entries)? as u64;
            if hashes.contains(&row) {
                current.insert((behind, step.to_owned(), of), None);
            }
        }
        Some(())
    })
    .sqlite(wrap)?
    .ok_or_else(damaged)?;
    each_trace(connection, pipeline, CHANGELOG, |step, mut entries| {
        while !entries.is_empty() {
            let key = take_hash(&mut entries)?;
            let sequence = take_length(&mut entries)? as u64;
            for ((behind, of_step, of), last) in &mut current {
                if (step, key) == (of_step, *of) && sequence <= *behind {
                    *last = (*last).max(Some(sequence));
                }
            }
        }
        Some(())
    })
    .sqlite(wrap)?
    .ok_or_else(damaged)?;
    let swaps = swaps.into_iter().map(|behind| {
        let of_swap = current.iter().filter(|((of, ..), _)| *of == behind);
        let last_event = of_swap.filter_map(|(_, last)| *last).max();
        SwapOfRow { behind, last_event }
    });
    Ok(swaps.collect())
}

/// Calls `each` with the entries of all traces whose names begin so, and with the rest of the name. Nothing where it gives nothing.
fn each_trace(
    connection: &Connection,
    pipeline: &str,
    prefix: &str,
    mut each: impl FnMut(&str, &[u8]) -> Option<()>,
) -> rusqlite::Result<Option<()>> {
    let mut statement = connection.prepare(
        "SELECT name, entries FROM weir_trace WHERE pipeline = ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY epoch",
    )?;
    let mut rows = statement.query([pipeline, prefix])?;
    while let Some(row) = rows.next()? {
        let (name, entries) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
        let name = name.strip_prefix(prefix).unwrap_or(name);
        if each(name, entries).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(()))
}
