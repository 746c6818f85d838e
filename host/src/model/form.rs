//! How values look to who reads a table or a message: which forms there are of each type, and a value in one of them.
//!
//! What is asked here holds for every storage and every sink; how a storage reads its cells back, it knows itself.

use crate::model::{
    column::{ColumnType, Value},
    decimal::DecimalType,
};
use data_encoding::HEXLOWER;
use serde_json::Value as Json;
use std::{borrow::Cow, fmt};

/// How the values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are: an integer, a double, a boolean.
    Plain,
    /// As text; see [`ColumnType::text`].
    Text,
    /// JSON within JSON, as it stands; a list as an array.
    Json,
    /// A decimal as a number.
    Number,
    /// A decimal as an integer, without its point.
    Unscaled,
    /// Whole seconds since 1970-01-01T00:00:00Z. What is finer is cut to the second before.
    EpochSeconds,
    /// Whole milliseconds. What is finer is cut to the one before.
    EpochMillis,
    /// Microseconds.
    EpochMicros,
    /// Days since 1970-01-01.
    EpochDays,
    /// Bytes as they are.
    Blob,
    /// Bytes as text.
    Base64,
    /// Bytes as hexadecimal text in small letters.
    Hex,
}

/// Where values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A table.
    Table,
    /// Messages.
    Subject,
}

/// The names of forms, as a pipeline file and messages have them.
const NAMES: [(Form, &str); 12] = [
    (Form::Plain, "plain"),
    (Form::Text, "text"),
    (Form::Json, "json"),
    (Form::Number, "number"),
    (Form::Unscaled, "unscaled"),
    (Form::EpochSeconds, "epoch_s"),
    (Form::EpochMillis, "epoch_ms"),
    (Form::EpochMicros, "epoch_us"),
    (Form::EpochDays, "epoch_days"),
    (Form::Blob, "blob"),
    (Form::Base64, "base64"),
    (Form::Hex, "hex"),
];

impl Form {
    /// The form of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = NAMES.into_iter();
        all.find_map(|(form, known)| (known == name).then_some(form))
    }

    /// The forms that a type has there; the first is the one that it has unless somebody says otherwise.
    pub fn all(column_type: ColumnType, place: Place) -> &'static [Self] {
        match (column_type, place) {
            (ColumnType::Int | ColumnType::Double | ColumnType::Boolean, _) => &[Self::Plain],
            (ColumnType::Text, _) | (ColumnType::Json | ColumnType::List(_), Place::Table) => &[Self::Text],
            (ColumnType::Json | ColumnType::List(_), Place::Subject) => &[Self::Json, Self::Text],
            (ColumnType::Timestamp, _) => &[Self::Text, Self::EpochMicros, Self::EpochMillis, Self::EpochSeconds],
            (ColumnType::Date, _) => &[Self::Text, Self::EpochDays],
            (ColumnType::Bytes, Place::Table) => &[Self::Blob, Self::Base64, Self::Hex],
            (ColumnType::Bytes, Place::Subject) => &[Self::Base64, Self::Hex],
            (ColumnType::Decimal(_), Place::Subject) => &[Self::Number, Self::Text, Self::Unscaled],
            (ColumnType::Decimal(decimal), Place::Table) => {
                let digits = decimal.precision();
                if digits <= DecimalType::DOUBLE_PRECISION_MAX {
                    &[Self::Number, Self::Text, Self::Unscaled]
                } else if digits <= DecimalType::INT_PRECISION_MAX {
                    &[Self::Text, Self::Unscaled]
                } else {
                    &[Self::Text]
                }
            }
        }
    }

    /// Whether two values may look the same.
    pub fn cuts(self) -> bool {
        matches!(self, Self::EpochSeconds | Self::EpochMillis)
    }

    /// Whether it writes a time or a decimal as an integer.
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            Self::Unscaled | Self::EpochSeconds | Self::EpochMillis | Self::EpochMicros | Self::EpochDays
        )
    }

    /// How many microseconds the unit of a timestamp has.
    pub fn unit_us(self) -> i64 {
        match self {
            Self::EpochSeconds => 1_000_000,
            Self::EpochMillis => 1000,
            _ => 1,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(known, _)| known == self);
        f.write_str(name.map_or("unknown", |(_, name)| name))
    }
}

/// The type of a column, and how its values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnForm {
    /// The type.
    pub column_type: ColumnType,
    /// One of [`Form::all`].
    pub form: Form,
}

/// A value in a form.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<'v> {
    /// No value.
    Null,
    /// An integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// A boolean.
    Boolean(bool),
    /// The digits of a number that is exact.
    Number(String),
    /// Text, in UTF-8.
    Text(Cow<'v, [u8]>),
    /// A JSON value.
    Json(&'v [u8]),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl ColumnForm {
    /// The form that a type has there unless somebody says otherwise.
    pub fn usual(column_type: ColumnType, place: Place) -> Self {
        let form = Form::all(column_type, place).first().copied();
        Self {
            column_type,
            form: form.unwrap_or(Form::Text),
        }
    }

    /// Whether it is the one that the type has there unless somebody says otherwise.
    pub fn is_usual(self, place: Place) -> bool {
        self == Self::usual(self.column_type, place)
    }

    /// A value in this form.
    pub fn write(self, value: Value<'_>) -> Written<'_> {
        match (self.form, value) {
            (_, Value::Null) => Written::Null,
            (Form::EpochSeconds | Form::EpochMillis, Value::Int(us)) => {
                Written::Integer(us.div_euclid(self.form.unit_us()))
            }
            (Form::Plain | Form::EpochMicros | Form::EpochDays, Value::Int(value)) => Written::Integer(value),
            (Form::Unscaled, Value::Decimal(unscaled)) => match i64::try_from(unscaled.get()) {
                Ok(unscaled) => Written::Integer(unscaled),
                Err(_) => Written::Number(unscaled.get().to_string()),
            },
            (Form::Number, value @ Value::Decimal(_)) => {
                let digits = self.column_type.text(value).map(Cow::into_owned);
                Written::Number(digits.unwrap_or_default())
            }
            (Form::Blob, Value::Text(bytes)) => Written::Bytes(bytes),
            (Form::Hex, Value::Text(bytes)) => Written::Text(HEXLOWER.encode(bytes).into_bytes().into()),
            (Form::Json, Value::Text(json)) => Written::Json(json),
            (Form::Text, Value::Text(text)) => Written::Text(text.into()),
            (_, Value::Double(value)) => Written::Real(value),
            (_, Value::Boolean(value)) => Written::Boolean(value),
            (_, value) => match self.column_type.text(value) {
                Some(Cow::Borrowed(text)) => Written::Text(text.as_bytes().into()),
                Some(Cow::Owned(text)) => Written::Text(text.into_bytes().into()),
                None => Written::Null,
            },
        }
    }

    /// A value as it is once it was written and read again.
    pub fn cut(self, value: Value<'_>) -> Value<'_> {
        match value {
            Value::Int(us) if self.form.cuts() => Value::Int(us - us.rem_euclid(self.form.unit_us())),
            value => value,
        }
    }

    /// Appends a value as JSON: numbers with all their digits, JSON as it was written.
    pub fn push_json(self, json: &mut String, value: Value<'_>) {
        match self.write(value) {
            Written::Number(digits) => json.push_str(&digits),
            Written::Integer(value) => json.push_str(&value.to_string()),
            Written::Text(text) => json.push_str(&Json::from(String::from_utf8_lossy(&text)).to_string()),
            _ => self.column_type.push_json(json, value),
        }
    }
}

impl fmt::Display for ColumnForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.column_type, self.form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::column::Unscaled;

    fn json(column_type: ColumnType, form: Form, value: Value<'_>) -> String {
        let mut json = String::new();
        ColumnForm { column_type, form }.push_json(&mut json, value);
        json
    }

    #[test]
    fn every_form_has_a_name_of_its_own() {
        for (form, name) in NAMES {
            assert_eq!((Form::named(name), form.to_string().as_str()), (Some(form), name));
        }
        assert_eq!(Form::named("epoch"), None);
    }

    #[test]
    fn what_is_finer_than_the_unit_is_cut_to_the_one_before() {
        for (us, seconds, millis) in [(0, 0, 0), (1_999_999, 1, 1999), (-1, -1, -1), (-1_000_001, -2, -1001)] {
            let timestamp = ColumnType::Timestamp;
            assert_eq!(json(timestamp, Form::EpochSeconds, Value::Int(us)), seconds.to_string());
            assert_eq!(json(timestamp, Form::EpochMillis, Value::Int(us)), millis.to_string());
            assert_eq!(json(timestamp, Form::EpochMicros, Value::Int(us)), us.to_string());
            let form = Form::EpochMillis;
            let read = ColumnForm {
                column_type: timestamp,
                form,
            }
            .cut(Value::Int(us));
            assert_eq!(read, Value::Int(millis * 1000));
        }
    }

    #[test]
    fn values_are_in_messages_what_their_forms_say() {
        let decimal = ColumnType::Decimal(DecimalType::new(38, 2).expect("there are such decimals"));
        let most = Value::Decimal(Unscaled::new(10i128.pow(38) - 1));
        let nines = "9".repeat(36);
        for (column_type, form, value, expected) in [
            (decimal, Form::Number, most, format!("{nines}.99")),
            (decimal, Form::Text, most, format!("\"{nines}.99\"")),
            (decimal, Form::Unscaled, most, format!("{nines}99")),
            (decimal, Form::Unscaled, Value::Null, "null".to_owned()),
            (
                ColumnType::Date,
                Form::Text,
                Value::Int(-1),
                "\"1969-12-31\"".to_owned(),
            ),
            (ColumnType::Date, Form::EpochDays, Value::Int(-1), "-1".to_owned()),
            (
                ColumnType::Bytes,
                Form::Base64,
                Value::Text(b"\x00\xff"),
                "\"AP8=\"".to_owned(),
            ),
            (
                ColumnType::Bytes,
                Form::Hex,
                Value::Text(b"\x00\xff"),
                "\"00ff\"".to_owned(),
            ),
            (
                ColumnType::Json,
                Form::Json,
                Value::Text(b"{\"a\": [1]}"),
                "{\"a\": [1]}".to_owned(),
            ),
            (
                ColumnType::Json,
                Form::Text,
                Value::Text(b"[\"1\"]"),
                "\"[\\\"1\\\"]\"".to_owned(),
            ),
        ] {
            assert_eq!(json(column_type, form, value), expected, "{column_type} as {form}");
        }
    }

    #[test]
    fn a_decimal_is_no_number_of_a_table_where_that_would_not_be_exact() {
        let forms = |precision| {
            let decimal = DecimalType::new(precision, 2).expect("there are such decimals");
            Form::all(ColumnType::Decimal(decimal), Place::Table)
        };
        assert_eq!(forms(15), [Form::Number, Form::Text, Form::Unscaled]);
        assert_eq!(forms(16), [Form::Text, Form::Unscaled]);
        assert_eq!(forms(18), [Form::Text, Form::Unscaled]);
        assert_eq!(forms(19), [Form::Text]);
    }
}
