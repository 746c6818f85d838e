//! Columns between the contract and the evaluator.

use weir_expression::{Column, ColumnRef, Element, Type, Values, ValuesRef, decimal};
use weir_guest::abi::{self, ColumnType, ColumnValues, DecimalType, DecimalValues, ElementType, TextValues};

pub(crate) fn column_type(of: Type) -> ColumnType {
    match of {
        Type::Int => ColumnType::Int,
        Type::Double => ColumnType::Double,
        Type::Boolean => ColumnType::Boolean,
        Type::Text => ColumnType::Text,
        Type::Decimal { precision, scale } => ColumnType::Decimal(DecimalType { precision, scale }),
        Type::Timestamp => ColumnType::Timestamp,
        Type::Date => ColumnType::Date,
        Type::Bytes => ColumnType::Bytes,
        Type::Json => ColumnType::Json,
        Type::List(of) => ColumnType::List(element_type(of)),
    }
}

fn element_type(of: Element) -> ElementType {
    match of {
        Element::Int => ElementType::Int,
        Element::Double => ElementType::Double,
        Element::Boolean => ElementType::Boolean,
        Element::Text => ElementType::Text,
        Element::Decimal { precision, scale } => ElementType::Decimal(DecimalType { precision, scale }),
        Element::Timestamp => ElementType::Timestamp,
        Element::Date => ElementType::Date,
        Element::Bytes => ElementType::Bytes,
    }
}

/// The decimals of each column that holds some, with as many places as the program reads: a column may have fewer.
pub(crate) fn decimals(columns: &[abi::Column], types: &[Type]) -> Vec<Vec<i128>> {
    let of_column = |(column, of): (&abi::Column, &Type)| match &column.values {
        ColumnValues::Decimal(values) => {
            let joined = values.unscaled.chunks_exact(2).map(|halves| join(halves[0], halves[1]));
            let more = match of {
                Type::Decimal { scale, .. } => scale - values.scale,
                _ => 0,
            };
            match decimal::ten(more.into()) {
                Some(ten) if more > 0 => joined.map(|value| value.wrapping_mul(ten)).collect(),
                _ => joined.collect(),
            }
        }
        _ => Vec::new(),
    };
    columns.iter().zip(types).map(of_column).collect()
}

fn join(low: i64, high: i64) -> i128 {
    i128::from(high) << 64 | i128::from(low as u64)
}

/// The same columns, for the evaluator.
pub(crate) fn borrowed<'a>(columns: &'a [abi::Column], decimals: &'a [Vec<i128>]) -> Vec<ColumnRef<'a>> {
    let of_column = |(column, decimals): (&'a abi::Column, &'a Vec<i128>)| ColumnRef {
        validity: column.validity.as_deref(),
        values: match &column.values {
            ColumnValues::Int(values) => ValuesRef::Int(values),
            ColumnValues::Double(values) => ValuesRef::Double(values),
            ColumnValues::Boolean(values) => ValuesRef::Boolean(values),
            ColumnValues::Text(texts) => ValuesRef::Text {
                offsets: &texts.offsets,
                data: &texts.data,
            },
            ColumnValues::Decimal(_) => ValuesRef::Decimal(decimals),
        },
    };
    columns.iter().zip(decimals).map(of_column).collect()
}

/// A column that was computed, for the host.
pub(crate) fn given((column, of): (Column, Type)) -> abi::Column {
    abi::Column {
        validity: column.validity,
        values: match column.values {
            Values::Int(values) => ColumnValues::Int(values),
            Values::Double(values) => ColumnValues::Double(values),
            Values::Boolean(values) => ColumnValues::Boolean(values),
            Values::Text { offsets, data } => ColumnValues::Text(TextValues { offsets, data }),
            Values::Decimal(values) => ColumnValues::Decimal(DecimalValues {
                scale: of.scale(),
                unscaled: values
                    .iter()
                    .flat_map(|value| [*value as i64, (value >> 64) as i64])
                    .collect(),
            }),
        },
    }
}
