//! How a value of a payload is read where its type leaves open how it is written, or where it is more than a number, a truth or a
//! text.

use crate::{
    definition::{ColumnFormat, TimeUnit},
    model::{
        column::{ColumnType, ElementType},
        column_type::timestamp_of,
        decimal::DecimalType,
    },
};
use jiff::{
    Timestamp,
    fmt::strtime::BrokenDownTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use std::fmt;

/// How the values of a column are read.
#[derive(Clone, Debug)]
pub enum Reading {
    /// An integer in quotes.
    IntText,
    /// A double in quotes.
    DoubleText,
    /// A decimal: a number, or one in quotes.
    Decimal {
        /// What decimals there are.
        of: DecimalType,
        /// Whether each is in quotes.
        in_quotes: bool,
    },
    /// A timestamp.
    Rfc3339,
    /// A timestamp as a number.
    Since(TimeUnit),
    /// A timestamp in a pattern; where it has no offset, in this zone.
    Pattern {
        /// The pattern.
        pattern: String,
        /// The zone.
        zone: Option<TimeZone>,
    },
    /// A date as ISO 8601 has it.
    IsoDate,
    /// A date as a number of days.
    Days,
    /// A date in a pattern.
    DatePattern(String),
    /// Bytes in base64.
    Base64,
    /// Bytes in hexadecimal.
    Hex,
    /// JSON, as it was written.
    Json,
    /// A list of scalars.
    List {
        /// Their type.
        of: ElementType,
        /// How each is read, where its type does not say it all.
        reading: Option<Box<Reading>>,
    },
}

/// The formats of a type, as a message lists them.
fn formats(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Int | ColumnType::Double | ColumnType::Decimal(_) => "\"string\", for numbers in quotes",
        ColumnType::Text => "\"number\"",
        ColumnType::Timestamp => {
            "\"rfc3339\", \"s\", \"ms\", \"us\", \"ns\", or { strftime = \"%Y-%m-%d %H:%M:%S\", zone = \"Europe/Berlin\" }"
        }
        ColumnType::Date => "\"days\" or { strftime = \"%d.%m.%Y\" }; a date such as 2026-03-15 has no format",
        ColumnType::Bytes => "\"base64\" or \"hex\"",
        ColumnType::List(of) => formats(of.column_type()),
        ColumnType::Boolean | ColumnType::Json => "no such key",
    }
}

impl Reading {
    /// How values of this type are read that are written so; nothing where the type says it all.
    ///
    /// # Errors
    /// Why there is no such reading, and what is accepted.
    pub fn of(column_type: ColumnType, format: Option<&ColumnFormat>) -> Result<Option<Self>, String> {
        use ColumnFormat as Format;
        Ok(Some(match (column_type, format) {
            (ColumnType::Int | ColumnType::Double | ColumnType::Boolean | ColumnType::Text, None)
            | (ColumnType::Text, Some(Format::Number)) => return Ok(None),
            (ColumnType::Int, Some(Format::String)) => Self::IntText,
            (ColumnType::Double, Some(Format::String)) => Self::DoubleText,
            (ColumnType::Decimal(of), None) => Self::Decimal { of, in_quotes: false },
            (ColumnType::Decimal(of), Some(Format::String)) => Self::Decimal { of, in_quotes: true },
            (ColumnType::Timestamp, Some(Format::Rfc3339)) => Self::Rfc3339,
            (ColumnType::Timestamp, Some(Format::Since(unit))) => Self::Since(*unit),
            (ColumnType::Timestamp, Some(Format::Strftime { pattern, zone })) => {
                let zone = zone.as_deref().map(zone_of).transpose()?;
                check_pattern(pattern, zone.as_ref())?;
                let pattern = pattern.clone();
                Self::Pattern { pattern, zone }
            }
            (ColumnType::Date, None) => Self::IsoDate,
            (ColumnType::Date, Some(Format::Days)) => Self::Days,
            (ColumnType::Date, Some(Format::Strftime { pattern, zone: None })) => {
                check_date_pattern(pattern)?;
                Self::DatePattern(pattern.clone())
            }
            (ColumnType::Date, Some(Format::Strftime { zone: Some(_), .. })) => {
                return Err("key `zone` goes with timestamps; a date has none".to_owned());
            }
            (ColumnType::Bytes, Some(Format::Base64)) => Self::Base64,
            (ColumnType::Bytes, Some(Format::Hex)) => Self::Hex,
            (ColumnType::Json, None) => Self::Json,
            // What is in a list is not looked at again, as texts that are numbers are.
            (ColumnType::List(_), Some(Format::Number)) => {
                return Err("key `format` is \"number\", which does not go with lists".to_owned());
            }
            (ColumnType::List(of), format) => Self::List {
                of,
                reading: Self::of(of.column_type(), format)?.map(Box::new),
            },
            (ColumnType::Timestamp | ColumnType::Bytes, None) => {
                return Err(format!(
                    "key `format` is missing, which says how a value of {column_type} is written; accepted is {}",
                    formats(column_type)
                ));
            }
            (_, Some(_)) => {
                return Err(format!(
                    "key `format` does not go with {column_type} as it is; accepted is {}",
                    formats(column_type)
                ));
            }
        }))
    }

    /// How each element of a list is read, where its type does not say it all.
    pub fn of_elements(&self) -> Option<&Self> {
        match self {
            Self::List { reading, .. } => reading.as_deref(),
            _ => None,
        }
    }

    /// Whether it takes JSON as it was written, whatever it is.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json)
    }
}

/// What is accepted, for the reason of a dead letter.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IntText => f.write_str("an integer from -2^63 to 2^63-1 in quotes, or null"),
            Self::DoubleText => f.write_str("a number in quotes whose nearest double is finite, or null"),
            Self::Decimal { of, in_quotes } => {
                let quotes = if *in_quotes { " in quotes" } else { "" };
                let (whole, places) = (of.precision() - of.scale(), of.scale());
                write!(
                    f,
                    "a number{quotes} of at most {whole} digits in front of the point and {places} behind it, or null"
                )
            }
            Self::Rfc3339 => f.write_str(
                "a timestamp with an offset such as 2026-03-15T12:00:00+08:00, of the years 0 to 9999, or null",
            ),
            Self::Since(unit) => write!(
                f,
                "a number of {} since 1970-01-01T00:00:00Z, to the microsecond, of the years 0 to 9999, or null",
                unit.plural()
            ),
            Self::Pattern { pattern, .. } => {
                write!(f, "a timestamp written as {pattern}, of the years 0 to 9999, or null")
            }
            Self::IsoDate => f.write_str("a date such as 2026-03-15, or null"),
            Self::Days => f.write_str("a number of days since 1970-01-01, of the years 0 to 9999, or null"),
            Self::DatePattern(pattern) => write!(f, "a date written as {pattern}, of the years 0 to 9999, or null"),
            Self::Base64 => f.write_str("bytes in base64, with padding, or null"),
            Self::Hex => f.write_str("bytes in hexadecimal, or null"),
            Self::Json => f.write_str("a JSON value"),
            Self::List { of, reading: None } => write!(f, "a list of {} and nulls, or null", of.column_type()),
            Self::List {
                reading: Some(reading), ..
            } => write!(f, "a list in which each value is {reading}; or null"),
        }
    }
}

fn zone_of(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("key `zone`: there is no time zone \"{name}\"; accepted are IANA names such as Asia/Shanghai, and UTC")
    })
}

/// Whether what is written in this pattern reads back: from a time that has all parts.
fn check_pattern(pattern: &str, zone: Option<&TimeZone>) -> Result<(), String> {
    let sample = sample()?.to_zoned(zone.cloned().unwrap_or(TimeZone::UTC));
    let written = jiff::fmt::strtime::format(pattern, &sample).map_err(|error| unfit(pattern, &error))?;
    let parsed = BrokenDownTime::parse(pattern, &written).map_err(|error| unfit(pattern, &error))?;
    if parsed.to_date().is_err() {
        return Err(format!(
            "key `format`: the pattern \"{pattern}\" gives no date; accepted is one with a year, a month and a day"
        ));
    }
    match (parsed.offset().is_some() || parsed.timestamp().is_some(), zone) {
        (false, None) => Err(format!(
            "key `zone` is missing, which says in which time zone a text is that has no offset; the pattern \"{pattern}\" has no %z"
        )),
        (true, Some(_)) => Err(format!(
            "key `zone` goes with patterns without an offset; \"{pattern}\" has one"
        )),
        _ => match instant(&parsed, zone) {
            Some(_) => Ok(()),
            None => Err(format!(
                "key `format`: the pattern \"{pattern}\" gives no point in time"
            )),
        },
    }
}

fn check_date_pattern(pattern: &str) -> Result<(), String> {
    let date = sample()?.to_zoned(TimeZone::UTC).date();
    let written = jiff::fmt::strtime::format(pattern, date).map_err(|error| unfit(pattern, &error))?;
    let parsed = BrokenDownTime::parse(pattern, &written).map_err(|error| unfit(pattern, &error))?;
    match parsed.to_date().is_ok_and(|read| read == date) {
        true => Ok(()),
        false => Err(format!(
            "key `format`: the pattern \"{pattern}\" gives no date; accepted is one with a year, a month and a day"
        )),
    }
}

fn sample() -> Result<Timestamp, String> {
    Timestamp::from_second(1_773_547_323).map_err(|error| error.to_string())
}

fn unfit(pattern: &str, error: &jiff::Error) -> String {
    format!("key `format`: \"{pattern}\" is no pattern of strftime: {error}")
}

/// The timestamp that a pattern has read: by its offset, else in `zone`. A local time that comes twice is the first of both, and one
/// that does not come is as much later.
pub fn instant(parsed: &BrokenDownTime, zone: Option<&TimeZone>) -> Option<i64> {
    if let Some(timestamp) = parsed.timestamp() {
        return timestamp_of(Offset::UTC.to_datetime(timestamp), Offset::UTC);
    }
    let local = parsed.to_datetime().ok()?;
    let offset = match zone {
        None => parsed.offset()?,
        Some(zone) => match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        },
    };
    timestamp_of(local, offset)
}
