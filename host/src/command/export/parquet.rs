//! Parquet, with the logical types of the columns. Rows are collected until there are enough of them for a row group, so memory
//! has a bound whatever the table holds.

use super::{Output, RowWriter};
use crate::{
    error::{Error, OrDefect, Result},
    limits::{EXPORT_GROUP_BYTES_MAX, EXPORT_GROUP_ROWS_MAX},
    model::{
        column::{ColumnType, ElementType, Value},
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
    /// Of a list: what is in it.
    of: Option<ElementType>,
    /// For each row 1 for a value and 0 for null; where none can be null, nothing of this is written. Of a list for each element, see
    /// [`Column::push_list`].
    levels: Vec<i16>,
    /// Of lists: for each element whether it is the first of its list.
    repetitions: Vec<i16>,
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
        let of = match column_type {
            ColumnType::List(of) => Some(of),
            _ => None,
        };
        Self {
            name: column.name.clone(),
            column_type,
            is_nullable: column.is_nullable,
            of,
            levels: Vec::new(),
            repetitions: Vec::new(),
            values: Values::of(of.map_or(column_type, ElementType::column_type)),
        }
    }

    /// Collects a cell. Gives about how many bytes it takes.
    fn push(&mut self, value: Value<'_>) -> Result<usize> {
        let bytes = match (self.of, value) {
            (Some(of), Value::Text(list)) => self.push_list(of, list),
            (Some(_), Value::Null) if self.is_nullable => {
                self.repetitions.push(0);
                self.levels.push(0);
                Some(0)
            }
            (Some(_), _) => None,
            (None, Value::Null) if !self.is_nullable => None,
            (None, value) => {
                self.levels.push(i16::from(!value.is_null()));
                self.values.push(value)
            }
        };
        bytes.map(|bytes| bytes + size_of::<i64>()).ok_or_else(|| {
            let (name, column_type) = (&self.name, self.column_type);
            Error::defect(format_args!("column \"{name}\" of type {column_type} holds {value:?}"))
        })
    }

    /// Collects a list: a level for each element says how much of it there is. The list may be null, or empty; the element may be null.
    fn push_list(&mut self, of: ElementType, list: &[u8]) -> Option<usize> {
        let empty = i16::from(self.is_nullable);
        let (mut bytes, mut is_first) = (Some(0), true);
        let is_list = of.each(list, |element| {
            self.repetitions.push(i16::from(!is_first));
            self.levels.push(empty + 1 + i16::from(!element.is_null()));
            let of_element = self.values.push(element);
            bytes = bytes
                .zip(of_element)
                .map(|(bytes, more)| bytes + more + size_of::<i64>());
            is_first = false;
        });
        if is_first {
            self.repetitions.push(0);
            self.levels.push(empty);
        }
        bytes.filter(|_| is_list)
    }

    fn write(&mut self, mut writer: SerializedColumnWriter<'_>) -> std::result::Result<(), ParquetError> {
        let levels = (self.is_nullable || self.of.is_some()).then_some(self.levels.as_slice());
        let repetitions = self.of.map(|_| self.repetitions.as_slice());
        match &self.values {
            Values::Boolean(values) => writer.typed::<BoolType>().write_batch(values, levels, repetitions),
            Values::Int32(values) => writer.typed::<Int32Type>().write_batch(values, levels, repetitions),
            Values::Int64(values) => writer.typed::<Int64Type>().write_batch(values, levels, repetitions),
            Values::Double(values) => writer.typed::<DoubleType>().write_batch(values, levels, repetitions),
            Values::Bytes(values) => writer.typed::<ByteArrayType>().write_batch(values, levels, repetitions),
            Values::Wide(values) => writer
                .typed::<FixedLenByteArrayType>()
                .write_batch(values, levels, repetitions),
        }?;
        writer.close()?;
        self.levels.clear();
        self.repetitions.clear();
        self.values.clear();
        Ok(())
    }
}

impl Values {
    fn of(column_type: ColumnType) -> Self {
        match physical(column_type) {
            Physical::BOOLEAN => Self::Boolean(Vec::new()),
            Physical::INT32 => Self::Int32(Vec::new()),
            Physical::INT64 => Self::Int64(Vec::new()),
            Physical::DOUBLE => Self::Double(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Self::Wide(Vec::new()),
            _ => Self::Bytes(Vec::new()),
        }
    }

    /// Collects a value. Gives how many bytes it takes beyond those of a number; nothing where it is of another type.
    fn push(&mut self, value: Value<'_>) -> Option<usize> {
        match (self, value) {
            (_, Value::Null) => {}
            (Self::Boolean(values), Value::Boolean(value)) => values.push(value),
            (Self::Int64(values), Value::Int(value)) => values.push(value),
            (Self::Double(values), Value::Double(value)) => values.push(value),
            (Self::Bytes(values), Value::Text(bytes)) => {
                values.push(bytes.to_vec().into());
                return Some(size_of::<ByteArray>() + bytes.len());
            }
            (Self::Wide(values), Value::Decimal(unscaled)) => {
                values.push(unscaled.get().to_be_bytes().to_vec().into());
                return Some(size_of::<FixedLenByteArray>() + size_of::<i128>());
            }
            // Days and decimals of few digits; what does not fit is none.
            (Self::Int32(values), Value::Int(value)) => values.push(i32::try_from(value).ok()?),
            (Self::Int64(values), Value::Decimal(unscaled)) => values.push(i64::try_from(unscaled.get()).ok()?),
            _ => return None,
        }
        Some(0)
    }

    fn clear(&mut self) {
        match self {
            Self::Boolean(values) => values.clear(),
            Self::Int32(values) => values.clear(),
            Self::Int64(values) => values.clear(),
            Self::Double(values) => values.clear(),
            Self::Bytes(values) => values.clear(),
            Self::Wide(values) => values.clear(),
        }
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

/// What the file says of a column. A list is a group of a group that is repeated, as the format has it.
fn parquet_type(column: &StoredColumn) -> std::result::Result<Type, ParquetError> {
    let name = &column.name;
    let repetition = match column.is_nullable {
        true => Repetition::OPTIONAL,
        false => Repetition::REQUIRED,
    };
    let ColumnType::List(of) = column.form.column_type else {
        return scalar_type(name, column.form.column_type, repetition);
    };
    let element = scalar_type("element", of.column_type(), Repetition::OPTIONAL)?;
    let elements = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(elements)])
        .build()
}

fn scalar_type(name: &str, column_type: ColumnType, repetition: Repetition) -> std::result::Result<Type, ParquetError> {
    let logical = match column_type {
        ColumnType::Int | ColumnType::Double | ColumnType::Boolean | ColumnType::Bytes => None,
        ColumnType::Text => Some(LogicalType::String),
        ColumnType::Json | ColumnType::List(_) => Some(LogicalType::Json),
        ColumnType::Timestamp => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        ColumnType::Date => Some(LogicalType::Date),
        ColumnType::Decimal(decimal) => Some(LogicalType::decimal(decimal.scale().into(), decimal.precision().into())),
    };
    let mut of_column = Type::primitive_type_builder(name, physical(column_type))
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
