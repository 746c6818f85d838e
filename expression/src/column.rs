//! Columns: the values of a batch, one type, one after the other, with their nulls beside them.

use crate::types::Layout;

/// A column that owns its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One byte per row, 1 for a value and 0 for null; absent where no row is null.
    pub validity: Option<Vec<u8>>,
    /// The values. What stands at a null row is of no meaning, but is there.
    pub values: Values,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Ints, timestamps in microseconds, dates in days.
    Int(Vec<i64>),
    /// Finite doubles.
    Double(Vec<f64>),
    /// 0 is false, 1 is true.
    Boolean(Vec<u8>),
    /// Texts, bytes, JSON and lists.
    Text {
        /// One more entry than there are rows. Row `i` is `data[offsets[i] .. offsets[i + 1]]`.
        offsets: Vec<u32>,
        /// The values without separators.
        data: Vec<u8>,
    },
    /// Decimals without their point.
    Decimal(Vec<i128>),
}

/// A column whose values are somebody else's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnRef<'a> {
    /// As [`Column::validity`].
    pub validity: Option<&'a [u8]>,
    /// As [`Column::values`].
    pub values: ValuesRef<'a>,
}

/// Values that are somebody else's. The variants are those of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are those of `Values`")]
pub enum ValuesRef<'a> {
    Int(&'a [i64]),
    Double(&'a [f64]),
    Boolean(&'a [u8]),
    Text { offsets: &'a [u32], data: &'a [u8] },
    Decimal(&'a [i128]),
}

impl Column {
    /// The same column, borrowed.
    pub fn as_ref(&self) -> ColumnRef<'_> {
        ColumnRef {
            validity: self.validity.as_deref(),
            values: match &self.values {
                Values::Int(values) => ValuesRef::Int(values),
                Values::Double(values) => ValuesRef::Double(values),
                Values::Boolean(values) => ValuesRef::Boolean(values),
                Values::Text { offsets, data } => ValuesRef::Text { offsets, data },
                Values::Decimal(values) => ValuesRef::Decimal(values),
            },
        }
    }

    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.as_ref().values.row_count()
    }
}

impl<'a> ColumnRef<'a> {
    /// Whether it is a column of this layout and of so many rows, whose parts fit together.
    pub fn fits(&self, layout: Layout, row_count: usize) -> bool {
        let is_whole = match self.values {
            ValuesRef::Text { offsets, data } => {
                offsets.windows(2).all(|pair| pair[0] <= pair[1])
                    && offsets.last().is_some_and(|end| *end as usize <= data.len())
            }
            ValuesRef::Double(values) => all_finite(values),
            ValuesRef::Boolean(values) => values.iter().fold(0, |all, value| all | value) <= 1,
            _ => true,
        };
        let is_valid =
            |validity: &[u8]| validity.len() == row_count && validity.iter().fold(0, |all, byte| all | byte) <= 1;
        is_whole
            && self.values.layout() == layout
            && self.values.row_count() == row_count
            && self.validity.is_none_or(is_valid)
    }

    /// Some of its rows, in this order.
    pub fn gather(&self, rows: &[u32]) -> Column {
        let pick = |row: &u32| *row as usize;
        Column {
            validity: self
                .validity
                .map(|validity| rows.iter().map(|row| validity[pick(row)]).collect()),
            values: match self.values {
                ValuesRef::Int(values) => Values::Int(rows.iter().map(|row| values[pick(row)]).collect()),
                ValuesRef::Double(values) => Values::Double(rows.iter().map(|row| values[pick(row)]).collect()),
                ValuesRef::Boolean(values) => Values::Boolean(rows.iter().map(|row| values[pick(row)]).collect()),
                ValuesRef::Decimal(values) => Values::Decimal(rows.iter().map(|row| values[pick(row)]).collect()),
                ValuesRef::Text { offsets, data } => {
                    let mut gathered = Vec::with_capacity(rows.len() + 1);
                    let mut texts = Vec::with_capacity(data.len() / values_len(offsets).max(1) * rows.len());
                    gathered.push(0);
                    for row in rows.iter().map(pick) {
                        texts.extend_from_slice(&data[offsets[row] as usize..offsets[row + 1] as usize]);
                        gathered.push(texts.len() as u32);
                    }
                    Values::Text {
                        offsets: gathered,
                        data: texts,
                    }
                }
            },
        }
    }
}

impl ValuesRef<'_> {
    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text { offsets, .. } => values_len(offsets),
            Self::Decimal(values) => values.len(),
        }
    }

    /// How the values lie in memory.
    pub fn layout(&self) -> Layout {
        match self {
            Self::Int(_) => Layout::Int,
            Self::Double(_) => Layout::Double,
            Self::Boolean(_) => Layout::Boolean,
            Self::Text { .. } => Layout::Text,
            Self::Decimal(_) => Layout::Decimal,
        }
    }
}

/// Whether all are finite, without a branch for each.
pub(crate) fn all_finite(values: &[f64]) -> bool {
    // Zero times a value is zero, but for what is not finite.
    values
        .iter()
        .fold(0u64, |all, value| all | (value * 0.0).to_bits() << 1)
        == 0
}

fn values_len(offsets: &[u32]) -> usize {
    offsets.len().saturating_sub(1)
}
