//! One instantiated guest, and calls into it within bounds.

use super::{
    bindings::{StageComponent, StageComponentPre},
    check::shorten,
    context::GuestContext,
    description::{Description, ParameterValue},
    lines::Lines,
    translate::of_stage::with_parameters,
};
use crate::{
    definition::StageLimits,
    limits::{EPOCH_TICK, GUEST_DEADLINE, GUEST_MEMORY_BYTES, GUEST_OUTPUT_BYTES},
};
use std::{fmt, sync::Arc, time::Duration};
use wasmtime::{Engine, Store, StoreLimitsBuilder, Trap, WasmBacktrace};

/// Why a call of a guest gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFailure {
    /// A sentence for a person.
    pub(super) reason: String,
    /// Whether it was the deadline.
    pub(super) timed_out: bool,
    /// Whether the instance had been called before, so that what earlier calls left in it may be to blame.
    pub(super) used: bool,
}

impl StageFailure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            timed_out: false,
            used: false,
        }
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Bounds on one guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    memory_bytes: usize,
    output_bytes: usize,
    deadline: Duration,
}

impl Bounds {
    pub(super) fn new(limits: &StageLimits) -> Self {
        let mib = |given: &Option<serde_spanned::Spanned<u64>>, default: usize| {
            given.as_ref().map_or(default, |mib| (*mib.get_ref() as usize) << 20)
        };
        Self {
            memory_bytes: mib(&limits.memory_mib, GUEST_MEMORY_BYTES),
            output_bytes: mib(&limits.output_mib, GUEST_OUTPUT_BYTES),
            deadline: limits
                .deadline_ms
                .as_ref()
                .map_or(GUEST_DEADLINE, |ms| Duration::from_millis(*ms.get_ref())),
        }
    }
}

/// A world of the contract: what is instantiated, says what it is, and is told its parameters.
pub(super) trait World: Sized {
    /// The component, ready to be instantiated.
    type Pre;
    /// What it says of itself.
    type Description;

    fn instantiate(pre: &Self::Pre, store: &mut Store<GuestContext>) -> wasmtime::Result<Self>;

    /// The inner error says which rule of the contract the description breaks.
    fn describe(&self, store: &mut Store<GuestContext>) -> wasmtime::Result<Result<Self::Description, String>>;

    /// The inner error is the guest's.
    fn configure(
        &self,
        store: &mut Store<GuestContext>,
        parameters: &[(String, ParameterValue)],
    ) -> wasmtime::Result<Result<(), String>>;
}

impl World for StageComponent {
    type Pre = StageComponentPre<GuestContext>;
    type Description = Description;

    fn instantiate(pre: &Self::Pre, store: &mut Store<GuestContext>) -> wasmtime::Result<Self> {
        pre.instantiate(store)
    }

    fn describe(&self, store: &mut Store<GuestContext>) -> wasmtime::Result<Result<Description, String>> {
        Ok(Description::from_guest(self.weir_stage_stage().call_describe(store)?))
    }

    fn configure(
        &self,
        store: &mut Store<GuestContext>,
        parameters: &[(String, ParameterValue)],
    ) -> wasmtime::Result<Result<(), String>> {
        with_parameters(parameters, |parameters| {
            self.weir_stage_stage().call_configure(store, parameters)
        })
    }
}

/// A guest with its store.
pub(super) struct Live<W> {
    store: Store<GuestContext>,
    guest: W,
    lines: Arc<Lines>,
}

impl<W: World> Live<W> {
    /// Instantiates the guest; `name` is what the log calls it.
    pub(super) fn new(
        engine: &Engine,
        pre: &W::Pre,
        lines: &Arc<Lines>,
        bounds: Bounds,
        name: &str,
    ) -> Result<Self, StageFailure> {
        // A rule cannot do without the memory that it asked for, and this way the reason names the limit.
        let limits = StoreLimitsBuilder::new()
            .memory_size(bounds.memory_bytes)
            .trap_on_grow_failure(true)
            .build();
        let context = GuestContext {
            limits,
            last_error: None,
            log: Vec::new(),
            log_dropped: 0,
            name: name.to_owned(),
        };
        let mut store = Store::new(engine, context);
        store.limiter(|context| &mut context.limits);
        store.set_epoch_deadline(ticks(bounds.deadline));
        // Bounds what an answer may make the host allocate, also when its lists overlap in the guest's memory.
        store.set_hostcall_fuel(bounds.output_bytes);
        match W::instantiate(pre, &mut store) {
            Ok(guest) => Ok(Self {
                store,
                guest,
                lines: lines.clone(),
            }),
            Err(cause) => {
                let what = match cause.is::<WasmBacktrace>() {
                    // Never the backtrace itself: it has whatever names the guest gave its functions.
                    true => Self::failure(&cause, &mut store, lines, bounds).reason,
                    false => format!("{cause:#}"),
                };
                Err(StageFailure::new(format!("the rule cannot be instantiated: {what}")))
            }
        }
    }

    /// What the guest says of itself.
    pub(super) fn describe(&mut self, bounds: Bounds) -> Result<W::Description, StageFailure> {
        self.call(bounds, W::describe)?.map_err(StageFailure::new)
    }

    /// Sets the guest up; to be called once, before all that is its work.
    pub(super) fn configure(
        &mut self,
        parameters: &[(String, ParameterValue)],
        bounds: Bounds,
    ) -> Result<(), StageFailure> {
        self.call(bounds, |guest, store| guest.configure(store, parameters))?
            .map_err(|message| StageFailure::new(shorten(message)))
    }

    /// A call of the guest's work, whose lines are written when it ends well.
    pub(super) fn work<T>(
        &mut self,
        bounds: Bounds,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
    ) -> Result<T, StageFailure> {
        let given = self.call(bounds, call)?;
        self.store.data_mut().write_log();
        Ok(given)
    }

    fn call<T>(
        &mut self,
        bounds: Bounds,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
    ) -> Result<T, StageFailure> {
        self.store.set_epoch_deadline(ticks(bounds.deadline));
        self.store.data_mut().begin_call();
        call(&self.guest, &mut self.store).map_err(|cause| Self::failure(&cause, &mut self.store, &self.lines, bounds))
    }

    /// What to say of a call that failed.
    fn failure(
        cause: &wasmtime::Error,
        store: &mut Store<GuestContext>,
        lines: &Lines,
        bounds: Bounds,
    ) -> StageFailure {
        let what = match (cause.downcast_ref::<Trap>(), store.data_mut().last_error.take()) {
            (Some(Trap::Interrupt), _) => format!("the rule ran longer than {} ms", bounds.deadline.as_millis()),
            (Some(Trap::UnreachableCodeReached), Some(message)) => format!("the rule panicked: {message}"),
            (Some(trap), _) => {
                let trap = trap.to_string();
                format!("the rule trapped: {}", trap.trim_start_matches("wasm trap: "))
            }
            (None, _) => {
                // wasmtime has no types for these two; in other words than these they would still be understood.
                let cause = cause.root_cause().to_string();
                if cause.contains("growing memory") {
                    format!("the rule needs more than {} MiB of memory", bounds.memory_bytes >> 20)
                } else if cause.contains("fuel allocated for hostcalls") {
                    format!("the answer has more than {} MiB", bounds.output_bytes >> 20)
                } else {
                    format!("the rule failed: {cause}")
                }
            }
        };
        let backtrace = cause.downcast_ref::<WasmBacktrace>();
        let frames = backtrace.map(|trace| lines.frames(trace)).unwrap_or_default();
        let reason = match frames.is_empty() {
            true => what,
            false => format!("{what}; in {}", frames.join(", called by ")),
        };
        StageFailure {
            reason,
            timed_out: matches!(cause.downcast_ref(), Some(Trap::Interrupt)),
            used: false,
        }
    }
}

/// Ticks of the epoch clock that cover `deadline`; one more, since the first may come at once.
fn ticks(deadline: Duration) -> u64 {
    (deadline.as_millis() / EPOCH_TICK.as_millis()) as u64 + 1
}
