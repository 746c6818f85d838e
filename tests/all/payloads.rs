//! Payloads, and what becomes of each: a row, a blank, or a dead letter with its reason.
//!
//! `table` and `values` list them one by one; `random` makes them by the hundred thousand and asks a second decoder.

mod table;
mod values;

mod made;
mod random;

use std::sync::Arc;
use weir::{
    format::Decoder,
    model::{
        column::{Column, ColumnType, Field, Value},
        ids::InputId,
        path::ValuePath,
    },
    plan::{Place, SourceColumn},
};
use weir_tests::{
    oracle::{self, Outcome},
    table::Cell,
};

/// A column at a path of the payload, written as `address.geo.lat`.
fn column(path: &str, column_type: ColumnType) -> SourceColumn {
    SourceColumn {
        field: Field {
            name: path.to_owned(),
            column_type,
            nullable: true,
        },
        place: Place::Payload(ValuePath::of_names(path.split('.'))),
        reading: None,
        is_number: false,
        required: false,
        materialised: true,
    }
}

/// A text column that has to hold a number.
fn number(path: &str) -> SourceColumn {
    SourceColumn {
        is_number: true,
        ..column(path, ColumnType::Text)
    }
}

/// A column that no step reads.
fn unread(column: SourceColumn) -> SourceColumn {
    SourceColumn {
        materialised: false,
        ..column
    }
}

/// The columns as the second decoder takes them.
fn for_oracle(columns: &[SourceColumn]) -> Vec<oracle::Column> {
    let column = |column: &SourceColumn| oracle::Column {
        path: column.place.path().and_then(ValuePath::names).unwrap(),
        column_type: column.field.column_type,
        number: column.is_number,
    };
    columns.iter().map(column).collect()
}

/// Decodes payloads in one batch; a reject brings its reason. Cells of columns that nobody reads are null.
fn decode(decoder: &mut Decoder, columns: &[SourceColumn], payloads: &[&[u8]]) -> Vec<(Outcome, String)> {
    for (sequence, payload) in (1u64..).zip(payloads) {
        decoder.push(sequence, None, payload);
    }
    let batch = decoder.take();
    let mut found = vec![(Outcome::Blank, String::new()); payloads.len()];
    let place = |delivery: u32| batch.deliveries.sequence(delivery) as usize - 1;
    for rejected in &batch.rejected {
        found[place(rejected.delivery)] = (Outcome::Reject, rejected.reason.clone());
    }
    let events = batch.of_input(InputId::FIRST);
    let mut held = events.columns.iter();
    let held: Vec<Option<&Arc<Column>>> = columns.iter().map(|c| held.next_if(c.materialised)).collect();
    for (row, &delivery) in events.deliveries.iter().enumerate() {
        let cell = |column: &Option<&Arc<Column>>| column.map_or(Cell::Null, |column| cell(column.get(row)));
        found[place(delivery)] = (Outcome::Row(held.iter().map(cell).collect()), String::new());
    }
    let blank = found.iter().filter(|(outcome, _)| *outcome == Outcome::Blank).count();
    assert_eq!(batch.empties.len(), blank, "blanks are counted");
    assert!(
        held.iter()
            .flatten()
            .all(|column| column.len() == events.deliveries.len()),
        "columns are of one length"
    );
    found
}

/// `Iterator::next`, but only where a value is due.
trait NextIf: Iterator {
    fn next_if(&mut self, due: bool) -> Option<Self::Item> {
        if due { self.next() } else { None }
    }
}

impl<I: Iterator> NextIf for I {}

fn cell(value: Value<'_>) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Int(value) => Cell::Int(value),
        Value::Double(value) => Cell::Double(value),
        Value::Boolean(value) => Cell::Int(value.into()),
        Value::Text(text) => Cell::Text(String::from_utf8(text.to_vec()).expect("texts of columns are UTF-8")),
        Value::Decimal(_) => panic!("no column is a decimal"),
    }
}

fn decoder(columns: &[SourceColumn]) -> Decoder {
    Decoder::of_columns(columns, 4096).expect("the columns are fine")
}
