//! The types of columns. What depends on a type is asked here: what it is called, how its values lie in memory, and how one is
//! written.

use crate::model::{
    column::{ColumnType, ElementType, Layout, Value},
    decimal::DecimalType,
};
use jiff::{
    civil::{Date, DateTime, date},
    fmt::temporal::{Pieces, PiecesOffset},
    tz::Offset,
};
use serde_json::{Number, Value as Json};
use std::{borrow::Cow, fmt, ops::RangeInclusive};

/// The timestamps that there are, in microseconds since 1970-01-01T00:00:00Z: the years 0 to 9999.
pub const TIMESTAMPS_US: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// The dates that there are, in days since 1970-01-01: the years 0 to 9999.
pub const DATES: RangeInclusive<i64> = -719_528..=2_932_896;

/// The day from which times are counted.
const EPOCH: Date = date(1970, 1, 1);

const DAY_US: i64 = 86_400_000_000;

/// The types that a name says alone, in the order in which messages list them.
const NAMED: [(&str, ColumnType); 8] = [
    ("int", ColumnType::Int),
    ("double", ColumnType::Double),
    ("boolean", ColumnType::Boolean),
    ("text", ColumnType::Text),
    ("timestamp", ColumnType::Timestamp),
    ("date", ColumnType::Date),
    ("bytes", ColumnType::Bytes),
    ("json", ColumnType::Json),
];

/// What a decimal is called, beside its precision and scale.
pub const DECIMAL: &str = "decimal";

/// What a list is called, beside the type of what is in it.
pub const LIST: &str = "list";

impl ColumnType {
    /// The type of this name, where it needs no more than a name.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = NAMED.into_iter();
        all.find_map(|(known, column_type)| (known == name).then_some(column_type))
    }

    /// The type that is [displayed](fmt::Display) so.
    pub fn of_text(text: &str) -> Option<Self> {
        let digits = || {
            text.strip_prefix(DECIMAL)?
                .strip_prefix('(')?
                .strip_suffix(')')?
                .split_once(", ")
        };
        let decimal = || {
            let (precision, scale) = digits()?;
            DecimalType::new(precision.parse().ok()?, scale.parse().ok()?)
        };
        let list = || {
            let of = text.strip_prefix(LIST)?.strip_prefix('(')?.strip_suffix(')')?;
            ElementType::of(Self::of_text(of)?)
        };
        Self::named(text)
            .or_else(|| decimal().map(Self::Decimal))
            .or_else(|| list().map(Self::List))
    }

    /// The names of the types that need no more than a name, in the order in which messages list them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.into_iter().map(|(name, _)| name)
    }

    /// How the values of a column lie in memory.
    pub fn layout(self) -> Layout {
        match self {
            Self::Int | Self::Timestamp | Self::Date => Layout::Int,
            Self::Double => Layout::Double,
            Self::Boolean => Layout::Boolean,
            Self::Text | Self::Bytes | Self::Json | Self::List(_) => Layout::Text,
            Self::Decimal(_) => Layout::Decimal,
        }
    }

    /// Whether one of two values comes before the other. (Any two are equal or not.)
    pub fn has_order(self) -> bool {
        !matches!(self, Self::Json | Self::List(_))
    }

    /// Whether a sum or a mean can be made of its values.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Decimal(_))
    }

    /// A value as people read it and as it is written where there is no more than text: a timestamp in UTC to the microsecond and a
    /// date in ISO 8601, which sort as they are, a decimal with all places behind its point, bytes in base64. Nothing for null.
    pub fn text(self, value: Value<'_>) -> Option<Cow<'_, str>> {
        Some(match (self, value) {
            (_, Value::Null) => return None,
            (Self::Timestamp, Value::Int(us)) => timestamp_text(us).into(),
            (Self::Date, Value::Int(days)) => date_text(days).into(),
            (Self::Decimal(decimal), Value::Decimal(unscaled)) => decimal.text(unscaled.get()).into(),
            (Self::Bytes, Value::Text(bytes)) => base64(bytes).into(),
            (_, Value::Int(value)) => value.to_string().into(),
            (_, Value::Double(value)) => format!("{value:?}").into(),
            (_, Value::Boolean(value)) => value.to_string().into(),
            (_, Value::Text(text)) => String::from_utf8_lossy(text),
            (_, Value::Decimal(unscaled)) => unscaled.get().to_string().into(),
        })
    }
}

impl ColumnType {
    /// Appends a value as JSON: a decimal as a number with all its digits, JSON as it was written, a list as an array, and what JSON has
    /// no form for as [`ColumnType::text`] writes it.
    pub fn push_json(self, json: &mut String, value: Value<'_>) {
        let value = match (self, value) {
            (_, Value::Null) => Json::Null,
            (Self::Decimal(decimal), Value::Decimal(unscaled)) => {
                return json.push_str(&decimal.text(unscaled.get()));
            }
            (Self::Json | Self::List(_), Value::Text(text)) => return json.push_str(&String::from_utf8_lossy(text)),
            (Self::Int, Value::Int(value)) => Json::from(value),
            // Doubles of columns are finite; others would have no number in JSON.
            (_, Value::Double(value)) => Number::from_f64(value).map_or(Json::Null, Json::Number),
            (_, Value::Boolean(value)) => Json::Bool(value),
            (column_type, value) => column_type.text(value).map_or(Json::Null, Json::from),
        };
        json.push_str(&value.to_string());
    }

    /// The timestamp or date that was written as [`ColumnType::text`] does; nothing where the text is none.
    pub fn time_of(self, text: &str) -> Option<i64> {
        match self {
            Self::Timestamp => rfc3339(text.as_bytes()),
            Self::Date => text.parse::<Date>().ok().and_then(days_of),
            _ => None,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Decimal(decimal) = self {
            return write!(f, "{DECIMAL}({}, {})", decimal.precision(), decimal.scale());
        }
        if let Self::List(of) = self {
            return write!(f, "{LIST}({})", of.column_type());
        }
        let name = NAMED.iter().find(|(_, known)| known == self);
        f.write_str(name.map_or("unknown", |(name, _)| name))
    }
}

impl DecimalType {
    /// What sums of such decimals are: of as many digits as there can be, with as many behind the point.
    #[must_use]
    pub fn of_sum(self) -> Self {
        Self::new(Self::PRECISION_MAX, self.scale()).unwrap_or(self)
    }
}

/// A timestamp in UTC, to the microsecond: all are as long, so that they sort as they are.
fn timestamp_text(us: i64) -> String {
    let (days, us_of_day) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (seconds, us_of_second) = (us_of_day / 1_000_000, us_of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = date_text(days);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{us_of_second:06}Z")
}

fn date_text(days: i64) -> String {
    match date_of(days) {
        Some(date) => format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        None => days.to_string(),
    }
}

/// The date that is so many days after 1970-01-01, where it is among [`DATES`].
pub fn date_of(days: i64) -> Option<Date> {
    let days = Some(days).filter(|days| DATES.contains(days))?;
    EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

/// How many days after 1970-01-01 a date is, where it is among [`DATES`].
pub fn days_of(date: Date) -> Option<i64> {
    let days = days_from_epoch(date.year().into(), date.month().into(), date.day().into());
    Some(days).filter(|days| DATES.contains(days))
}

/// How many days after 1970-01-01 a date of the Gregorian calendar is. The year begins in March here, so that a leap day is its last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The timestamp of a local time at this offset, where it is among [`TIMESTAMPS_US`]: what is finer than a microsecond is cut to the
/// one before. (It may be beyond the last that the library has, which leaves room for every offset.)
pub fn timestamp_of(local: DateTime, offset: Offset) -> Option<i64> {
    let time = local.time();
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let us_of_day = (seconds - i64::from(offset.seconds())) * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000;
    let date = local.date();
    let days = days_from_epoch(date.year().into(), date.month().into(), date.day().into());
    let us = days.checked_mul(DAY_US)?.checked_add(us_of_day)?;
    Some(us).filter(|us| TIMESTAMPS_US.contains(us))
}

/// A timestamp that is written as RFC 3339 has it; nothing where the text is none.
pub fn rfc3339(text: &[u8]) -> Option<i64> {
    let plain = leading_rfc3339(text).filter(|(_, len)| *len == text.len());
    plain
        .map(|(us, _)| us)
        .or_else(|| any_rfc3339(std::str::from_utf8(text).ok()?))
}

/// The timestamp that a text begins with, in the form that most programs write, and how many bytes it is long; nothing where it is in
/// any other: `2026-03-15T12:00:00.25+08:00`, with digits behind the point or none, and `Z` or an offset. A stream may have
/// one in every event.
pub fn leading_rfc3339(text: &[u8]) -> Option<(i64, usize)> {
    let head = text.first_chunk::<19>()?;
    let [
        y1,
        y2,
        y3,
        y4,
        dash,
        m1,
        m2,
        dash_too,
        d1,
        d2,
        t,
        h1,
        h2,
        colon,
        min1,
        min2,
        colon_too,
        s1,
        s2,
    ] = *head;
    if [dash, dash_too, t, colon, colon_too] != *b"--T::" {
        return None;
    }
    let (century, year) = (two_digits(y1, y2), two_digits(y3, y4));
    let (month, day) = (two_digits(m1, m2), two_digits(d1, d2));
    let (hour, minute, second) = (two_digits(h1, h2), two_digits(min1, min2), two_digits(s1, s2));
    // A leap second, and what is no time, is for the library to say.
    let is_time = (century < 100) & (year < 100) & (hour < 24) & (minute < 60) & (second < 60);
    let in_all_months = (month.wrapping_sub(1) < 12) & (day.wrapping_sub(1) < 28);
    let year = century * 100 + year;
    if !is_time || !in_all_months && Date::new(year as i16, month as i8, day as i8).is_err() {
        return None;
    }
    let mut end = head.len();
    let mut us = 0;
    if text.get(end) == Some(&b'.') {
        let fraction = text.get(end + 1..)?;
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for digit in fraction.iter().take(digits.min(6)) {
            us = us * 10 + i64::from(digit - b'0');
        }
        for _ in digits..6 {
            us *= 10;
        }
        end += 1 + digits;
    }
    let (offset_minutes, len) = match *text.get(end..)? {
        [b'Z', ..] => (0, 1),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => {
            let (hours, minutes) = (two_digits(h1, h2), two_digits(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = i64::from(hours * 60 + minutes);
            (if sign == b'-' { -minutes } else { minutes }, 6)
        }
        _ => return None,
    };
    let days = days_from_epoch(year.into(), month.into(), day.into());
    let minutes = days * 1440 + i64::from(hour) * 60 + i64::from(minute) - offset_minutes;
    let us = (minutes * 60 + i64::from(second)) * 1_000_000 + us;
    Some((us, end + len)).filter(|(us, _)| TIMESTAMPS_US.contains(us))
}

/// The number that two digits are; beyond 99 where one of them is none.
fn two_digits(high: u8, low: u8) -> u32 {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    match (high < 10) & (low < 10) {
        true => u32::from(high) * 10 + u32::from(low),
        false => 100,
    }
}

/// The same of every form that there is.
fn any_rfc3339(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = match pieces.offset()? {
        PiecesOffset::Zulu => Offset::UTC,
        PiecesOffset::Numeric(numeric) => numeric.offset(),
        _ => return None,
    };
    let is_annotated = pieces.time_zone_annotation().is_some();
    let local = pieces.date().to_datetime(pieces.time().filter(|_| !is_annotated)?);
    timestamp_of(local, offset)
}

/// Bytes as text, as RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists are keys of state by their text, so a double is written in one form for ever.
    #[test]
    fn doubles_in_lists_have_the_form_that_they_always_had() {
        for (value, form) in [
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-2.5e-7, "-2.5e-7"),
            (0.00001, "0.00001"),
            (0.0, "0.0"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            let mut json = String::new();
            ColumnType::Double.push_json(&mut json, Value::Double(value));
            assert_eq!(json, form);
        }
    }

    #[test]
    fn days_are_those_of_the_library() {
        for days in DATES.step_by(11) {
            let date = date_of(days).expect("it is in the calendar");
            assert_eq!(days_of(date), Some(days), "{date}");
        }
        let beyond = date_of(0).and_then(|date| date.checked_sub(jiff::Span::new().days(719_529)).ok());
        assert_eq!(beyond.and_then(days_of), None);
    }

    #[test]
    fn the_plain_form_of_a_timestamp_is_read_as_the_library_reads_it() {
        let dates = [
            "0000-01-01",
            "1969-12-31",
            "2024-02-29",
            "2026-03-15",
            "9999-12-31",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
        ];
        let times = [
            "00:00:00",
            "23:59:59",
            "12:34:56.1",
            "12:34:56.123456",
            "12:34:56.123456789",
            "12:34:56.000000999",
            "24:00:00",
            "23:60:00",
        ];
        let offsets = [
            "Z", "+00:00", "-00:00", "+08:00", "-05:30", "+23:59", "-23:59", "+24:00", "+08:60",
        ];
        let mut plain = 0;
        for date in dates {
            for time in times {
                for offset in offsets {
                    let text = format!("{date}T{time}{offset}");
                    let found = leading_rfc3339(text.as_bytes());
                    assert!(found.is_none_or(|(_, len)| len == text.len()), "{text}: {found:?}");
                    let found = found.map(|(us, _)| us);
                    plain += usize::from(found.is_some());
                    assert!(found.is_none() || found == any_rfc3339(&text), "{text}: {found:?}");
                }
            }
        }
        assert!(plain > 150, "{plain} are plain");
        for other in [
            "2026-03-15t12:00:00Z",
            "2026-03-15 12:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-03-15T12:00:00",
        ] {
            let leading = leading_rfc3339(other.as_bytes());
            assert!(leading.is_none_or(|(_, len)| len < other.len()), "{other}: {leading:?}");
            assert_eq!(rfc3339(other.as_bytes()), any_rfc3339(other), "{other}");
        }
        // The library stops at nine digits.
        assert_eq!(
            rfc3339(b"2026-03-15T12:00:00.1234569999999999999Z"),
            any_rfc3339("2026-03-15T12:00:00.123456Z")
        );
    }
}
