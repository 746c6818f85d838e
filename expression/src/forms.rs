//! The text of one value, by type, and back: how values are cast to text, written in lists, and named in messages.

use crate::{calendar, decimal, json, types::Type};
use data_encoding::BASE64;

/// One value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// An int, a timestamp or a date.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// A text, bytes, JSON or a list.
    Text(&'a [u8]),
    /// A decimal without its point.
    Decimal(i128),
}

/// Appends a value as people read it: a timestamp in UTC to the microsecond and a date in ISO 8601, a decimal with all places, bytes in
/// base64. Nothing for null.
pub fn push_text(out: &mut Vec<u8>, of: Type, value: Value<'_>) {
    match (of, value) {
        (_, Value::Null) => (),
        (Type::Timestamp, Value::Int(us)) => calendar::push_timestamp(out, us),
        (Type::Date, Value::Int(days)) => calendar::push_date(out, days),
        (_, Value::Int(value)) => calendar::push_padded(out, value, 0),
        (_, Value::Double(value)) => out.extend_from_slice(format!("{value:?}").as_bytes()),
        (_, Value::Boolean(value)) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        (Type::Bytes, Value::Text(bytes)) => out.extend_from_slice(BASE64.encode(bytes).as_bytes()),
        (_, Value::Text(text)) => out.extend_from_slice(text),
        (of, Value::Decimal(unscaled)) => decimal::push(out, unscaled, of.scale()),
    }
}

/// Appends a value as JSON.
pub fn push_json(out: &mut Vec<u8>, of: Type, value: Value<'_>) {
    match (of, value) {
        (_, Value::Null) => out.extend_from_slice(b"null"),
        (_, Value::Double(value)) => json::push_double(out, value),
        (Type::Json | Type::List(_), Value::Text(text)) => out.extend_from_slice(text),
        (Type::Text, Value::Text(text)) => json::push_string(out, text),
        (Type::Timestamp | Type::Date | Type::Bytes, value) => {
            out.push(b'"');
            push_text(out, of, value);
            out.push(b'"');
        }
        (of, value) => push_text(out, of, value),
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are those of `Value`")]
pub enum Read {
    Int(i64),
    Double(f64),
    Boolean(bool),
    Text(Vec<u8>),
    Decimal(i128),
}

/// Reads a text as a value of this type, as a cast does; spaces around numbers and times do not count. Nothing where it is none.
pub fn parse_text(of: Type, text: &[u8]) -> Option<Read> {
    let trimmed = text.trim_ascii();
    Some(match of {
        Type::Int => Read::Int(std::str::from_utf8(trimmed).ok()?.parse().ok()?),
        Type::Double => {
            let is_number = decimal::is_number(trimmed);
            let value: f64 = std::str::from_utf8(trimmed).ok().filter(|_| is_number)?.parse().ok()?;
            // There is one zero.
            Read::Double(Some(value + 0.0).filter(|value| value.is_finite())?)
        }
        Type::Boolean => Read::Boolean(match trimmed.to_ascii_lowercase().as_slice() {
            b"true" | b"t" | b"1" => true,
            b"false" | b"f" | b"0" => false,
            _ => return None,
        }),
        Type::Decimal { precision, scale } => Read::Decimal(decimal::parse(trimmed, precision, scale)?),
        Type::Timestamp => Read::Int(calendar::parse_timestamp(trimmed)?),
        Type::Date => Read::Int(calendar::parse_date(trimmed)?),
        Type::Json => Read::Text(json::is_valid(text).then(|| text.to_vec())?),
        Type::Text | Type::Bytes => Read::Text(text.to_vec()),
        Type::List(of) => {
            let (mut list, mut at, mut all) = (b"[".to_vec(), 0, json::is_valid(text));
            let is_list = json::elements(text, |element| {
                if at > 0 {
                    list.push(b',');
                }
                at += 1;
                all &= push_element(&mut list, of.as_type(), element).is_some();
            });
            list.push(b']');
            Read::Text(list).filter(is_list && all)?
        }
    })
}

fn push_element(list: &mut Vec<u8>, of: Type, element: &[u8]) -> Option<()> {
    if element == b"null" {
        list.extend_from_slice(b"null");
        return Some(());
    }
    let read = parse_json(of, element)?;
    push_json(list, of, read.as_value());
    Some(())
}

/// Reads a JSON value that is not null as a value of this type: numbers and booleans as they are or in quotes, times and bytes in quotes.
pub fn parse_json(of: Type, value: &[u8]) -> Option<Read> {
    let value = value.trim_ascii();
    match (of, json::kind(value)?) {
        (Type::Json, _) => Some(Read::Text(value.to_vec())),
        (Type::List(_), json::Kind::Array) => parse_text(of, value),
        (Type::Text, json::Kind::String) => json::text_of(value).map(Read::Text),
        (Type::Text, _) => Some(Read::Text(value.to_vec())),
        (Type::Bytes, json::Kind::String) => BASE64.decode(&json::text_of(value)?).ok().map(Read::Text),
        (Type::Int | Type::Double | Type::Decimal { .. }, json::Kind::Number) => parse_text(of, value),
        (Type::Boolean, json::Kind::Boolean) => parse_text(of, value),
        (
            Type::Int | Type::Double | Type::Decimal { .. } | Type::Boolean | Type::Timestamp | Type::Date,
            json::Kind::String,
        ) => parse_text(of, &json::text_of(value)?),
        _ => None,
    }
}

impl Read {
    /// The same, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Read::Int(value) => Value::Int(*value),
            Read::Double(value) => Value::Double(*value),
            Read::Boolean(value) => Value::Boolean(*value),
            Read::Text(value) => Value::Text(value),
            Read::Decimal(value) => Value::Decimal(*value),
        }
    }

    fn filter(self, keep: bool) -> Option<Read> {
        keep.then_some(self)
    }
}
