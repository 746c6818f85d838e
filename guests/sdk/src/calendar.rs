//! Points in time and days, as the crate `jiff` has them.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::abi::{ColumnType, ColumnValues, ParameterType, ParameterValue};
use crate::computed::ColumnBuilder;
use crate::input::{InputValue, wrong_type};
use crate::local_hour::civil;
use crate::parameters::WireValue;
use crate::state::take;
use crate::{Computed, ParameterField, State};

/// Microseconds since 1970 of the years 0 to 9999, by the contract.
const TIMESTAMPS_US: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;
const YEARS: std::ops::RangeInclusive<i16> = 0..=9999;
/// The last time of jiff's: by then the year 9999 has ended where the sun rises first.
const LAST: &str = "9999-12-30T22:00:00Z";
const DAY_S: i64 = 86_400;

fn timestamp(us: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(us).ok()
}

fn date(days: i64) -> Option<Date> {
    let (year, month, day) = civil(days);
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

fn days_of(date: Date) -> i64 {
    let since: SignedDuration = date.duration_since(Date::constant(1970, 1, 1));
    since.as_secs() / DAY_S
}

// ---- in -------------------------------------------------------------------------------------------------------------

/// A column of timestamps or dates.
pub struct Reader<'a> {
    name: &'static str,
    values: &'a [i64],
}

impl<'a> Reader<'a> {
    fn new(name: &'static str, of: ColumnType, values: &'a ColumnValues, rows: usize) -> Self {
        match values {
            ColumnValues::Int(values) => Reader {
                name,
                values: &values[..rows],
            },
            other => wrong_type(of, other),
        }
    }

    #[cold]
    fn beyond(&self, unit: &str, row: usize) -> ! {
        let (name, value) = (self.name, self.values[row]);
        panic!("column `{name}` is {value} {unit} from 1970 on; a rule reads times up to {LAST}");
    }
}

impl<'a> InputValue<'a> for Timestamp {
    type Reader = Reader<'a>;
    const TYPE: ColumnType = ColumnType::Timestamp;

    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        Reader::new(name, ColumnType::Timestamp, values, rows)
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        timestamp(reader.values[row]).unwrap_or_else(|| reader.beyond("microseconds", row))
    }
}

impl<'a> InputValue<'a> for Date {
    type Reader = Reader<'a>;
    const TYPE: ColumnType = ColumnType::Date;

    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        Reader::new(name, ColumnType::Date, values, rows)
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        date(reader.values[row]).unwrap_or_else(|| reader.beyond("days", row))
    }
}

// ---- out ------------------------------------------------------------------------------------------------------------

macro_rules! time_column {
    ($(#[$doc:meta])* $name:ident, $type:ident, $value:ty, |$given:ident| $stored:expr) => {
        $(#[$doc])*
        pub struct $name {
            name: &'static str,
            values: Vec<i64>,
        }

        impl $name {
            /// Appends a value.
            ///
            /// # Panics
            ///
            /// It is of no year from 0 to 9999.
            #[inline]
            pub fn push(&mut self, $given: $value) {
                match $stored {
                    Some(stored) => self.values.push(stored),
                    None => self.beyond($given),
                }
            }

            #[cold]
            fn beyond(&self, value: $value) {
                panic!("column `{}` would be {value}; accepted are the years 0 to 9999", self.name);
            }
        }

        impl ColumnBuilder for $name {
            const TYPE: ColumnType = ColumnType::$type;

            fn with_capacity(name: &'static str, rows: usize) -> Self {
                $name {
                    name,
                    values: Vec::with_capacity(rows),
                }
            }

            fn rows(&self) -> usize {
                self.values.len()
            }

            #[inline(always)]
            fn push_filler(&mut self) {
                self.values.push(0);
            }

            fn finish(self) -> ColumnValues {
                ColumnValues::Int(self.values)
            }
        }

        impl Computed for $value {
            type Column = $name;

            #[inline(always)]
            fn append_to(&self, column: &mut $name) {
                column.push(*self);
            }
        }
    };
}

time_column!(
    /// A column of points in time. What is finer than a microsecond is cut, toward 1970.
    TimestampColumn, Timestamp, Timestamp, |value| Some(value.as_microsecond()).filter(|us| TIMESTAMPS_US.contains(us))
);
time_column!(
    /// A column of days.
    DateColumn, Date, Date, |value| YEARS.contains(&value.year()).then(|| days_of(value))
);

// ---- kept -----------------------------------------------------------------------------------------------------------

/// Seconds, and the nanoseconds of the second: a state holds what it was given, also where no column does.
impl State for Timestamp {
    const BYTES_MAX: Option<usize> = Some(size_of::<i64>() + size_of::<i32>());

    fn layout() -> String {
        "timestamp".to_owned()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.as_second().to_le_bytes());
        bytes.extend_from_slice(&self.subsec_nanosecond().to_le_bytes());
    }

    fn encoded_bytes(&self) -> usize {
        size_of::<i64>() + size_of::<i32>()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let second = i64::decode(bytes)?;
        let nanosecond = take(bytes, size_of::<i32>())?.try_into().ok().map(i32::from_le_bytes)?;
        Timestamp::new(second, nanosecond).ok()
    }
}

impl State for Date {
    const BYTES_MAX: Option<usize> = Some(size_of::<i32>());

    fn layout() -> String {
        "date".to_owned()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(days_of(*self) as i32).to_le_bytes());
    }

    fn encoded_bytes(&self) -> usize {
        size_of::<i32>()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let days = take(bytes, size_of::<i32>())?.try_into().ok().map(i32::from_le_bytes)?;
        date(days.into())
    }
}

// ---- set ------------------------------------------------------------------------------------------------------------

/// Reads the default that a rule's source has.
fn literal<T: std::str::FromStr<Err = jiff::Error>>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(error) => panic!("the default of a parameter: {error}"),
    }
}

macro_rules! wire_values {
    ($($type:ty, $case:ident, $word:literal, $list:ident, $list_word:literal, $from:expr, $to:expr;)*) => {$(
        impl WireValue for $type {
            type Literal = &'static str;
            const TYPE: ParameterType = ParameterType::$case;
            const WORD: &str = $word;

            fn from_value(value: ParameterValue) -> Option<Result<Self, String>> {
                match value {
                    ParameterValue::$case(value) => Some($from(value).ok_or_else(beyond)),
                    _ => None,
                }
            }

            fn value_of(text: &'static str) -> ParameterValue {
                ParameterValue::$case($to(literal::<$type>(text)))
            }
        }

        impl WireValue for Vec<$type> {
            type Literal = &'static [&'static str];
            const TYPE: ParameterType = ParameterType::$list;
            const WORD: &str = $list_word;

            fn from_value(value: ParameterValue) -> Option<Result<Self, String>> {
                match value {
                    ParameterValue::$list(values) => {
                        Some(values.into_iter().map(|value| $from(value).ok_or_else(beyond)).collect())
                    }
                    _ => None,
                }
            }

            fn value_of(texts: &'static [&'static str]) -> ParameterValue {
                ParameterValue::$list(texts.iter().map(|text| $to(literal::<$type>(text))).collect())
            }
        }

        impl ParameterField for $type {
            type Wire = $type;

            fn from_wire(wire: $type) -> Result<$type, String> {
                Ok(wire)
            }
        }

        impl ParameterField for Vec<$type> {
            type Wire = Vec<$type>;

            fn from_wire(wire: Vec<$type>) -> Result<Vec<$type>, String> {
                Ok(wire)
            }
        }
    )*};
}

wire_values! {
    Timestamp, Timestamp, "timestamp", TimestampList, "timestamp-list", timestamp, Timestamp::as_microsecond;
    Date, Date, "date", DateList, "date-list", date, days_of;
}

fn beyond() -> String {
    format!("accepted are times up to {LAST}")
}
