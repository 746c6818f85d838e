//! Parquet, with the logical types of the columns. Rows are collected until there are enough of them for a row group, so memory
//! has a bound whatever the table holds.

use super::{Output, RowWriter};
use crate::{
    error::{Error, OrDefect, Result},
    limits::{EXPORT_GROUP_BYTES_MAX, EXPORT_GROUP_ROWS_MAX},
    model::{
        column::{ColumnType, Value},
        decimal::DecimalType,
    },
    storage::StoredColumn,
};
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{
        BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
    },
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};
use std::sync::Arc;

/// The bytes of a decimal that no integer of 64 bits holds.
const WIDE_BYTES: i32 = size_of::<i128>() as i32;

/// Writes row groups.
pub(super) struct Parquet {
    writer: SerializedFileWriter<Output>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
    /// What an error begins with.
    cannot_write: String,
}

/// A column of the rows that are collected.
struct Column {
    name: String,
    column_type: ColumnType,
    is_nullable: bool,
    /// For each row 1 for a value and 0 for null.
    levels: Vec<i16>,
    /// Those that are not null.
    values: Values,
}

enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Wide(Vec<FixedLenByteArray>),
}

impl Parquet {
    /// Begins a file of these columns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(output: Output, columns: &[StoredColumn]) -> Result<Self> {
        let cannot_write = output.cannot_write();
        let failed = |cause: ParquetError| Error::environment(format!("{cannot_write}: {cause}"));
        let fields: std::result::Result<Vec<TypePtr>, ParquetError> = columns
            .iter()
            .map(|column| parquet_type(column).map(Arc::new))
            .collect();
        let schema = fields.and_then(|fields| Type::group_type_builder("weir").with_fields(fields).build());
        let properties = WriterProperties::builder()
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .build();
        let writer =
            schema.and_then(|schema| SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties)));
        Ok(Self {
            writer: writer.map_err(failed)?,
            columns: columns.iter().map(Column::new).collect(),
            rows: 0,
            bytes: 0,
            cannot_write,
        })
    }

    /// Writes the rows that are collected as a row group.
    fn end_group(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let failed = |cause: ParquetError| Error::environment(format!("{}: {cause}", self.cannot_write));
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let next = group.next_column().map_err(failed)?;
            let writer = next.or_defect(|| format!("the file has no column \"{}\"", column.name))?;
            column.write(writer).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl RowWriter for Parquet {
    fn row(&mut self, values: &[Value<'_>]) -> Result<()> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            self.bytes += column.push(*value)?;
        }
        self.rows += 1;
        match self.rows >= EXPORT_GROUP_ROWS_MAX || self.bytes >= EXPORT_GROUP_BYTES_MAX {
            true => self.end_group(),
            false => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        self.end_group()?;
        let output = self.writer.into_inner();
        output.map_err(|cause| Error::environment(format!("{}: {cause}", self.cannot_write)))
    }
}

impl Column {
    fn new(column: &StoredColumn) -> Self {
        let column_type = column.form.column_type;
        Self {
            name: column.name.clone(),
            column_type,
            is_nullable: column.is_nullable,
            levels: Vec::new(),
            values: match physical(column_type) {
                Physical::BOOLEAN => Values::Boolean(Vec::new()),
                Physical::INT32 => Values::Int32(Vec::new()),
                Physical::INT64 => Values::Int64(Vec::new()),
                Physical::DOUBLE => Values::Double(Vec::new()),
                Physical::FIXED_LEN_BYTE_ARRAY => Values::Wide(Vec::new()),
                _ => Values::Bytes(Vec::new()),
            },
        }
    }

    /// Collects a cell. Gives about how many bytes it takes.
    fn push(&mut self, value: Value<'_>) -> Result<usize> {
        self.levels.push(i16::from(!value.is_null()));
        match (&mut self.values, value) {
            (_, Value::Null) if self.is_nullable => {}
            (Values::Boolean(values), Value::Boolean(value)) => values.push(value),
            (Values::Int64(values), Value::Int(value)) => values.push(value),
            (Values::Double(values), Value::Double(value)) => values.push(value),
            (Values::Bytes(values), Value::Text(bytes)) => {
                values.push(bytes.to_vec().into());
                return Ok(size_of::<ByteArray>() + bytes.len());
            }
            (Values::Wide(values), Value::Decimal(unscaled)) => {
                values.push(unscaled.get().to_be_bytes().to_vec().into());
                return Ok(size_of::<FixedLenByteArray>() + size_of::<i128>());
            }
            // Days and decimals of few digits; what does not fit is none.
            (Values::Int32(values), Value::Int(value)) if let Ok(value) = i32::try_from(value) => values.push(value),
            (Values::Int64(values), Value::Decimal(unscaled)) if let Ok(value) = i64::try_from(unscaled.get()) => {
                values.push(value);
            }
            (_, value) => {
                let (name, column_type) = (&self.name, self.column_type);
                return Err(Error::defect(format_args!(
                    "column \"{name}\" of type {column_type} holds {value:?}"
                )));
            }
        }
        Ok(size_of::<i64>())
    }

    fn write(&mut self, mut writer: SerializedColumnWriter<'_>) -> std::result::Result<(), ParquetError> {
        let levels = self.is_nullable.then_some(self.levels.as_slice());
        match &self.values {
            Values::Boolean(values) => writer.typed::<BoolType>().write_batch(values, levels, None),
            Values::Int32(values) => writer.typed::<Int32Type>().write_batch(values, levels, None),
            Values::Int64(values) => writer.typed::<Int64Type>().write_batch(values, levels, None),
            Values::Double(values) => writer.typed::<DoubleType>().write_batch(values, levels, None),
            Values::Bytes(values) => writer.typed::<ByteArrayType>().write_batch(values, levels, None),
            Values::Wide(values) => writer
                .typed::<FixedLenByteArrayType>()
                .write_batch(values, levels, None),
        }?;
        writer.close()?;
        self.levels.clear();
        match &mut self.values {
            Values::Boolean(values) => values.clear(),
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::Bytes(values) => values.clear(),
            Values::Wide(values) => values.clear(),
        }
        Ok(())
    }
}

/// How the values of a type lie in the file.
fn physical(column_type: ColumnType) -> Physical {
    match column_type {
        ColumnType::Int | ColumnType::Timestamp => Physical::INT64,
        ColumnType::Double => Physical::DOUBLE,
        ColumnType::Boolean => Physical::BOOLEAN,
        ColumnType::Date => Physical::INT32,
        ColumnType::Text | ColumnType::Json | ColumnType::List(_) | ColumnType::Bytes => Physical::BYTE_ARRAY,
        ColumnType::Decimal(decimal) if decimal.precision() <= DecimalType::INT_PRECISION_MAX => Physical::INT64,
        ColumnType::Decimal(_) => Physical::FIXED_LEN_BYTE_ARRAY,
    }
}

/// What the file says of a column.
fn parquet_type(column: &StoredColumn) -> std::result::Result<Type, ParquetError> {
    let column_type = column.form.column_type;
    let repetition = match column.is_nullable {
        true => Repetition::OPTIONAL,
        false => Repetition::REQUIRED,
    };
    let logical = match column_type {
        ColumnType::Int | ColumnType::Double | ColumnType::Boolean | ColumnType::Bytes => None,
        ColumnType::Text => Some(LogicalType::String),
        // A list is the text of a JSON array.
        ColumnType::Json | ColumnType::List(_) => Some(LogicalType::Json),
        ColumnType::Timestamp => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        ColumnType::Date => Some(LogicalType::Date),
        ColumnType::Decimal(decimal) => Some(LogicalType::decimal(decimal.scale().into(), decimal.precision().into())),
    };
    let mut of_column = Type::primitive_type_builder(&column.name, physical(column_type))
        .with_repetition(repetition)
        .with_logical_type(logical);
    if let ColumnType::Decimal(decimal) = column_type {
        of_column = of_column
            .with_precision(decimal.precision().into())
            .with_scale(decimal.scale().into())
            .with_length(WIDE_BYTES);
    }
    of_column.build()
}
