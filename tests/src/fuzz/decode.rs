//! Payloads, against a second decoder.

use crate::{
    oracle::{self, Outcome},
    table::Cell,
};
use std::{cell::RefCell, sync::LazyLock};
use weir::{
    format::Decoder,
    model::{
        column::{ColumnType, Field, Value},
        ids::InputId,
        path::ValuePath,
    },
    plan::{Place, SourceColumn},
};

static COLUMNS: LazyLock<Vec<SourceColumn>> = LazyLock::new(|| {
    let column = |path: &str, column_type, is_number| SourceColumn {
        field: Field {
            name: path.to_owned(),
            column_type,
            nullable: true,
        },
        place: Place::Payload(ValuePath::of_names(path.split('.'))),
        reading: None,
        is_number,
        required: false,
        materialised: true,
    };
    vec![
        column("id", ColumnType::Int, false),
        column("price", ColumnType::Double, false),
        column("paid", ColumnType::Boolean, false),
        column("name", ColumnType::Text, false),
        column("premium", ColumnType::Text, true),
        column("address.city", ColumnType::Text, false),
        column("address.geo.lat", ColumnType::Double, false),
    ]
});

thread_local! {
    // It keeps guesses from payload to payload, and they must not show.
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::of_columns(&COLUMNS, 4096).expect("the columns are fine"));
}

/// A payload, or several with lines between them: each is what a second decoder says; and whatever columns it has, they are written
/// and read again as the same.
///
/// # Panics
/// When it is not.
pub fn decode(bytes: &[u8]) {
    let columns: Vec<oracle::Column> = COLUMNS
        .iter()
        .map(|column| oracle::Column {
            path: column
                .place
                .path()
                .and_then(ValuePath::names)
                .expect("paths lead through objects"),
            column_type: column.field.column_type,
            number: column.is_number,
        })
        .collect();
    let payloads: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for payloads in payloads.chunks(4096) {
        super::types::check(payloads);
        let found = DECODER.with_borrow_mut(|decoder| outcomes(decoder, payloads));
        for (payload, found) in payloads.iter().zip(found) {
            let expected = oracle::decode(payload, &columns);
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(payload));
        }
    }
}

pub(super) fn outcomes(decoder: &mut Decoder, payloads: &[&[u8]]) -> Vec<Outcome> {
    for (sequence, payload) in (1u64..).zip(payloads) {
        decoder.push(sequence, None, payload);
    }
    let batch = decoder.take();
    let mut found = vec![Outcome::Blank; payloads.len()];
    let place = |delivery: u32| batch.deliveries.sequence(delivery) as usize - 1;
    for rejected in &batch.rejected {
        found[place(rejected.delivery)] = Outcome::Reject;
    }
    let events = batch.of_input(InputId::FIRST);
    for (row, &delivery) in events.deliveries.iter().enumerate() {
        let cells = events.columns.iter().map(|column| match column.get(row) {
            Value::Null => Cell::Null,
            Value::Int(value) => Cell::Int(value),
            Value::Double(value) => Cell::Double(value),
            Value::Boolean(value) => Cell::Int(value.into()),
            Value::Text(text) => Cell::Text(String::from_utf8(text.to_vec()).expect("a text is UTF-8")),
            Value::Decimal(_) => panic!("no column is a decimal"),
        });
        found[place(delivery)] = Outcome::Row(cells.collect());
    }
    found
}
