//! Literals, intervals and the names of types.

use super::typed::Typed;
use crate::{decimal, evaluate::Unit, forms, function::Function, program::Scalar, types::Type};
use sqlparser::ast::{DataType, DateTimeField, Expr, Interval, UnaryOperator, Value};

/// A number as it is written: an int, a decimal with a point, a double with an exponent.
pub(super) fn number(text: &str) -> Result<Typed, String> {
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
        return match value.is_finite() {
            true => Ok(Typed::constant(Scalar::Double(value + 0.0), Type::Double)),
            false => Err(format!("{text:?} is beyond the doubles")),
        };
    }
    if !text.contains('.')
        && let Ok(value) = text.parse()
    {
        return Ok(Typed::int(value));
    }
    let too_long = || {
        format!("{text:?} has too many digits: an int has 64 bits, a decimal 38 digits; write an exponent for a double")
    };
    let (precision, scale) = decimal::digits_of(text.as_bytes()).ok_or_else(too_long)?;
    let value = decimal::parse(text.as_bytes(), precision, scale).ok_or_else(too_long)?;
    Ok(Typed::constant(
        Scalar::Decimal(value),
        Type::Decimal { precision, scale },
    ))
}

/// Any literal but a number and a placeholder.
pub(super) fn value(value: &Value) -> Result<Typed, String> {
    match value {
        Value::Number(text, _) => number(text),
        Value::Null => Ok(Typed::null()),
        Value::Boolean(value) => Ok(Typed::constant(Scalar::Boolean(*value), Type::Boolean)),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::UnicodeStringLiteral(text) => {
            Ok(Typed::text(text))
        }
        Value::DollarQuotedString(text) => Ok(Typed::text(&text.value)),
        Value::HexStringLiteral(text) => {
            let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
            let bytes = bytes.map_err(|_| format!("x'{text}' is not hexadecimal: two digits for each byte"))?;
            Ok(Typed::constant(Scalar::Text(bytes), Type::Bytes))
        }
        other => Err(format!(
            "{other} is no literal here: there are 'text', 1, 1.5, 1e0, true, null, x'00ff', date '…', timestamp '…'"
        )),
    }
}

/// A literal with a type before it, such as `date '2026-03-15'`.
pub(super) fn of_type(data_type: &DataType, text: &str) -> Result<Typed, String> {
    let of = named_type(data_type)?;
    let form = match of {
        Type::Timestamp => "write it with an offset, such as timestamp '2026-03-15T12:00:00Z'",
        Type::Date => "write it as date '2026-03-15'",
        _ => "the text is not read as one",
    };
    let value = forms::parse_text(of, text.as_bytes()).ok_or_else(|| format!("{text:?} is no {of}: {form}"))?;
    Ok(Typed::constant(value.into(), of))
}

/// The type of a name: Weir's own, and those that SQL has for it.
pub(super) fn named_type(data_type: &DataType) -> Result<Type, String> {
    let text = data_type.to_string().to_lowercase();
    of_name(text.trim()).ok_or_else(|| {
        let hint = match text.split('(').next().unwrap_or_default() {
            "decimal" | "numeric" | "dec" => ": say its digits, such as decimal(18, 2), at most 38",
            "varchar" | "char" | "character varying" | "character" | "nvarchar" => ": text has no length here; cut it with left()",
            "time" => ": there are timestamp and date",
            "interval" => ": an interval stands only beside + and - of a time",
            _ => "",
        };
        format!("there is no type {text:?}{hint}: there are int, double, boolean, text, decimal(p, s), timestamp, date, bytes, json, list(TYPE)")
    })
}

fn of_name(text: &str) -> Option<Type> {
    if let Some(of) = text.strip_suffix("[]") {
        return of_name(of.trim())?.as_element().map(Type::List);
    }
    for name in ["numeric", "dec"] {
        if let Some(digits) = text.strip_prefix(name).filter(|rest| rest.starts_with('(')) {
            return Type::named(&format!("decimal{digits}"));
        }
    }
    Some(match text {
        "int" | "integer" | "bigint" | "smallint" | "tinyint" | "int2" | "int4" | "int8" | "int64" => Type::Int,
        "double" | "double precision" | "float" | "float8" | "float64" | "real" => Type::Double,
        "boolean" | "bool" => Type::Boolean,
        "text" | "varchar" | "string" | "char varying" | "character varying" | "clob" => Type::Text,
        "timestamp" | "timestamptz" | "timestamp with time zone" | "datetime" => Type::Timestamp,
        "date" => Type::Date,
        "bytes" | "bytea" | "blob" | "varbinary" | "binary" => Type::Bytes,
        "json" | "jsonb" => Type::Json,
        other => return Type::named(other),
    })
}

/// An interval as units of time, largest first as it is written: `interval '1 day 2 hours'`, `interval '90' minute`, `interval 3 day`.
pub(super) fn interval(interval: &Interval) -> Result<Vec<(Unit, i64)>, String> {
    let shown = interval.to_string().to_lowercase();
    let wrong = || format!("{shown:?} is no interval: write interval '1 day 2 hours', or interval '90' minute");
    let text = literal_of(&interval.value).ok_or_else(wrong)?;
    if interval.last_field.is_some() {
        return Err(wrong());
    }
    if let Some(field) = &interval.leading_field {
        return Ok(vec![amount(&text, &field_name(field)).ok_or_else(wrong)?]);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let all: Option<Vec<(Unit, i64)>> = words
        .chunks(2)
        .map(|pair| amount(pair.first()?, pair.get(1)?))
        .collect();
    all.filter(|all| !all.is_empty()).ok_or_else(wrong)
}

fn literal_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.trim().to_owned()),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Some(format!("-{}", literal_of(expr)?)),
        _ => None,
    }
}

/// So many of a unit; parts of a second as microseconds.
fn amount(count: &str, unit: &str) -> Option<(Unit, i64)> {
    let unit = Unit::named(unit, Function::DateAdd, false).ok()?;
    if let Ok(count) = count.parse() {
        return Some((unit, count));
    }
    let us = if unit == Unit::Second {
        decimal::parse(count.as_bytes(), 18, 6)
    } else {
        None
    };
    us.and_then(|us| Some((Unit::Microsecond, i64::try_from(us).ok()?)))
}

/// A field of `extract` and of intervals, as units are called.
pub(super) fn field_name(field: &DateTimeField) -> String {
    field.to_string().to_lowercase()
}
