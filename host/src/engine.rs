//! The engine: batches through the steps of a plan, collected into turns.
//!
//! A batch takes effect event by event: one that a stage rejects, or that makes a guest fail, has no effect at all, and
//! those around it have theirs. Where such a stage comes after steps that keep state, the batch is undone and done again
//! without the event. Another plan can take the place of the one that runs, between two batches: see [`Successor`].

mod again;
mod cast;
mod compaction;
mod computed;
mod contents;
mod counting;
mod differences;
mod due;
mod failures;
mod fingerprint;
mod guests;
mod handing;
mod last_events;
mod operators;
mod outcomes;
mod passing;
mod past;
mod ready;
mod rehearsal;
mod rejudge;
mod renewal;
mod restore;
mod rules;
mod shadow;
mod stages;
mod swap;
mod takeover;
mod trial;
mod turns;
mod unfolded;
mod unswappable;
mod verdicts;
mod waves;

pub use again::{Ambiguous, JudgedRows};
pub use failures::Stopped;
pub use rehearsal::Prepared;
pub use shadow::{
    Compared, ComparisonReady, CurrentExample, CurrentRows, Shadow, ShadowExample, ShadowFeed, ShadowReport,
};
pub use swap::{Retired, Successor};
pub use unswappable::Unswappable;

use crate::{
    error::{Error, OrDefect, Result, note_defect, take_defect},
    limits::{BATCH_EVENTS_MAX, PART_BYTES_MAX},
    metrics::Metrics,
    model::{
        batch::{Batch, NOTHING},
        delivery::{DeadLetter, DecodedBatch, Deliveries, DeliveryTimes, Receipt, RejectedDelivery, Scanned},
        deployment::{VersionChange, Whose},
        ids::{IdVec, InputId, NodeId, SinkId, TableId},
        turn::Counts,
    },
    operator::{
        self, Operator, Stateful,
        clock::{Clock, WatermarkProgress},
        guests::Guests,
        held_times::HeldTimes,
        lookup,
    },
    plan::{GuestHost, Node, NodeKind, OperatorPlan, OutputPort, Plan},
    sink::Sink,
};
use compaction::LogCompaction;
use last_events::LastEvents;
use outcomes::{DeadRow, Outcomes};
use passing::{AtSwap, Differing};
use rehearsal::Rehearsal;
use shadow::Comparison;
use stages::{OnRefusal, Stage};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Instant,
};
use unfolded::HeldRows;

/// A plan that runs.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    metrics: Arc<Metrics>,
    steps: IdVec<NodeId, Step>,
    tables: IdVec<TableId, lookup::Table>,
    /// Where some step follows the watermark.
    clock: Option<Clock>,
    sinks: IdVec<SinkId, Sink>,
    compaction: LogCompaction,
    /// Whether some stage, or an aggregate that is a guest, may reject an event that already changed state, or fail too often
    /// at one.
    undoes: bool,
    /// The most bytes that a payload or an entry of the state was seen to have: about what a row can have.
    row_bytes: usize,
    counts: Counts,
    /// Rows of the open turn that came too late, by step.
    late_rows: BTreeMap<String, u64>,
    position: u64,
    /// The last sequence of all turns so far.
    last_sequence: u64,
    /// What happened to versions in the open turn, besides their trials.
    changes: Vec<VersionChange>,
    /// States whose entries are restored from an older Weir's, with where they hold times.
    older: Vec<(String, HeldTimes)>,
    /// Rows that made a guest fail in the open turn.
    failed_rows: u64,
    /// Whether keys were forgotten in the open turn that were due before.
    has_forgotten: bool,
    /// Whether guests that fail too often stop it.
    counts_failures: bool,
    stopped: Option<Stopped>,
    /// What ended it for good: no turn is given after that.
    defect: Option<Error>,
    receipt: Receipt,
    /// How far the source has looked.
    scanned: Scanned,
    /// When the last delivery of the open turn was stored.
    time_ms: Option<i64>,
    /// The times of the last delivery since the start.
    last_times: Option<DeliveryTimes>,
    /// Whether versions on trial over changelogs know where they differ from their fallbacks.
    keeps_differences: bool,
    /// Steps whose results others gave than the aggregates of the plan would.
    stale: BTreeSet<NodeId>,
    /// What computed the results in the states from the open turn on, by the name under which it is remembered.
    renewed: Vec<(String, String)>,
    /// Current rows that are judged anew for a swap that is to come.
    rehearsal: Option<Rehearsal>,
    /// The current rows that were none any more without a word in the last pass, by operator.
    past: BTreeMap<NodeId, Batch>,
    /// During a swap.
    held_rows: HeldRows,
    /// What candidates would make of current rows, by step.
    comparisons: BTreeMap<NodeId, Comparison>,
    last_events: LastEvents,
    /// Who wants to know what rules judge.
    judged: Option<Arc<JudgedRows>>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
}

/// The running part of a step.
#[derive(Debug)]
enum Step {
    Source,
    Stage(Box<Stage>),
    /// Its table is the engine's, see [`Engine::lookup`].
    Lookup,
    Operator(Box<dyn Operator>),
}

impl Step {
    fn operator(&mut self) -> Option<&mut dyn Operator> {
        match self {
            Self::Operator(operator) => Some(operator.as_mut()),
            Self::Source | Self::Stage(_) | Self::Lookup => None,
        }
    }
}

/// The deliveries that are gone over at once.
#[derive(Debug)]
struct Part<'a> {
    deliveries: &'a Deliveries,
    range: Range<u32>,
    /// Of each input.
    events: IdVec<InputId, Batch>,
}

/// What rows that are collected come of.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Events.
    Events(&'a Deliveries),
    /// A swap.
    Swap {
        /// The sequence of the event that it is behind.
        behind: u64,
        /// The rows that it makes others, by step and output.
        differing: &'a BTreeMap<(NodeId, usize), Differing>,
    },
}

/// The rows on each edge while a batch passes.
type Edges = IdVec<NodeId, Vec<Batch>>;

/// Why a pass did not go through.
enum Cut {
    /// A guest rejected an event after steps that may already have taken it in.
    Undo(RejectedDelivery),
    /// A guest failed too often at this delivery.
    Stop(u32, Box<Stopped>),
    /// An operator gives too much at once, unless the part ends in front of this delivery.
    TooMuch(u32),
    /// A fault of Weir.
    Defect(Error),
}

impl From<Error> for Cut {
    fn from(defect: Error) -> Self {
        Self::Defect(defect)
    }
}

impl Engine {
    /// An engine without state. `seed` belongs to the database, see [`crate::state::KeyedState::new`].
    ///
    /// # Errors
    /// When a guest refuses its parameters.
    pub fn new(plan: Arc<Plan>, host: &dyn GuestHost, seed: u64) -> Result<Self> {
        let names = plan.nodes.iter().map(|node| {
            let outputs = node.outputs.iter().map(|output| output.name.as_str());
            (node.name.as_str(), outputs)
        });
        let metrics = Arc::new(Metrics::new(&plan.name, names));
        let steps = plan.nodes.iter().map(|node| Self::step(node, host, seed, &metrics));
        let steps = steps.collect::<Result<_>>()?;
        let tables = plan.tables.map(|_, table| lookup::Table::new(table.clone(), seed));
        let sinks = plan.sinks.map(|id, sink| Sink::new(id, sink, seed));
        let undoes = plan.nodes.iter().any(|node| match &node.kind {
            NodeKind::Stage(stage) => stage.undoes,
            // A stage that fails too often may do so in a later wave.
            NodeKind::Lookup(lookup) => lookup.waves.as_ref().is_some_and(|path| !path.is_empty()),
            kind => {
                let undoes = kind.operator().is_some_and(OperatorPlan::undoes);
                undoes || kind.guests().next().is_some() || kind.keyed().is_some()
            }
        });
        let clock = plan
            .event_time
            .followed
            .then(|| Clock::new(plan.event_time, plan.inputs.len(), seed));
        Ok(Self {
            last_events: LastEvents::of(&plan),
            plan,
            metrics,
            steps,
            tables,
            clock,
            sinks,
            compaction: LogCompaction::default(),
            undoes,
            row_bytes: 0,
            counts: Counts::default(),
            late_rows: BTreeMap::new(),
            position: 0,
            last_sequence: 0,
            changes: Vec::new(),
            older: Vec::new(),
            failed_rows: 0,
            has_forgotten: false,
            counts_failures: true,
            stopped: None,
            defect: None,
            receipt: Receipt::default(),
            scanned: Scanned::default(),
            time_ms: None,
            last_times: None,
            keeps_differences: false,
            stale: BTreeSet::new(),
            renewed: Vec::new(),
            rehearsal: None,
            past: BTreeMap::new(),
            held_rows: HeldRows::new(),
            comparisons: BTreeMap::new(),
            judged: None,
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
        })
    }

    fn step(node: &Node, host: &dyn GuestHost, seed: u64, metrics: &Metrics) -> Result<Step> {
        Ok(match &node.kind {
            NodeKind::Source => Step::Source,
            NodeKind::Stage(stage) => {
                let stage = Stage::prepare(&node.name, stage, host, OnRefusal::Wait)
                    .map_err(|failure| failure.error(format!("step \"{}\": {failure}", node.name)))?;
                stage.measured().for_each(|module| metrics.add_module(module));
                Step::Stage(Box::new(stage))
            }
            NodeKind::Lookup(_) => Step::Lookup,
            NodeKind::Operator(plan) => {
                let guests = Guests::prepare(plan.as_ref(), host, &Whose::of_file(&node.name))
                    .map_err(|failure| failure.error(format!("step \"{}\": {failure}", node.name)))?;
                guests.measured().for_each(|module| metrics.add_module(module));
                Step::Operator(operator::build(node, guests, seed)?)
            }
        })
    }

    /// What it measures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    // ---- a batch ------------------------------------------------------------------------------------------------------

    /// Takes in a batch. What it changes is part of the turn that is open. Where a guest fails too often, the batch ends in
    /// front of that event, and those that follow are left out: see [`Engine::stopped`].
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect). What is open holds then what may be wrong: drop the engine, and
    /// take no turn of it.
    pub fn process(&mut self, batch: DecodedBatch) -> Result<()> {
        self.check()?;
        if self.stopped.is_some() {
            return Ok(());
        }
        let DecodedBatch {
            deliveries,
            events,
            rejected,
            ticks,
            mut empties,
            mut last_sequence,
            mut receipt,
            mut scanned,
            behind: _,
        } = batch;
        self.renew_results()?;
        self.begin_to_keep_differences()?;
        let mut outcomes = Outcomes::new(deliveries.len());
        for rejected in rejected {
            outcomes.reject(rejected);
        }
        let done = self.process_parts(&events, &deliveries, &mut outcomes)?;
        if (done as usize) < deliveries.len() {
            outcomes.end_at(done);
            let sequence = deliveries.sequence(done);
            empties.retain(|&empty| empty < sequence);
            // What the source has to know of that place, it knows itself.
            (last_sequence, receipt) = (sequence.saturating_sub(1), Receipt::default());
            scanned = Scanned::default();
        }

        if let Some(last) = done.checked_sub(1) {
            let time_ms = deliveries
                .store_time_ms(last)
                .unwrap_or_else(|| deliveries.time_ms(last));
            self.time_ms = self.time_ms.max(Some(time_ms));
            self.last_times = Some(DeliveryTimes {
                now_ms: deliveries.time_ms(last),
                event_us: deliveries.event_time_us(last),
                store_ms: deliveries.store_time_ms(last),
            });
        }
        self.count(outcomes, &deliveries, done, &ticks, empties.len() as u64);
        if scanned.through > 0 {
            self.scanned = scanned;
        }
        if last_sequence > 0 {
            self.position = last_sequence;
            self.last_sequence = last_sequence;
            self.receipt = receipt;
        }
        self.compared_through();
        self.check()
    }

    /// Whether no defect was met so far.
    fn check(&mut self) -> Result<()> {
        if self.defect.is_none() {
            self.defect = take_defect().err();
        }
        self.defect.clone().map_or(Ok(()), Err)
    }

    /// Goes over the batch in parts, at most times one. Results do not depend on where they are cut.
    ///
    /// A part is short where rows may be large: small events may bring large rows out of the state, thousands of times.
    /// And a part in which an event has to be undone is rolled back and cut in front of that event; the next parts are
    /// short and grow again, so that many such events do not cost the whole batch each. Gives the delivery in front of which
    /// it ended: there are no more, or a guest failed too often.
    fn process_parts(
        &mut self,
        events: &IdVec<InputId, Batch>,
        deliveries: &Deliveries,
        outcomes: &mut Outcomes,
    ) -> Result<u32> {
        let largest = deliveries.payloads.offsets.windows(2).map(|w| match w {
            [start, end] => (end - start) as usize,
            _ => 0,
        });
        self.row_bytes = largest.max().unwrap_or(0).max(self.row_bytes);
        let part_max = (PART_BYTES_MAX / self.row_bytes.max(1)).clamp(1, BATCH_EVENTS_MAX) as u32;

        let end = deliveries.len() as u32;
        let (mut start, mut step) = (0, end.min(part_max));
        while start < end {
            let most = if self.is_trial_in_waves() { 1 } else { step };
            let stop = start.saturating_add(step.min(most)).min(end);
            let part = Part {
                deliveries,
                range: start..stop,
                events: if start == 0 && stop == end {
                    events.clone()
                } else {
                    events.map(|_, events| events.of_deliveries(start..stop))
                },
            };
            let mark = outcomes.mark();
            if self.undoes {
                self.each_state(|state| state.savepoint());
            }
            self.each_stage(Stage::savepoint);
            self.forget_failures();
            let sequence = |delivery| deliveries.sequence(delivery);
            match self.pass(&part, None, outcomes) {
                Ok(edges) => {
                    if self.undoes {
                        self.each_state(|state| state.release());
                    }
                    self.settle_failures(&(start..stop), sequence);
                    self.measure(&edges);
                    self.hand_over_changes(&edges);
                    self.note_last_events(&edges, deliveries, outcomes)?;
                    self.collect(&edges, Place::Events(deliveries), outcomes);
                    (start, step) = (stop, step.saturating_mul(2).min(part_max));
                }
                // The events in front of it are known to be good; they are done on their own.
                Err(Cut::Undo(RejectedDelivery { delivery, .. }) | Cut::Stop(delivery, _) | Cut::TooMuch(delivery))
                    if delivery > start =>
                {
                    self.rollback();
                    outcomes.back_to(mark);
                    step = delivery - start;
                }
                Err(Cut::Undo(rejected)) => {
                    // It is met for the last time, so what it was judged by is counted now.
                    let own = start..start + 1;
                    let checked = self.check_failures(&own, sequence);
                    self.rollback();
                    outcomes.back_to(mark);
                    if let Err(Cut::Stop(_, stopped)) = checked {
                        self.stopped = Some(*stopped);
                        return Ok(start);
                    }
                    self.settle_failures(&own, sequence);
                    outcomes.reject(rejected);
                    (start, step) = (start + 1, 1);
                }
                Err(Cut::TooMuch(_)) => return Err(Error::defect("one event is too much at once")),
                Err(Cut::Defect(defect)) => {
                    self.defect = Some(defect.clone());
                    return Err(defect);
                }
                Err(Cut::Stop(_, stopped)) => {
                    self.rollback();
                    outcomes.back_to(mark);
                    self.stopped = Some(*stopped);
                    return Ok(start);
                }
            }
        }
        Ok(end)
    }

    /// Rolls everything back to what it was at the savepoint.
    fn rollback(&mut self) {
        // Without it, no step behind which a stage stands has a state.
        if self.undoes {
            self.each_state(|state| state.rollback());
        }
        self.each_stage(Stage::rollback);
    }

    fn each_stage(&mut self, mut each: impl FnMut(&mut Stage)) {
        for step in &mut self.steps {
            if let Step::Stage(stage) = step {
                each(stage);
            }
        }
    }

    fn each_state(&mut self, mut each: impl FnMut(&mut dyn Stateful)) {
        let operators = self.steps.iter_mut().filter_map(Step::operator);
        operators.for_each(|operator| each(operator));
        if let Some(clock) = &mut self.clock {
            each(clock);
        }
        for table in &mut self.tables {
            each(table);
        }
    }

    /// Runs the events of each input, and the rows of a swap, through all steps and gives the rows on every edge.
    fn pass(&mut self, part: &Part<'_>, mut swap: Option<AtSwap>, outcomes: &mut Outcomes) -> Result<Edges, Cut> {
        let plan = self.plan.clone();
        let deliveries = part.deliveries;
        // An event that a rule rejects does not move the watermark. Once the first step follows it, whatever else is
        // rejected is undone, so that it is known by then which events those are.
        let still = |clock: &Clock| clock.still(deliveries);
        let mut progress: Option<WatermarkProgress<'_>> = swap.as_ref().and_then(|_| self.clock.as_ref().map(still));
        let mut edges: Edges = plan.nodes.map(|_, _| Vec::new());
        let mut done = plan.nodes.map(|_, _| false);
        // What cannot be undone must not have happened by the time that a guest is found to fail too often. All stages then
        // stand in front of the first step that keeps something.
        let mut is_checked = false;
        for (at, node) in plan.nodes.iter_enumerated() {
            if done.get(at) == Some(&true) {
                continue; // It ran in the waves of a lookup.
            }
            if !self.undoes && !is_checked && node.kind.keeps_state() {
                self.check_failures(&part.range, |delivery| deliveries.sequence(delivery))?;
                is_checked = true;
            }
            let begun = Instant::now();
            let output = match &node.kind {
                NodeKind::Source => {
                    let events = part.events.get(at.input()).cloned();
                    vec![events.or_defect(|| format!("input \"{}\" has no events", node.name))?]
                }
                kind if kind.is_by_row() => match &mut swap {
                    None => self.by_row(at, node, of(&edges, node.input), deliveries, outcomes)?,
                    Some(swap) => self.by_row_at_swap(at, node, swap, &edges, deliveries, outcomes)?,
                },
                NodeKind::Stage(_) => return Err(Error::defect("a stage does not go by rows").into()),
                NodeKind::Operator(_) => {
                    let output = self.operator(at, node, &edges, &mut progress, part, outcomes)?;
                    self.note_past(at)?;
                    match &swap {
                        None => output,
                        Some(swap) => swap.with_differing(at, output)?,
                    }
                }
                NodeKind::Lookup(lookup) => {
                    let input = outcomes.living(of(&edges, node.input));
                    let path = lookup.waves.clone().unwrap_or_default();
                    let mut waves = self.lookup(at, node, &input, &path, deliveries, outcomes)?;
                    let mut rows_of = |step: NodeId| {
                        let rows = waves.get_mut(step).map(std::mem::take);
                        rows.or_defect(|| format!("lookup \"{}\" gives no rows of step {step}", node.name))
                    };
                    for &step in &path {
                        set(&mut edges, step, rows_of(step)?)?;
                        set(&mut done, step, true)?;
                    }
                    rows_of(at)?
                }
            };
            set(&mut edges, at, output)?;
            self.was_busy(at, begun);
        }
        if !is_checked {
            self.check_failures(&part.range, |delivery| deliveries.sequence(delivery))?;
        }
        Ok(edges)
    }

    fn collect(&mut self, edges: &Edges, place: Place<'_>, outcomes: &mut Outcomes) {
        for (node, outputs) in self.plan.nodes.iter().zip(edges) {
            let late = node.late_outputs().iter().filter_map(|&late| outputs.get(late));
            let late = late.map(|late| late.len() as u64).sum::<u64>();
            if late > 0 {
                self.counts.late_rows += late;
                *self.late_rows.entry(node.name.clone()).or_default() += late;
            }
        }
        for (sink, plan) in self.sinks.iter_mut().zip(&self.plan.sinks) {
            let rows = outcomes.living(of(edges, plan.input));
            // What comes because time went on is not the doing of the event that moved it.
            if !is_timer_driven(&self.plan, plan.input) {
                outcomes.apply(&rows);
            }
            match place {
                Place::Events(deliveries) => sink.collect(&rows, |delivery| deliveries.sequence(delivery)),
                Place::Swap { behind, differing } => {
                    let OutputPort { node, output } = plan.input;
                    let differing = differing.get(&(node, output)).filter(|_| sink.takes_moved());
                    let rows = match differing {
                        None => rows,
                        Some(Differing { moved, in_front }) => {
                            let output = self.plan.output(plan.input);
                            let needs_update_before = output.is_some_and(|output| output.readers.needs_update_before);
                            sink.collect_moved(moved, needs_update_before, behind);
                            rows.gather(&(*in_front as u32..rows.len() as u32).collect::<Vec<_>>())
                        }
                    };
                    sink.collect_of_swap(&rows, behind);
                }
            }
        }
    }
}

/// How the watermark moves among the deliveries of a part. It is found out once, for the first step that follows it.
fn follow<'p, 'a>(
    progress: &'p mut Option<WatermarkProgress<'a>>,
    clock: &mut Option<Clock>,
    part: &Part<'a>,
    outcomes: &Outcomes,
) -> Option<&'p WatermarkProgress<'a>> {
    if let (None, Some(clock)) = (&progress, clock) {
        let is_alive = |delivery| outcomes.is_alive(delivery);
        *progress = Some(clock.pass(part.deliveries, part.range.clone(), &part.events, is_alive));
    }
    progress.as_ref()
}

/// The rows on an edge, whose step has run.
fn of(edges: &Edges, port: OutputPort) -> &Batch {
    let outputs = edges.get(port.node);
    outputs.and_then(|outputs| outputs.get(port.output)).unwrap_or_else(|| {
        note_defect(format_args!(
            "output {} of step {} is read and is not there",
            port.output, port.node
        ));
        &NOTHING
    })
}

/// Puts what a step gives in its place.
fn set<T>(of_steps: &mut IdVec<NodeId, T>, step: NodeId, gives: T) -> Result<()> {
    let place = of_steps.get_mut(step);
    *place.or_defect(|| format!("there is no step {step}"))? = gives;
    Ok(())
}

/// Whether rows of an edge may come because time went on.
fn is_timer_driven(plan: &Plan, port: OutputPort) -> bool {
    plan.output(port).is_some_and(|output| output.timer_driven)
}

#[cfg(test)]
mod tests;
