//! What a rule may know besides the event.

use std::cell::Cell;

use crate::Parameters;

/// The parameters of a rule and the time of the event that it judges.
///
/// A rule that needs no time asks for the parameters alone (`settings: &Settings`): the host then sends no times.
///
/// ```
/// use weir_guest::Context;
///
/// fn is_late(gmt_modified: i64, cx: &Context) -> bool {
///     gmt_modified + 60_000 < cx.now_ms()
/// }
///
/// assert!(is_late(0, &Context::for_test((), 60_001)));
/// assert!(!is_late(0, &Context::for_test((), 60_000)));
/// ```
#[derive(Debug)]
pub struct Context<P = ()> {
    /// The rule's parameters, as the pipeline sets them.
    pub parameters: P,
    now_us: Cell<i64>,
}

impl<P> Context<P> {
    pub(crate) fn new(parameters: P) -> Context<P> {
        Context {
            parameters,
            now_us: Cell::new(0),
        }
    }

    /// A context for a unit test of a rule.
    pub fn for_test(parameters: P, now_ms: i64) -> Context<P> {
        Context {
            parameters,
            now_us: Cell::new(now_ms.saturating_mul(1_000)),
        }
    }

    /// "Now" for this event, in milliseconds since 1970-01-01T00:00:00Z: when the stream stored it, unless the pipeline
    /// says otherwise. It is never the clock on the wall, so that a replay gives the same rows.
    #[inline(always)]
    pub fn now_ms(&self) -> i64 {
        self.now_us.get().div_euclid(1_000)
    }

    /// The same to the microsecond.
    #[inline(always)]
    pub fn now_us(&self) -> i64 {
        self.now_us.get()
    }

    /// The same as [`now_ms`](Context::now_ms), to the microsecond, as a type of `jiff`. With the feature `jiff`.
    ///
    /// # Panics
    ///
    /// `jiff` has no such time: "now" is past 9999-12-30T22:00:00Z.
    #[cfg(feature = "jiff")]
    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.now_us.get()).expect("\"now\" is no time that jiff has")
    }

    #[inline(always)]
    pub(crate) fn set_now_us(&self, now_us: i64) {
        self.now_us.set(now_us);
    }
}

/// What the second argument of a rule refers to: a [`Context`], or the [`Parameters`] alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a rule can be given besides the event",
    label = "neither a context nor parameters",
    note = "the second argument is a `&Context`, a `&Context<S>` or a `&S`, where `S` derives `Parameters`"
)]
pub trait Argument {
    /// The rule's parameters.
    #[doc(hidden)]
    type Parameters: Parameters;

    /// Whether the rule may ask for the time of an event.
    #[doc(hidden)]
    const READS_TIME: bool;

    #[doc(hidden)]
    fn of(context: &Context<Self::Parameters>) -> &Self;
}

impl<P: Parameters> Argument for Context<P> {
    type Parameters = P;
    const READS_TIME: bool = true;

    #[inline(always)]
    fn of(context: &Context<P>) -> &Context<P> {
        context
    }
}

impl<P: Parameters> Argument for P {
    type Parameters = P;
    const READS_TIME: bool = false;

    #[inline(always)]
    fn of(context: &Context<P>) -> &P {
        &context.parameters
    }
}
