//! The format of an input's payloads, against its columns: one file a format.

mod avro;
mod avro_schema;
mod csv;
mod debezium;
mod protobuf;
mod wanted;

pub(super) use debezium::deleted_name;

use super::Binder;
use crate::{
    definition::{ColumnFormat, ColumnPlace, Name, PayloadFormat as Written, SourceColumn, Spanned},
    error::Result,
    model::{
        column::{ColumnType, ElementType},
        path::ValuePath,
    },
    plan::PayloadFormat,
};

/// Whether payloads of this format say how their values are written, or write all of them as text.
pub(super) fn says_itself(format: Option<&Spanned<Written>>) -> bool {
    !matches!(
        format.map(Spanned::get_ref),
        None | Some(Written::Json | Written::Debezium(_))
    )
}

impl Binder<'_> {
    /// How payloads of this format are read as these columns.
    pub(super) fn payload_format(
        &self,
        format: Option<&Spanned<Written>>,
        columns: &[(Name, SourceColumn)],
    ) -> Result<PayloadFormat> {
        if !matches!(format.map(Spanned::get_ref), Some(Written::Debezium(_))) {
            self.check_no_envelope(columns)?;
        }
        let Some(format) = format else {
            return Ok(PayloadFormat::Json);
        };
        match format.get_ref() {
            Written::Json => Ok(PayloadFormat::Json),
            Written::Csv(csv) => self.csv(csv, columns),
            Written::Avro(avro) => self.avro(avro, format.span(), columns),
            Written::Protobuf(protobuf) => self.protobuf(protobuf, columns),
            Written::Debezium(debezium) => self.debezium(debezium, format.span(), columns),
        }
    }
}

impl Binder<'_> {
    /// Whether no column is beside a row: payloads are no changes of rows.
    fn check_no_envelope(&self, columns: &[(Name, SourceColumn)]) -> Result<()> {
        let mut columns = columns.iter();
        match columns.find(|(_, column)| matches!(column.place, ColumnPlace::Envelope(_))) {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!(
                    "column \"{}\": from = \"envelope\" goes with an input whose payloads are changes, such as format = {{ debezium = {{ \
                     key = [\"id\"] }} }}",
                    name.get_ref()
                );
                Err(self.at(name, message))
            }
        }
    }
}

/// The path of a column in the payload; nothing where it is read from elsewhere.
fn path(name: &Name, column: &SourceColumn) -> Option<ValuePath> {
    match &column.place {
        ColumnPlace::Payload(None) => Some(ValuePath::of_names([name.get_ref().as_str()])),
        ColumnPlace::Payload(Some(path)) => Some(path.clone()),
        _ => None,
    }
}

/// What is wrong with a path that leads by a name into elements.
const WANTS_INDEX: &str = "has elements and no fields; accepted is an index, such as [\"items\", 0, \"sku\"]";

/// What a schema says of a value, as far as columns mind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Boolean,
    Integer,
    Double,
    Text,
    /// A name out of a list, which has a number where the format says so.
    Name {
        has_number: bool,
    },
    Bytes,
    Decimal {
        scale: u8,
    },
    Timestamp,
    Date,
    /// A list.
    List,
    /// Something with fields, or values by name.
    Nested,
}

/// What holds a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Column,
    /// A column that is a list, of which the value is an element.
    List,
}

/// Whether a value can be read as a column of this type, written so.
///
/// # Errors
/// What is accepted instead.
fn fits(kind: Kind, column: &SourceColumn) -> Result<(), String> {
    fits_type(kind, column.column_type, column.format.as_ref(), Holder::Column)
}

/// Whether an element of a list can be read as one of a column of lists, written so.
///
/// # Errors
/// As [`fits`].
fn fits_list(kind: Kind, of: ElementType, column: &SourceColumn) -> Result<(), String> {
    match kind {
        Kind::List | Kind::Nested => Err("a list holds scalars; accepted is json".to_owned()),
        kind => fits_type(kind, of.column_type(), column.format.as_ref(), Holder::List),
    }
}

fn fits_type(kind: Kind, column_type: ColumnType, format: Option<&ColumnFormat>, holder: Holder) -> Result<(), String> {
    let is_said = "key `format` says how a value is written, and here the schema does; leave it out";
    match (kind, column_type, format) {
        (_, ColumnType::Json, None) => Ok(()),
        (Kind::Text, ColumnType::Text, None | Some(ColumnFormat::Number)) => Ok(()),
        (Kind::Text, ColumnType::Int | ColumnType::Double | ColumnType::Decimal(_), Some(ColumnFormat::String)) => {
            Ok(())
        }
        (Kind::Text, ColumnType::Int | ColumnType::Double | ColumnType::Decimal(_), None) => {
            Err("it is a text; a number in it is read with format = \"string\"".to_owned())
        }
        (Kind::Text, ColumnType::Timestamp, Some(ColumnFormat::Rfc3339 | ColumnFormat::Strftime { .. }))
        | (Kind::Text, ColumnType::Date, None | Some(ColumnFormat::Strftime { .. }))
        | (Kind::Text, ColumnType::Bytes, Some(ColumnFormat::Base64 | ColumnFormat::Hex)) => Ok(()),
        (Kind::Text, ColumnType::Timestamp, _) => Err(
            "it is a text; accepted is format = \"rfc3339\", or { strftime = \"%Y-%m-%d %H:%M:%S\", zone = \"Europe/Berlin\" }"
                .to_owned(),
        ),
        (Kind::Text, ColumnType::Date, Some(_)) => {
            Err("it is a text; accepted is no format, for a date such as 2026-03-15, or { strftime = \"%d.%m.%Y\" }".to_owned())
        }
        (Kind::Text, ColumnType::Bytes, _) => {
            Err("it is a text; accepted is format = \"base64\" or \"hex\"".to_owned())
        }
        (Kind::Integer, ColumnType::Timestamp, Some(ColumnFormat::Since(_)))
        | (Kind::Integer, ColumnType::Date, Some(ColumnFormat::Days)) => Ok(()),
        (Kind::Integer, ColumnType::Timestamp, _) => {
            Err("it is a plain integer; format = \"s\", \"ms\", \"us\" or \"ns\" says what it counts".to_owned())
        }
        (Kind::Integer, ColumnType::Date, _) => {
            Err("it is a plain integer; format = \"days\" says what it counts".to_owned())
        }
        (Kind::Integer, ColumnType::Int | ColumnType::Double | ColumnType::Decimal(_), None)
        | (Kind::Double, ColumnType::Double, None)
        | (Kind::Boolean, ColumnType::Boolean, None)
        | (Kind::Name { .. }, ColumnType::Text, None)
        | (Kind::Name { has_number: true }, ColumnType::Int, None)
        | (Kind::Bytes, ColumnType::Bytes, None)
        | (Kind::Timestamp, ColumnType::Timestamp, None)
        | (Kind::Date, ColumnType::Date, None) => Ok(()),
        (Kind::Decimal { scale }, ColumnType::Decimal(of), None) => match of.scale() >= scale {
            true => Ok(()),
            false => Err(format!(
                "its decimals have {scale} digits behind the point, and {column_type} has room for {}; nothing is rounded",
                of.scale()
            )),
        },
        (_, _, Some(_)) if fits_type(kind, column_type, None, holder).is_ok() => Err(is_said.to_owned()),
        _ => Err(match holder {
            Holder::Column => format!("accepted for it is {}", types_of(kind)),
            Holder::List => format!("accepted is a list of {}, or json", scalars_of(kind)),
        }),
    }
}

/// The types of columns that a value can be read as.
fn types_of(kind: Kind) -> String {
    match kind {
        Kind::Integer => "int, double, decimal, json, or timestamp or date with a format".to_owned(),
        Kind::Text => "text, date, json, or with a format int, double, decimal, timestamp or bytes".to_owned(),
        Kind::Name { has_number: true } => "text, json, or int for its number".to_owned(),
        Kind::Decimal { .. } => format!("{}, or json", scalars_of(kind)),
        Kind::List => "json, or list(TYPE) where it holds scalars".to_owned(),
        Kind::Nested => "json".to_owned(),
        kind => format!("{} or json", scalars_of(kind)),
    }
}

/// The types of scalars that a value can be read as.
fn scalars_of(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer => "int, double or decimal, or with a format timestamp or date".to_owned(),
        Kind::Double => "double".to_owned(),
        Kind::Text => "text or date, or with a format int, double, decimal, timestamp or bytes".to_owned(),
        Kind::Name { has_number: false } => "text".to_owned(),
        Kind::Name { has_number: true } => "text, or int for its number".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Decimal { scale } => format!("decimal with a scale of at least {scale}"),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::List | Kind::Nested => "no scalars".to_owned(),
    }
}
