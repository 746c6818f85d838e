//! Changes of rows as Debezium tells them, against a second decoder.

use super::decode::outcomes;
use crate::{oracle, replay::host};
use std::{cell::RefCell, sync::LazyLock};
use weir::{
    definition::File,
    format::Decoder,
    model::ids::InputId,
    plan::{Place, Plan},
};

const PIPELINE: &str = r#"
name = "changes"
[source]
stream = "S"
subject = "s"
format = { debezium = { key = ["id", "part"] } }
[source.columns]
id = "int"
part = "text"
price = "double"
paid = "boolean"
premium = { type = "text", format = "number" }
city = { type = "text", path = "address.city" }
lsn = { type = "int", from = "envelope", path = "source.lsn" }
by = { type = "text", from = "envelope", path = "op" }
[[sink]]
table = "rows"
primary_key = ["id", "part"]
"#;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let plan = Plan::build(&File::from_text("changes.toml", PIPELINE), host());
    plan.unwrap_or_else(|error| panic!("{error}"))
});

thread_local! {
    // It keeps guesses from payload to payload, and they must not show.
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::of(&PLAN, 4096).expect("the columns are fine"));
}

/// A payload, or several with lines between them: each is what a second decoder says.
///
/// # Panics
/// When it is not.
pub fn changes(bytes: &[u8]) {
    let input = PLAN.inputs.get(InputId::FIRST).expect("there is an input");
    let format = input.format.debezium().expect("its payloads are changes");
    let path = |place: &Place| match place {
        Place::Payload(path) | Place::Envelope(path) => path.names().expect("paths lead through objects"),
        other => panic!("{other:?} is in no change"),
    };
    let declared = || input.columns.iter().take(format.deleted);
    let columns = declared().map(|column| oracle::Column {
        path: path(&column.place),
        column_type: column.field.column_type,
        number: column.is_number,
    });
    let columns: Vec<oracle::Column> = columns.collect();
    let of_envelope = declared().enumerate();
    let of_envelope = of_envelope.filter(|(_, column)| matches!(column.place, Place::Envelope(_)));
    let of_envelope: Vec<usize> = of_envelope.map(|(index, _)| index).collect();
    let payloads: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for payloads in payloads.chunks(4096) {
        let found = DECODER.with_borrow_mut(|decoder| outcomes(decoder, payloads));
        for (payload, found) in payloads.iter().zip(found) {
            let expected = oracle::decode_change(payload, &columns, &of_envelope, &format.key);
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(payload));
        }
    }
}
