//! The stage that a rule becomes.

use crate::abi::{Answer, Batch, Description, Parameter, RejectedRow};
use crate::bounds::Argument;
use crate::{Context, Input, Outputs, Parameters, Reject, log};

/// A rule as the host sees it: columns in, columns out.
///
/// [`#[stage]`](macro@crate::stage) makes a `Rule` of a function, which is a `Stage` natively as well as in a component:
/// for tests that compare the two, and for benches.
///
/// ```
/// use weir_guest::abi::{Batch, Column, ColumnValues};
/// use weir_guest::{Input, Output, Stage, stage};
///
/// #[derive(Input)]
/// struct Order {
///     amount: i64,
/// }
///
/// #[derive(Output)]
/// #[pass(id)]
/// struct Large;
///
/// /// Orders of 100 and more.
/// #[stage]
/// fn large_orders(order: Order) -> Option<Large> {
///     (order.amount >= 100).then_some(Large)
/// }
///
/// let amounts = Column { validity: None, values: ColumnValues::Int(vec![99, 100, 101]) };
/// let answer = Rule::configure(vec![])?.process(&Batch { row_count: 3, times_us: vec![], columns: vec![amounts] });
///
/// assert_eq!(answer.outputs[0].rows, [1, 2]);
/// # Ok::<(), String>(())
/// ```
pub trait Stage: Sized {
    /// What the stage reads, gives and can be told.
    fn describe() -> Description;

    /// Makes a stage with these parameters: all that [`describe`](Stage::describe) lists, in that order and of that type.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set the parameter: which one, what was wrong with it, what is accepted.
    fn configure(parameters: Vec<Parameter>) -> Result<Self, String>;

    /// Judges a batch.
    ///
    /// # Panics
    ///
    /// The batch breaks the contract: a column is missing, too short, of another type, or has nulls that the rule does not
    /// take. And if the rule's function panics.
    fn process(&self, batch: &Batch) -> Answer;
}

/// What a rule's function returns: [`Outputs`], or a `Result` of them with [`Reject`].
#[diagnostic::on_unimplemented(
    message = "a rule cannot return `{Self}`",
    label = "not an output of a rule",
    note = "a rule returns a struct that derives `Output`, an `Option`, `Vec` or array of it, a type that derives `Outputs`, or a `Result` of any of these with `Reject`"
)]
pub trait Verdict {
    #[doc(hidden)]
    type Outputs: Outputs;

    #[doc(hidden)]
    fn outputs(self) -> Result<Self::Outputs, Reject>;

    #[doc(hidden)]
    fn is_rejected(&self) -> bool;
}

impl<T: Outputs> Verdict for T {
    type Outputs = T;

    #[inline(always)]
    fn outputs(self) -> Result<T, Reject> {
        Ok(self)
    }

    fn is_rejected(&self) -> bool {
        false
    }
}

impl<T: Outputs> Verdict for Result<T, Reject> {
    type Outputs = T;

    #[inline(always)]
    fn outputs(self) -> Result<T, Reject> {
        self
    }

    fn is_rejected(&self) -> bool {
        self.is_err()
    }
}

/// For the attribute: the description of a rule.
#[doc(hidden)]
pub fn describe<'a, I: Input<'a>, A: Argument, V: Verdict>(name: &str, version: &str, doc: &str) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        doc: doc.to_owned(),
        inputs: I::columns(),
        reads_time: A::READS_TIME,
        outputs: V::Outputs::specs(),
        parameters: A::Parameters::specs(),
    }
}

/// For the attribute: what a rule may know besides the event.
#[doc(hidden)]
pub fn configure<P: Parameters>(parameters: Vec<Parameter>) -> Result<Context<P>, String> {
    log::send_panics();
    P::from_values(parameters).map(Context::new)
}

/// For the attribute: the loop over the rows of a batch.
#[doc(hidden)]
#[inline]
pub fn process<'a, I: Input<'a>, A: Argument + 'a, V: Verdict>(
    batch: &'a Batch,
    context: &'a Context<A::Parameters>,
    rule: impl Fn(I, &'a A) -> V,
) -> Answer {
    let rows = batch.row_count as usize;
    let readers = I::readers(&batch.columns, rows);
    let times_us = if A::READS_TIME { &batch.times_us[..rows] } else { &[] };
    let argument = A::of(context);
    let mut sinks = V::Outputs::sinks(rows);
    let mut rejected = Vec::new();
    #[expect(
        clippy::needless_range_loop,
        reason = "every column is read by row, not only the times"
    )]
    for row in 0..rows {
        if A::READS_TIME {
            context.set_now_us(times_us[row]);
        }
        let number = row as u32;
        match rule(I::read(&readers, row), argument).outputs() {
            Ok(given) => given.give(number, &mut sinks),
            Err(reject) => rejected.push(RejectedRow {
                row: number,
                reason: reject.into_reason(),
            }),
        }
    }
    Answer {
        outputs: V::Outputs::finish(sinks),
        rejected,
    }
}

/// For the attribute: the exports of a component around a [`Stage`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($rule:ty) => {
        const _: () = {
            use $crate::__private::bindings::exports::weir::stage::stage::Guest;
            use $crate::abi::{Answer, Batch, Description, Parameter};

            std::thread_local! {
                /// Empty until the host has configured this instance.
                static CONFIGURED: std::cell::OnceCell<$rule> = const { std::cell::OnceCell::new() };
            }

            struct Component;

            impl Guest for Component {
                fn describe() -> Description {
                    <$rule as $crate::Stage>::describe()
                }

                fn configure(parameters: Vec<Parameter>) -> Result<(), String> {
                    let rule = <$rule as $crate::Stage>::configure(parameters)?;
                    CONFIGURED
                        .with(|configured| configured.set(rule))
                        .map_err(|_| "configured twice".to_owned())
                }

                fn process(batch: Batch) -> Answer {
                    CONFIGURED.with(|configured| {
                        let rule = configured
                            .get()
                            .expect("the host configures an instance before its first batch");
                        $crate::Stage::process(rule, &batch)
                    })
                }
            }

            $crate::__private::bindings::export_stage_component!(Component);
        };
    };
}
