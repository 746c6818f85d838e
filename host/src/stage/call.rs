//! One instantiated guest, and calls into it within bounds.

use super::{
    answer::shorten,
    bindings::{StageComponent, StageComponentPre, exports::weir::stage::stage as abi},
    context::GuestContext,
    description::{Description, ParameterValue},
    lines::Lines,
};
use crate::{
    column::{Column, Values},
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
}

impl StageFailure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            timed_out: false,
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

/// A guest with its store.
pub(super) struct Live {
    store: Store<GuestContext>,
    component: StageComponent,
    lines: Arc<Lines>,
}

impl Live {
    /// Instantiates the guest; `name` is what the log calls it.
    pub(super) fn new(
        engine: &Engine,
        pre: &StageComponentPre<GuestContext>,
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
        match pre.instantiate(&mut store) {
            Ok(component) => Ok(Self {
                store,
                component,
                lines: lines.clone(),
            }),
            Err(cause) => Err(StageFailure::new(format!("the rule cannot be instantiated: {cause:#}"))),
        }
    }

    fn begin_call(&mut self, bounds: Bounds) {
        self.store.set_epoch_deadline(ticks(bounds.deadline));
        self.store.data_mut().begin_call();
    }

    /// Sets the guest up; to be called once, before [`Live::process`].
    pub(super) fn configure(
        &mut self,
        parameters: &[(String, ParameterValue)],
        bounds: Bounds,
    ) -> Result<(), StageFailure> {
        let texts: Vec<Vec<&str>> = parameters
            .iter()
            .map(|(_, value)| match value {
                ParameterValue::TextList(texts) => texts.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            })
            .collect();
        let lowered: Vec<abi::Parameter<'_>> = parameters
            .iter()
            .zip(&texts)
            .map(|((name, value), texts)| abi::Parameter {
                name,
                value: match value {
                    ParameterValue::Int(value) => abi::ParameterValueParam::Int(*value),
                    ParameterValue::Double(value) => abi::ParameterValueParam::Double(*value),
                    ParameterValue::Boolean(value) => abi::ParameterValueParam::Boolean(*value),
                    ParameterValue::Text(value) => abi::ParameterValueParam::Text(value),
                    ParameterValue::IntList(values) => abi::ParameterValueParam::IntList(values),
                    ParameterValue::DoubleList(values) => abi::ParameterValueParam::DoubleList(values),
                    ParameterValue::TextList(_) => abi::ParameterValueParam::TextList(texts),
                },
            })
            .collect();
        self.begin_call(bounds);
        match self
            .component
            .weir_stage_stage()
            .call_configure(&mut self.store, &lowered)
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(StageFailure::new(shorten(message))),
            Err(cause) => Err(self.failure(&cause, bounds)),
        }
    }

    /// What the guest says of itself.
    pub(super) fn describe(&mut self, bounds: Bounds) -> Result<Description, StageFailure> {
        self.begin_call(bounds);
        let given = self.component.weir_stage_stage().call_describe(&mut self.store);
        let given = given.map_err(|cause| self.failure(&cause, bounds))?;
        Description::from_guest(given).map_err(StageFailure::new)
    }

    /// The guest's answer to a batch, as it gave it.
    pub(super) fn process(&mut self, batch: abi::Batch<'_>, bounds: Bounds) -> Result<abi::Answer, StageFailure> {
        self.begin_call(bounds);
        let given = self.component.weir_stage_stage().call_process(&mut self.store, batch);
        match given {
            Ok(answer) => {
                self.store.data_mut().write_log();
                Ok(answer)
            }
            Err(cause) => Err(self.failure(&cause, bounds)),
        }
    }

    /// What to say of a call that failed.
    fn failure(&mut self, cause: &wasmtime::Error, bounds: Bounds) -> StageFailure {
        let what = match (cause.downcast_ref::<Trap>(), self.store.data_mut().last_error.take()) {
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
        let frames = backtrace.map(|trace| self.lines.frames(trace)).unwrap_or_default();
        let reason = match frames.is_empty() {
            true => what,
            false => format!("{what}; in {}", frames.join(", called by ")),
        };
        StageFailure {
            reason,
            timed_out: matches!(cause.downcast_ref(), Some(Trap::Interrupt)),
        }
    }
}

/// Ticks of the epoch clock that cover `deadline`; one more, since the first may come at once.
fn ticks(deadline: Duration) -> u64 {
    (deadline.as_millis() / EPOCH_TICK.as_millis()) as u64 + 1
}

pub(super) fn lower(column: &Column) -> abi::ColumnParam<'_> {
    abi::ColumnParam {
        validity: column.validity.as_deref(),
        values: match &column.values {
            Values::Int(values) => abi::ColumnValuesParam::Int(values),
            Values::Double(values) => abi::ColumnValuesParam::Double(values),
            Values::Boolean(values) => abi::ColumnValuesParam::Boolean(values),
            Values::Text(texts) => abi::ColumnValuesParam::Text(abi::TextValuesParam {
                offsets: &texts.offsets,
                data: &texts.data,
            }),
        },
    }
}
