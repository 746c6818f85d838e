//! Columns: how events are held from decode to sink.
//!
//! The layout is the one of the contract (`wit/stage.wit`), so that a column goes to a guest as whole slices.

use crate::{error::note_defect, model::decimal::DecimalType};
use std::ops::Range;

/// The type of a column. What follows from it is said in [`column_type`](super::column_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// A signed integer of 64 bits.
    Int,
    /// A double.
    Double,
    /// True or false.
    Boolean,
    /// Text in UTF-8.
    Text,
    /// A decimal number.
    Decimal(DecimalType),
    /// A point in time: microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// A day of the calendar: days since 1970-01-01.
    Date,
    /// Bytes.
    Bytes,
    /// A JSON value, as it was written.
    Json,
    /// A list of scalars, each of which may be null: in memory the text of a JSON array without spaces, whose elements are written in
    /// one way, so that lists that are equal are the same bytes.
    List(ElementType),
}

/// The type of what is in a list: a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElementType(Element);

/// Held apart, so that a list of lists cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Element {
    Int,
    Double,
    Boolean,
    Text,
    Decimal(DecimalType),
    Timestamp,
    Date,
    Bytes,
}

impl ElementType {
    /// As the type of what is in a list; nothing where a list cannot hold it.
    pub fn of(column_type: ColumnType) -> Option<Self> {
        Some(Self(match column_type {
            ColumnType::Int => Element::Int,
            ColumnType::Double => Element::Double,
            ColumnType::Boolean => Element::Boolean,
            ColumnType::Text => Element::Text,
            ColumnType::Decimal(decimal) => Element::Decimal(decimal),
            ColumnType::Timestamp => Element::Timestamp,
            ColumnType::Date => Element::Date,
            ColumnType::Bytes => Element::Bytes,
            ColumnType::Json | ColumnType::List(_) => return None,
        }))
    }

    /// As the type of a column.
    pub fn column_type(self) -> ColumnType {
        match self.0 {
            Element::Int => ColumnType::Int,
            Element::Double => ColumnType::Double,
            Element::Boolean => ColumnType::Boolean,
            Element::Text => ColumnType::Text,
            Element::Decimal(decimal) => ColumnType::Decimal(decimal),
            Element::Timestamp => ColumnType::Timestamp,
            Element::Date => ColumnType::Date,
            Element::Bytes => ColumnType::Bytes,
        }
    }
}

/// How the values of a column lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Integers.
    Int,
    /// Doubles.
    Double,
    /// Bytes of 0 or 1.
    Boolean,
    /// Texts, or other bytes.
    Text,
    /// Decimals.
    Decimal,
}

/// A named, typed column of an edge between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, unique within its schema.
    pub name: String,
    /// The type.
    pub column_type: ColumnType,
    /// Whether rows may hold null here.
    pub nullable: bool,
}

/// The columns of an edge, in order.
pub type Schema = Vec<Field>;

/// One cell, as it lies in memory: what it stands for, its column's type says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// An integer, or a time.
    Int(i64),
    /// A double, never NaN.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// Text or JSON: valid UTF-8, held as bytes because nothing on the path looks into it; or bytes.
    Text(&'a [u8]),
    /// A decimal.
    Decimal(Unscaled),
}

/// A decimal without its point, in two words: a value with it takes no more room than any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unscaled {
    high: i64,
    low: u64,
}

impl Unscaled {
    /// Of a number of which the last digits stand behind the point.
    #[inline]
    pub fn new(unscaled: i128) -> Self {
        Self {
            high: (unscaled >> 64) as i64,
            low: unscaled as u64,
        }
    }

    /// The number.
    #[inline]
    pub fn get(self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }
}

/// The data path hands values on by the million.
const _: () = assert!(size_of::<Value<'_>>() == 24, "a value has three words");

impl Value<'_> {
    /// Whether there is no value.
    pub fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// How it lies in a column; null lies in any.
    pub fn layout(self) -> Option<Layout> {
        Some(match self {
            Self::Null => return None,
            Self::Int(_) => Layout::Int,
            Self::Double(_) => Layout::Double,
            Self::Boolean(_) => Layout::Boolean,
            Self::Text(_) => Layout::Text,
            Self::Decimal(_) => Layout::Decimal,
        })
    }
}

/// Texts one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct TextValues {
    /// One more entry than rows; row `i` is `data[offsets[i] .. offsets[i + 1]]`.
    pub offsets: Vec<u32>,
    /// UTF-8 without separators.
    pub data: Vec<u8>,
}

impl Default for TextValues {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            data: Vec::new(),
        }
    }
}

impl TextValues {
    /// The bytes of `row`; empty beyond the last.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        match (self.offsets.get(row), self.offsets.get(row + 1)) {
            (Some(&start), Some(&end)) => self.data.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Appends one text. The owner bounds a batch far below 2^32 bytes (see [`crate::limits::BATCH_BYTES_MAX`]).
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.offsets.push(self.data.len() as u32);
    }
}

/// The values of a column, one per row; what stands at a null row has no meaning.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Integers.
    Int(Vec<i64>),
    /// Doubles.
    Double(Vec<f64>),
    /// 0 or 1.
    Boolean(Vec<u8>),
    /// Texts, or other bytes.
    Text(TextValues),
    /// Decimals, without their points.
    Decimal(Vec<i128>),
}

/// A column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One byte per row, 1 for a value and 0 for null; absent when no row is null.
    pub validity: Option<Vec<u8>>,
    /// The values.
    pub values: Values,
}

impl Column {
    /// An empty column with room for `rows`.
    pub fn with_capacity(column_type: ColumnType, rows: usize) -> Self {
        Self::of_layout(column_type.layout(), rows)
    }

    /// An empty column of this layout with room for `rows`.
    pub fn of_layout(layout: Layout, rows: usize) -> Self {
        let values = match layout {
            Layout::Int => Values::Int(Vec::with_capacity(rows)),
            Layout::Double => Values::Double(Vec::with_capacity(rows)),
            Layout::Boolean => Values::Boolean(Vec::with_capacity(rows)),
            Layout::Decimal => Values::Decimal(Vec::with_capacity(rows)),
            Layout::Text => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                Values::Text(TextValues {
                    offsets,
                    data: Vec::with_capacity(rows * 16),
                })
            }
        };
        Self { validity: None, values }
    }

    /// How the values lie in memory.
    pub fn layout(&self) -> Layout {
        match self.values {
            Values::Int(_) => Layout::Int,
            Values::Double(_) => Layout::Double,
            Values::Boolean(_) => Layout::Boolean,
            Values::Text(_) => Layout::Text,
            Values::Decimal(_) => Layout::Decimal,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Int(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Decimal(values) => values.len(),
            Values::Text(texts) => texts.offsets.len().saturating_sub(1),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `row` is null. Rows beyond the last are.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        match &self.validity {
            Some(validity) => validity.get(row) != Some(&1),
            None => row >= self.len(),
        }
    }

    /// The cell at `row`; null beyond the last.
    #[inline]
    pub fn get(&self, row: usize) -> Value<'_> {
        if let Some(validity) = &self.validity
            && validity.get(row) != Some(&1)
        {
            return Value::Null;
        }
        match &self.values {
            Values::Int(values) => values.get(row).map_or(Value::Null, |&value| Value::Int(value)),
            Values::Double(values) => values.get(row).map_or(Value::Null, |&value| Value::Double(value)),
            Values::Boolean(values) => values.get(row).map_or(Value::Null, |&value| Value::Boolean(value != 0)),
            Values::Decimal(values) => {
                let value = values.get(row);
                value.map_or(Value::Null, |&value| Value::Decimal(Unscaled::new(value)))
            }
            Values::Text(texts) if row + 1 < texts.offsets.len() => Value::Text(texts.get(row)),
            Values::Text(_) => Value::Null,
        }
    }

    /// Appends a cell.
    ///
    /// Callers are checked when the pipeline is planned, so a value of another type than the column's is a fault of Weir: it
    /// stops the pipeline before the commit (until then its place holds null).
    #[inline]
    pub fn push(&mut self, value: Value<'_>) {
        match (&mut self.values, value) {
            (Values::Int(values), Value::Int(value)) => values.push(value),
            (Values::Double(values), Value::Double(value)) => values.push(value),
            (Values::Boolean(values), Value::Boolean(value)) => values.push(u8::from(value)),
            (Values::Text(texts), Value::Text(value)) => texts.push(value),
            (Values::Decimal(values), Value::Decimal(value)) => values.push(value.get()),
            (_, value) => {
                if !value.is_null() {
                    note_defect(format_args!(
                        "a {value:?} was pushed to a column of layout {:?}",
                        self.layout()
                    ));
                }
                return self.push_null();
            }
        }
        if let Some(validity) = &mut self.validity {
            validity.push(1);
        }
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        let rows = self.len();
        self.validity.get_or_insert_with(|| vec![1; rows]).push(0);
        match &mut self.values {
            Values::Int(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Boolean(values) => values.push(0),
            Values::Decimal(values) => values.push(0),
            Values::Text(texts) => texts.push(&[]),
        }
    }

    /// Shortens the column to `rows`.
    pub fn truncate(&mut self, rows: usize) {
        if let Some(validity) = &mut self.validity {
            validity.truncate(rows);
        }
        match &mut self.values {
            Values::Int(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Text(texts) => {
                texts.offsets.truncate(rows + 1);
                texts.data.truncate(texts.offsets.last().map_or(0, |&end| end as usize));
            }
        }
    }

    /// The given rows, in the given order.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        let validity = self
            .validity
            .as_ref()
            .map(|validity| {
                rows.iter()
                    .map(|&row| validity.get(row as usize).copied().unwrap_or(0))
                    .collect::<Vec<_>>()
            })
            .filter(|validity| validity.contains(&0));
        let values = match &self.values {
            Values::Int(values) => Values::Int(gather(values, rows)),
            Values::Double(values) => Values::Double(gather(values, rows)),
            Values::Boolean(values) => Values::Boolean(gather(values, rows)),
            Values::Decimal(values) => Values::Decimal(gather(values, rows)),
            Values::Text(texts) => {
                let mut picked = TextValues {
                    offsets: Vec::with_capacity(rows.len() + 1),
                    data: Vec::with_capacity(rows.len() * 16),
                };
                picked.offsets.push(0);
                for &row in rows {
                    picked.push(texts.get(row as usize));
                }
                Values::Text(picked)
            }
        };
        Self { validity, values }
    }

    /// Appends all rows of `other`, which has the same type.
    pub fn extend(&mut self, other: &Self) {
        self.extend_from(other, 0..other.len());
    }

    /// Appends these rows of `other`, which has the same type.
    pub fn extend_from(&mut self, other: &Self, rows: Range<usize>) {
        let more = other.validity.as_ref().map(|validity| slice(validity, &rows));
        let more = more.filter(|more| more.contains(&0));
        if self.validity.is_some() || more.is_some() {
            let before = self.len();
            let validity = self.validity.get_or_insert_with(|| vec![1; before]);
            match more {
                Some(more) => validity.extend_from_slice(more),
                None => validity.resize(before + rows.len(), 1),
            }
        }
        match (&mut self.values, &other.values) {
            (Values::Int(values), Values::Int(more)) => values.extend_from_slice(slice(more, &rows)),
            (Values::Double(values), Values::Double(more)) => values.extend_from_slice(slice(more, &rows)),
            (Values::Boolean(values), Values::Boolean(more)) => values.extend_from_slice(slice(more, &rows)),
            (Values::Decimal(values), Values::Decimal(more)) => values.extend_from_slice(slice(more, &rows)),
            (Values::Text(texts), Values::Text(more)) => {
                let offsets = slice(&more.offsets, &(rows.start..rows.end + 1));
                if let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) {
                    let base = texts.data.len() as u32;
                    texts
                        .data
                        .extend_from_slice(slice(&more.data, &(start as usize..end as usize)));
                    let ends = offsets.iter().skip(1);
                    texts.offsets.extend(ends.map(|&end| base + (end - start)));
                }
            }
            _ => note_defect("columns of different types were joined"),
        }
    }
}

fn slice<'v, T>(values: &'v [T], rows: &Range<usize>) -> &'v [T] {
    values.get(rows.clone()).unwrap_or_else(|| {
        note_defect(format_args!("rows {rows:?} of {} were picked", values.len()));
        &[]
    })
}

pub(super) fn gather<T: Copy + Default>(values: &[T], rows: &[u32]) -> Vec<T> {
    let value = |&row: &u32| {
        let value = values.get(row as usize).copied();
        value.unwrap_or_else(|| {
            note_defect(format_args!("row {row} of {} was picked", values.len()));
            T::default()
        })
    };
    rows.iter().map(value).collect()
}
