//! Parameters of guests: what they accept, and their values.

use crate::model::{
    column::{ColumnType, Value},
    column_type::{DATES, TIMESTAMPS_US},
    decimal::DecimalType,
};
use std::fmt;

/// One parameter of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// The name.
    pub name: String,
    /// The type.
    pub parameter_type: ParameterType,
    /// What holds when the pipeline says nothing.
    pub default: Option<ParameterValue>,
    /// One line for the person who sets it.
    pub doc: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// An integer.
    Int,
    /// A finite double.
    Double,
    /// A boolean.
    Boolean,
    /// A text.
    Text,
    /// A decimal of up to 38 digits.
    Decimal,
    /// A point in time.
    Timestamp,
    /// A day.
    Date,
    /// A list of integers.
    IntList,
    /// A list of finite doubles.
    DoubleList,
    /// A list of texts.
    TextList,
    /// A list of decimals.
    DecimalList,
    /// A list of points in time.
    TimestampList,
    /// A list of days.
    DateList,
}

impl ParameterType {
    /// The type in words, for messages.
    pub fn described(self) -> &'static str {
        match self {
            Self::Int => "an integer",
            Self::Double => "a finite number",
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::Decimal => "a number of up to 38 digits, such as 12.50",
            Self::Timestamp => "a time with an offset, such as 2026-03-15T12:00:00+08:00",
            Self::Date => "a day, such as 2026-03-15",
            Self::IntList => "a list of integers",
            Self::DoubleList => "a list of finite numbers",
            Self::TextList => "a list of texts",
            Self::DecimalList => "a list of numbers of up to 38 digits",
            Self::TimestampList => "a list of times with an offset",
            Self::DateList => "a list of days",
        }
    }

    /// The value that a person wrote for a parameter of this type, as a pipeline file would hold it; nothing where it is
    /// no such value.
    ///
    /// A text is taken as it is; one in quotes is a string of TOML. A list is separated by commas, with or without spaces
    /// around each element; an element in quotes may hold commas, and be empty. One that begins with `[` is a list in TOML,
    /// as in the pipeline file. Nothing at all is the empty list.
    pub fn parse(self, text: &str) -> Option<toml::Value> {
        let trimmed = text.trim();
        Some(match self {
            Self::Int => trimmed.parse::<i64>().ok()?.into(),
            Self::Double => trimmed.parse::<f64>().ok().filter(|value| value.is_finite())?.into(),
            Self::Boolean => trimmed.parse::<bool>().ok()?.into(),
            Self::Text => quoted(trimmed).unwrap_or_else(|| text.into()),
            Self::Decimal | Self::Timestamp | Self::Date => {
                let text = quoted(trimmed).unwrap_or_else(|| trimmed.into());
                self.value(&text).map(|_| text)?
            }
            _ => Self::parse_list(trimmed, self.element()?)?,
        })
    }

    /// What a list of this type holds.
    fn element(self) -> Option<Self> {
        Some(match self {
            Self::IntList => Self::Int,
            Self::DoubleList => Self::Double,
            Self::TextList => Self::Text,
            Self::DecimalList => Self::Decimal,
            Self::TimestampList => Self::Timestamp,
            Self::DateList => Self::Date,
            Self::Int | Self::Double | Self::Boolean | Self::Text | Self::Decimal | Self::Timestamp | Self::Date => {
                return None;
            }
        })
    }

    /// The value of a parameter of this type that a pipeline file holds, where it is one: an integer is also a double and a
    /// decimal, and decimals and times may be written as texts.
    pub fn value(self, given: &toml::Value) -> Option<ParameterValue> {
        let all = |element: Self| given.as_array()?.iter().map(|value| element.value(value)).collect();
        let list: Option<Vec<ParameterValue>> = self.element().and_then(all);
        Some(match self {
            Self::Int => ParameterValue::Int(given.as_integer()?),
            Self::Double => ParameterValue::Double(double(given)?),
            Self::Boolean => ParameterValue::Boolean(given.as_bool()?),
            Self::Text => ParameterValue::Text(given.as_str()?.to_owned()),
            Self::Decimal => ParameterValue::Decimal(decimal(given)?),
            Self::Timestamp => ParameterValue::Timestamp(time(ColumnType::Timestamp, given)?),
            Self::Date => ParameterValue::Date(time(ColumnType::Date, given)?),
            Self::IntList => ParameterValue::IntList(list?.into_iter().filter_map(int_of).collect()),
            Self::DoubleList => {
                ParameterValue::DoubleList(given.as_array()?.iter().map(double).collect::<Option<_>>()?)
            }
            Self::TextList => ParameterValue::TextList(list?.into_iter().filter_map(text_of).collect()),
            Self::DecimalList => ParameterValue::DecimalList(list?.into_iter().filter_map(text_of).collect()),
            Self::TimestampList => ParameterValue::TimestampList(list?.into_iter().filter_map(int_of).collect()),
            Self::DateList => ParameterValue::DateList(list?.into_iter().filter_map(int_of).collect()),
        })
    }

    fn parse_list(text: &str, element: Self) -> Option<toml::Value> {
        let elements: Option<Vec<_>> = match text {
            "" => Some(Vec::new()),
            _ if text.starts_with('[') => {
                let list = text.parse::<toml::Value>().ok()?;
                list.as_array()?.iter().map(|value| element.accept(value)).collect()
            }
            _ => elements_of(text)
                .map(|part| element.parse_element(part.trim()))
                .collect(),
        };
        elements.map(toml::Value::Array)
    }

    /// An element of a list that is separated by commas.
    fn parse_element(self, text: &str) -> Option<toml::Value> {
        match (self, text.starts_with(['"', '\''])) {
            (Self::Text, true) => quoted(text),
            // A comma too many is a mistake, and no empty text.
            (Self::Text, false) if text.is_empty() => None,
            _ => self.parse(text),
        }
    }

    /// The value as one of this type, which is no list.
    fn accept(self, value: &toml::Value) -> Option<toml::Value> {
        Some(match self {
            Self::Int => value.as_integer()?.into(),
            Self::Double => match value {
                toml::Value::Integer(value) => (*value as f64).into(),
                _ => value.as_float().filter(|value| value.is_finite())?.into(),
            },
            Self::Decimal | Self::Timestamp | Self::Date => self.value(value).map(|_| value.clone())?,
            _ => value.as_str()?.into(),
        })
    }
}

fn int_of(value: ParameterValue) -> Option<i64> {
    match value {
        ParameterValue::Int(value) | ParameterValue::Timestamp(value) | ParameterValue::Date(value) => Some(value),
        _ => None,
    }
}

fn text_of(value: ParameterValue) -> Option<String> {
    match value {
        ParameterValue::Text(text) | ParameterValue::Decimal(text) => Some(text),
        _ => None,
    }
}

fn double(given: &toml::Value) -> Option<f64> {
    match given {
        toml::Value::Float(value) => Some(*value).filter(|value| value.is_finite()),
        toml::Value::Integer(value) => Some(*value as f64),
        _ => None,
    }
}

/// A decimal as text: a sign where it is below zero, digits, and a point with digits behind it where there are any.
fn decimal(given: &toml::Value) -> Option<String> {
    let text = match given {
        toml::Value::Integer(value) => value.to_string(),
        // What it displays has all digits that tell it from its neighbours, and no exponent.
        toml::Value::Float(value) if value.is_finite() => value.to_string(),
        toml::Value::String(text) => text.clone(),
        _ => return None,
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let before = before.trim_start_matches('0');
    let places = u8::try_from(behind.len()).ok()?;
    let is_one = is_digits(before) && is_digits(behind) && !digits.starts_with('.') && !digits.ends_with('.');
    let precision = u8::try_from(before.len()).ok()?.checked_add(places)?.max(1);
    let decimal = DecimalType::new(precision, places).filter(|_| is_one && !digits.is_empty())?;
    Some(decimal.text(decimal.parse(text.as_bytes())?))
}

/// A time of this type that is written as TOML has it, or as a text.
fn time(of: ColumnType, given: &toml::Value) -> Option<i64> {
    match given {
        toml::Value::Datetime(value) => of.time_of(&value.to_string()),
        toml::Value::String(text) => of.time_of(text),
        _ => None,
    }
}

/// The string of TOML that a text is; nothing where it is none.
fn quoted(text: &str) -> Option<toml::Value> {
    let value = text.starts_with(['"', '\'']).then(|| text.parse::<toml::Value>());
    value?.ok().filter(toml::Value::is_str)
}

/// The parts of a text between its commas, but for those within quotes at the beginning of a part.
fn elements_of(text: &str) -> impl Iterator<Item = &str> {
    let (mut quote, mut is_escaped, mut is_begin) = (None, false, true);
    text.split(move |character: char| {
        match quote {
            Some(open) => {
                if character == open && !is_escaped {
                    quote = None;
                }
                is_escaped = open == '"' && character == '\\' && !is_escaped;
            }
            None => {
                if is_begin && matches!(character, '"' | '\'') {
                    quote = Some(character);
                }
                is_begin = character == ',' || is_begin && character.is_whitespace();
                return character == ',';
            }
        }
        false
    })
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Decimal => "decimal",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::IntList => "list of int",
            Self::DoubleList => "list of double",
            Self::TextList => "list of text",
            Self::DecimalList => "list of decimal",
            Self::TimestampList => "list of timestamp",
            Self::DateList => "list of date",
        })
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// An integer.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// A text.
    Text(String),
    /// A decimal, as people write it.
    Decimal(String),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i64),
    /// Integers.
    IntList(Vec<i64>),
    /// Finite doubles.
    DoubleList(Vec<f64>),
    /// Texts.
    TextList(Vec<String>),
    /// Decimals.
    DecimalList(Vec<String>),
    /// Points in time.
    TimestampList(Vec<i64>),
    /// Days.
    DateList(Vec<i64>),
}

impl ParameterValue {
    /// The type of the value.
    pub fn parameter_type(&self) -> ParameterType {
        match self {
            Self::Int(_) => ParameterType::Int,
            Self::Double(_) => ParameterType::Double,
            Self::Boolean(_) => ParameterType::Boolean,
            Self::Text(_) => ParameterType::Text,
            Self::Decimal(_) => ParameterType::Decimal,
            Self::Timestamp(_) => ParameterType::Timestamp,
            Self::Date(_) => ParameterType::Date,
            Self::DecimalList(_) => ParameterType::DecimalList,
            Self::TimestampList(_) => ParameterType::TimestampList,
            Self::DateList(_) => ParameterType::DateList,
            Self::IntList(_) => ParameterType::IntList,
            Self::DoubleList(_) => ParameterType::DoubleList,
            Self::TextList(_) => ParameterType::TextList,
        }
    }
}

impl ParameterValue {
    /// Whether it is a value of its type that there can be.
    ///
    /// # Errors
    /// What is accepted.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let is_decimal = |text: &str| decimal(&text.into()).is_some();
        let (is_one, accepted) = match self {
            Self::Double(value) => (value.is_finite(), "finite numbers"),
            Self::DoubleList(values) => (values.iter().all(|value| value.is_finite()), "finite numbers"),
            Self::Decimal(text) => (is_decimal(text), "numbers of up to 38 digits"),
            Self::DecimalList(texts) => (texts.iter().all(|text| is_decimal(text)), "numbers of up to 38 digits"),
            Self::Timestamp(us) => (TIMESTAMPS_US.contains(us), "times of the years 0 to 9999"),
            Self::TimestampList(all) => (
                all.iter().all(|us| TIMESTAMPS_US.contains(us)),
                "times of the years 0 to 9999",
            ),
            Self::Date(days) => (DATES.contains(days), "days of the years 0 to 9999"),
            Self::DateList(all) => (
                all.iter().all(|days| DATES.contains(days)),
                "days of the years 0 to 9999",
            ),
            Self::Int(_) | Self::Boolean(_) | Self::Text(_) | Self::IntList(_) | Self::TextList(_) => (true, ""),
        };
        is_one.then_some(()).ok_or(accepted)
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Decimal(value) => f.write_str(value),
            Self::Timestamp(value) => f.write_str(&written(ColumnType::Timestamp, *value)),
            Self::Date(value) => f.write_str(&written(ColumnType::Date, *value)),
            Self::DecimalList(values) => write!(f, "[{}]", values.join(", ")),
            Self::TimestampList(values) => write!(f, "[{}]", all_written(ColumnType::Timestamp, values)),
            Self::DateList(values) => write!(f, "[{}]", all_written(ColumnType::Date, values)),
            Self::IntList(values) => write!(f, "{values:?}"),
            Self::DoubleList(values) => write!(f, "{values:?}"),
            Self::TextList(values) => write!(f, "{values:?}"),
        }
    }
}

fn written(of: ColumnType, value: i64) -> String {
    of.text(Value::Int(value)).unwrap_or_default().into_owned()
}

fn all_written(of: ColumnType, values: &[i64]) -> String {
    let values: Vec<String> = values.iter().map(|value| written(of, *value)).collect();
    values.join(", ")
}

#[cfg(test)]
mod tests {
    use super::ParameterType::{self, *};

    /// What a text becomes, written in TOML; nothing where it is refused.
    fn parsed(wanted: ParameterType, text: &str) -> Option<String> {
        wanted.parse(text).map(|value| value.to_string())
    }

    #[track_caller]
    fn check(wanted: ParameterType, text: &str, value: &str) {
        assert_eq!(parsed(wanted, text).as_deref(), Some(value), "{text:?} as {wanted}");
    }

    #[test]
    fn a_text_is_read_by_the_type_that_is_wanted() {
        check(Int, " -7 ", "-7");
        check(Int, "9223372036854775807", "9223372036854775807");
        check(Double, "0.9", "0.9");
        check(Double, "5", "5.0");
        check(Double, "1e-3", "0.001");
        check(Boolean, "true", "true");
        check(Text, "Asia/Shanghai", "\"Asia/Shanghai\"");
        check(Text, " 5 ", "\" 5 \"");
        check(Text, "", "\"\"");
        check(Text, "\"Asia/Shanghai\"", "\"Asia/Shanghai\"");
        check(Text, " 'a, b' ", "\"a, b\"");
        check(Text, "a \"b\"", "'a \"b\"'");
        check(Text, "'tis", "\"'tis\"");
        check(Decimal, " -12.50 ", "\"-12.50\"");
        check(
            Decimal,
            "'12345678901234567890123456789012345678'",
            "\"12345678901234567890123456789012345678\"",
        );
        check(Timestamp, "2026-03-15T12:00:00+08:00", "\"2026-03-15T12:00:00+08:00\"");
        check(Date, "2026-03-15", "\"2026-03-15\"");
    }

    #[test]
    fn decimals_and_times_are_values_of_toml_or_texts() {
        let value = |wanted: ParameterType, text: &str| {
            let toml: toml::Table = format!("value = {text}").parse().unwrap();
            wanted.value(&toml["value"]).map(|value| value.to_string())
        };
        for (wanted, text, expected) in [
            (Decimal, "500.00", Some("500")),
            (Decimal, "0.1", Some("0.1")),
            (Decimal, "-7", Some("-7")),
            (Decimal, "\"+007.50\"", Some("7.50")),
            (Decimal, "\"0.00\"", Some("0.00")),
            (Decimal, "\"1e3\"", None),
            (Decimal, "\".5\"", None),
            (Decimal, "\"5.\"", None),
            (Decimal, "\"\"", None),
            (Decimal, "1e300", None),
            (
                Timestamp,
                "2026-03-15T12:00:00+08:00",
                Some("2026-03-15T04:00:00.000000Z"),
            ),
            (
                Timestamp,
                "\"2026-03-15T04:00:00Z\"",
                Some("2026-03-15T04:00:00.000000Z"),
            ),
            (Timestamp, "2026-03-15T12:00:00", None),
            (Date, "2026-03-15", Some("2026-03-15")),
            (Date, "\"2026-03-15\"", Some("2026-03-15")),
            (Date, "\"2026-02-30\"", None),
            (DecimalList, "[1, 2.5, \"3.00\"]", Some("[1, 2.5, 3.00]")),
            (DecimalList, "[1, \"x\"]", None),
            (DateList, "[2026-03-15]", Some("[2026-03-15]")),
            (IntList, "[1, 2.5]", None),
        ] {
            assert_eq!(value(wanted, text).as_deref(), expected, "{text} as {wanted}");
        }
    }

    #[test]
    fn lists_are_separated_by_commas_or_written_in_toml() {
        check(IntList, "1, -2,3", "[1, -2, 3]");
        check(IntList, "[1, 2]", "[1, 2]");
        check(DoubleList, "1,2.5", "[1.0, 2.5]");
        check(DoubleList, "[1, 2.5]", "[1.0, 2.5]");
        check(TextList, "save_success, created", "[\"save_success\", \"created\"]");
        check(TextList, "[\"a, b\", 'c']", "[\"a, b\", \"c\"]");
        check(
            TextList,
            "\"a, b\", 'c,d' ,e, \"\", \"f\\\",g\", it's",
            "[\"a, b\", \"c,d\", \"e\", \"\", 'f\",g', \"it's\"]",
        );
        for list in [IntList, DoubleList, TextList] {
            check(list, "", "[]");
            check(list, " [] ", "[]");
        }
    }

    #[test]
    fn what_is_no_such_value_is_refused() {
        for (wanted, texts) in [
            (Int, &["", "1.0", "one", "9223372036854775808"][..]),
            (Double, &["", "inf", "NaN", "1e999", "10 %"]),
            (Boolean, &["", "1", "True", "yes"]),
            (IntList, &["1,", "1,2.5", "[1", "[1.5]", "[1] 2"]),
            (DoubleList, &["a", "[inf]", "[\"1\"]"]),
            (TextList, &["[a]", "[1]", "[\"a\"", "\"a, b", "a,", "a,,b", "\"a\" b"]),
        ] {
            for text in texts {
                assert_eq!(parsed(wanted, text), None, "{text:?} as {wanted}");
            }
        }
    }
}
