//! Shadows: a candidate beside a stage, over the same rows, that decides nothing.
//!
//! It runs on a thread of its own, behind a short queue. A batch that finds the queue full passes the candidate by, and is
//! counted: what is live never waits for it. The report says how many rows would have come out otherwise, with examples; and
//! where the stage reads a changelog, which current rows would be others.

pub(super) mod current;
mod report;

pub use current::{Compared, ComparisonReady};
pub use report::{CurrentExample, CurrentRows, ShadowExample, ShadowReport};

pub(super) use current::Comparison;

use super::verdicts::{Events, Verdicts, ask_at};
use crate::{
    error::{Context, Error, Result, take_defect},
    limits::{
        BATCH_EVENTS_MAX, SHADOW_BATCHES_MAX, SHADOW_EXAMPLES_MAX, SHADOW_ROWS_SHOWN_MAX, SHADOW_VALUE_CHARS_MAX,
    },
    metrics::ModuleVersion,
    model::{
        batch::Batch,
        column::{Column, ColumnType, Field, Value},
        guest::Patience,
        ids::NodeId,
    },
    plan::{GuestHost, NodeKind, Plan, RunningStage, StageColumn, StagePlan},
    text::printable,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    collections::{BTreeMap, HashSet},
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A candidate that runs. Its thread ends with its feed; and when this is dropped, after the call that is under way.
#[derive(Debug)]
pub struct Shadow {
    report: Arc<Mutex<ShadowReport>>,
    shed: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    /// What is found of the current rows.
    current: current::Shared,
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The way to a candidate.
#[derive(Debug)]
pub struct ShadowFeed {
    work: Sender<Work>,
    measured: Option<Arc<ModuleVersion>>,
    shed: Arc<AtomicU64>,
}

/// A batch as the stage saw it, and what it said. All rows go by their numbers in the batch.
#[derive(Debug)]
struct Work {
    plan: Arc<Plan>,
    at: NodeId,
    input: Batch,
    times_ms: Vec<i64>,
    /// Of each row.
    sequences: Vec<u64>,
    live: Verdicts,
}

impl Shadow {
    /// Starts the candidate that `plan` has beside the step `step`.
    ///
    /// # Errors
    /// When there is none, or it fails before its first batch.
    pub fn start(plan: &Plan, step: &str, host: &dyn GuestHost) -> Result<(Self, ShadowFeed)> {
        let stage = plan.stage(step)?;
        let candidate = stage.shadow.as_deref();
        let candidate = candidate.ok_or_else(|| Error::definition(format!("step \"{step}\" has no candidate")))?;
        let mut instance = candidate.guest(host, candidate.deployment.whose(step).as_candidate());
        instance
            .configure()
            .and_then(|()| instance.warm_up())
            .map_err(|failure| failure.error(format!("the candidate for step \"{step}\": {failure}")))?;
        let report = Arc::new(Mutex::new(ShadowReport {
            candidate: candidate.deployment.clone(),
            live: stage.deployment.version,
            ..Default::default()
        }));
        let shed = Arc::new(AtomicU64::new(0));
        let (work, todo) = bounded(SHADOW_BATCHES_MAX);
        let reported = report.clone();
        let (is_over, measured) = (instance.over(), instance.measured().cloned());
        let ends = is_over.clone();
        std::thread::Builder::new()
            .name("weir-shadow".to_owned())
            .spawn(move || run(&mut *instance, &todo, &reported, &ends))
            .environment(|| "cannot start a thread".to_owned())?;
        let feed = ShadowFeed {
            work,
            measured,
            shed: shed.clone(),
        };
        let shadow = Self {
            report,
            shed,
            is_over,
            current: current::Shared::default(),
        };
        Ok((shadow, feed))
    }

    /// Gets ready to compare the current rows that the step `step` of `running` reads with what would come of them under
    /// `plan`, where the candidate is in its place. Nothing where it reads no changelog. Where they cannot be compared, the
    /// report says so.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where the plans are not of one pipeline file.
    pub fn compare(
        &self,
        step: &str,
        running: &Arc<Plan>,
        plan: Result<Arc<Plan>>,
        host: &dyn GuestHost,
    ) -> Result<Option<ComparisonReady>> {
        let node = running.nodes.iter().find(|node| node.name == step);
        match node.is_some_and(|node| running.is_changelog(node.input)) {
            true => current::prepare(step, running, plan, host, &self.current),
            false => Ok(None),
        }
    }

    /// What it found so far.
    pub fn report(&self) -> ShadowReport {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        ShadowReport {
            shed: self.shed.load(Ordering::Relaxed),
            current: current::report_of(&self.current),
            ..report.clone()
        }
    }
}

impl ShadowFeed {
    /// What the calls of the candidate come to.
    pub(super) fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        self.measured.as_ref()
    }

    /// Shows a batch, whose rows go by their numbers, to the candidate, unless it is behind.
    pub(super) fn offer(&self, plan: Arc<Plan>, at: NodeId, input: Batch, events: Events<'_>, live: Verdicts) {
        let rows = input.len() as u64;
        if self.work.is_full() {
            self.shed.fetch_add(rows, Ordering::Relaxed);
            return;
        }
        let candidate = candidate_of(&plan, at).map(|(_, candidate)| candidate);
        let times_ms = candidate.map(|candidate| events.times(candidate, &input));
        let work = Work {
            times_ms: times_ms.unwrap_or_default(),
            sequences: input.deliveries.iter().map(|&row| events.sequence(row)).collect(),
            input,
            plan,
            at,
            live,
        };
        // The queue is full, or the candidate ended.
        if self.work.try_send(work).is_err() {
            self.shed.fetch_add(rows, Ordering::Relaxed);
        }
    }
}

/// The stage, and the candidate beside it.
fn candidate_of(plan: &Plan, at: NodeId) -> Option<(&StagePlan, &StagePlan)> {
    match &plan.nodes.get(at)?.kind {
        NodeKind::Stage(stage) => Some((stage, stage.shadow.as_deref()?)),
        _ => None,
    }
}

fn run(guest: &mut dyn RunningStage, todo: &Receiver<Work>, report: &Mutex<ShadowReport>, is_over: &AtomicBool) {
    let mut seen = Seen::default();
    for work in todo {
        let Some((stage, candidate)) = candidate_of(&work.plan, work.at) else {
            continue;
        };
        let fresh = seen.note(&work.sequences);
        let said = ask_at(guest, candidate, &work.input, &work.times_ms, Patience::Endless);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let schema = schema_of(&work);
        let live = Said::new(&work.input, schema, &work.live, stage);
        let other = Said::new(&work.input, schema, &said, candidate);

        let mut found = report.lock().unwrap_or_else(PoisonError::into_inner);
        // It decides nothing, so the pipeline goes on without it.
        if let Err(defect) = take_defect() {
            tracing::error!("the candidate {} ends: {defect}", candidate.module.description.name);
            found.refused = Some(defect.to_string());
            break;
        }
        found.live = stage.deployment.version;
        found.failed_rows += said.failed_rows;
        let first_sequence = work.sequences.first().copied().unwrap_or(0);
        if found.first_sequence == 0 {
            found.first_sequence = first_sequence;
        }
        found.last_sequence = work.sequences.last().copied().unwrap_or(0).max(found.last_sequence);
        for (row, _) in fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
            found.rows += 1;
            let count = match (live.rejected.contains_key(&row), other.rejected.contains_key(&row)) {
                (true, true) => continue,
                (false, true) => &mut found.rejected,
                _ if live.same(&other, row) => continue,
                _ => match (live.gives(row), other.gives(row)) {
                    (false, true) => &mut found.added,
                    (true, false) => &mut found.missing,
                    _ => &mut found.changed,
                },
            };
            *count += 1;
            if found.examples.len() < SHADOW_EXAMPLES_MAX {
                found.examples.push(ShadowExample {
                    sequence: work.sequences.get(row).copied().unwrap_or(0),
                    input: input_of(schema, &work.input, stage, row),
                    live: live.lines(row),
                    candidate: other.lines(row),
                });
            }
        }
    }
}

/// The columns that the rule is given.
fn schema_of(work: &Work) -> &[Field] {
    let port = work.plan.nodes.get(work.at).map(|node| node.input);
    port.map(|port| work.plan.schema(port)).unwrap_or_default()
}

/// The columns of a row that tell it apart, as far as that is known (the first ones), and those that the rule reads.
pub(super) fn input_of(schema: &[Field], input: &Batch, stage: &StagePlan, row: usize) -> Vec<(String, String)> {
    const FIRST: usize = 2;
    let columns = schema.iter().zip(&input.columns).enumerate();
    columns
        .filter(|(at, _)| *at < FIRST || stage.inputs.contains(at))
        .map(|(_, (field, column))| (field.name.clone(), shown(field.column_type, column.get(row))))
        .collect()
}

/// The sequences of the last rows: those of a batch that was undone come once more.
#[derive(Default)]
struct Seen {
    now: HashSet<u64>,
    before: HashSet<u64>,
}

impl Seen {
    /// For each row of a batch whether its event is seen for the first time. An event may have several rows.
    fn note(&mut self, sequences: &[u64]) -> Vec<bool> {
        let is_known = |sequence| self.before.contains(sequence) || self.now.contains(sequence);
        let fresh = sequences.iter().map(|sequence| !is_known(sequence)).collect();
        if self.now.len() >= 4 * BATCH_EVENTS_MAX {
            self.before = mem::take(&mut self.now);
        }
        self.now.extend(sequences);
        fresh
    }
}

/// What a guest made of each row of a batch.
pub(super) struct Said<'s> {
    /// By the name of the output.
    outputs: BTreeMap<&'s str, Given<'s>>,
    rejected: BTreeMap<usize, &'s str>,
}

struct Given<'s> {
    /// For each row of the input its rows in this output.
    rows: Vec<Range<usize>>,
    /// By name.
    columns: BTreeMap<&'s str, (ColumnType, &'s Column)>,
}

impl<'s> Said<'s> {
    pub(super) fn new(input: &Batch, schema: &[Field], verdicts: &'s Verdicts, guest: &'s StagePlan) -> Self {
        let mut outputs = BTreeMap::new();
        for (batch, output) in verdicts.outputs.iter().zip(&guest.outputs) {
            let described = output
                .index
                .and_then(|index| guest.module.description.outputs.get(index));
            let Some(described) = described else { continue };
            let mut rows = vec![0..0; input.len()];
            let mut end = 0;
            for same in batch.deliveries.chunk_by(|a, b| a == b) {
                let start = end;
                end += same.len();
                if let Some(place) = same.first().and_then(|row| rows.get_mut(*row as usize)) {
                    *place = start..end;
                }
            }
            let columns = output.names.iter().map(String::as_str);
            let types = output.columns.iter().map(|column| match column {
                StageColumn::Passed(at) => schema.get(*at).map(|field| field.column_type),
                StageColumn::Computed(at) => described.computed.get(*at).map(|field| field.column_type),
            });
            let types = types.map(|column_type| column_type.unwrap_or(ColumnType::Text));
            let columns = columns.zip(types.zip(batch.columns.iter().map(|column| &**column)));
            let columns = columns.collect();
            outputs.insert(described.name.as_str(), Given { rows, columns });
        }
        let rejected = verdicts.rejected.iter();
        Self {
            outputs,
            rejected: rejected.map(|row| (row.row as usize, row.reason.as_str())).collect(),
        }
    }

    /// Whether both make the same of a row that neither rejects.
    fn same(&self, other: &Self, row: usize) -> bool {
        self.same_as(row, other, row)
    }

    /// Whether the same was made of a row as of that row in another batch, where neither was rejected.
    pub(super) fn same_as(&self, row: usize, other: &Self, other_row: usize) -> bool {
        let nothing = Given::nothing();
        self.outputs.keys().chain(other.outputs.keys()).all(|name| {
            let (given, others) = (
                self.outputs.get(name).unwrap_or(&nothing),
                other.outputs.get(name).unwrap_or(&nothing),
            );
            let (rows, others_rows) = (given.rows(row), others.rows(other_row));
            if rows.is_empty() && others_rows.is_empty() {
                return true;
            }
            let mut pairs = rows.clone().zip(others_rows.clone());
            rows.len() == others_rows.len()
                && given.columns.len() == others.columns.len()
                && pairs.all(|(at, others_at)| {
                    let same = |(name, (_, column)): (&&str, &(ColumnType, &Column))| {
                        let others = others.columns.get(name);
                        others.is_some_and(|(_, others)| others.get(others_at) == column.get(at))
                    };
                    given.columns.iter().all(same)
                })
        })
    }

    /// Whether it lets a row through.
    fn gives(&self, row: usize) -> bool {
        self.outputs.values().any(|given| !given.rows(row).is_empty())
    }

    /// What it makes of a row, for people.
    pub(super) fn lines(&self, row: usize) -> Vec<String> {
        if let Some(reason) = self.rejected.get(&row) {
            return vec![format!("rejected: {}", cut(&printable(reason)))];
        }
        let mut lines = Vec::new();
        for (output, given) in &self.outputs {
            let rows = given.rows(row);
            for at in rows.clone().take(SHADOW_ROWS_SHOWN_MAX) {
                let columns = given.columns.iter();
                let columns: Vec<String> = columns
                    .map(|(name, (column_type, column))| format!("{name} = {}", shown(*column_type, column.get(at))))
                    .collect();
                lines.push(format!("{output}: {}", columns.join(", ")));
            }
            if rows.len() > SHADOW_ROWS_SHOWN_MAX {
                lines.push(format!("{output}: {} rows in all", rows.len()));
            }
        }
        match lines.is_empty() {
            true => vec!["left out".to_owned()],
            false => lines,
        }
    }
}

impl Given<'_> {
    fn nothing() -> Self {
        Self {
            rows: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    fn rows(&self, row: usize) -> Range<usize> {
        self.rows.get(row).cloned().unwrap_or_default()
    }
}

/// A value as a report shows it.
fn shown(column_type: ColumnType, value: Value<'_>) -> String {
    let text = column_type.text(value);
    text.map_or("null".to_owned(), |text| cut(&printable(&text)))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHADOW_VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::verdicts::numbered, *};
    use crate::{
        definition::File,
        format::Decoder,
        model::{
            column::{ColumnType, Field},
            deployment::{Deployment, Whose},
            guest::{Answer, OutputRows, OutputSpec},
            ids::InputId,
        },
        plan::{StageVersion, StepVersions, double::Closures},
    };

    #[test]
    fn each_row_of_an_event_counts_and_counts_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(&[1, 1, 2]), [true, true, true]);
        assert_eq!(
            seen.note(&[2, 2, 3, 3]),
            [false, false, true, true],
            "the batch was undone"
        );
    }

    #[test]
    fn a_candidate_whose_answer_weir_mistakes_ends_and_says_why() {
        let output = || OutputSpec {
            name: "out".to_owned(),
            passed: vec![("n".to_owned(), "n".to_owned())],
            computed: Vec::new(),
            many: false,
        };
        let input = || Field {
            name: "n".to_owned(),
            column_type: ColumnType::Int,
            nullable: true,
        };
        let all = |rows: u32, _: &[&Column]| Answer {
            outputs: vec![OutputRows {
                rows: (0..rows).collect(),
                computed: Vec::new(),
            }],
            rejected: Vec::new(),
        };
        let host = Closures::default()
            .with_stage("all", vec![input()], vec![output()], all)
            .with_stage("no-output", vec![input()], vec![output()], |_, _| Answer::default());
        let text = r#"
            name = "numbers"
            source = { stream = "S", subject = "numbers", columns = { n = "int" } }
            step = [{ name = "pass", stage = { module = "all" } }]
            sink = [{ subject = "out" }]
        "#;
        let shadow = StageVersion {
            module: host.load_stage("no-output".as_ref(), Whose::default()).unwrap(),
            deployment: Deployment::default(),
        };
        let versions = StepVersions {
            shadow: Some(shadow),
            ..StepVersions::default()
        };
        let file = File::from_text("numbers.toml", text);
        let plan = Arc::new(Plan::with_versions(&file, &host, &[("pass".to_owned(), versions)].into()).unwrap());
        let (shadow, feed) = Shadow::start(&plan, "pass", &host).unwrap();

        let mut decoder = Decoder::of(&plan, 16).unwrap();
        decoder.push(1, None, br#"{"n": 1}"#);
        let batch = decoder.take();
        let at = plan.nodes.position(|node| node.name == "pass").unwrap();
        let offer = || {
            let rows = batch.of_input(InputId::FIRST);
            let events = Events {
                causes: &rows.deliveries,
                deliveries: &batch.deliveries,
            };
            feed.offer(plan.clone(), at, numbered(rows), events, Verdicts::default());
        };
        offer();
        let why = loop {
            match shadow.report().refused {
                Some(why) => break why,
                None => std::thread::yield_now(),
            }
        };
        assert!(
            why.contains("a guest gave no output 0") && why.contains("a fault of Weir"),
            "{why}"
        );
        // Once its thread has ended, rows count as not seen.
        while shadow.report().shed == 0 {
            offer();
        }
        assert_eq!(shadow.report().rows, 0);
    }
}
