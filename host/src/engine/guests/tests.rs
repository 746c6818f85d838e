//! Steps that are guests, with closures in the place of components.

use super::super::Engine;
use crate::{
    definition::File,
    format::Decoder,
    model::{
        column::{Column, ColumnType, Field, Value},
        guest::{Answer, OutputRows, OutputSpec, RejectedRow},
        row::take_cell,
        turn::{SinkRows, Turn},
    },
    plan::{Plan, double::Closures},
};
use std::sync::Arc;

fn int(name: &str, nullable: bool) -> Field {
    Field {
        name: name.to_owned(),
        column_type: ColumnType::Int,
        nullable,
    }
}

fn value(column: &Column, row: usize) -> i64 {
    match column.get(row) {
        Value::Int(value) => value,
        other => panic!("{other:?} is no integer"),
    }
}

/// Runs a pipeline over the payloads, one delivery each from sequence 1 on.
fn run(host: &Closures, step: &str, sink: &str, payloads: &[&str]) -> Turn {
    let text = format!(
        r#"
            name = "numbers"
            source = {{ stream = "S", subject = "numbers", columns = {{ k = "int", n = "int" }} }}
            step = [{step}]
            sink = [{sink}]
        "#
    );
    let plan = Arc::new(Plan::build(&File::from_text("numbers.toml", text), host).expect("it is a pipeline"));
    let mut decoder = Decoder::of(&plan, 64).expect("it can be decoded");
    let mut engine = Engine::new(plan, host, 1).expect("it can run");
    for (sequence, payload) in (1..).zip(payloads) {
        decoder.push(sequence, None, payload.as_bytes());
    }
    engine.process(decoder.take()).expect("no invariant breaks");
    engine.take_turn(1).expect("no invariant breaks")
}

fn messages(turn: &Turn) -> Vec<&str> {
    turn.messages.iter().map(|message| message.payload.as_str()).collect()
}

fn dead_letters(turn: &Turn) -> Vec<(u64, &str)> {
    let letters = turn.dead_letters.iter();
    letters
        .map(|letter| (letter.sequence, letter.reason.as_str()))
        .collect()
}

/// Passes even numbers on with their halves, leaves odd ones out, and rejects what is negative.
fn halves(rows: u32, columns: &[&Column]) -> Answer {
    let mut answer = Answer::default();
    let (mut even, mut halves) = (Vec::new(), Column::with_capacity(ColumnType::Int, 0));
    for row in 0..rows {
        match value(columns[0], row as usize) {
            number if number < 0 => answer.rejected.push(RejectedRow {
                row,
                reason: format!("{number} is negative"),
                failed: false,
            }),
            number if number % 2 == 0 => {
                even.push(row);
                halves.push(Value::Int(number / 2));
            }
            _ => {}
        }
    }
    answer.outputs.push(OutputRows {
        rows: even,
        computed: vec![halves],
    });
    answer
}

#[test]
fn a_closure_is_a_stage() {
    let output = OutputSpec {
        name: "out".to_owned(),
        passed: vec![("n".to_owned(), "n".to_owned())],
        computed: vec![int("half", false)],
        many: false,
    };
    let host = Closures::default().with_stage("halves", vec![int("n", true)], vec![output], halves);
    let turn = run(
        &host,
        r#"{ name = "halves", stage = { module = "halves" } }"#,
        r#"{ subject = "out" }"#,
        &[r#"{"n": 4}"#, r#"{"n": 5}"#, r#"{"n": -6}"#, r#"{"n": 8}"#],
    );
    assert_eq!(messages(&turn), [r#"{"n":4,"half":2}"#, r#"{"n":8,"half":4}"#]);
    assert_eq!(dead_letters(&turn), [(3, "-6 is negative")]);
    assert_eq!(turn.dead_letters[0].step, "halves");
    let counts = turn.counts;
    assert_eq!((counts.applied, counts.filtered, counts.dead_letters), (2, 1, 1));
}

#[test]
fn a_closure_is_an_aggregate() {
    let host = Closures::default().with_aggregate("product", int("n", true), |product, value, goes| match value {
        Value::Int(0) => Err("nothing can take a zero back".to_owned()),
        Value::Int(number) if goes => Ok(product / number),
        Value::Int(number) => Ok(product.max(1) * number),
        other => Err(format!("{other:?} is no integer")),
    });
    let turn = run(
        &host,
        r#"{ name = "products", aggregate = { group_by = ["k"], columns = { product = { module = "product" } } } }"#,
        r#"{ table = "products", primary_key = ["k"] }"#,
        &[r#"{"k": 1, "n": 4}"#, r#"{"k": 1, "n": 0}"#, r#"{"k": 1, "n": 5}"#],
    );
    assert_eq!(dead_letters(&turn), [(2, "nothing can take a zero back")]);
    let Some(SinkRows::Upserts(all)) = &turn.sinks.as_slice()[0] else {
        panic!("a table by key has rows: {:?}", turn.sinks);
    };
    let [rows] = &all[..] else {
        panic!("no swap took place: {all:?}");
    };
    let rows = rows.rows();
    let cells = rows.sorted().map(|(_, row)| {
        let mut row = row.expect("no row goes");
        let mut cell = || take_cell(&mut row).map(|cell| format!("{cell:?}"));
        [cell(), cell()].map(Option::unwrap_or_default)
    });
    assert_eq!(cells.collect::<Vec<_>>(), [["Int(1)", "Int(20)"]]);
}
