//! Payloads with columns of every type: a row that was read is written as messages are, and read again as the same.

use std::cell::RefCell;
use weir::{
    definition::File,
    format::Decoder,
    model::{
        column::{Field, Value},
        ids::InputId,
    },
    plan::{Place, Plan, SourceColumn},
};

use crate::replay::host;

/// Values as strangers write them.
const STRANGE: &str = r#"
name = "p"
[source]
stream = "S"
subject = "s"
[source.columns]
id = { type = "int", format = "string" }
price = { type = "double", format = "string" }
paid = { type = "decimal", precision = 38, scale = 19 }
name = { type = "timestamp", format = { strftime = "%Y-%m-%d %H:%M:%S%.f", zone = "Europe/Berlin" } }
premium = { type = "timestamp", format = "rfc3339" }
a = { type = "timestamp", format = "ms" }
b = { type = "date", format = "days" }
c = "date"
d = { type = "bytes", format = "hex" }
e = "json"
f = { type = "list", of = "text" }
g = { type = "list", of = "timestamp", format = "rfc3339" }
h = { type = "list", of = "decimal(5, 2)", format = "string" }
first = { type = "int", path = ["address", 0] }
city = { type = "text", path = ["address", 1, "city"] }
[[sink]]
table = "t"
"#;

/// The same as messages hold them.
const CANONICAL: &str = r#"
name = "p"
[source]
stream = "S"
subject = "s"
[source.columns]
id = "int"
price = "double"
paid = { type = "decimal", precision = 38, scale = 19 }
name = { type = "timestamp", format = "rfc3339" }
premium = { type = "timestamp", format = "rfc3339" }
a = { type = "timestamp", format = "rfc3339" }
b = "date"
c = "date"
d = { type = "bytes", format = "base64" }
e = "json"
f = { type = "list", of = "text" }
g = { type = "list", of = "timestamp", format = "rfc3339" }
h = { type = "list", of = "decimal(5, 2)" }
first = "int"
city = "text"
[[sink]]
table = "t"
"#;

/// A decoder, and the columns of its rows.
struct Reader {
    decoder: Decoder,
    fields: Vec<Field>,
}

impl Reader {
    fn of(pipeline: &str) -> Self {
        let plan = Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine");
        let columns = &plan.inputs.get(InputId::FIRST).expect("there is an input").columns;
        assert!(
            columns
                .iter()
                .all(|column: &SourceColumn| matches!(column.place, Place::Payload(_)))
        );
        Self {
            fields: columns.iter().map(|column| column.field.clone()).collect(),
            decoder: Decoder::of(&plan, 4096).expect("the columns are fine"),
        }
    }

    /// The rows of payloads, each as a message would hold it.
    fn rows(&mut self, payloads: &[&[u8]]) -> Vec<String> {
        for (sequence, payload) in (1u64..).zip(payloads) {
            self.decoder.push(sequence, None, payload);
        }
        let batch = self.decoder.take();
        let events = batch.of_input(InputId::FIRST);
        let all = events.deliveries.len() + batch.rejected.len() + batch.empties.len();
        assert_eq!(all, payloads.len(), "each payload is a row, a dead letter or empty");
        let row = |row: usize| {
            let mut json = "{".to_owned();
            for (field, column) in self.fields.iter().zip(&events.columns) {
                if let (Value::Decimal(unscaled), weir::model::column::ColumnType::Decimal(decimal)) =
                    (column.get(row), field.column_type)
                {
                    assert!(decimal.holds(unscaled.get()), "{unscaled:?}");
                }
                json += if json.len() > 1 { "," } else { "" };
                json += &format!("{:?}:", field.name);
                field.column_type.push_json(&mut json, column.get(row));
            }
            json + "}"
        };
        (0..events.deliveries.len()).map(row).collect()
    }
}

thread_local! {
    static READERS: RefCell<[Reader; 2]> = RefCell::new([Reader::of(STRANGE), Reader::of(CANONICAL)]);
}

/// # Panics
/// When a row is not the same once it was written and read.
pub(super) fn check(payloads: &[&[u8]]) {
    READERS.with_borrow_mut(|[strange, canonical]| {
        let rows = strange.rows(payloads);
        let written: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
        assert_eq!(canonical.rows(&written), rows);
    });
}
