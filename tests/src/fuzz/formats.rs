//! Payloads of other formats. What comes of them holds what columns promise, and where a second decoder takes them too, it is the
//! same.

use crate::{replay::host, workspace};
use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value as Proto};
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json, json};
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, LazyLock},
};
use weir::{
    definition::File,
    format::Decoder,
    model::{
        column::{ColumnType, Value},
        column_type::{DATES, TIMESTAMPS_US},
        ids::InputId,
        path::PathPart,
    },
    plan::{Place, Plan, SourceColumn},
};

/// A row as people read it.
type Row = BTreeMap<String, Option<String>>;

/// A pipeline over payloads of one format.
struct Target {
    plan: Arc<Plan>,
}

impl Target {
    fn of(format: &str) -> Self {
        let pipeline = workspace()
            .join("tests/fixtures/formats")
            .join(format)
            .join("pipeline.toml");
        let file = File::read(&pipeline).expect("the pipeline file can be read");
        Self {
            plan: Arc::new(Plan::build(&file, host()).expect("the pipeline is fine")),
        }
    }

    /// The row that a payload is, if it is one; it holds what its columns promise.
    fn row(&self, payload: &[u8]) -> Option<Row> {
        let mut decoder = Decoder::of(&self.plan, 16).expect("the columns are fine");
        decoder.push(1, Some(0), payload);
        // Nothing of it shows in the next.
        decoder.push(2, Some(0), payload);
        let batch = decoder.take();
        let events = batch.of_input(InputId::FIRST);
        let outcomes = batch.rejected.len() + batch.empties.len() + events.deliveries.len();
        assert_eq!(outcomes, 2, "a payload is one thing");
        for rejected in &batch.rejected {
            assert!(!rejected.reason.contains(char::is_control), "{:?}", rejected.reason);
        }
        let input = self.plan.inputs.get(InputId::FIRST).expect("there is an input");
        let rows: Vec<Row> = (0..events.deliveries.len())
            .map(|row| {
                let cells = input.columns.iter().zip(&events.columns).map(|(column, values)| {
                    let (of_type, value) = (column.field.column_type, values.get(row));
                    check(of_type, value);
                    (
                        column.field.name.clone(),
                        of_type.text(value).map(std::borrow::Cow::into_owned),
                    )
                });
                cells.collect()
            })
            .collect();
        let [first, second] = rows.as_slice() else {
            assert!(rows.is_empty());
            return None;
        };
        assert_eq!(first, second);
        Some(first.clone())
    }
}

/// A value is one of its column's.
fn check(of_type: ColumnType, value: Value<'_>) {
    match (of_type, value) {
        (ColumnType::Timestamp, Value::Int(us)) => assert!(TIMESTAMPS_US.contains(&us)),
        (ColumnType::Date, Value::Int(days)) => assert!(DATES.contains(&days)),
        (ColumnType::Double, Value::Double(value)) => assert!(value.is_finite()),
        (ColumnType::Decimal(of), Value::Decimal(unscaled)) => assert!(of.holds(unscaled.get())),
        (ColumnType::Text, Value::Text(text)) => drop(std::str::from_utf8(text).expect("a text is UTF-8")),
        (ColumnType::Json, Value::Text(text)) => {
            serde_json::from_slice::<IgnoredAny>(text).expect("JSON is JSON");
            assert_ne!(text, b"null");
        }
        (ColumnType::List(of), Value::Text(text)) => {
            let text = std::str::from_utf8(text).expect("a list is UTF-8");
            for element in elements(of.column_type(), text).iter().flatten() {
                check_element(of.column_type(), element);
            }
        }
        (ColumnType::Bytes, Value::Text(_))
        | (ColumnType::Int, Value::Int(_))
        | (ColumnType::Boolean, Value::Boolean(_)) => {}
        (_, Value::Null) => {}
        (of_type, value) => panic!("{value:?} is in a column of {of_type}"),
    }
}

/// The elements of a list as people read them; nothing for null.
fn elements(of: ColumnType, text: &str) -> Vec<Option<String>> {
    let json: Vec<Json> = serde_json::from_str(text).expect("a list is JSON");
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    // Decimals have more digits than a number of JSON has here.
    let as_written = inside.expect("a list is in brackets").split(',');
    let elements = json.into_iter().zip(as_written).map(|(value, written)| match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        Json::Number(_) if matches!(of, ColumnType::Decimal(_)) => Some(written.to_owned()),
        other => Some(other.to_string()),
    });
    elements.collect()
}

/// An element of a list is one of its type.
fn check_element(of: ColumnType, text: &str) {
    match of {
        ColumnType::Timestamp | ColumnType::Date => {
            let value = of.time_of(text).expect("a time is one");
            assert_eq!(of.text(Value::Int(value)).as_deref(), Some(text));
        }
        ColumnType::Decimal(decimal) => assert!(decimal.parse(text.as_bytes()).is_some(), "{text}"),
        ColumnType::Double => assert!(text.parse::<f64>().expect("a double is one").is_finite()),
        ColumnType::Int => drop(text.parse::<i64>().expect("an integer is one")),
        ColumnType::Boolean => drop(text.parse::<bool>().expect("a truth is one")),
        ColumnType::Bytes => drop(data_encoding::BASE64.decode(text.as_bytes()).expect("bytes are base64")),
        _ => {}
    }
}

/// Records of separated values.
///
/// # Panics
/// When what comes of them breaks a promise.
pub fn csv(bytes: &[u8]) {
    static TARGET: LazyLock<Target> = LazyLock::new(|| Target::of("csv"));
    TARGET.row(bytes);
}

/// Values of Avro.
///
/// # Panics
/// When what comes of them breaks a promise, or is not what apache-avro has.
pub fn avro(bytes: &[u8]) {
    static TARGETS: LazyLock<[(Target, Schema); 2]> = LazyLock::new(|| {
        apache_avro::util::max_allocation_bytes(1 << 20);
        [("avro", "payment.avsc"), ("avro-lists", "basket.avsc")].map(|(format, schema)| {
            let file = workspace().join("tests/fixtures/formats").join(format).join(schema);
            let text = fs::read_to_string(file).expect("the schema can be read");
            let schema = Schema::parse_str(&text).expect("the schema is fine");
            (Target::of(format), schema)
        })
    });
    for (target, schema) in &*TARGETS {
        avro_of(target, schema, bytes);
    }
}

fn avro_of(target: &Target, schema: &Schema, bytes: &[u8]) {
    let Some(row) = target.row(bytes) else { return };
    // It looks at what is passed over as well.
    let reader = GenericDatumReader::builder(schema).build().expect("the schema is fine");
    let Ok(value) = reader.read_value(&mut &*bytes) else {
        return;
    };
    let input = target.plan.inputs.get(InputId::FIRST).expect("there is an input");
    for column in &input.columns {
        let mut found = Some(&value);
        for part in path(column) {
            found = found.map(|value| match value {
                Avro::Union(_, inner) => &**inner,
                other => other,
            });
            found = match (found, part) {
                (Some(Avro::Record(fields)), PathPart::Name(name)) => {
                    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
                }
                (Some(Avro::Array(items)), PathPart::Index(index)) => items.get(*index),
                _ => None,
            };
        }
        let expected = found.map_or(Json::Null, of_avro);
        same(&column.field.name, column.field.column_type, &row, &expected);
    }
}

/// The way to a column.
fn path(column: &SourceColumn) -> &[PathPart] {
    match &column.place {
        Place::Payload(path) => &path.0,
        _ => &[],
    }
}

/// A value as JSON, where it is one of a column a text as people read it.
fn of_avro(value: &Avro) -> Json {
    let shown = |of_type: ColumnType, value| json!(of_type.text(value));
    match value {
        Avro::Null => Json::Null,
        Avro::Boolean(value) => json!(value),
        Avro::Int(value) => json!(value),
        Avro::Long(value) => json!(value),
        Avro::Float(value) => serde_json::from_str(&serde_json::to_string(value).expect("a number")).expect("a number"),
        Avro::Double(value) => json!(value),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => shown(ColumnType::Bytes, Value::Text(bytes)),
        Avro::String(text) | Avro::Enum(_, text) => json!(text),
        Avro::Union(_, inner) => of_avro(inner),
        Avro::Array(items) => items.iter().map(of_avro).collect(),
        Avro::Map(values) => values
            .iter()
            .map(|(name, value)| (name.clone(), of_avro(value)))
            .collect(),
        Avro::Record(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), of_avro(value)))
            .collect(),
        Avro::Date(days) => shown(ColumnType::Date, Value::Int((*days).into())),
        Avro::TimestampMillis(ms) => shown(ColumnType::Timestamp, Value::Int(ms * 1000)),
        Avro::TimestampMicros(us) | Avro::LocalTimestampMicros(us) => shown(ColumnType::Timestamp, Value::Int(*us)),
        Avro::TimestampNanos(ns) => shown(ColumnType::Timestamp, Value::Int(ns.div_euclid(1000))),
        Avro::Uuid(uuid) => json!(uuid.to_string()),
        Avro::Decimal(decimal) => {
            // One without a byte is zero, and it gives none of those back.
            let bytes = <Vec<u8>>::try_from(decimal.clone()).unwrap_or_default();
            json!(num_bigint::BigInt::from_signed_bytes_be(&bytes).to_string())
        }
        other => panic!("the schema has no {other:?}"),
    }
}

/// Messages of Protobuf.
///
/// # Panics
/// When what comes of them breaks a promise, or is not what prost has.
pub fn protobuf(bytes: &[u8]) {
    static TARGETS: LazyLock<[(Target, MessageDescriptor); 2]> = LazyLock::new(|| {
        let targets = [
            ("protobuf", "payments.binpb", "acme.Payment"),
            ("protobuf-lists", "baskets.binpb", "acme.Basket"),
        ];
        targets.map(|(format, descriptors, message)| {
            let file = workspace()
                .join("tests/fixtures/formats")
                .join(format)
                .join(descriptors);
            let pool = DescriptorPool::decode(&*fs::read(file).expect("the descriptors can be read"));
            let pool = pool.expect("the descriptors are fine");
            let message = pool.get_message_by_name(message).expect("there is the message");
            (Target::of(format), message)
        })
    });
    for (target, message) in &*TARGETS {
        protobuf_of(target, message, bytes);
    }
}

fn protobuf_of(target: &Target, message: &MessageDescriptor, bytes: &[u8]) {
    let Some(row) = target.row(bytes) else { return };
    let Ok(message) = DynamicMessage::decode(message.clone(), bytes) else {
        return;
    };
    let input = target.plan.inputs.get(InputId::FIRST).expect("there is an input");
    for column in &input.columns {
        let mut found = Some(Proto::Message(message.clone()));
        let is_number = |of: ColumnType| of == ColumnType::Int;
        let of_numbers = match column.field.column_type {
            ColumnType::List(of) => is_number(of.column_type()),
            of => is_number(of),
        };
        for part in path(column) {
            found = match (found, part) {
                (Some(Proto::Message(message)), PathPart::Name(name)) => {
                    let field = message
                        .descriptor()
                        .get_field_by_name(name)
                        .expect("there is such a field");
                    let is_there = !field.supports_presence() || message.has_field(&field);
                    is_there
                        .then(|| message.get_field(&field).into_owned())
                        .map(|value| match of_numbers {
                            true => value,
                            false => named(&field.kind(), value),
                        })
                }
                (Some(Proto::List(items)), PathPart::Index(index)) => items.get(*index).cloned(),
                _ => None,
            };
        }
        let expected = found.as_ref().map_or(Json::Null, of_proto);
        same(&column.field.name, column.field.column_type, &row, &expected);
    }
}

/// The names of what an enum has numbers for, where it has names.
fn named(kind: &prost_reflect::Kind, value: Proto) -> Proto {
    match (kind, value) {
        (prost_reflect::Kind::Enum(of), Proto::EnumNumber(number)) => match of.get_value(number) {
            Some(name) => Proto::String(name.name().to_owned()),
            None => Proto::EnumNumber(number),
        },
        (kind @ prost_reflect::Kind::Enum(_), Proto::List(values)) => {
            Proto::List(values.into_iter().map(|value| named(kind, value)).collect())
        }
        (_, value) => value,
    }
}

fn of_proto(value: &Proto) -> Json {
    match value {
        Proto::Bool(value) => json!(value),
        Proto::I32(value) | Proto::EnumNumber(value) => json!(value),
        Proto::I64(value) => json!(value),
        Proto::U32(value) => json!(value),
        Proto::U64(value) => json!(value),
        Proto::F32(value) => serde_json::from_str(&serde_json::to_string(value).expect("a number")).expect("a number"),
        Proto::F64(value) => json!(value),
        Proto::String(text) => json!(text),
        Proto::Bytes(bytes) => json!(ColumnType::Bytes.text(Value::Text(bytes))),
        Proto::List(items) => items.iter().map(of_proto).collect(),
        Proto::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = of_proto(&key.clone().into());
                (
                    key.as_str().map_or_else(|| key.to_string(), str::to_owned),
                    of_proto(value),
                )
            });
            entries.collect()
        }
        Proto::Message(message) => of_message(message),
    }
}

fn of_message(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    let field = |name: &str| of_proto(&message.get_field_by_name(name).expect("there is such a field"));
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let (seconds, nanos) = (field("seconds"), field("nanos"));
            let us = seconds.as_i64().expect("seconds") * 1_000_000 + nanos.as_i64().expect("nanoseconds") / 1000;
            return json!(ColumnType::Timestamp.text(Value::Int(us)));
        }
        "google.protobuf.Int64Value" | "google.protobuf.StringValue" => return field("value"),
        "google.protobuf.Struct" => return field("fields"),
        "google.protobuf.ListValue" => return field("values"),
        "google.protobuf.Value" => {
            let mut there = message.fields().filter(|(field, _)| field.name() != "null_value");
            return there.next().map_or(Json::Null, |(_, value)| of_proto(value));
        }
        _ => {}
    }
    let mut fields: Vec<_> = descriptor.fields().collect();
    fields.sort_by_key(prost_reflect::FieldDescriptor::number);
    let fields = fields
        .iter()
        .filter(|field| !field.supports_presence() || message.has_field(field));
    let fields = fields.map(|field| {
        let value = named(&field.kind(), message.get_field(field).into_owned());
        (field.name().to_owned(), of_proto(&value))
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

/// Checks a cell against what a second decoder has. A decimal there is its digits alone.
fn same(name: &str, of_type: ColumnType, row: &Row, expected: &Json) {
    let found = row[name].as_deref();
    if let (ColumnType::List(of), Some(found), Json::Array(expected)) = (of_type, found, expected) {
        let elements = elements(of.column_type(), found);
        assert_eq!(elements.len(), expected.len(), "column {name}");
        for (found, expected) in elements.iter().zip(expected) {
            same_cell(name, of.column_type(), found.as_deref(), row, expected);
        }
        return;
    }
    same_cell(name, of_type, found, row, expected);
}

fn same_cell(name: &str, of_type: ColumnType, found: Option<&str>, row: &Row, expected: &Json) {
    let is_same = match (of_type, found, expected) {
        (_, None, expected) => expected.is_null(),
        (ColumnType::Json, Some(found), expected) => {
            let found: Json = serde_json::from_str(found).expect("JSON is JSON");
            without_decimals(&found) == without_decimals(expected)
        }
        (ColumnType::Double, Some(found), expected) => {
            let (found, expected) = (found.parse().unwrap_or(f64::NAN), expected.as_f64().unwrap_or(f64::NAN));
            // One of 32 bits is as short as it can be here.
            found == expected || (name.starts_with("weight") && found as f32 == expected as f32)
        }
        // What is written as text is read by a column's format, which is tested elsewhere.
        (ColumnType::Timestamp | ColumnType::Date, Some(_), Json::String(text))
            if text.len() < 27 && text.len() != 10 =>
        {
            true
        }
        (ColumnType::Timestamp, Some(_), Json::Number(_)) => true,
        (ColumnType::Timestamp | ColumnType::Date, Some(found), Json::String(text)) => {
            found == text || name == "written"
        }
        (ColumnType::Decimal(_), Some(found), expected) => {
            let digits = |text: &str| text.replace('.', "").trim_start_matches(['-', '0']).to_owned();
            let expected = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
            // In a message it is a text, which is read by the column's format.
            let is_text = row.contains_key("u64") && name == "amount" || name == "prices";
            is_text || expected.contains('.') || digits(found) == digits(&expected)
        }
        // A UUID, which the other decoder writes in its own way.
        (_, Some(found), Json::String(text)) if name.starts_with("token") => found.eq_ignore_ascii_case(text),
        (_, Some(found), Json::String(text)) => found == text,
        (_, Some(found), expected) => *found == *expected.to_string(),
    };
    assert!(is_same, "column {name}\n  found    {found:?}\n  expected {expected}");
}

/// The same without prices, which are decimals.
fn without_decimals(json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(without_decimals).collect(),
        Json::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "price");
            members
                .map(|(name, value)| (name.clone(), without_decimals(value)))
                .collect()
        }
        other => other.clone(),
    }
}
