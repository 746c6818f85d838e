//! Casts. A double or a decimal becomes an int cut toward zero, and a decimal of fewer places rounded half away from zero.

use super::datum::{BEYOND_DECIMAL, BEYOND_INT, BEYOND_TIME, Datum, Fault, Held, Rows, errors_of, validity_of};
use crate::{
    calendar::{DATES, DAY_US},
    decimal, forms,
    forms::Value,
    json,
    types::Type,
};

/// Casts a column from one type to another; where `tries`, what does not fit is null.
pub(super) fn cast<'a>(data: &[Datum<'_>], from: Type, to: Type, tries: bool, n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(to.layout(), n);
    };
    let mut cast = one(a, data, from, to, n);
    if let Some(errors) = cast.errors.take_if(|_| tries) {
        // What was an error before stays one: it is the cast that is tried.
        let before = errors_of(data, n);
        let mut validity = cast
            .validity
            .take()
            .map_or_else(|| vec![1; n], std::borrow::Cow::into_owned);
        for (row, (valid, error)) in validity.iter_mut().zip(&errors).enumerate() {
            if *error != 0 && before.as_ref().is_none_or(|before| before[row] == 0) {
                *valid = 0;
            }
        }
        cast = Datum {
            validity: Some(validity.into()),
            errors: before,
            fault: None,
            ..cast
        };
    }
    cast
}

/// Every value, which always fits.
fn total<'a>(values: Held<'a>, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    Datum {
        validity: validity_of(data, n).map(Into::into),
        errors: errors_of(data, n),
        ..Datum::owned(values)
    }
}

fn one<'a>(a: &Datum<'_>, data: &[Datum<'_>], from: Type, to: Type, n: usize) -> Datum<'a> {
    let rows = || Rows::strict(data, n);
    match (from, to) {
        (Type::Int, Type::Double) => {
            let values: Vec<f64> = a.ints().iter().map(|value| *value as f64).collect();
            total(Held::Double(values.into()), data, n)
        }
        (Type::Int, Type::Decimal { precision, scale }) => rows().decimals(&mut |row| {
            let value =
                decimal::rescaled(a.int(row).into(), 0, scale).filter(|value| decimal::holds(*value, precision));
            value.map(Some).ok_or(BEYOND_DECIMAL)
        }),
        (Type::Int, Type::Boolean) => rows().booleans(&mut |row| Ok(Some(a.int(row) != 0))),
        (Type::Boolean, Type::Int) => {
            let values: Vec<i64> = a.booleans().iter().map(|value| (*value).into()).collect();
            total(Held::Int(values.into()), data, n)
        }
        (Type::Double, Type::Int) => rows().ints(&mut |row| {
            let value = a.double(row);
            // 2^63 is a double, and the first that is beyond.
            let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
            if fits { Ok(Some(value as i64)) } else { Err(BEYOND_INT) }
        }),
        (Type::Double, Type::Decimal { precision, scale }) => rows().decimals(&mut |row| {
            let text = format!("{:e}", a.double(row));
            decimal::parse(text.as_bytes(), precision, scale)
                .map(Some)
                .ok_or(BEYOND_DECIMAL)
        }),
        (Type::Decimal { scale, .. }, Type::Int) => rows().ints(&mut |row| {
            let whole = a.decimal(row) / decimal::ten(scale.into()).unwrap_or(1);
            i64::try_from(whole).map(Some).map_err(|_| BEYOND_INT)
        }),
        (Type::Decimal { scale, .. }, Type::Double) => {
            let values: Vec<f64> = a
                .decimals()
                .iter()
                .map(|value| decimal::to_double(*value, scale))
                .collect();
            total(Held::Double(values.into()), data, n)
        }
        (Type::Decimal { scale: places, .. }, Type::Decimal { precision, scale }) => rows().decimals(&mut |row| {
            let value =
                decimal::rescaled(a.decimal(row), places, scale).filter(|value| decimal::holds(*value, precision));
            value.map(Some).ok_or(BEYOND_DECIMAL)
        }),
        (Type::Timestamp, Type::Date) => {
            let values: Vec<i64> = a.ints().iter().map(|us| us.div_euclid(DAY_US)).collect();
            total(Held::Int(values.into()), data, n)
        }
        (Type::Date, Type::Timestamp) => rows().ints(&mut |row| {
            let days = Some(a.int(row)).filter(|days| DATES.contains(days));
            days.map(|days| Some(days * DAY_US)).ok_or(BEYOND_TIME)
        }),
        (Type::Bytes, Type::Text) => rows().texts(&mut |row, out| {
            let bytes = a.text(row);
            std::str::from_utf8(bytes).map_err(|_| "the bytes are no text in UTF-8")?;
            out.extend_from_slice(bytes);
            Ok(true)
        }),
        (Type::Json, Type::Text) => rows().texts(&mut |row, out| text_of_json(a.text(row), out)),
        (Type::Json, to) => rows().read(to, &mut |row| match json::kind(a.text(row)) {
            Some(json::Kind::Null) => Ok(None),
            _ => forms::parse_json(to, a.text(row)).map(Some).ok_or(no_such(to)),
        }),
        (from, Type::Text) => rows().texts(&mut |row, out| {
            forms::push_text(out, from, a.value(row));
            Ok(true)
        }),
        (Type::Text | Type::List(_), to) if to.layout() == crate::types::Layout::Text || from == Type::Text => rows()
            .read(to, &mut |row| {
                forms::parse_text(to, a.text(row)).map(Some).ok_or(no_such(to))
            }),
        _ => Datum::nulls(to.layout(), n),
    }
}

/// Appends a JSON value as text: a string without its quotes. Nothing for null.
pub(super) fn text_of_json(value: &[u8], out: &mut Vec<u8>) -> Result<bool, Fault> {
    let value = value.trim_ascii();
    match json::kind(value) {
        Some(json::Kind::Null) | None => Ok(false),
        Some(json::Kind::String) => {
            out.extend_from_slice(&json::text_of(value).ok_or("the string has a broken escape")?);
            Ok(true)
        }
        Some(_) => {
            out.extend_from_slice(value);
            Ok(true)
        }
    }
}

fn no_such(to: Type) -> Fault {
    match to {
        Type::Int => "the value is no int",
        Type::Double => "the value is no finite double",
        Type::Boolean => "the value is no boolean",
        Type::Decimal { .. } => "the value is no such decimal",
        Type::Timestamp => "the value is no timestamp with an offset, such as 2026-03-15T12:00:00Z",
        Type::Date => "the value is no date, such as 2026-03-15",
        Type::Json => "the value is no JSON",
        Type::List(_) => "the value is no such list",
        Type::Bytes => "the value is no bytes",
        Type::Text => "the value is no text",
    }
}

/// The text of a value, as `concat` takes it.
pub(super) fn push_any(out: &mut Vec<u8>, of: Type, value: Value<'_>) -> Result<(), Fault> {
    match (of, value) {
        (Type::Json, Value::Text(json)) => text_of_json(json, out).map(|_| ()),
        (of, value) => {
            forms::push_text(out, of, value);
            Ok(())
        }
    }
}
