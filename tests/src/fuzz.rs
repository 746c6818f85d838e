//! Fuzz targets: what takes bytes from strangers, each with what must hold whatever they are.
//!
//! `tests/all/fuzz.rs` runs each over its corpus in `tests/fuzz/corpus`, and over changed copies of it, for a moment; `cargo
//! xtask fuzz` runs libFuzzer on them for as long as it is told to.

mod changes;
mod decode;
mod elements;
mod formats;
mod lines;
mod state;
mod types;

pub use changes::changes;
pub use decode::decode;
pub use elements::elements;
pub use formats::{avro, csv, protobuf};
pub use lines::{lines, tables};
pub use state::{inputs, state};

use crate::replay::host;
use weir::{
    definition::File,
    model::column::{ColumnType, Values},
    plan::Plan,
    wasm::fuzzing::check_answer,
};

/// A target, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("decode", decode),
    ("changes", changes),
    ("answer", answer),
    ("pipeline", pipeline),
    ("state", state),
    ("lines", lines),
    ("csv", csv),
    ("avro", avro),
    ("protobuf", protobuf),
    ("elements", elements),
];

/// The answer of a guest: one that passes the check keeps every promise of the contract.
///
/// # Panics
/// When it does not.
pub fn answer(bytes: &[u8]) {
    const ROWS: u32 = 6;
    let outputs = [
        vec![(ColumnType::Int, false), (ColumnType::Text, true)],
        vec![
            (ColumnType::Double, true),
            (ColumnType::Boolean, false),
            (ColumnType::Text, false),
        ],
    ];
    let Ok(answer) = check_answer(bytes, ROWS, &outputs) else {
        return;
    };
    let ascend = |rows: &[u32]| rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|&row| row < ROWS);
    let rejected: Vec<u32> = answer.rejected.iter().map(|rejected| rejected.row).collect();
    assert!(ascend(&rejected));
    assert_eq!(answer.outputs.len(), outputs.len());
    for (output, columns) in answer.outputs.iter().zip(&outputs) {
        assert!(ascend(&output.rows));
        assert!(output.rows.iter().all(|row| !rejected.contains(row)));
        assert_eq!(output.computed.len(), columns.len());
        for (column, &(column_type, nullable)) in output.computed.iter().zip(columns) {
            assert_eq!(
                (column.layout(), column.len()),
                (column_type.layout(), output.rows.len())
            );
            for row in 0..column.len() {
                assert!(nullable || !column.is_null(row));
                // Every cell can be had: a text is UTF-8, a double finite.
                match (&column.values, column.is_null(row)) {
                    (Values::Double(values), false) => assert!(values[row].is_finite()),
                    (Values::Text(texts), _) => {
                        let (start, end) = (texts.offsets[row] as usize, texts.offsets[row + 1] as usize);
                        std::str::from_utf8(&texts.data[start..end]).expect("a text is UTF-8");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The text of a pipeline file: it is a plan, or refused with its place, in a message that a terminal can show.
///
/// # Panics
/// When it is neither.
pub fn pipeline(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Plan::build(&File::from_text("/nowhere/fuzzed.toml", text), host()) {
        let message = error.to_string();
        assert!(message.starts_with("/nowhere/fuzzed.toml"), "{message}");
    }
}
