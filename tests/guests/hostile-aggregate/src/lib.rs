//! An aggregate that misbehaves in every way that a guest can, on the rows that ask for it, and does its work on all
//! others: the state of a group is the texts of its rows, and so is the result.
//!
//! It is written against the bare contract: the SDK would not let it.

use bindings::{
    exports::weir::stage::aggregate::{
        Accumulated, Batch, Column, ColumnType, ColumnValues, Description, Guest, InputColumn, Parameter,
        ParameterSpec, ParameterType, ParameterValue, Rejected, ResultColumn, States, TextValues,
    },
    weir::stage::log::{Level, write},
};
use std::hint::black_box;

mod bindings {
    wit_bindgen_rust_macro::generate!({ path: "../../../wit/0.1", world: "aggregate-component" });
}

/// Bytes of the result of "huge".
const HUGE_BYTES: usize = 3 << 20;

/// What "fat" adds to the state of its group: more than a state may have.
const FAT_BYTES: usize = 70_000;

/// What a row takes that asks for much: less than the 8 MiB that an instance may have, and more than half of it.
const LARGE_BYTES: usize = 9 << 19;

struct Hostile;

bindings::export!(Hostile with_types_in bindings);

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile-aggregate".to_owned(),
            version: "1".to_owned(),
            doc: "Misbehaves as `what` says.".to_owned(),
            inputs: vec![InputColumn {
                name: "what".to_owned(),
                column_type: ColumnType::Text,
                nullable: true,
            }],
            parameters: vec![ParameterSpec {
                name: "at_configure".to_owned(),
                parameter_type: ParameterType::Text,
                default: Some(ParameterValue::Text(String::new())),
                doc: "How it misbehaves before the first batch.".to_owned(),
            }],
            result: ResultColumn {
                column_type: ColumnType::Text,
                nullable: false,
            },
            retracts: true,
            merges: true,
            state: "texts, each with a comma behind".to_owned(),
        }
    }

    fn configure(parameters: Vec<Parameter>) -> Result<(), String> {
        match parameters.first().map(|parameter| &parameter.value) {
            Some(ParameterValue::Text(what)) if what == "refuse" => {
                Err("parameter \"at_configure\": refused".to_owned())
            }
            Some(ParameterValue::Text(what)) => {
                end_badly(what);
                Ok(())
            }
            _ => Err("one text is expected".to_owned()),
        }
    }

    fn accumulate(batch: Batch) -> Result<Accumulated, Rejected> {
        let rows = batch.groups.len();
        let mut states = pieces(&batch.states);
        let mut results = Vec::with_capacity(rows);
        let mut asked = Vec::new();
        for (row, &group) in batch.groups.iter().enumerate() {
            let what = text(&batch.columns[0], row).unwrap_or_default();
            let state = &mut states[group as usize];
            end_badly(what);
            let reject = |number: usize| {
                Err(Rejected {
                    number: number as u32,
                    reason: format!("column `what` holds {what:?}, which is asked not to be kept"),
                })
            };
            match what {
                // Never given back: what is left of the instance's memory is less for every row that comes later.
                "leak" => _ = Vec::leak(black_box(vec![1_u8; LARGE_BYTES])),
                // Given back, but the memory stays as large as it grew.
                "large" => drop(black_box(vec![1_u8; LARGE_BYTES])),
                "larger" => drop(black_box(vec![1_u8; LARGE_BYTES + LARGE_BYTES / 2])),
                "reject" => return reject(row),
                "reject-last" => return reject(rows - 1),
                "reject-far" => return reject(rows),
                "fat" => state.resize(state.len() + FAT_BYTES, b'x'),
                _ => {}
            }
            let text = format!("{what},");
            match batch.retracts.as_ref().map(|retracts| retracts[row]) {
                Some(1) => {
                    let at = String::from_utf8_lossy(state).rfind(&text).expect("it was added");
                    state.drain(at..at + text.len());
                }
                _ => state.extend_from_slice(text.as_bytes()),
            }
            results.push(state.clone());
            asked.push(what);
        }

        let asks = |asked_for: &str| asked.contains(&asked_for);
        for (what, result) in asked.iter().zip(&mut results) {
            match *what {
                "huge" => result.resize(HUGE_BYTES, b'x'),
                "not-utf8" => result.push(0xff),
                // The rest of the character goes nowhere.
                "split-character" => result.extend_from_slice(&"保".as_bytes()[..1]),
                _ => {}
            }
        }
        if asks("short") {
            results.pop();
        }
        if asks("long") {
            results.push(Vec::new());
        }
        if asks("state-less") {
            states.pop();
        }
        let count = results.len();
        let mut results = match asks("lie") {
            true => values(ColumnValues::Int(vec![0; count])),
            false => texts(&results),
        };
        if asks("null") {
            results.validity = Some(vec![0; count]);
        }
        if asks("validity-2") {
            results.validity = Some(vec![2; count]);
        }
        if let (true, ColumnValues::Text(texts)) = (asks("loose-data"), &mut results.values) {
            texts.data.push(b'!');
        }
        let mut states = joined(&states);
        if asks("states-loose") {
            states.data.push(b'!');
        }
        Ok(Accumulated { states, results })
    }

    fn merge(into: States, from: States) -> Result<States, Rejected> {
        let mut merged = pieces(&into);
        for (pair, (into, from)) in merged.iter_mut().zip(pieces(&from)).enumerate() {
            let asks = |what: &str| contains(&from, what);
            if asks("no-merge") {
                return Err(Rejected {
                    number: pair as u32,
                    reason: "they do not go together".to_owned(),
                });
            }
            if asks("crash-at-merge") {
                end_badly("trap");
            }
            if asks("fat-at-merge") {
                into.resize(FAT_BYTES, b'x');
            }
            into.extend_from_slice(&from);
        }
        Ok(joined(&merged))
    }

    fn results(states: States) -> Result<Column, Rejected> {
        let states = pieces(&states);
        for (number, state) in states.iter().enumerate() {
            if contains(state, "crash-at-result") {
                end_badly("trap");
            }
            if contains(state, "no-result") {
                return Err(Rejected {
                    number: number as u32,
                    reason: "it comes to nothing".to_owned(),
                });
            }
        }
        Ok(texts(&states))
    }
}

/// Does not come back when `what` asks for it. Not inlined, so that reasons name it.
#[inline(never)]
fn end_badly(what: &str) {
    match what {
        "trap" => std::process::abort(),
        "panic" => {
            write(Level::Error, "it was asked to panic");
            std::process::abort();
        }
        "loop" => loop {
            black_box(what);
        },
        "recurse" => {
            black_box(recurse(black_box(1)));
        }
        "grow" => loop {
            Vec::leak(black_box(vec![1_u8; 1 << 16]));
        },
        _ => {}
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    match black_box(depth) {
        0 => 0,
        _ => recurse(depth + 1) + depth,
    }
}

fn contains(state: &[u8], what: &str) -> bool {
    String::from_utf8_lossy(state).contains(what)
}

fn pieces(states: &States) -> Vec<Vec<u8>> {
    let piece = |ends: &[u32]| states.data[ends[0] as usize..ends[1] as usize].to_vec();
    states.offsets.windows(2).map(piece).collect()
}

fn joined(pieces: &[Vec<u8>]) -> States {
    let mut states = States {
        offsets: vec![0],
        data: Vec::new(),
    };
    for piece in pieces {
        states.data.extend_from_slice(piece);
        states.offsets.push(states.data.len() as u32);
    }
    states
}

fn texts(pieces: &[Vec<u8>]) -> Column {
    let States { offsets, data } = joined(pieces);
    values(ColumnValues::Text(TextValues { offsets, data }))
}

fn values(values: ColumnValues) -> Column {
    Column { validity: None, values }
}

fn text(column: &Column, row: usize) -> Option<&str> {
    if column.validity.as_ref().is_some_and(|validity| validity[row] == 0) {
        return None;
    }
    let ColumnValues::Text(texts) = &column.values else {
        return None;
    };
    str::from_utf8(&texts.data[texts.offsets[row] as usize..texts.offsets[row + 1] as usize]).ok()
}
