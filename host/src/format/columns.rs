//! Columns under construction, and the answers of a decoder.

use super::reading::Cell;
use crate::{
    model::column::{Column, ColumnType, Layout, TextValues, Values},
    plan::SourceColumn,
};
use std::sync::Arc;

/// What a value of a column may be, for the reason of a dead letter.
pub(super) fn accepted(column: &SourceColumn) -> String {
    if let Some(reading) = &column.reading {
        return reading.to_string();
    }
    let accepted = match column.field.column_type {
        ColumnType::Int => "a number written as an integer from -2^63 to 2^63-1, or null",
        ColumnType::Double => "a number whose nearest double is finite, or null",
        ColumnType::Boolean => "true, false, or null",
        _ => "a text without lone surrogates, or null",
    };
    accepted.to_owned()
}

/// Why a payload is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedPayload {
    /// The declared column at fault; none where the payload as a whole is.
    pub column: Option<String>,
    /// What was found, and what is accepted.
    pub reason: String,
}

impl std::fmt::Display for RejectedPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column \"{column}\": {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What a payload that is not rejected turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decoded {
    /// One row was appended to every materialised column.
    Row,
    /// Empty or only white space: nothing was appended.
    Empty,
}

/// Values with a validity byte each; a null holds `T::default()`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed<T> {
    values: Vec<T>,
    validity: Vec<u8>,
}

impl<T: Copy + Default> Fixed<T> {
    #[inline(always)]
    pub(super) fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.validity.push(u8::from(value.is_some()));
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }
}

/// Texts with a validity byte each.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pub(super) texts: TextValues,
    validity: Vec<u8>,
}

impl Texts {
    /// Ends the row whose bytes were appended to the data. False if the offsets cannot hold that many bytes.
    #[inline(always)]
    #[must_use]
    pub(super) fn close(&mut self, valid: bool) -> bool {
        let Ok(end) = u32::try_from(self.texts.data.len()) else {
            return false;
        };
        self.texts.offsets.push(end);
        self.validity.push(u8::from(valid));
        true
    }

    fn truncate(&mut self, rows: usize) {
        self.validity.truncate(rows);
        self.texts.offsets.truncate(rows + 1);
        self.texts
            .data
            .truncate(self.texts.offsets.last().map_or(0, |&end| end as usize));
    }
}

/// One column under construction.
#[derive(Clone, Debug)]
pub(super) enum Builder {
    /// Declared and checked, but read by no step.
    Unread,
    Integer(Fixed<i64>),
    Double(Fixed<f64>),
    Boolean(Fixed<u8>),
    Text(Texts),
    Decimal(Fixed<i128>),
}

impl Builder {
    fn new(column: &SourceColumn, rows: usize) -> Self {
        let validity = Vec::with_capacity(rows);
        match (column.materialised, column.field.column_type.layout()) {
            (false, _) => Self::Unread,
            (true, Layout::Int) => Self::Integer(Fixed {
                values: Vec::with_capacity(rows),
                validity,
            }),
            (true, Layout::Double) => Self::Double(Fixed {
                values: Vec::with_capacity(rows),
                validity,
            }),
            (true, Layout::Boolean) => Self::Boolean(Fixed {
                values: Vec::with_capacity(rows),
                validity,
            }),
            (true, Layout::Decimal) => Self::Decimal(Fixed {
                values: Vec::with_capacity(rows),
                validity,
            }),
            (true, Layout::Text) => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                let texts = TextValues {
                    offsets,
                    data: Vec::with_capacity(rows * 16),
                };
                Self::Text(Texts { texts, validity })
            }
        }
    }

    /// Appends a value that was read. False if a text column is full.
    #[must_use]
    pub(super) fn push(&mut self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Integer(column), Cell::Int(value)) => column.push(Some(value)),
            (Self::Integer(column), _) => column.push(None),
            (Self::Double(column), Cell::Double(value)) => column.push(Some(value)),
            (Self::Double(column), _) => column.push(None),
            (Self::Decimal(column), Cell::Decimal(value)) => column.push(Some(value)),
            (Self::Decimal(column), _) => column.push(None),
            (Self::Boolean(column), Cell::Boolean(value)) => column.push(Some(u8::from(value))),
            (Self::Boolean(column), _) => column.push(None),
            (Self::Text(column), Cell::Bytes(bytes)) => {
                column.texts.data.extend_from_slice(&bytes);
                return column.close(true);
            }
            (Self::Text(column), _) => return column.close(false),
            (Self::Unread, _) => {}
        }
        true
    }

    fn validity(&self) -> &[u8] {
        match self {
            Self::Unread => &[],
            Self::Integer(column) => &column.validity,
            Self::Double(column) => &column.validity,
            Self::Boolean(column) => &column.validity,
            Self::Text(column) => &column.validity,
            Self::Decimal(column) => &column.validity,
        }
    }

    fn finish(self) -> Option<Column> {
        let (validity, values) = match self {
            Self::Unread => return None,
            Self::Integer(column) => (column.validity, Values::Int(column.values)),
            Self::Double(column) => (column.validity, Values::Double(column.values)),
            Self::Boolean(column) => (column.validity, Values::Boolean(column.values)),
            Self::Text(column) => (column.validity, Values::Text(column.texts)),
            Self::Decimal(column) => (column.validity, Values::Decimal(column.values)),
        };
        Some(Column {
            validity: Some(validity).filter(|validity| validity.contains(&0)),
            values,
        })
    }
}

/// The columns of a batch under construction, in declared order. All of them have `rows` rows between two payloads.
#[derive(Clone, Debug)]
pub struct ColumnBuilders {
    pub(super) rows: usize,
    pub(super) columns: Vec<Builder>,
}

impl ColumnBuilders {
    /// Empty builders for `columns`, with room for `rows`.
    pub fn new(columns: &[SourceColumn], rows: usize) -> Self {
        Self {
            rows: 0,
            columns: columns.iter().map(|column| Builder::new(column, rows)).collect(),
        }
    }

    /// How many rows are complete.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The text at `row` of column `index`; nothing when it is null or no text.
    pub fn text(&self, index: usize, row: usize) -> Option<&[u8]> {
        match self.columns.get(index) {
            Some(Builder::Text(column)) if column.validity.get(row) == Some(&1) => Some(column.texts.get(row)),
            _ => None,
        }
    }

    /// Whether there is no value at `row` of column `index`.
    pub(super) fn is_null(&self, index: usize, row: usize) -> bool {
        let column = self.columns.get(index);
        column.is_none_or(|column| column.validity().get(row) != Some(&1))
    }

    /// The integer at `row` of column `index`; nothing when it is null or no integer.
    pub fn int(&self, index: usize, row: usize) -> Option<i64> {
        match self.columns.get(index) {
            Some(Builder::Integer(column)) if column.validity.get(row) == Some(&1) => column.values.get(row).copied(),
            _ => None,
        }
    }

    /// The materialised columns, in declared order.
    pub fn finish(self) -> Vec<Arc<Column>> {
        self.columns
            .into_iter()
            .filter_map(Builder::finish)
            .map(Arc::new)
            .collect()
    }

    /// Ends the row under construction when every materialised column has its value.
    pub(super) fn close_full_row(&mut self) {
        self.rows += 1;
    }

    /// Ends the row under construction: a column that got no value gets a null. False if a text column is full.
    #[must_use]
    pub(super) fn close_row(&mut self) -> bool {
        self.rows += 1;
        let mut room = true;
        for column in &mut self.columns {
            match column {
                Builder::Integer(b) if b.validity.len() < self.rows => b.push(None),
                Builder::Double(b) if b.validity.len() < self.rows => b.push(None),
                Builder::Boolean(b) if b.validity.len() < self.rows => b.push(None),
                Builder::Decimal(b) if b.validity.len() < self.rows => b.push(None),
                Builder::Text(b) if b.validity.len() < self.rows => room &= b.close(false),
                _ => {}
            }
        }
        room
    }

    /// Ends a row of the only column, with this value. False if it is a text column and full.
    #[must_use]
    pub(super) fn push_only(&mut self, cell: Cell<'_>) -> bool {
        self.rows += 1;
        self.columns.first_mut().is_none_or(|column| column.push(cell))
    }

    /// Drops all rows but the first.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.roll_back();
    }

    /// Drops the last complete row.
    pub(super) fn drop_row(&mut self) {
        self.rows = self.rows.saturating_sub(1);
        self.roll_back();
    }

    /// Drops what a rejected payload appended.
    #[cold]
    pub(super) fn roll_back(&mut self) {
        for column in &mut self.columns {
            match column {
                Builder::Unread => {}
                Builder::Integer(b) => b.truncate(self.rows),
                Builder::Double(b) => b.truncate(self.rows),
                Builder::Boolean(b) => b.truncate(self.rows),
                Builder::Text(b) => b.truncate(self.rows),
                Builder::Decimal(b) => b.truncate(self.rows),
            }
        }
    }
}
