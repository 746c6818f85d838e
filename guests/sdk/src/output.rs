//! Columns out: what a rule gives for an event.

use crate::abi::{Column, OutputRows, OutputSpec, PassedColumn};

// ---- rows -----------------------------------------------------------------------------------------------------------

/// A row of an output. Derived.
///
/// `#[pass(id, premium as raw_premium)]` names the columns that go through as they came in: the host copies them, the
/// rule never sees them. They come first. Each field is a column that the rule computes, under the field's name unless
/// `#[column("name")]` says another: a type that is [`Computed`](crate::Computed), which says what there is, or an
/// `Option` of one. A `Decimal` needs its digits: `#[decimal(18, 2)]` on the field.
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

    /// Whether any column goes through.
    #[doc(hidden)]
    const PASSES: bool;

    /// The columns of this output, under the output's name in its stage; of one row for each event.
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
/// a filter: `None` drops the event. A `Vec` or an array of it is many rows of one event, in their order; so is an
/// `impl Iterator<Item = Row>`, as the return type of a function or in the `Option` or `Result` there. For more outputs,
/// derive it:
///
/// - An enum sends each event to one of several outputs. An output has the variant's name in snake case.
/// - A struct sends each event to any of several outputs: each field is one, under the field's name, and an `Option`
///   leaves it out.
///
/// What a variant or a field holds may also be a `Vec` or an array of rows. `#[output("name")]` names its output
/// differently.
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
///
/// Many rows of one event:
///
/// ```
/// use weir_guest::{Input, Output, stage};
///
/// #[derive(Input)]
/// struct Order<'a> {
///     skus: &'a str,
/// }
///
/// #[derive(Output)]
/// #[pass(order_no)]
/// struct Item<'a> {
///     place: i64,
///     sku: &'a str,
/// }
///
/// /// The items of an order, one row for each.
/// #[stage]
/// fn items<'a>(order: Order<'a>) -> impl Iterator<Item = Item<'a>> {
///     order.skus.split(' ').zip(1..).map(|(sku, place)| Item { place, sku })
/// }
///
/// let given: Vec<_> = items(Order { skus: "P-1 P-7" }).map(|item| (item.place, item.sku)).collect();
/// assert_eq!(given, [(1, "P-1"), (2, "P-7")]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a rule can return",
    label = "not an output of a rule",
    note = "a rule returns a struct that derives `Output`, an `Option`, `Vec` or array of it, a type that derives `Outputs`, or a `Result` of any of these with `Reject`"
)]
pub trait Outputs: Sized {
    /// Which outputs these are: the type without what says how many rows go there.
    #[doc(hidden)]
    type Set;

    /// The rows of each output.
    #[doc(hidden)]
    type Sinks;

    /// Whether there is an output that takes rows which come of no row, since no column goes through there.
    #[doc(hidden)]
    const COMPUTES: bool;

    /// The outputs, in the order of the variants or fields.
    fn specs() -> Vec<OutputSpec>;

    #[doc(hidden)]
    fn sinks(rows: usize) -> Self::Sinks;

    #[doc(hidden)]
    fn give(self, row: u32, sinks: &mut Self::Sinks);

    #[doc(hidden)]
    fn finish(sinks: Self::Sinks) -> Vec<OutputRows>;
}

/// One output, which pipelines call `out`.
macro_rules! one_output {
    (($($generics:tt)*) $rows:ty, $row:ty) => {
        impl<$($generics)*> Outputs for $rows {
            type Set = $row;
            type Sinks = Sink<$row>;
            const COMPUTES: bool = !<$row as Output>::PASSES;

            fn specs() -> Vec<OutputSpec> {
                vec![spec::<$rows>("out")]
            }

            fn sinks(rows: usize) -> Self::Sinks {
                Sink::new(rows)
            }

            #[inline(always)]
            fn give(self, row: u32, sinks: &mut Self::Sinks) {
                self.push_to(row, sinks);
            }

            fn finish(sinks: Self::Sinks) -> Vec<OutputRows> {
                vec![sinks.finish()]
            }
        }
    };
}

one_output!((T: Output) T, T);
one_output!((T: Output) Vec<T>, T);
one_output!((T: Output, const N: usize) [T; N], T);
one_output!((I: Iterator<Item: Output>) Many<I>, I::Item);

impl<T: Outputs> Outputs for Option<T> {
    type Set = T::Set;
    type Sinks = T::Sinks;
    const COMPUTES: bool = T::COMPUTES;

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

/// What one output gets of one event: an [`Output`], or an `Option`, `Vec` or array of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an output",
    label = "not an output",
    note = "what goes to an output is a struct that derives `Output`, or an `Option`, `Vec` or array of one"
)]
pub trait Rows {
    #[doc(hidden)]
    type Row: Output;

    /// Whether there may be more than one.
    #[doc(hidden)]
    const MANY: bool;

    #[doc(hidden)]
    fn push_to(self, row: u32, sink: &mut Sink<Self::Row>);
}

impl<T: Output> Rows for T {
    type Row = T;
    const MANY: bool = false;

    #[inline(always)]
    fn push_to(self, row: u32, sink: &mut Sink<T>) {
        sink.push(row, self);
    }
}

impl<T: Rows> Rows for Option<T> {
    type Row = T::Row;
    const MANY: bool = T::MANY;

    #[inline(always)]
    fn push_to(self, row: u32, sink: &mut Sink<T::Row>) {
        if let Some(given) = self {
            given.push_to(row, sink);
        }
    }
}

impl<T: Output> Rows for Vec<T> {
    type Row = T;
    const MANY: bool = true;

    #[inline(always)]
    fn push_to(self, row: u32, sink: &mut Sink<T>) {
        Many(self.into_iter()).push_to(row, sink);
    }
}

impl<T: Output, const N: usize> Rows for [T; N] {
    type Row = T;
    const MANY: bool = N > 1;

    #[inline(always)]
    fn push_to(self, row: u32, sink: &mut Sink<T>) {
        Many(self.into_iter()).push_to(row, sink);
    }
}

/// For the attributes: what an `impl Iterator<Item = Row>` becomes. A type that is an iterator may also be an [`Output`],
/// so the function's own type says nothing of which it is.
#[doc(hidden)]
pub struct Many<I>(pub I);

impl<I: Iterator<Item: Output>> Rows for Many<I> {
    type Row = I::Item;
    const MANY: bool = true;

    #[inline(always)]
    fn push_to(self, row: u32, sink: &mut Sink<I::Item>) {
        for given in self.0 {
            sink.push(row, given);
        }
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

/// For the derive: the output of this name.
#[doc(hidden)]
pub fn spec<R: Rows>(name: &str) -> OutputSpec {
    OutputSpec {
        many: R::MANY,
        ..R::Row::spec(name)
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
