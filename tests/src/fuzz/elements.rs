//! Arrays whose elements become rows, against their elements read one by one.

use crate::replay::host;
use std::{cell::RefCell, sync::LazyLock};
use weir::{
    definition::File,
    format::{Decoder, ElementReader},
    limits::UNNEST_ROWS_MAX,
    model::{
        column::{Column, ColumnType},
        ids::InputId,
    },
    plan::{Plan, SourceColumn},
};

/// What is read of each element that is an object.
const PIPELINE: &str = r#"
name = "elements"
source = { stream = "S", subject = "s", columns = { sku = "text", price = "decimal(8, 2)", n = { type = "int", path = "count.n" }, more = "json" } }
sink = [{ table = "t" }]
"#;

static COLUMNS: LazyLock<Vec<SourceColumn>> = LazyLock::new(|| {
    let plan = Plan::build(&File::from_text("elements.toml", PIPELINE), host());
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    plan.inputs
        .get(InputId::FIRST)
        .expect("there is an input")
        .columns
        .clone()
});

thread_local! {
    // They keep what they read from array to array, and it must not show.
    static READER: RefCell<ElementReader> = RefCell::new(ElementReader::of_objects(&COLUMNS).expect("the columns are fine"));
    static JSON: RefCell<ElementReader> = RefCell::new(ElementReader::of_values(json()));
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::of_columns(&COLUMNS, 4096).expect("the columns are fine"));
}

/// A column of JSON.
fn json() -> SourceColumn {
    let more = COLUMNS.last().expect("there are columns");
    assert_eq!(more.field.column_type, ColumnType::Json);
    more.clone()
}

/// The rows of columns, as text.
fn rows<'c>(columns: impl IntoIterator<Item = &'c Column>) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for column in columns {
        rows.resize(column.len(), String::new());
        let cells = (0..column.len()).map(|row| format!("{:?} ", column.get(row)));
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push_str(&cell));
    }
    rows
}

/// An array, or several with lines between them: its rows are those of its elements, and what is none leaves nothing.
///
/// # Panics
/// When it is not so.
pub fn elements(bytes: &[u8]) {
    for text in bytes.split(|byte| *byte == b'\n') {
        let read = |reader: &mut ElementReader| {
            let read = reader.read(text);
            let found = rows(reader.take().iter().map(|column| &**column));
            assert_eq!(
                read.clone().unwrap_or(0),
                found.len(),
                "{:?}",
                String::from_utf8_lossy(text)
            );
            read.map(|_| found)
        };
        let found = READER.with_borrow_mut(read);
        let json = JSON.with_borrow_mut(read);
        let Ok(elements) = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(text) else {
            continue;
        };
        if elements.len() > UNNEST_ROWS_MAX {
            assert!(found.is_err() && json.is_err());
            continue;
        }
        let written: Vec<String> = elements
            .iter()
            .map(|element| match element.get() {
                "null" => "Null ".to_owned(),
                text => format!("{:?} ", weir::model::column::Value::Text(text.as_bytes())),
            })
            .collect();
        assert_eq!(json, Ok(written), "{:?}", String::from_utf8_lossy(text));
        let one_by_one = DECODER.with_borrow_mut(|decoder| {
            for (number, element) in (1..).zip(&elements) {
                let element = if element.get() == "null" { "{}" } else { element.get() };
                decoder.push(number, None, element.as_bytes());
                if decoder.is_full() {
                    break;
                }
            }
            let batch = decoder.take();
            let all = batch.deliveries.len() == elements.len();
            let rejected = batch.rejected.first().map(|rejected| rejected.reason.clone());
            let events = batch.events.get(InputId::FIRST).cloned().unwrap_or_default();
            all.then_some((rows(events.columns.iter().map(|column| &**column)), rejected))
        });
        match (one_by_one, found) {
            (None, _) => {}
            (Some((expected, None)), found) => assert_eq!(found, Ok(expected), "{:?}", String::from_utf8_lossy(text)),
            (Some((_, Some(reason))), found) => {
                let found = found.expect_err("an element that is rejected rejects the array");
                assert!(found.ends_with(&reason), "found {found}, and expected {reason}");
            }
        }
    }
}
