//! Columns out: what a rule gives for an event.

use crate::abi::{Column, ColumnType, ColumnValues, ComputedColumn, OutputRows, OutputSpec, PassedColumn, TextValues};

// ---- rows -----------------------------------------------------------------------------------------------------------

/// A row of an output. Derived.
///
/// `#[pass(id, premium as raw_premium)]` names the columns that go through as they came in: the host copies them, the
/// rule never sees them. They come first. Each field is a column that the rule computes, under the field's name unless
/// `#[column("name")]` says another: an `i64`, an `f64` (finite), a `bool`, a `&str`, a `String`, any other type that is
/// [`Computed`], or an `Option` of one of them.
///
/// ```
/// use weir_guest::Output;
///
/// /// An event that is kept as it is.
/// #[derive(Output)]
/// #[pass(account_id, device_id, page_name)]
/// struct Kept;
///
/// /// An order with a number of its own.
/// #[derive(Output)]
/// #[pass(id, account_payble as premium)]
/// struct Numbered<'a> {
///     number: i64,
///     #[column("customer")]
///     name: Option<&'a str>,
/// }
/// ```
pub trait Output: Sized {
    /// A column for each field.
    #[doc(hidden)]
    type Columns;

    /// The columns of this output, under the output's name in its stage.
    fn spec(name: &str) -> OutputSpec;

    #[doc(hidden)]
    fn columns(rows: usize) -> Self::Columns;

    #[doc(hidden)]
    fn push(self, columns: &mut Self::Columns);

    #[doc(hidden)]
    fn finish(columns: Self::Columns) -> Vec<Column>;
}

/// Where one event goes: what a rule's function returns.
///
/// A struct that is an [`Output`] is one row of the stage's only output, which pipelines call `out`. An `Option` of it is
/// a filter: `None` drops the event. For more outputs, derive it:
///
/// - An enum sends each event to one of several outputs. An output has the variant's name in snake case.
/// - A struct sends each event to any of several outputs: each field is one, under the field's name, and an `Option`
///   leaves it out.
///
/// `#[output("name")]` on a variant or a field names its output differently.
///
/// ```
/// use weir_guest::{Output, Outputs};
///
/// #[derive(Output)]
/// #[pass(id, now_premium)]
/// struct Alert;
///
/// #[derive(Output)]
/// #[pass(id, now_premium as raw_premium)]
/// struct Dimension;
///
/// /// Every event sets the dimension, some raise an alert too.
/// #[derive(Outputs)]
/// struct Compared {
///     alert: Option<Alert>,
///     dimension: Dimension,
/// }
///
/// /// Every event goes to one or the other.
/// #[derive(Outputs)]
/// enum Sorted {
///     Alert(Alert),
///     #[output("rest")]
///     Other(Dimension),
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a rule can return",
    label = "not an output of a rule",
    note = "a rule returns a struct that derives `Output`, an `Option` of it, a type that derives `Outputs`, or a `Result` of any of these with `Reject`"
)]
pub trait Outputs: Sized {
    /// The rows of each output.
    #[doc(hidden)]
    type Sinks;

    /// The outputs, in the order of the variants or fields.
    fn specs() -> Vec<OutputSpec>;

    #[doc(hidden)]
    fn sinks(rows: usize) -> Self::Sinks;

    #[doc(hidden)]
    fn give(self, row: u32, sinks: &mut Self::Sinks);

    #[doc(hidden)]
    fn finish(sinks: Self::Sinks) -> Vec<OutputRows>;
}

impl<T: Output> Outputs for T {
    type Sinks = Sink<T>;

    fn specs() -> Vec<OutputSpec> {
        vec![T::spec("out")]
    }

    fn sinks(rows: usize) -> Self::Sinks {
        Sink::new(rows)
    }

    #[inline(always)]
    fn give(self, row: u32, sinks: &mut Self::Sinks) {
        sinks.push(row, self);
    }

    fn finish(sinks: Self::Sinks) -> Vec<OutputRows> {
        vec![sinks.finish()]
    }
}

impl<T: Outputs> Outputs for Option<T> {
    type Sinks = T::Sinks;

    fn specs() -> Vec<OutputSpec> {
        T::specs()
    }

    fn sinks(rows: usize) -> Self::Sinks {
        T::sinks(rows)
    }

    #[inline(always)]
    fn give(self, row: u32, sinks: &mut Self::Sinks) {
        if let Some(given) = self {
            given.give(row, sinks);
        }
    }

    fn finish(sinks: Self::Sinks) -> Vec<OutputRows> {
        T::finish(sinks)
    }
}

/// What one field of an [`Outputs`] struct gives: an [`Output`], or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an output",
    label = "not an output",
    note = "a field is a struct that derives `Output`, or an `Option` of one"
)]
pub trait MaybeRow {
    #[doc(hidden)]
    type Row: Output;

    #[doc(hidden)]
    fn row(self) -> Option<Self::Row>;
}

impl<T: Output> MaybeRow for T {
    type Row = T;

    #[inline(always)]
    fn row(self) -> Option<T> {
        Some(self)
    }
}

impl<T: Output> MaybeRow for Option<T> {
    type Row = T;

    #[inline(always)]
    fn row(self) -> Option<T> {
        self
    }
}

/// The rows of one output, as they gather.
#[doc(hidden)]
pub struct Sink<T: Output> {
    rows: Vec<u32>,
    columns: T::Columns,
}

#[doc(hidden)]
impl<T: Output> Sink<T> {
    pub fn spec(name: &str) -> OutputSpec {
        T::spec(name)
    }

    pub fn new(rows: usize) -> Self {
        Sink {
            rows: Vec::with_capacity(rows),
            columns: T::columns(rows),
        }
    }

    #[inline(always)]
    pub fn push(&mut self, row: u32, output: T) {
        self.rows.push(row);
        output.push(&mut self.columns);
    }

    pub fn finish(self) -> OutputRows {
        OutputRows {
            rows: self.rows,
            computed: T::finish(self.columns),
        }
    }
}

// ---- values ---------------------------------------------------------------------------------------------------------

/// A type that an output's column can be computed as.
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
    note = "a field of an output is an `i64`, `f64`, `bool`, `&str`, `String` or another `Computed` type, or an `Option` of one of them"
)]
pub trait Computed {
    /// The column that holds such values.
    type Column: ColumnBuilder;

    /// Appends exactly one value to the column.
    fn append_to(&self, column: &mut Self::Column);
}

/// A column that is being filled: [`IntColumn`], [`DoubleColumn`], [`BooleanColumn`] or [`TextColumn`].
pub trait ColumnBuilder {
    #[doc(hidden)]
    const TYPE: ColumnType;

    #[doc(hidden)]
    fn with_capacity(rows: usize) -> Self;

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

            fn with_capacity(rows: usize) -> Self {
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

/// A column of texts.
pub struct TextColumn {
    offsets: Vec<u32>,
    data: Vec<u8>,
}

/// Bytes that a text column has room for at first, per row. More is had as it is needed.
const TEXT_BYTES_PER_ROW: usize = 16;

impl TextColumn {
    /// Appends a text.
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.data.extend_from_slice(text.as_bytes());
        self.end_text();
    }

    /// Appends the first `len` of `bytes`, which are ASCII. Cheaper than [`TextColumn::push`]: the length of the copy is
    /// known when it is compiled.
    #[inline(always)]
    pub(crate) fn push_short<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        self.data.truncate(start + len);
        self.end_text();
    }

    #[inline(always)]
    fn end_text(&mut self) {
        self.offsets
            .push(u32::try_from(self.data.len()).expect("a text column holds at most 2^32 - 1 bytes"));
    }
}

impl ColumnBuilder for TextColumn {
    const TYPE: ColumnType = ColumnType::Text;

    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        TextColumn {
            offsets,
            data: Vec::with_capacity(rows * TEXT_BYTES_PER_ROW),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline(always)]
    fn push_filler(&mut self) {
        self.end_text();
    }

    fn finish(self) -> ColumnValues {
        ColumnValues::Text(TextValues {
            offsets: self.offsets,
            data: self.data,
        })
    }
}

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

// ---- fields ---------------------------------------------------------------------------------------------------------

/// A type that a field of an [`Output`] may have: [`Computed`], or an `Option` of that.
#[diagnostic::on_unimplemented(
    message = "a rule cannot compute a column as `{Self}`",
    label = "not the type of a column",
    note = "a field of an output is an `i64`, `f64`, `bool`, `&str`, `String` or another `Computed` type, or an `Option` of one of them"
)]
pub trait OutputField {
    #[doc(hidden)]
    type Column;

    #[doc(hidden)]
    fn spec(name: &str) -> ComputedColumn;

    #[doc(hidden)]
    fn column(rows: usize) -> Self::Column;

    #[doc(hidden)]
    fn push(&self, column: &mut Self::Column);

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

    fn column(rows: usize) -> Self::Column {
        T::Column::with_capacity(rows)
    }

    #[inline(always)]
    fn push(&self, column: &mut Self::Column) {
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

    fn column(rows: usize) -> Self::Column {
        Nullable {
            validity: Vec::new(),
            rows,
            column: T::Column::with_capacity(rows),
        }
    }

    #[inline(always)]
    fn push(&self, column: &mut Self::Column) {
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
    /// As many as there will be at most.
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

/// For the derive: a column that goes through.
#[doc(hidden)]
pub fn passed(input: &str, output: &str) -> PassedColumn {
    PassedColumn {
        input: input.to_owned(),
        output: output.to_owned(),
    }
}
