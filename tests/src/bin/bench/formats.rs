//! The same payments in each format: payloads to columns, against what others make of the same bytes.

use crate::{
    Result,
    decode::{EVENTS, MEASURING, decode_all},
    report::{Figure, Report},
    root, say,
};
use apache_avro::{Schema, reader::datum::GenericDatumReader};
use prost::Message;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use weir::{
    definition::File,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::column::TextValues,
    plan::Plan,
    wasm::{Compiler, StageHost},
};

/// The columns of a payment. Nothing reads the note, the ratio and the list of tags.
const COLUMNS: &str = r#"
id = "int"
paid = "boolean"
amount = AMOUNT
at = AT
merchant = { type = "text", path = "merchant.name" }
city = { type = "text", path = "merchant.address.city" }
"#;

const SCHEMA: &str = r#"{"type": "record", "name": "Payment", "fields": [
    {"name": "id", "type": "long"},
    {"name": "paid", "type": "boolean"},
    {"name": "ratio", "type": "double"},
    {"name": "note", "type": ["null", "string"]},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "merchant", "type": {"type": "record", "name": "Merchant", "fields": [
        {"name": "name", "type": "string"},
        {"name": "address", "type": {"type": "record", "name": "Address", "fields": [
            {"name": "city", "type": ["null", "string"]},
            {"name": "zip", "type": "string"}
        ]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}}
    ]}}
]}"#;

/// A payment, as the fixtures of the tests describe it, and as somebody would write it for prost.
#[derive(Clone, PartialEq, Message)]
struct Payment {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(double, tag = "11")]
    ratio: f64,
    #[prost(bool, tag = "13")]
    paid: bool,
    #[prost(string, tag = "15")]
    note: String,
    #[prost(message, optional, tag = "21")]
    merchant: Option<Merchant>,
    #[prost(int64, tag = "32")]
    booked_ms: i64,
    #[prost(string, tag = "33")]
    amount: String,
}

#[derive(Clone, PartialEq, Message)]
struct Merchant {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    address: Option<Address>,
    #[prost(string, repeated, tag = "3")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(string, optional, tag = "1")]
    city: Option<String>,
    #[prost(string, tag = "2")]
    zip: String,
}

/// The payment of a number.
fn payment(number: usize) -> Payment {
    const CITIES: [&str; 5] = ["Bern", "Basel", "Genève", "Zürich", "Lugano"];
    const NAMES: [&str; 4] = ["Bakery at the corner", "Bär & Söhne", "Kiosk", "The large store"];
    Payment {
        id: 1_000_000 + number as i64,
        ratio: number as f64 / 7.0,
        paid: !number.is_multiple_of(3),
        note: format!("order {number} of the day"),
        merchant: Some(Merchant {
            name: NAMES[number % NAMES.len()].to_owned(),
            address: Some(Address {
                city: Some(CITIES[number % CITIES.len()].to_owned()),
                zip: format!("{:04}", number % 10_000),
            }),
            tags: vec!["new".to_owned(), "card".to_owned()],
        }),
        booked_ms: 1_773_504_000_000 + number as i64 * 37,
        amount: format!("{}.{:02}", number % 9_000, number % 100),
    }
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let host = StageHost::new(StageHost::default_cache().as_deref(), Compiler::InProcess)?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("payment.avsc"), SCHEMA)?;
    let descriptors = root().join("tests/fixtures/formats/protobuf/payments.binpb");
    std::fs::copy(descriptors, folder.path().join("payments.binpb"))?;
    let payments: Vec<Payment> = (0..EVENTS).map(payment).collect();
    let payloads = |encode: fn(&Payment) -> Vec<u8>| {
        let mut payloads = TextValues::default();
        payments.iter().for_each(|payment| payloads.push(&encode(payment)));
        payloads
    };
    let schema = Schema::parse_str(SCHEMA)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let in_quotes = r#"{ type = "decimal", precision = 12, scale = 2, format = "string" }"#;
    let in_ms = r#"{ type = "timestamp", format = "ms" }"#;
    let flat = COLUMNS
        .replace(", path = \"merchant.name\"", "")
        .replace(", path = \"merchant.address.city\"", "");
    let of_proto = COLUMNS.replace(
        "at = AT",
        r#"at = { type = "timestamp", format = "ms", path = "booked_ms" }"#,
    );
    for (title, baseline_what, format, columns, payloads, parse) in [
        (
            "payments in JSON",
            "serde_json, to a Value",
            "\"json\"",
            COLUMNS.replace("AMOUNT", in_quotes).replace("AT", in_ms),
            payloads(json),
            (&|payload: &[u8]| {
                black_box(serde_json::from_slice::<serde_json::Value>(payload)?);
                Ok(())
            }) as &Parse<'_>,
        ),
        (
            "payments in CSV",
            "csv, a reader each, to a record of texts",
            "{ csv = { columns = [\"id\", \"paid\", \"ratio\", \"note\", \"amount\", \"at\", \"merchant\", \"city\", \"zip\", \"tags\"] } }",
            flat.replace("AMOUNT", "\"decimal(12, 2)\"").replace("AT", in_ms),
            payloads(csv),
            &|payload: &[u8]| {
                let mut record = csv::StringRecord::new();
                let mut reader = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .buffer_capacity(256)
                    .from_reader(payload);
                reader.read_record(&mut record)?;
                black_box(record);
                Ok(())
            },
        ),
        (
            "payments in Avro",
            "apache-avro, to a Value",
            "{ avro = { schema = \"payment.avsc\" } }",
            COLUMNS
                .replace("AMOUNT", "\"decimal(12, 2)\"")
                .replace("AT", "\"timestamp\""),
            payloads(avro),
            &|payload: &[u8]| {
                black_box(reader.read_value(&mut &*payload)?);
                Ok(())
            },
        ),
        (
            "payments in Protobuf",
            "prost, to a struct",
            "{ protobuf = { descriptors = \"payments.binpb\", message = \"acme.Payment\" } }",
            of_proto.replace("AMOUNT", in_quotes),
            payloads(Message::encode_to_vec),
            &|payload: &[u8]| {
                black_box(Payment::decode(payload)?);
                Ok(())
            },
        ),
    ] {
        say(format_args!("decode: {EVENTS} {title}, and {baseline_what}, in turns"));
        let pipeline = format!(
            "name = \"payments\"\n[source]\nstream = \"S\"\nsubject = \"s\"\nformat = {format}\n[source.columns]{columns}\n[[sink]]\ntable = \"t\"\n"
        );
        let plan = Plan::build(&File::from_text(folder.path().join("pipeline.toml"), pipeline), &host)?;
        let mut decoder = Decoder::of(&plan, BATCH_EVENTS_MAX)?;
        let (mut decode_best, mut parse_best) = (Duration::MAX, Duration::MAX);
        let begun = Instant::now();
        while begun.elapsed() < MEASURING {
            decode_best = decode_best.min(decode_all(&mut decoder, &payloads)?);
            let parsed = Instant::now();
            for at in 0..EVENTS {
                parse(payloads.get(at))?;
            }
            parse_best = parse_best.min(parsed.elapsed());
        }
        let per_event = |best: Duration| best.as_nanos() as f64 / EVENTS as f64;
        let rate = |best: Duration| payloads.data.len() as f64 / best.as_secs_f64() / 1e6;
        report.add(Figure {
            part: "decode",
            what: format!("{title}, {} bytes", payloads.data.len() / EVENTS),
            value: per_event(decode_best),
            unit: "ns/event",
            baseline: per_event(parse_best),
            baseline_what,
            targets: vec![],
            also: vec![
                ("decode", rate(decode_best), "MB/s"),
                ("the other", rate(parse_best), "MB/s"),
            ],
        });
    }
    Ok(())
}

/// What another program makes of a payload.
type Parse<'a> = dyn Fn(&[u8]) -> Result<()> + 'a;

fn parts(payment: &Payment) -> (&Merchant, &Address) {
    let merchant = payment.merchant.as_ref().expect("a payment has a merchant");
    (merchant, merchant.address.as_ref().expect("a merchant has an address"))
}

fn json(payment: &Payment) -> Vec<u8> {
    let (merchant, address) = parts(payment);
    let json = serde_json::json!({
        "id": payment.id, "paid": payment.paid, "ratio": payment.ratio, "note": payment.note, "amount": payment.amount,
        "at": payment.booked_ms,
        "merchant": {"name": merchant.name, "address": {"city": address.city, "zip": address.zip}, "tags": merchant.tags},
    });
    json.to_string().into_bytes()
}

fn csv(payment: &Payment) -> Vec<u8> {
    let (merchant, address) = parts(payment);
    format!(
        "{},{},{},{},{},{},\"{}\",{},{},new|card\n",
        payment.id,
        payment.paid,
        payment.ratio,
        payment.note,
        payment.amount,
        payment.booked_ms,
        merchant.name,
        address.city.as_deref().unwrap_or_default(),
        address.zip
    )
    .into_bytes()
}

fn avro(payment: &Payment) -> Vec<u8> {
    let (merchant, address) = parts(payment);
    let mut bytes = Vec::new();
    long(&mut bytes, payment.id);
    bytes.push(payment.paid.into());
    bytes.extend(payment.ratio.to_le_bytes());
    long(&mut bytes, 1);
    text(&mut bytes, payment.note.as_bytes());
    let cents: i64 = payment.amount.replace('.', "").parse().expect("an amount is digits");
    text(&mut bytes, &cents.to_be_bytes()[4..]);
    long(&mut bytes, payment.booked_ms);
    text(&mut bytes, merchant.name.as_bytes());
    long(&mut bytes, 1);
    text(&mut bytes, address.city.as_deref().unwrap_or_default().as_bytes());
    text(&mut bytes, address.zip.as_bytes());
    long(&mut bytes, merchant.tags.len() as i64);
    merchant.tags.iter().for_each(|tag| text(&mut bytes, tag.as_bytes()));
    long(&mut bytes, 0);
    bytes
}

/// A number as Avro has it.
fn long(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    long(bytes, text.len() as i64);
    bytes.extend_from_slice(text);
}
