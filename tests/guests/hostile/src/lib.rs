//! A rule that misbehaves in every way that a guest can, on the rows that ask for it, and does its work on all others.
//!
//! It is written against the bare contract: the SDK would not let it.

use bindings::{
    exports::weir::stage::stage::{
        Answer, Batch, Column, ColumnType, ColumnValues, ComputedColumn, Description, Guest, InputColumn, OutputRows,
        OutputSpec, Parameter, ParameterSpec, ParameterType, ParameterValue, PassedColumn, RejectedRow, TextValues,
    },
    weir::stage::log::{Level, write},
};
use std::hint::black_box;

mod bindings {
    wit_bindgen_rust_macro::generate!({ path: "../../../wit/0.1", world: "stage-component" });
}

/// Bytes of the answer to "huge".
const HUGE_BYTES: usize = 3 << 20;

/// What a row takes that asks for much: less than the 8 MiB that an instance may have, and more than half of it.
const LARGE_BYTES: usize = 9 << 19;

struct Hostile;

bindings::export!(Hostile with_types_in bindings);

impl Guest for Hostile {
    fn describe() -> Description {
        let computed = |name: &str, column_type| ComputedColumn {
            name: name.to_owned(),
            column_type,
            nullable: false,
        };
        Description {
            name: "hostile".to_owned(),
            version: "1".to_owned(),
            doc: "Misbehaves as `what` says.".to_owned(),
            inputs: vec![InputColumn {
                name: "what".to_owned(),
                column_type: ColumnType::Text,
                nullable: true,
            }],
            reads_time: false,
            outputs: vec![OutputSpec {
                name: "out".to_owned(),
                passed: vec![PassedColumn {
                    input: "id".to_owned(),
                    output: "id".to_owned(),
                }],
                computed: vec![
                    computed("echo", ColumnType::Text),
                    computed("weight", ColumnType::Double),
                ],
            }],
            parameters: vec![ParameterSpec {
                name: "at_configure".to_owned(),
                parameter_type: ParameterType::Text,
                default: Some(ParameterValue::Text(String::new())),
                doc: "How it misbehaves before the first batch.".to_owned(),
            }],
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

    fn process(batch: Batch) -> Answer {
        let mut echo = Texts::default();
        let mut weight = Vec::new();
        let mut rows = Vec::new();
        let mut rejected = Vec::new();
        let mut asked = Vec::new();
        for row in 0..batch.row_count {
            let what = text(&batch.columns[0], row as usize);
            let asks = what.unwrap_or_default();
            end_badly(asks);
            match asks {
                // Never given back: what is left of the instance's memory is less for every row that comes later.
                "leak" => _ = Vec::leak(black_box(vec![1_u8; LARGE_BYTES])),
                // Given back, but the memory stays as large as it grew.
                "large" => drop(black_box(vec![1_u8; LARGE_BYTES])),
                "larger" => drop(black_box(vec![1_u8; LARGE_BYTES + LARGE_BYTES / 2])),
                _ => {}
            }
            if asks == "drop" {
                continue;
            }
            if asks == "reject" || asks == "both" {
                rejected.push(RejectedRow {
                    row,
                    reason: format!("column `what` holds {asks:?}, which is asked not to be kept"),
                });
            }
            if asks == "reject" {
                continue;
            }
            rows.push(row);
            weight.push(if asks == "nan" { f64::NAN } else { asks.len() as f64 });
            match asks {
                "not-utf8" => echo.push(&[0xff]),
                // The rest of the character goes to the next text, if there is one.
                "split-character" => {
                    echo.push(&"保".as_bytes()[..1]);
                    echo.left_over = &"保".as_bytes()[1..];
                }
                "huge" => echo.push(&vec![b'x'; HUGE_BYTES]),
                _ => echo.push(format!("<{asks}>").as_bytes()),
            }
            asked.push(asks);
        }

        let asks = |what: &str| asked.contains(&what);
        if asks("short") {
            weight.pop();
        }
        if asks("loose-data") {
            echo.data.push(b'!');
        }
        let one_null = |column: Column| Column {
            validity: Some(asked.iter().map(|asked| u8::from(*asked != "null")).collect()),
            ..column
        };
        let mut computed = vec![
            values(match asks("lie") {
                true => ColumnValues::Int(vec![0; asked.len()]),
                false => ColumnValues::Text(echo.finish()),
            }),
            values(ColumnValues::Double(weight)),
        ];
        if asks("null") {
            computed = computed.into_iter().map(one_null).collect();
        }
        if asks("validity-2") {
            computed[1].validity = Some(vec![2; asked.len()]);
        }
        if asks("column-less") {
            computed.pop();
        }
        if let Some(at) = asked.iter().position(|asked| *asked == "twice") {
            rows.insert(at, rows[at]);
        }
        if asks("far-row")
            && let Some(last) = rows.last_mut()
        {
            *last = batch.row_count;
        }
        let outputs = vec![OutputRows { rows, computed }];
        Answer {
            outputs: if asks("output-less") { Vec::new() } else { outputs },
            rejected,
        }
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

/// Texts of a column that is being computed.
#[derive(Default)]
struct Texts {
    ends: Vec<u32>,
    data: Vec<u8>,
    left_over: &'static [u8],
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(std::mem::take(&mut self.left_over));
        self.data.extend_from_slice(text);
        self.ends.push(self.data.len() as u32);
    }

    fn finish(self) -> TextValues {
        TextValues {
            offsets: std::iter::once(0).chain(self.ends).collect(),
            data: self.data,
        }
    }
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
