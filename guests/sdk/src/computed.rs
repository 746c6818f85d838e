//! Values out: the columns that a rule fills.

use crate::abi::{Column, ColumnType, ColumnValues, ComputedColumn, TextValues};

// ---- values ---------------------------------------------------------------------------------------------------------

/// A type that an output's column can be computed as.
///
/// | a field of type | gives a column of type | with the feature |
/// | --- | --- | --- |
/// | `i64` | `int` | |
/// | `f64`, finite | `double` | |
/// | `bool` | `boolean` | |
/// | `&str`, `String`, [`LocalHour`](crate::LocalHour) | `text` | |
/// | `&[u8]`, `Vec<u8>` | `bytes` | |
/// | `rust_decimal::Decimal` with `#[decimal(18, 2)]` | `decimal(18, 2)` | `decimal` |
/// | `jiff::Timestamp` | `timestamp`; what is finer than a microsecond is cut | `jiff` |
/// | `jiff::civil::Date` | `date` | `jiff` |
/// | `serde_json::Value`, `Json<T>`; not JSON's null | `json` | `json` |
/// | `Vec` or slice of `i64`, `f64`, `bool` or `String`, or of an `Option` of one of them | `list` of that | `json` |
///
/// Implement it for a type of your own, so that a rule can speak in its own words:
///
/// ```
/// use weir_guest::{Computed, IntColumn, Output};
///
/// /// An amount in cents.
/// struct Cents(i64);
///
/// impl Computed for Cents {
///     type Column = IntColumn;
///
///     fn append_to(&self, column: &mut IntColumn) {
///         column.push(self.0);
///     }
/// }
///
/// #[derive(Output)]
/// #[pass(id)]
/// struct Priced {
///     price: Option<Cents>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a rule cannot compute a column as `{Self}`",
    label = "not the type of a column",
    note = "a field of an output is an `i64`, `f64`, `bool`, `&str`, `String`, `&[u8]`, `Vec<u8>` or another `Computed` type, or an `Option` of one of them",
    note = "with a feature of `weir-guest` it may be more: a `Decimal` with `#[decimal(18, 2)]` (`decimal`), a `Timestamp` or `Date` of jiff (`jiff`), a `Value`, `Json` or `Vec` (`json`)"
)]
pub trait Computed {
    /// The column that holds such values.
    type Column: ColumnBuilder;

    /// Appends exactly one value to the column.
    fn append_to(&self, column: &mut Self::Column);
}

/// A column that is being filled, such as an [`IntColumn`].
pub trait ColumnBuilder {
    #[doc(hidden)]
    const TYPE: ColumnType;

    /// `name` is the column's, for what is said of a value that it cannot hold.
    #[doc(hidden)]
    fn with_capacity(name: &'static str, rows: usize) -> Self;

    #[doc(hidden)]
    fn rows(&self) -> usize;

    /// Something to stand at a null row.
    #[doc(hidden)]
    fn push_filler(&mut self);

    #[doc(hidden)]
    fn finish(self) -> ColumnValues;
}

macro_rules! plain_column {
    ($(#[$doc:meta])* $name:ident, $type:ident, $value:ty, $stored:ty, $filler:expr) => {
        $(#[$doc])*
        pub struct $name(Vec<$stored>);

        impl $name {
            /// Appends a value.
            #[inline(always)]
            pub fn push(&mut self, value: $value) {
                self.0.push(value.into());
            }
        }

        impl ColumnBuilder for $name {
            const TYPE: ColumnType = ColumnType::$type;

            fn with_capacity(_: &'static str, rows: usize) -> Self {
                $name(Vec::with_capacity(rows))
            }

            fn rows(&self) -> usize {
                self.0.len()
            }

            #[inline(always)]
            fn push_filler(&mut self) {
                self.0.push($filler);
            }

            fn finish(self) -> ColumnValues {
                ColumnValues::$type(self.0)
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

plain_column!(
    /// A column of integers.
    IntColumn, Int, i64, i64, 0
);
plain_column!(
    /// A column of doubles. They have to be finite: the host makes a dead letter of an event with another.
    DoubleColumn, Double, f64, f64, 0.0
);
plain_column!(
    /// A column of truth values.
    BooleanColumn, Boolean, bool, u8, 0
);

/// Values of texts, bytes, JSON or lists, one after the other.
pub(crate) struct Texts {
    offsets: Vec<u32>,
    /// What is appended here belongs to the value that [`Texts::end`] ends.
    pub(crate) data: Vec<u8>,
}

/// Bytes that a column of texts has room for at first, per row. More is had as it is needed.
const TEXT_BYTES_PER_ROW: usize = 16;

impl Texts {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Texts {
            offsets,
            data: Vec::with_capacity(rows * TEXT_BYTES_PER_ROW),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.end();
    }

    #[inline(always)]
    pub(crate) fn end(&mut self) {
        self.offsets
            .push(u32::try_from(self.data.len()).expect("a text column holds at most 2^32 - 1 bytes"));
    }

    pub(crate) fn finish(self) -> ColumnValues {
        ColumnValues::Text(TextValues {
            offsets: self.offsets,
            data: self.data,
        })
    }
}

/// A column of texts.
pub struct TextColumn(Texts);

impl TextColumn {
    /// Appends a text.
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.0.push(text.as_bytes());
    }

    /// Appends the first `len` of `bytes`, which are ASCII. Cheaper than [`TextColumn::push`]: the length of the copy is
    /// known when it is compiled.
    #[inline(always)]
    pub(crate) fn push_short<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        let start = self.0.data.len();
        self.0.data.extend_from_slice(bytes);
        self.0.data.truncate(start + len);
        self.0.end();
    }
}

/// A column of bytes.
pub struct BytesColumn(Texts);

impl BytesColumn {
    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }
}

macro_rules! text_column {
    ($name:ident, $type:ident) => {
        impl ColumnBuilder for $name {
            const TYPE: ColumnType = ColumnType::$type;

            fn with_capacity(_: &'static str, rows: usize) -> Self {
                $name(Texts::with_capacity(rows))
            }

            fn rows(&self) -> usize {
                self.0.rows()
            }

            #[inline(always)]
            fn push_filler(&mut self) {
                self.0.end();
            }

            fn finish(self) -> ColumnValues {
                self.0.finish()
            }
        }
    };
}

text_column!(TextColumn, Text);
text_column!(BytesColumn, Bytes);

impl Computed for &str {
    type Column = TextColumn;

    #[inline(always)]
    fn append_to(&self, column: &mut TextColumn) {
        column.push(self);
    }
}

impl Computed for String {
    type Column = TextColumn;

    #[inline(always)]
    fn append_to(&self, column: &mut TextColumn) {
        column.push(self);
    }
}

impl Computed for &[u8] {
    type Column = BytesColumn;

    #[inline(always)]
    fn append_to(&self, column: &mut BytesColumn) {
        column.push(self);
    }
}

impl Computed for Vec<u8> {
    type Column = BytesColumn;

    #[inline(always)]
    fn append_to(&self, column: &mut BytesColumn) {
        column.push(self);
    }
}

// ---- fields ---------------------------------------------------------------------------------------------------------

/// A type that a field of an [`Output`](crate::Output) may have: [`Computed`], or an `Option` of that.
#[diagnostic::on_unimplemented(
    message = "a rule cannot compute a column as `{Self}`",
    label = "not the type of a column",
    note = "a field of an output is an `i64`, `f64`, `bool`, `&str`, `String`, `&[u8]`, `Vec<u8>` or another `Computed` type, or an `Option` of one of them",
    note = "with a feature of `weir-guest` it may be more: a `Decimal` with `#[decimal(18, 2)]` (`decimal`), a `Timestamp` or `Date` of jiff (`jiff`), a `Value`, `Json` or `Vec` (`json`)"
)]
pub trait OutputField {
    #[doc(hidden)]
    type Column;

    #[doc(hidden)]
    fn spec(name: &str) -> ComputedColumn;

    #[doc(hidden)]
    fn column(name: &'static str, rows: usize) -> Self::Column;

    #[doc(hidden)]
    fn push_to(&self, column: &mut Self::Column);

    #[doc(hidden)]
    fn finish(column: Self::Column) -> Column;
}

impl<T: Computed> OutputField for T {
    type Column = T::Column;

    fn spec(name: &str) -> ComputedColumn {
        ComputedColumn {
            name: name.to_owned(),
            column_type: T::Column::TYPE,
            nullable: false,
        }
    }

    fn column(name: &'static str, rows: usize) -> Self::Column {
        T::Column::with_capacity(name, rows)
    }

    #[inline(always)]
    fn push_to(&self, column: &mut Self::Column) {
        self.append_to(column);
    }

    fn finish(column: Self::Column) -> Column {
        Column {
            validity: None,
            values: column.finish(),
        }
    }
}

impl<T: Computed> OutputField for Option<T> {
    type Column = Nullable<T::Column>;

    fn spec(name: &str) -> ComputedColumn {
        ComputedColumn {
            name: name.to_owned(),
            column_type: T::Column::TYPE,
            nullable: true,
        }
    }

    fn column(name: &'static str, rows: usize) -> Self::Column {
        Nullable {
            validity: Vec::new(),
            rows,
            column: T::Column::with_capacity(name, rows),
        }
    }

    #[inline(always)]
    fn push_to(&self, column: &mut Self::Column) {
        match self {
            Some(value) => {
                value.append_to(&mut column.column);
                if !column.validity.is_empty() {
                    column.validity.push(1);
                }
            }
            None => column.push_null(),
        }
    }

    fn finish(column: Self::Column) -> Column {
        let validity = if column.validity.is_empty() {
            None
        } else {
            Some(column.validity)
        };
        Column {
            validity,
            values: column.column.finish(),
        }
    }
}

/// A column with the marks of its nulls, which take no room before the first null.
#[doc(hidden)]
pub struct Nullable<C> {
    /// Empty while there is no null.
    validity: Vec<u8>,
    /// As many as there will be at most, unless many come of one event.
    rows: usize,
    column: C,
}

impl<C: ColumnBuilder> Nullable<C> {
    fn push_null(&mut self) {
        if self.validity.is_empty() {
            self.validity.reserve_exact(self.rows);
            self.validity.resize(self.column.rows(), 1);
        }
        self.validity.push(0);
        self.column.push_filler();
    }
}
