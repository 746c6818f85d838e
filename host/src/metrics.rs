//! What Weir measures: each metric declared once, with its name, unit, labels and a sentence.
//!
//! [`Metrics`] holds all of a running pipeline. The threads of the data path write them, once per batch or turn and never
//! per row, and whoever shows them reads them: bars, `weir status`, the heartbeat in the registry. They are atomics
//! without order among them: a reader may see the rows of a batch before its time.
//!
//! Two kinds of counts differ by an open turn. Those of the *pipeline* are what is committed. Those of *steps* are what
//! passed through: a batch counts when all of it went through, so the rows out of a step are those into its readers. Rows
//! that an undone pass or a retried call met once more count for the *module*, which was called with them.
//!
//! Why no crate: `metrics` looks a metric up by name and labels at each call and wants a global recorder; the instruments
//! of `prometheus-client` and `prometheus` are atomics as these are, but know neither units nor a typed snapshot, and tie
//! the data path to an exporter. An exporter stands at the edge: [`Metrics::samples`] gives all that one has to encode
//! (`prometheus-client` encodes such values at scrape time in its `Collector`). Names, units and labels follow Prometheus;
//! `docs/reference/metrics.md` lists them, and a test holds it to [`declared`].

mod declaration;
mod instrument;

pub use declaration::{Declaration, Kind, Sample, Value};
pub use instrument::{
    Amounts, Bounds, Counter, CounterBy, DurationGauge, Durations, Gauge, Histogram, Instrument, KnownGauge,
    TimeCounter, TimeGauge, Variant,
};

use crate::{
    limits::{MEASURED_STEPS_MAX, MEASURED_VERSIONS_MAX},
    model::{
        guest::GuestFailure,
        ids::{IdVec, NodeId},
        rows::KeyedRows,
        turn::{Counts, SinkRows, Turn},
    },
};
use declaration::declare;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reached a state, a table or another sink.
    Applied,
    /// A rule left it out, or a lookup did not find it.
    Filtered,
    /// It could not be processed.
    DeadLetter,
    /// It had an empty payload, or was a tick.
    Empty,
}

impl Variant for Outcome {
    const LABEL: &'static str = "outcome";
    const NAMES: &'static [&'static str] = &["applied", "filtered", "dead_letter", "empty"];

    fn index(self) -> usize {
        self as usize
    }
}

/// How a call of a guest failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It trapped.
    Trap,
    /// It ran longer than it may.
    Timeout,
    /// It wanted more memory than it may have.
    Memory,
    /// Its answer broke the contract.
    Contract,
}

impl Failure {
    /// Which one a call met; nothing where this process is to blame and not the guest.
    pub fn of(failure: &GuestFailure) -> Option<Self> {
        match failure {
            GuestFailure { of_process: true, .. } => None,
            GuestFailure { timed_out: true, .. } => Some(Self::Timeout),
            GuestFailure {
                out_of_memory: true, ..
            } => Some(Self::Memory),
            GuestFailure { of_contract: true, .. } => Some(Self::Contract),
            _ => Some(Self::Trap),
        }
    }
}

impl Variant for Failure {
    const LABEL: &'static str = "kind";
    const NAMES: &'static [&'static str] = &["trap", "timeout", "memory", "contract"];

    fn index(self) -> usize {
        self as usize
    }
}

declare! {
    /// Metrics of a pipeline.
    PipelineMetrics ["pipeline"]
    events: CounterBy<Outcome> = "weir_events_total", "events",
        "Events that are committed, by what became of them.";
    ahead_events: Counter = "weir_ahead_events_total", "events",
        "Events of those that were too far ahead of their store time to move the watermark.";
    late_rows: Counter = "weir_late_rows_total", "rows",
        "Rows that came too late for a step.";
    dead_rows: Counter = "weir_dead_rows_total", "rows",
        "Rows that came because time went on, and that a rule could not take.";
    undecoded_events: Counter = "weir_undecoded_events_total", "events",
        "Events that are dead letters since no step could read their payloads.";
    failed_rows: Counter = "weir_failed_rows_total", "rows",
        "Rows that made a guest trap, run too long or answer wrongly.";
    received_bytes: Counter = "weir_received_bytes_total", "bytes",
        "Bytes of the payloads that came.";
    messages: Counter = "weir_messages_total", "messages",
        "Messages that were handed to the outbox, or dropped in a replay.";
    position: Gauge = "weir_position_sequence", "sequences",
        "The last stream sequence that is committed; of a file the last line.";
    lag_messages: KnownGauge = "weir_lag_messages", "messages",
        "Messages that are not committed: those that wait at the server, as it said last, and those under way.";
    watermark: TimeGauge = "weir_watermark_timestamp_seconds", "seconds",
        "Where the watermark stands, if some step follows it.";
    commit_duration: Histogram<Durations> = "weir_commit_duration_seconds", "seconds",
        "How long commits took.";
    commit_events: Histogram<Amounts> = "weir_commit_events", "events",
        "How many events commits covered.";
    committed_rows: Counter = "weir_committed_rows_total", "rows",
        "Rows of tables that were written or deleted.";
    last_commit: TimeGauge = "weir_last_commit_timestamp_seconds", "seconds",
        "When the last commit ended.";
    last_commit_events: Gauge = "weir_last_commit_events", "events",
        "How many events the last commit covered.";
    last_commit_duration: DurationGauge = "weir_last_commit_duration_seconds", "seconds",
        "How long the last commit took.";
    outbox_messages: KnownGauge = "weir_outbox_messages", "messages",
        "Messages that wait to be published, if the pipeline has any.";
    dead_letters_held: KnownGauge = "weir_dead_letters_held", "dead letters",
        "Dead letters that the database holds.";
    swap_pause: Histogram<Durations> = "weir_swap_pause_seconds", "seconds",
        "How long swaps of modules held up the data path.";
}

declare! {
    /// Metrics of a step.
    StepMetrics ["pipeline", "step"]
    rows_in: Counter = "weir_step_rows_in_total", "rows",
        "Rows that the step read; of a source the events that were decoded.";
    late_rows: Counter = "weir_step_late_rows_total", "rows",
        "Rows that came too late for the step.";
    failed_rows: Counter = "weir_step_failed_rows_total", "rows",
        "Rows that made the guest of the step trap, run too long or answer wrongly.";
    dead_letters: Counter = "weir_step_dead_letters_total", "dead letters",
        "Events and rows that the step could not process.";
    busy: TimeCounter = "weir_step_busy_seconds_total", "seconds",
        "How long the step was at work; for a lookup with the steps that update its table.";
    state_entries: Gauge = "weir_step_state_entries", "entries",
        "Entries of the step's state.";
    state_bytes: Gauge = "weir_step_state_bytes", "bytes",
        "Memory of the step's state: its hash tables, without what long keys and values have outside of them.";
}

declare! {
    /// Metrics of an output of a step: an edge.
    OutputMetrics ["pipeline", "step", "output"]
    rows: Counter = "weir_step_rows_out_total", "rows",
        "Rows that the step gave at an output; one that has no other is named `out`.";
}

declare! {
    /// Metrics of a version of a module, as it runs in a step.
    ModuleMetrics ["pipeline", "step", "version", "role"]
    calls: Counter = "weir_module_calls_total", "calls",
        "Calls of the guest. Version 0 is what the pipeline file names; the role is `live` or `candidate`.";
    rows: Counter = "weir_module_rows_total", "rows",
        "Rows that it was called with; those of a call that failed count again when they are tried again.";
    busy: TimeCounter = "weir_module_busy_seconds_total", "seconds",
        "How long its calls took.";
    failures: CounterBy<Failure> = "weir_module_failures_total", "calls",
        "Calls that failed, by how.";
    instances: Counter = "weir_module_instances_total", "instances",
        "Instances that were made of it: the first, and one after each failure.";
}

/// What identifies a version of a module. An exporter gives it as labels of a constant.
pub const VERSION_INFO: Declaration = Declaration {
    name: "weir_version_info",
    kind: Kind::Gauge,
    unit: "versions",
    labels: &["pipeline", "step", "version", "role", "digest", "rule"],
    variants: None,
    help: "The module of a version: the SHA-256 of its component, and what the rule calls itself. Always 1.",
};

/// Every metric that there is.
pub fn declared() -> impl Iterator<Item = Declaration> {
    let groups = [
        PipelineMetrics::DECLARED,
        StepMetrics::DECLARED,
        OutputMetrics::DECLARED,
        ModuleMetrics::DECLARED,
        &[VERSION_INFO],
    ];
    groups.into_iter().flatten().copied()
}

/// The metrics of a running pipeline.
#[derive(Debug)]
pub struct Metrics {
    name: String,
    /// Those of the pipeline as a whole.
    pub pipeline: PipelineMetrics,
    steps: IdVec<NodeId, Step>,
    modules: Mutex<Vec<Arc<ModuleVersion>>>,
    /// When the last commit ended, from here on: a clock of the machine that is set must not move it.
    begun: Instant,
    committed_ns: KnownGauge,
}

/// The metrics of a step and its outputs.
#[derive(Debug)]
pub struct Step {
    name: String,
    /// Those of the step.
    pub step: StepMetrics,
    outputs: Vec<(String, OutputMetrics)>,
}

/// A version of a module, and its metrics.
#[derive(Debug, Default)]
pub struct ModuleVersion {
    /// The step that it runs in.
    pub step: String,
    /// Its number; 0 for what the pipeline file names.
    pub version: u64,
    /// Whether it decides nothing.
    pub is_candidate: bool,
    /// The SHA-256 of its component.
    pub digest: String,
    /// What the rule calls itself.
    pub rule: String,
    /// The metrics.
    pub metrics: ModuleMetrics,
}

impl ModuleVersion {
    fn role(&self) -> &'static str {
        match self.is_candidate {
            true => "candidate",
            false => "live",
        }
    }
}

impl Step {
    /// Rows came in, and rows went out: so many at each output.
    pub fn count(&self, rows_in: u64, rows_out: impl IntoIterator<Item = u64>) {
        self.step.rows_in.add(rows_in);
        for ((_, output), rows) in self.outputs.iter().zip(rows_out) {
            output.rows.add(rows);
        }
    }
}

impl Metrics {
    /// Those of a pipeline with these steps, each with the names of its outputs.
    pub fn new<'n, O: IntoIterator<Item = &'n str>>(name: &str, steps: impl IntoIterator<Item = (&'n str, O)>) -> Self {
        let steps = steps.into_iter().map(|(name, outputs)| Step {
            name: name.to_owned(),
            step: StepMetrics::default(),
            outputs: outputs
                .into_iter()
                .map(|output| (output.to_owned(), OutputMetrics::default()))
                .collect(),
        });
        Self {
            name: name.to_owned(),
            pipeline: PipelineMetrics::default(),
            steps: steps.collect(),
            modules: Mutex::default(),
            begun: Instant::now(),
            committed_ns: KnownGauge::default(),
        }
    }

    /// The steps, in the order of the plan.
    pub fn steps(&self) -> &IdVec<NodeId, Step> {
        &self.steps
    }

    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Lists a version of a module. Of more than [`MEASURED_VERSIONS_MAX`] the oldest is listed no more.
    pub fn add_module(&self, module: &Arc<ModuleVersion>) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if modules.iter().any(|known| Arc::ptr_eq(known, module)) {
            return;
        }
        if modules.len() >= MEASURED_VERSIONS_MAX {
            modules.remove(0);
        }
        modules.push(module.clone());
    }

    /// Takes note of what a turn holds that is no count of its own. It is committed afterwards.
    pub(crate) fn count_turn(&self, turn: &Turn) -> Committing {
        for letter in &turn.dead_letters {
            match self.step(&letter.step) {
                Some(step) => step.step.dead_letters.add(1),
                None => self.pipeline.undecoded_events.add(1),
            }
        }
        for (step, rows) in &turn.late_rows {
            if let Some(step) = self.step(step) {
                step.step.late_rows.add(*rows);
            }
        }
        let of_sinks = turn.sinks.iter().flatten().map(SinkRows::len);
        let of_tables = turn.tables.iter().map(KeyedRows::len);
        Committing {
            counts: turn.counts,
            position: turn.position,
            failed_rows: turn.failed_rows,
            messages: turn.messages.len() as u64,
            rows: of_sinks.chain(of_tables).sum::<usize>() as u64,
            watermark_ms: turn.watermark_ms,
            pauses: turn.pauses.clone(),
        }
    }

    /// Counts a turn that was committed, which took this long.
    pub(crate) fn committed(&self, turn: &Committing, took: Duration) {
        let pipeline = &self.pipeline;
        self.count(turn.counts);
        pipeline.last_commit_events.set(turn.counts.events);
        pipeline.commit_events.record(turn.counts.events);
        pipeline.failed_rows.add(turn.failed_rows);
        pipeline.messages.add(turn.messages);
        pipeline.committed_rows.add(turn.rows);
        pipeline.position.raise(turn.position);
        if let Some(watermark_ms) = turn.watermark_ms {
            pipeline.watermark.set_ms(watermark_ms);
        }
        for pause in &turn.pauses {
            pipeline.swap_pause.record_time(*pause);
        }
        pipeline.commit_duration.record_time(took);
        pipeline.last_commit_duration.set(took);
        pipeline.last_commit.set_ms(jiff::Timestamp::now().as_millisecond());
        self.committed_ns.set(Some(self.begun.elapsed().as_nanos() as u64));
    }

    /// Counts deliveries, and what became of them.
    pub(crate) fn count(&self, counts: Counts) {
        let pipeline = &self.pipeline;
        pipeline.events.add(Outcome::Applied, counts.applied);
        pipeline.events.add(Outcome::Filtered, counts.filtered);
        pipeline.events.add(Outcome::DeadLetter, counts.dead_letters);
        pipeline.events.add(Outcome::Empty, counts.empty);
        pipeline.late_rows.add(counts.late_rows);
        pipeline.ahead_events.add(counts.ahead_events);
        pipeline.dead_rows.add(counts.dead_rows);
    }

    /// What became of the deliveries since the start.
    pub fn counts(&self) -> Counts {
        let pipeline = &self.pipeline;
        Counts {
            events: pipeline.events.sum(),
            applied: pipeline.events.get(Outcome::Applied),
            filtered: pipeline.events.get(Outcome::Filtered),
            dead_letters: pipeline.events.get(Outcome::DeadLetter),
            empty: pipeline.events.get(Outcome::Empty),
            late_rows: pipeline.late_rows.get(),
            ahead_events: pipeline.ahead_events.get(),
            dead_rows: pipeline.dead_rows.get(),
        }
    }

    /// Deliveries that are committed, since the start.
    pub fn events(&self) -> u64 {
        self.pipeline.events.sum()
    }

    /// Rows that came too late since the start, by step, without steps that had none.
    pub fn late_rows(&self) -> BTreeMap<String, u64> {
        let steps = self
            .steps
            .iter()
            .map(|step| (step.name.clone(), step.step.late_rows.get()));
        steps.filter(|(_, rows)| *rows > 0).collect()
    }

    /// When the last commit ended; nothing before the first since the start.
    pub fn last_commit(&self) -> Option<Instant> {
        Some(self.begun + Duration::from_nanos(self.committed_ns.get()?))
    }

    /// Every value of every metric.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let pipeline = self.name.as_str();
        self.pipeline.sample(&[pipeline], &mut samples);
        for step in &self.steps {
            step.step.sample(&[pipeline, &step.name], &mut samples);
            for (output, metrics) in &step.outputs {
                metrics.sample(&[pipeline, &step.name, output], &mut samples);
            }
        }
        for module in self.modules.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (version, role) = (module.version.to_string(), module.role());
            let labels = [pipeline, &module.step, &version, role];
            module.metrics.sample(&labels, &mut samples);
            let labels = VERSION_INFO.labels.iter();
            let values = [pipeline, &module.step, &version, role, &module.digest, &module.rule];
            samples.push(Sample {
                metric: VERSION_INFO,
                labels: labels
                    .zip(values)
                    .map(|(name, value)| (*name, value.to_owned()))
                    .collect(),
                value: Value::Number(1.0),
            });
        }
        samples
    }

    /// The numbers of the steps, of at most [`MEASURED_STEPS_MAX`].
    pub fn step_numbers(&self) -> Vec<StepNumbers> {
        let steps = self.steps.iter().take(MEASURED_STEPS_MAX);
        steps.map(StepNumbers::of).collect()
    }

    /// The numbers of the modules that were called.
    pub fn module_numbers(&self) -> Vec<ModuleNumbers> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.iter().map(|module| ModuleNumbers::of(module)).collect()
    }
}

/// What a turn holds that counts once it is committed.
#[derive(Debug)]
pub(crate) struct Committing {
    counts: Counts,
    position: u64,
    failed_rows: u64,
    messages: u64,
    rows: u64,
    watermark_ms: Option<i64>,
    pauses: Vec<Duration>,
}

/// The numbers of a step at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepNumbers {
    /// The step.
    pub step: String,
    /// Rows that it read.
    pub rows_in: u64,
    /// Rows that it gave, by output.
    pub rows_out: BTreeMap<String, u64>,
    /// Rows that came too late for it.
    pub late_rows: u64,
    /// Rows that made its guest fail.
    pub failed_rows: u64,
    /// Events and rows that it could not process.
    pub dead_letters: u64,
    /// How long it was at work, in milliseconds.
    pub busy_ms: u64,
    /// Entries of its state.
    pub state_entries: u64,
    /// Memory of its state's tables.
    pub state_bytes: u64,
}

impl StepNumbers {
    fn of(step: &Step) -> Self {
        let outputs = step.outputs.iter();
        Self {
            step: step.name.clone(),
            rows_in: step.step.rows_in.get(),
            rows_out: outputs
                .map(|(name, output)| (name.clone(), output.rows.get()))
                .collect(),
            late_rows: step.step.late_rows.get(),
            failed_rows: step.step.failed_rows.get(),
            dead_letters: step.step.dead_letters.get(),
            busy_ms: millis(step.step.busy.get()),
            state_entries: step.step.state_entries.get(),
            state_bytes: step.step.state_bytes.get(),
        }
    }
}

/// The numbers of a version of a module at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleNumbers {
    /// The step that it runs in.
    pub step: String,
    /// Its number; 0 for what the pipeline file names.
    pub version: u64,
    /// Whether it decides nothing.
    pub candidate: bool,
    /// Calls.
    pub calls: u64,
    /// Rows that it was called with.
    pub rows: u64,
    /// How long its calls took, in milliseconds.
    pub busy_ms: u64,
    /// Calls that failed.
    pub failures: u64,
}

impl ModuleNumbers {
    fn of(module: &ModuleVersion) -> Self {
        let metrics = &module.metrics;
        Self {
            step: module.step.clone(),
            version: module.version,
            candidate: module.is_candidate,
            calls: metrics.calls.get(),
            rows: metrics.rows.get(),
            busy_ms: millis(metrics.busy.get()),
            failures: metrics.failures.sum(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests;
