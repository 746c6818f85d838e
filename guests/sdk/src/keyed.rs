//! The keyed function that a state and its methods become.

use crate::abi::keyed::{Batch, Description, Due, Fired, Processed, Rejected};
use crate::abi::{OutputRows, OutputSpec, Parameter};
use crate::bounds::{Argument, Verdict};
use crate::states::{check_size, decode, encode_or_forget};
use crate::{Context, EventTime, Input, Outputs, Parameters, Reject, State, Timers};

/// A keyed function as the host sees it: columns, states and timers in, states, timers and columns out.
///
/// [`#[keyed]`](macro@crate::keyed) makes a `Rule` of a state's methods, which is a `Keyed` natively as well as in a
/// component: for tests that compare the two, and for benches. A test of a rule rather drives it, key by key: see
/// [`Driver`](crate::testing::Driver).
///
/// ```
/// use weir_guest::abi::keyed::Batch;
/// use weir_guest::abi::{Column, ColumnValues, States};
/// use weir_guest::{Input, Keyed, Output, State, keyed};
///
/// #[derive(Input)]
/// struct Reading {
///     celsius: i64,
/// }
///
/// #[derive(Output)]
/// #[pass(sensor)]
/// struct Jump {
///     by: i64,
/// }
///
/// /// Jumps of a sensor by ten degrees and more.
/// #[derive(Default, State)]
/// struct Sensor {
///     last: Option<i64>,
/// }
///
/// #[keyed]
/// impl Sensor {
///     fn on_row(&mut self, reading: Reading) -> Option<Jump> {
///         let by = reading.celsius - self.last.replace(reading.celsius)?;
///         (by.abs() >= 10).then_some(Jump { by })
///     }
/// }
///
/// let batch = Batch {
///     keys: vec![0, 1, 0],
///     states: States { offsets: vec![0, 0, 0], data: vec![] },
///     timers: vec![],
///     times_us: vec![],
///     event_times_us: vec![],
///     columns: vec![Column { validity: None, values: ColumnValues::Int(vec![20, 21, 31]) }],
/// };
/// let given = Rule::configure(vec![])?.process(&batch).expect("no row is rejected");
///
/// assert_eq!(given.outputs[0].rows, [2]);
/// assert_eq!(given.states.offsets, [0, 9, 18]);
/// # Ok::<(), String>(())
/// ```
pub trait Keyed: Sized {
    /// What the function reads, gives and can be told.
    fn describe() -> Description;

    /// Makes a function with these parameters: all that [`describe`](Keyed::describe) lists, in that order and of that
    /// type.
    ///
    /// # Errors
    ///
    /// A sentence for the person who set the parameter: which one, what was wrong with it, what is accepted.
    fn configure(parameters: Vec<Parameter>) -> Result<Self, String>;

    /// Takes rows into the states of their keys, in order.
    ///
    /// # Errors
    ///
    /// The first row that cannot be taken in.
    ///
    /// # Panics
    ///
    /// The batch breaks the contract: a column is missing, too short, of another type, or has nulls that the function does
    /// not take; a state is none of its own. And if a method of the function panics.
    fn process(&self, batch: &Batch) -> Result<Processed, Rejected>;

    /// Takes note that the times of keys have come.
    ///
    /// # Errors
    ///
    /// The first key whose time cannot be taken note of.
    ///
    /// # Panics
    ///
    /// A state is none of the function's own, or it has no timers.
    fn on_timers(&self, due: &Due) -> Result<Fired, Rejected>;
}

/// For the attribute: the methods of a keyed function, with what they speak of.
#[doc(hidden)]
pub trait Methods {
    type State: State + Default;
    type Parameters: Parameters;
    /// What `on_row` is given besides the row.
    type Argument: Argument<Parameters = Self::Parameters>;
    type Row<'r>: Input<'r>;
    /// What `on_row` returns.
    type Given<'r>: Verdict;
    /// What `on_timer` returns.
    type Fired<'r>: Verdict;

    const READS_EVENT_TIME: bool;
    const TIMERS: bool;

    fn on_row<'r>(
        state: &mut Self::State,
        row: Self::Row<'r>,
        at: EventTime,
        context: &'r Context<Self::Parameters>,
        timers: &mut Timers,
    ) -> Self::Given<'r>;

    fn on_timer<'r>(
        state: &mut Self::State,
        at: EventTime,
        settings: &'r Self::Parameters,
        timers: &mut Timers,
    ) -> Self::Fired<'r>;
}

type OutputsOf<V> = <V as Verdict>::Outputs;

/// That `on_timer` gives into the same outputs as `on_row`.
#[diagnostic::on_unimplemented(
    message = "`on_row` gives `{Given}`, and `on_timer` gives `{Self}`",
    label = "not the outputs of `on_row`",
    note = "both give into the same outputs: return the same type from both, an enum or a struct that derives `Outputs` where they give different rows"
)]
pub trait SameOutputs<Given> {}

impl<T> SameOutputs<T> for T {}

/// For the attribute: does not compile where `on_timer` gives other outputs than `on_row`.
#[doc(hidden)]
pub fn same_outputs<Given: Verdict, Fired: Verdict>()
where
    <Fired::Outputs as Outputs>::Set: SameOutputs<<Given::Outputs as Outputs>::Set>,
{
}

/// Whose the states are.
const KEY: &str = "key";

/// For the attribute: the description of a keyed function.
#[doc(hidden)]
pub fn describe<M: Methods>(name: &str, version: &str) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        doc: M::State::DOC.to_owned(),
        inputs: M::Row::<'static>::columns(),
        reads_time: M::Argument::READS_TIME,
        reads_event_time: M::READS_EVENT_TIME,
        timers: M::TIMERS,
        outputs: outputs::<M>(),
        parameters: M::Parameters::specs(),
        state: M::State::layout(),
    }
}

/// The outputs of both methods: the same, where each may give many rows.
fn outputs<M: Methods>() -> Vec<OutputSpec> {
    let given = OutputsOf::<M::Given<'static>>::specs();
    let fired = OutputsOf::<M::Fired<'static>>::specs();
    let both = given.into_iter().zip(fired);
    both.map(|(given, fired)| OutputSpec {
        many: given.many || fired.many,
        ..given
    })
    .collect()
}

/// For the attribute: the loop over the rows of a batch.
#[doc(hidden)]
#[inline]
pub fn process<'a, M: Methods>(batch: &'a Batch, context: &'a Context<M::Parameters>) -> Result<Processed, Rejected> {
    let rows = batch.keys.len();
    let readers = M::Row::<'a>::readers(&batch.columns, rows);
    let reads_time = M::Argument::READS_TIME;
    let times_us = if reads_time { &batch.times_us[..rows] } else { &[] };
    let event_times_us = if M::READS_EVENT_TIME {
        &batch.event_times_us[..rows]
    } else {
        &[]
    };
    let mut states: Vec<M::State> = decode(&batch.states);
    let mut waiting = if M::TIMERS { batch.timers.clone() } else { Vec::new() };
    let mut timers_after = Vec::with_capacity(if M::TIMERS { rows } else { 0 });
    let mut sinks = OutputsOf::<M::Given<'a>>::sinks(rows);
    for (row, &key) in batch.keys.iter().enumerate() {
        let state = &mut states[key as usize];
        if reads_time {
            context.set_now_us(times_us[row]);
        }
        let at = EventTime::from_us(if M::READS_EVENT_TIME { event_times_us[row] } else { 0 });
        let mut timers = match M::TIMERS {
            true => Timers::from_us(waiting[key as usize]),
            false => Timers::default(),
        };
        let given = M::on_row(state, M::Row::<'a>::read(&readers, row), at, context, &mut timers).outputs();
        // What was done to the state and the sinks before goes with them.
        let given = given.map_err(|reject| rejected(row, reject))?;
        check_size(state, KEY).map_err(|reject| rejected(row, reject))?;
        given.give(row as u32, &mut sinks);
        if M::TIMERS {
            waiting[key as usize] = timers.us();
            timers_after.push(timers.us());
        }
    }
    Ok(Processed {
        states: encode_or_forget(&states),
        timers: timers_after,
        outputs: OutputsOf::<M::Given<'a>>::finish(sinks),
    })
}

/// For the attribute: the loop over the keys whose time has come.
#[doc(hidden)]
pub fn on_timers<M: Methods>(due: &Due, context: &Context<M::Parameters>) -> Result<Fired, Rejected> {
    assert!(
        M::TIMERS,
        "the host called for timers, which this function does not set"
    );
    let mut states: Vec<M::State> = decode(&due.states);
    let mut timers_after = Vec::with_capacity(states.len());
    let mut sinks = OutputsOf::<M::Fired<'_>>::sinks(states.len());
    let mut stopped = Ok(());
    for (number, (state, &due_us)) in states.iter_mut().zip(&due.timers).enumerate() {
        let at = EventTime::from_us(due_us);
        let mut timers = Timers::default();
        let fired = M::on_timer(state, at, &context.parameters, &mut timers).outputs();
        let fired = fired.and_then(|fired| {
            check_size(state, KEY)
                .and_then(|()| check_later(timers, at))
                .map(|()| fired)
        });
        match fired {
            Ok(fired) => fired.give(number as u32, &mut sinks),
            Err(reject) => {
                stopped = Err(rejected(number, reject));
                break;
            }
        }
        timers_after.push(timers.us());
    }
    let outputs = OutputsOf::<M::Fired<'_>>::finish(sinks);
    // A key before the one that stopped it may have given a row where none can be.
    check_outputs(&outputs, &OutputsOf::<M::Fired<'_>>::specs())?;
    stopped?;
    Ok(Fired {
        states: encode_or_forget(&states),
        timers: timers_after,
        outputs,
    })
}

/// Rejects a timer that would come before the one that has come.
pub(crate) fn check_later(timers: Timers, came: EventTime) -> Result<(), Reject> {
    match timers.get() {
        Some(at) if at <= came => Err(Reject::new(format!(
            "on_timer set a timer for {at}; accepted are times after {came}, for which the key has waited"
        ))),
        _ => Ok(()),
    }
}

/// Rejects the first row of a timer in an output whose columns go through: there is no row that they came in with.
fn check_outputs(outputs: &[OutputRows], specs: &[OutputSpec]) -> Result<(), Rejected> {
    let passes = |(rows, spec): (&OutputRows, &OutputSpec)| {
        let column = spec.passed.first()?;
        rows.rows
            .first()
            .map(|&number| (number, spec.name.clone(), column.output.clone()))
    };
    match outputs.iter().zip(specs).filter_map(passes).min() {
        Some((number, output, column)) => Err(rejected(
            number as usize,
            Reject::new(format!(
                "on_timer gave a row to output `{output}`, where column `{column}` goes through from a row, and a timer has none"
            )),
        )),
        None => Ok(()),
    }
}

fn rejected(number: usize, reject: Reject) -> Rejected {
    Rejected {
        number: number as u32,
        reason: reject.into_reason(),
    }
}

/// For the attribute: the exports of a component around a [`Keyed`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_keyed {
    ($rule:ty) => {
        const _: () = {
            use $crate::__private::bindings::keyed::exports::weir::stage::keyed::Guest;
            use $crate::abi::Parameter;
            use $crate::abi::keyed::{Batch, Description, Due, Fired, Processed, Rejected};

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
                    <$rule as $crate::Keyed>::describe()
                }

                fn configure(parameters: Vec<Parameter>) -> Result<(), String> {
                    let rule = <$rule as $crate::Keyed>::configure(parameters)?;
                    CONFIGURED
                        .with(|configured| configured.set(rule))
                        .map_err(|_| "configured twice".to_owned())
                }

                fn process(batch: Batch) -> Result<Processed, Rejected> {
                    configured(|rule| $crate::Keyed::process(rule, &batch))
                }

                fn on_timers(due: Due) -> Result<Fired, Rejected> {
                    configured(|rule| $crate::Keyed::on_timers(rule, &due))
                }
            }

            $crate::__private::bindings::keyed::export_keyed_component!(Component);
        };
    };
}
