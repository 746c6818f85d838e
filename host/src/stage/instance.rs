//! A running guest: calls with bounds, and the search for the rows that make a call fail.

use super::{
    answer::{Answer, OutputRows, RejectedRow, shorten},
    bindings::{StageComponent, StageComponentPre, exports::weir::stage::stage as abi},
    description::{Description, OutputSpec, ParameterValue},
    host::{GuestContext, Module, StageHost},
};
use crate::{
    column::{Column, Values},
    definition::StageLimits,
    limits::{EPOCH_TICK, GUEST_DEADLINE, GUEST_MEMORY_BYTES, GUEST_OUTPUT_BYTES},
};
use std::{fmt, sync::Arc, time::Duration};
use wasmtime::{Store, StoreLimitsBuilder, Trap, WasmBacktrace};

/// Why a call of a guest gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFailure(String);

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Judged {
    /// The answer; rows that made the guest fail are among the rejected.
    pub answer: Answer,
    /// How many rows made the guest trap, run too long, or answer wrongly.
    pub failed_rows: u64,
}

/// Bounds on one guest.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    memory_bytes: usize,
    output_bytes: usize,
    deadline: Duration,
}

impl Bounds {
    fn new(limits: &StageLimits) -> Self {
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

/// A guest that can be called. It is instantiated at the first call and again after each failure.
pub struct Instance {
    host: StageHost,
    module: Arc<Module>,
    parameters: Vec<(String, ParameterValue)>,
    bounds: Bounds,
    live: Option<Live>,
}

struct Live {
    store: Store<GuestContext>,
    component: StageComponent,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// A guest with its parameters, every one that its description lists.
    pub fn new(
        host: &StageHost,
        module: Arc<Module>,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        Self {
            host: host.clone(),
            module,
            parameters,
            bounds: Bounds::new(limits),
            live: None,
        }
    }

    /// The component that runs here.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Instantiates and configures the guest now.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub fn configure(&mut self) -> Result<(), StageFailure> {
        self.live().map(|_| ())
    }

    /// What the guest of `pre` says of itself.
    pub(super) fn describe(
        host: &StageHost,
        pre: &StageComponentPre<GuestContext>,
    ) -> Result<Description, StageFailure> {
        let bounds = Bounds::new(&StageLimits::default());
        let mut live = Live::new(host, pre, bounds, "?")?;
        live.begin_call(bounds);
        let given = live.component.weir_stage_stage().call_describe(&mut live.store);
        let given = given.map_err(|cause| live.failure(&cause, bounds))?;
        Description::from_guest(given).map_err(StageFailure)
    }

    fn live(&mut self) -> Result<&mut Live, StageFailure> {
        let live = match self.live.take() {
            Some(live) => live,
            None => {
                let mut live = Live::new(&self.host, &self.module.pre, self.bounds, &self.module.description.name)?;
                live.configure(&self.parameters, self.bounds)?;
                live
            }
        };
        Ok(self.live.insert(live))
    }

    /// Calls the guest with `columns` (those of its description, in order), each of `row_count` rows, and the time of
    /// each row (empty when the rule does not read it).
    ///
    /// Rows that make it fail are found by halving the batch; each costs itself and no other row.
    pub fn judge(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Judged {
        match self.call(row_count, times_ms, columns) {
            Ok(answer) => Judged { answer, failed_rows: 0 },
            Err(failure) => self.isolate(row_count, times_ms, columns, failure),
        }
    }

    fn isolate(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column], failure: StageFailure) -> Judged {
        if row_count <= 1 {
            let nothing = |output: &OutputSpec| OutputRows {
                rows: Vec::new(),
                computed: output
                    .computed
                    .iter()
                    .map(|f| Column::with_capacity(f.column_type, 0))
                    .collect(),
            };
            let answer = Answer {
                outputs: self.module.description.outputs.iter().map(nothing).collect(),
                rejected: vec![RejectedRow {
                    row: 0,
                    reason: shorten(failure.0),
                }],
            };
            return Judged { answer, failed_rows: 1 };
        }
        let middle = row_count / 2;
        let mut judged = Judged::default();
        for (start, end) in [(0, middle), (middle, row_count)] {
            let rows: Vec<u32> = (start..end).collect();
            let parts: Vec<Column> = columns.iter().map(|column| column.gather(&rows)).collect();
            let times = times_ms.get(start as usize..end as usize).unwrap_or_default();
            let part = self.judge(end - start, times, &parts.iter().collect::<Vec<_>>());
            judged.answer.append(part.answer, start);
            judged.failed_rows += part.failed_rows;
        }
        judged
    }

    fn call(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Result<Answer, StageFailure> {
        let bounds = self.bounds;
        let live = self.live()?;
        let columns: Vec<abi::ColumnParam<'_>> = columns.iter().map(|column| lower(column)).collect();
        live.begin_call(bounds);
        let batch = abi::Batch {
            row_count,
            times_ms,
            columns: &columns,
        };
        let given = live.component.weir_stage_stage().call_process(&mut live.store, batch);
        let answer = given.map_err(|cause| live.failure(&cause, bounds)).and_then(|given| {
            Answer::from_guest(given, row_count, &self.module.description)
                .map_err(|what| StageFailure(format!("the rule broke the contract: {what}")))
        });
        if answer.is_err() {
            // An instance that trapped takes no further calls, and one that answers wrongly is not trusted.
            self.live = None;
        }
        answer
    }
}

fn lower(column: &Column) -> abi::ColumnParam<'_> {
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

impl Live {
    fn new(
        host: &StageHost,
        pre: &StageComponentPre<GuestContext>,
        bounds: Bounds,
        name: &str,
    ) -> Result<Self, StageFailure> {
        let limits = StoreLimitsBuilder::new().memory_size(bounds.memory_bytes).build();
        let context = GuestContext {
            limits,
            last_error: None,
            log_lines: 0,
            name: name.to_owned(),
        };
        let mut store = Store::new(host.engine(), context);
        store.limiter(|context| &mut context.limits);
        store.set_epoch_deadline(ticks(bounds.deadline));
        // Bounds what an answer may make the host allocate, also when its lists overlap in the guest's memory.
        store.set_hostcall_fuel(bounds.output_bytes);
        match pre.instantiate(&mut store) {
            Ok(component) => Ok(Self { store, component }),
            Err(cause) => Err(StageFailure(format!("the rule cannot be instantiated: {cause:#}"))),
        }
    }

    fn begin_call(&mut self, bounds: Bounds) {
        self.store.set_epoch_deadline(ticks(bounds.deadline));
        let context = self.store.data_mut();
        context.last_error = None;
        context.log_lines = 0;
    }

    fn configure(&mut self, parameters: &[(String, ParameterValue)], bounds: Bounds) -> Result<(), StageFailure> {
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
            Ok(Err(message)) => Err(StageFailure(shorten(message))),
            Err(cause) => Err(self.failure(&cause, bounds)),
        }
    }

    /// What to say of a call that failed.
    fn failure(&mut self, cause: &wasmtime::Error, bounds: Bounds) -> StageFailure {
        let what = match (cause.downcast_ref::<Trap>(), self.store.data_mut().last_error.take()) {
            (Some(Trap::Interrupt), _) => format!("the rule ran longer than {} ms", bounds.deadline.as_millis()),
            (_, Some(message)) => format!("the rule panicked: {message}"),
            (Some(trap), None) => format!("the rule trapped: {trap}"),
            (None, None) => format!("the rule failed: {}", cause.root_cause()),
        };
        let frames: Vec<String> = cause
            .downcast_ref::<WasmBacktrace>()
            .map(WasmBacktrace::frames)
            .unwrap_or_default()
            .iter()
            .filter_map(|frame| frame.func_name())
            .filter(|name| {
                !["panic", "rust_begin_unwind", "__rust", "cabi_"]
                    .iter()
                    .any(|noise| name.contains(noise))
            })
            .map(without_hash)
            .take(5)
            .collect();
        StageFailure(if frames.is_empty() {
            what
        } else {
            format!("{what}; in {}", frames.join(", called by "))
        })
    }
}

/// A function's name without the hash that the compiler adds.
fn without_hash(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path.to_owned(),
        _ => name.to_owned(),
    }
}

/// Ticks of the epoch clock that cover `deadline`; one more, since the first may come at once.
fn ticks(deadline: Duration) -> u64 {
    (deadline.as_millis() / EPOCH_TICK.as_millis()) as u64 + 1
}
