//! The aggregate that a state and its methods become.

use crate::abi::aggregate::{Accumulated, Batch, Description, Rejected, ResultColumn, States};
use crate::abi::{Column, ColumnValues, Parameter};
use crate::computed::OutputField;
use crate::states::{check_size, decode, encode};
use crate::{Input, Parameters, Reject, State, log};

/// An aggregate as the host sees it: columns and states in, states and a column out.
///
/// [`#[aggregate]`](macro@crate::aggregate) makes a `Rule` of a state's methods, which is an `Aggregate` natively as well
/// as in a component: for tests that compare the two, and for benches.
///
/// ```
/// use weir_guest::abi::aggregate::{Batch, States};
/// use weir_guest::abi::{Column, ColumnValues};
/// use weir_guest::{Aggregate, Input, State, aggregate};
///
/// #[derive(Input)]
/// struct Order {
///     amount: i64,
/// }
///
/// /// The largest amount but one.
/// #[derive(Default, State)]
/// struct Second {
///     largest: Option<i64>,
///     second: Option<i64>,
/// }
///
/// #[aggregate]
/// impl Second {
///     fn add(&mut self, order: Order) {
///         let amount = Some(order.amount);
///         if amount > self.largest {
///             self.second = self.largest;
///             self.largest = amount;
///         } else if amount > self.second {
///             self.second = amount;
///         }
///     }
///
///     fn result(&self) -> Option<i64> {
///         self.second
///     }
/// }
///
/// let amounts = Column { validity: None, values: ColumnValues::Int(vec![3, 8, 5]) };
/// let new_groups = States { offsets: vec![0, 0, 0], data: vec![] };
/// let batch = Batch { groups: vec![0, 1, 0], states: new_groups, retracts: None, columns: vec![amounts] };
/// let given = Rule::configure(vec![])?.accumulate(&batch).expect("no row is rejected");
///
/// assert_eq!(given.results.validity, Some(vec![0, 0, 1]), "a group of one row has no second");
/// assert!(matches!(&given.results.values, ColumnValues::Int(results) if results[2] == 3));
/// # Ok::<(), String>(())
/// ```
pub trait Aggregate: Sized {
    /// What the aggregate reads, gives and can be told.
    fn describe() -> Description;

    /// Makes an aggregate with these parameters: all that [`describe`](Aggregate::describe) lists, in that order and of
    /// that type.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set the parameter: which one, what was wrong with it, what is accepted.
    fn configure(parameters: Vec<Parameter>) -> Result<Self, String>;

    /// Takes rows into the states of their groups, in order.
    ///
    /// # Errors
    ///
    /// The first row that cannot be taken in.
    ///
    /// # Panics
    ///
    /// The batch breaks the contract: a column is missing, too short, of another type, or has nulls that the aggregate
    /// does not take; a state is none of its own. And if a method of the aggregate panics.
    fn accumulate(&self, batch: &Batch) -> Result<Accumulated, Rejected>;

    /// Merges states pairwise.
    ///
    /// # Errors
    ///
    /// The first pair that cannot be merged.
    ///
    /// # Panics
    ///
    /// A state is none of the aggregate's own, or it cannot merge.
    fn merge(&self, into: &States, from: &States) -> Result<States, Rejected>;

    /// The results of states.
    ///
    /// # Errors
    ///
    /// The first state whose result is no finite number.
    ///
    /// # Panics
    ///
    /// A state is none of the aggregate's own.
    fn results(&self, states: &States) -> Result<Column, Rejected>;
}

/// What `add`, `retract` and `merge` of an aggregate return: nothing, or a `Result` of nothing with [`Reject`].
#[diagnostic::on_unimplemented(
    message = "`add`, `retract` and `merge` of an aggregate cannot return `{Self}`",
    label = "neither nothing nor a `Result` of it",
    note = "they return nothing, or a `Result<(), Reject>`"
)]
pub trait Applied {
    #[doc(hidden)]
    fn applied(self) -> Result<(), Reject>;
}

impl Applied for () {
    #[inline(always)]
    fn applied(self) -> Result<(), Reject> {
        Ok(())
    }
}

impl Applied for Result<(), Reject> {
    #[inline(always)]
    fn applied(self) -> Result<(), Reject> {
        self
    }
}

/// For the attribute: the methods of an aggregate that know nothing of rows.
#[doc(hidden)]
pub trait Methods {
    type State: State + Default;
    type Parameters: Parameters;
    type Result: OutputField;

    fn result(state: &Self::State, settings: &Self::Parameters) -> Self::Result;

    fn merge(_: &mut Self::State, _: Self::State, _: &Self::Parameters) -> Result<(), Reject> {
        panic!("the host merged groups, which this aggregate cannot");
    }
}

/// In place of a column's name: what an aggregate comes to has none of its own.
const RESULT: &str = "result";

/// Whose the states are.
const GROUP: &str = "group";

/// For the attribute: the description of an aggregate.
#[doc(hidden)]
pub fn describe<'a, M: Methods, I: Input<'a>>(
    name: &str,
    version: &str,
    (retracts, merges): (bool, bool),
) -> Description {
    let result = M::Result::spec("");
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        doc: M::State::DOC.to_owned(),
        inputs: I::columns(),
        parameters: M::Parameters::specs(),
        result: ResultColumn {
            column_type: result.column_type,
            nullable: result.nullable,
        },
        retracts,
        merges,
        state: M::State::layout(),
    }
}

/// For the attribute: the parameters of an aggregate.
#[doc(hidden)]
pub fn configure<P: Parameters>(parameters: Vec<Parameter>) -> Result<P, String> {
    log::send_panics();
    P::from_values(parameters)
}

/// For the attribute: the loop over the rows of a batch.
#[doc(hidden)]
#[inline]
pub fn accumulate<'a, M: Methods, I: Input<'a>>(
    batch: &'a Batch,
    settings: &M::Parameters,
    add: impl Fn(&mut M::State, I, &M::Parameters) -> Result<(), Reject>,
    retract: impl Fn(&mut M::State, I, &M::Parameters) -> Result<(), Reject>,
) -> Result<Accumulated, Rejected> {
    let rows = batch.groups.len();
    let readers = I::readers(&batch.columns, rows);
    let mut states: Vec<M::State> = decode(&batch.states);
    let mut results = M::Result::column(RESULT, rows);
    let mut stopped = Ok(());
    for (row, &group) in batch.groups.iter().enumerate() {
        let state = &mut states[group as usize];
        let input = I::read(&readers, row);
        let applied = match batch.retracts.as_ref().is_some_and(|retracts| retracts[row] != 0) {
            false => add(state, input, settings),
            true => retract(state, input, settings),
        };
        if let Err(reject) = applied.and_then(|()| check_size(state, GROUP)) {
            stopped = Err(rejected(row, reject));
            break;
        }
        M::result(state, settings).push_to(&mut results);
    }
    // A row before the one that stopped it may have come to no number.
    let results = check_results(M::Result::finish(results))?;
    stopped?;
    Ok(Accumulated {
        states: encode(&states),
        results,
    })
}

/// For the attribute: in place of a `retract` that there is not.
#[doc(hidden)]
pub fn no_retract<S, I, P>(_: &mut S, _: I, _: &P) -> Result<(), Reject> {
    panic!("the host took back a row, which this aggregate cannot");
}

/// For the attribute: the loop over pairs of states.
#[doc(hidden)]
pub fn merge<M: Methods>(into: &States, from: &States, settings: &M::Parameters) -> Result<States, Rejected> {
    let mut states: Vec<M::State> = decode(into);
    let from: Vec<M::State> = decode(from);
    assert_eq!(states.len(), from.len(), "the host sent as many states of both kinds");
    let mut results = M::Result::column(RESULT, states.len());
    let mut stopped = Ok(());
    for (pair, (into, from)) in states.iter_mut().zip(from).enumerate() {
        if let Err(reject) = M::merge(into, from, settings).and_then(|()| check_size(into, GROUP)) {
            stopped = Err(rejected(pair, reject));
            break;
        }
        M::result(into, settings).push_to(&mut results);
    }
    check_results(M::Result::finish(results))?;
    stopped?;
    Ok(encode(&states))
}

/// For the attribute: the results of states.
#[doc(hidden)]
pub fn results<M: Methods>(states: &States, settings: &M::Parameters) -> Result<Column, Rejected> {
    let states: Vec<M::State> = decode(states);
    let mut results = M::Result::column(RESULT, states.len());
    for state in &states {
        M::result(state, settings).push_to(&mut results);
    }
    check_results(M::Result::finish(results))
}

/// Rejects the first result that the contract does not allow.
fn check_results(results: Column) -> Result<Column, Rejected> {
    let ColumnValues::Double(values) = &results.values else {
        return Ok(results);
    };
    let is_null = |row: usize| results.validity.as_ref().is_some_and(|validity| validity[row] == 0);
    let is_wrong = |(row, value): &(usize, &f64)| !value.is_finite() && !is_null(*row);
    match values.iter().enumerate().find(is_wrong) {
        Some((row, value)) => Err(rejected(
            row,
            Reject::new(format!(
                "the result of the group would be {value}; accepted are finite numbers"
            )),
        )),
        None => Ok(results),
    }
}

fn rejected(number: usize, reject: Reject) -> Rejected {
    Rejected {
        number: number as u32,
        reason: reject.into_reason(),
    }
}

/// For the attribute: the exports of a component around an [`Aggregate`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_aggregate {
    ($rule:ty) => {
        const _: () = {
            use $crate::__private::bindings::aggregate::exports::weir::stage::aggregate::Guest;
            use $crate::abi::aggregate::{Accumulated, Batch, Description, Rejected, States};
            use $crate::abi::{Column, Parameter};

            std::thread_local! {
                /// Empty until the host has configured this instance.
                static CONFIGURED: std::cell::OnceCell<$rule> = const { std::cell::OnceCell::new() };
            }

            fn configured<T>(call: impl FnOnce(&$rule) -> T) -> T {
                CONFIGURED.with(|configured| {
                    call(
                        configured
                            .get()
                            .expect("the host configures an instance before its first batch"),
                    )
                })
            }

            struct Component;

            impl Guest for Component {
                fn describe() -> Description {
                    <$rule as $crate::Aggregate>::describe()
                }

                fn configure(parameters: Vec<Parameter>) -> Result<(), String> {
                    let rule = <$rule as $crate::Aggregate>::configure(parameters)?;
                    CONFIGURED
                        .with(|configured| configured.set(rule))
                        .map_err(|_| "configured twice".to_owned())
                }

                fn accumulate(batch: Batch) -> Result<Accumulated, Rejected> {
                    configured(|rule| $crate::Aggregate::accumulate(rule, &batch))
                }

                fn merge(into: States, from: States) -> Result<States, Rejected> {
                    configured(|rule| $crate::Aggregate::merge(rule, &into, &from))
                }

                fn results(states: States) -> Result<Column, Rejected> {
                    configured(|rule| $crate::Aggregate::results(rule, &states))
                }
            }

            $crate::__private::bindings::aggregate::export_aggregate_component!(Component);
        };
    };
}
