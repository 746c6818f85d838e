//! One instantiated guest, and calls into it within bounds.

use super::{
    check::shorten,
    compile::want_of_process,
    context::GuestContext,
    contract::{Kind, Version},
    deadline::{Meter, Over},
    guest::Code,
    host::StageHost,
    limiter::{Full, Room},
    lines::Lines,
    log::Said,
};
use crate::{
    definition::{Spanned, StageLimits},
    fail_point,
    limits::{GUEST_CALLS_MAX, GUEST_DEADLINE, GUEST_HANDLES_MAX, GUEST_MEMORY_BYTES, GUEST_OUTPUT_BYTES},
    model::guest::{GuestFailure, ParameterValue},
};
use std::{sync::Arc, time::Duration};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace, component::InstancePre};

/// Bounds on one guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    memory_bytes: usize,
    output_bytes: usize,
    deadline: Duration,
}

impl Bounds {
    pub(super) fn new(limits: &StageLimits) -> Self {
        let mib = |given: &Option<Spanned<u64>>, default: usize| {
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
    type Description: PartialEq;
    /// What it exports.
    const KIND: &'static Kind;

    /// Makes a component ready that was found to be of this world in that version of the contract.
    fn prepare(pre: InstancePre<GuestContext>, version: Version) -> wasmtime::Result<Self::Pre>;

    fn name(description: &Self::Description) -> &str;

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

/// A guest with its store.
pub(super) struct Live<W> {
    store: Store<GuestContext>,
    guest: W,
    lines: Arc<Lines>,
    /// Calls of its work that ended well.
    calls: u32,
    /// Bytes that were taken when it was configured.
    configured: usize,
    /// Bytes that were taken after its first call.
    settled: usize,
}

impl<W: World> Live<W> {
    /// Instantiates the guest.
    pub(super) fn new(host: &StageHost, code: &Code<W>, bounds: Bounds) -> Result<Self, GuestFailure> {
        let Code {
            pre, lines, host_bytes, ..
        } = code;
        let host_bytes = *host_bytes;
        let context = GuestContext {
            room: Room::new(bounds.memory_bytes, host_bytes),
            meter: Meter::new(host.ticks()),
            last_error: None,
            log: Vec::new(),
            log_dropped: 0,
            name: code.name.clone(),
            whose: host.whose.clone(),
            attachment: code.attachment.clone(),
        };
        let mut store = Store::new(host.engine(), context);
        store.limiter(|context| &mut context.room);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().meter.look() {
                Some(ticks) => UpdateDeadline::Continue(ticks),
                None => UpdateDeadline::Interrupt,
            })
        });
        // Bounds what an answer may make the host allocate, also when its lists overlap in the guest's memory.
        store.set_hostcall_fuel(bounds.output_bytes);
        store.set_max_component_handles(GUEST_HANDLES_MAX);
        begin(&mut store, bounds);
        let instantiated = match host_bytes > bounds.memory_bytes {
            true => Err(Full::Limit.into()),
            false => W::instantiate(pre, &mut store),
        };
        match instantiated {
            Ok(guest) => Ok(Self {
                store,
                guest,
                lines: lines.clone(),
                calls: 0,
                configured: 0,
                settled: 0,
            }),
            Err(cause) => {
                let failure = failure(&mut store, lines, &cause, bounds);
                let reason = format!("the rule cannot be instantiated: {failure}");
                Err(GuestFailure { reason, ..failure })
            }
        }
    }

    /// What the guest says of itself.
    pub(super) fn describe(&mut self, bounds: Bounds) -> Result<W::Description, GuestFailure> {
        fail_point::pass("in-describe");
        self.call(bounds, W::describe)?.map_err(GuestFailure::new)
    }

    /// Sets the guest up; to be called once, before all that is its work.
    pub(super) fn configure(
        &mut self,
        parameters: &[(String, ParameterValue)],
        bounds: Bounds,
    ) -> Result<(), GuestFailure> {
        fail_point::pass("in-configure");
        self.call(bounds, |guest, store| guest.configure(store, parameters))?
            .map_err(|message| GuestFailure::new(shorten(message)))?;
        self.configured = self.store.data().room.taken();
        Ok(())
    }

    /// A call of the guest's work, whose lines are written when it ends well. `said` is what it said before.
    pub(super) fn work<T>(
        &mut self,
        bounds: Bounds,
        said: &mut Said,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
    ) -> Result<T, GuestFailure> {
        let given = self.call(bounds, call)?;
        self.store.data_mut().write_log(said);
        if self.calls == 0 {
            self.settled = self.store.data().room.taken();
        }
        self.calls += 1;
        Ok(given)
    }

    /// Whether it had a call of its work.
    pub(super) fn is_used(&self) -> bool {
        self.calls > 0
    }

    /// Whether it is time for a new instance: this one had many calls, or has taken half of the memory that was left, so
    /// that what leaks never reaches the bound. What the first call takes is what the work needs, and no leak, unless it
    /// is known that the rule leaks.
    pub(super) fn is_worn(&self, leaks: bool) -> bool {
        let before = if leaks { self.configured } else { self.settled };
        self.calls >= GUEST_CALLS_MAX || self.calls > 0 && self.store.data().room.is_short_since(before)
    }

    fn call<T>(
        &mut self,
        bounds: Bounds,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
    ) -> Result<T, GuestFailure> {
        begin(&mut self.store, bounds);
        call(&self.guest, &mut self.store).map_err(|cause| failure(&mut self.store, &self.lines, &cause, bounds))
    }
}

/// Lets a call begin, of which nothing is left of those before.
fn begin(store: &mut Store<GuestContext>, bounds: Bounds) {
    let context = store.data_mut();
    context.begin_call();
    let ticks = context.meter.begin(bounds.deadline);
    store.set_epoch_deadline(ticks);
}

/// What to say of a call that failed.
fn failure(store: &mut Store<GuestContext>, lines: &Lines, cause: &wasmtime::Error, bounds: Bounds) -> GuestFailure {
    fail_point::pass("in-trap");
    let trap = cause.downcast_ref::<Trap>();
    let full = cause.downcast_ref::<Full>();
    let want = want_of_process(cause);
    let what = match (trap, store.data_mut().last_error.take()) {
        (Some(Trap::Interrupt), _) => ran_too_long(store.data().meter.over(), bounds),
        (Some(Trap::UnreachableCodeReached), Some(message)) => format!("the rule panicked: {message}"),
        (Some(trap), _) => {
            let trap = trap.to_string();
            format!("the rule trapped: {}", trap.trim_start_matches("wasm trap: "))
        }
        (None, _) => match full {
            Some(Full::Limit) => format!("the rule needs more than {} MiB of memory", bounds.memory_bytes >> 20),
            Some(full) => format!("the rule failed: {full}"),
            None => {
                // wasmtime has no types for these two; in other words than these they would still be understood.
                let cause = cause.root_cause().to_string();
                if cause.contains("fuel allocated for hostcalls") {
                    format!("the answer has more than {} MiB", bounds.output_bytes >> 20)
                } else if cause.contains("handle limit exceeded") {
                    format!("the rule holds more than {GUEST_HANDLES_MAX} handles of resources")
                } else if let Some(want) = want {
                    format!("the rule failed: {cause}: {want}")
                } else {
                    format!("the rule failed: {cause}")
                }
            }
        },
    };
    let backtrace = cause.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map(|trace| lines.frames(trace)).unwrap_or_default();
    let reason = match frames.is_empty() {
        true => what,
        false => format!("{what}; in {}", frames.join(", called by ")),
    };
    GuestFailure {
        reason,
        timed_out: matches!(trap, Some(Trap::Interrupt)),
        out_of_memory: matches!(full, Some(Full::Limit)),
        of_process: want.is_some(),
        of_contract: false,
        used: false,
    }
}

fn ran_too_long(over: Option<Over>, bounds: Bounds) -> String {
    match over {
        Some(Over::Wall(spent)) => format!(
            "the rule was not done after {} s, in which it had the processor for {} ms of its {}: this machine has too much \
             to do",
            spent.wall.as_secs(),
            spent.own.as_millis(),
            bounds.deadline.as_millis()
        ),
        _ => format!("the rule ran longer than {} ms", bounds.deadline.as_millis()),
    }
}
