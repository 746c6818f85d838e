//! The engine: batches through the steps of a plan, collected into turns.
//!
//! A batch takes effect event by event: one that a stage rejects, or that makes a guest fail, has no effect at all, and
//! those around it have theirs. Where such a stage comes after steps that keep state, the batch is undone and done again
//! without the event. Another plan can take the place of the one that runs, between two batches: see [`Successor`].

mod fold;
mod guests;
mod passing;
mod shadow;
mod stages;
mod swap;

pub use shadow::{Shadow, ShadowFeed};
pub use swap::{Retired, Successor};

use crate::{
    column::{Batch, Column, Field, NOTHING},
    delivery::{DeadLetter, DecodedBatch, Deliveries, Receipt, Rejected},
    deployment::{StoredVersion, TrialRecord, VersionChange},
    error::{Error, Result},
    limits::{BATCH_EVENTS_MAX, PART_BYTES_MAX},
    operator::{
        StateMap, Stateful,
        aggregate::Aggregate,
        clock::{Clock, Passage},
        deduplicate::Deduplicate,
        guests::Guests,
        interval_join::IntervalJoin,
        last_value::LastValue,
        lookup,
        on_crossing::OnCrossing,
        sliding::Sliding,
        version_lookup::VersionLookup,
        window::Window,
    },
    plan::{AggregateSpec, Edge, Node, NodeKind, Plan, SlidingSpan, WindowKind, WindowPlan},
    sink::{KeyedRows, Message, Sink, json},
    stage::StageHost,
    state::take_entry,
    subject::listed,
    turn::{Counts, LogRow, Turn},
};
use fold::Fold;
use stages::Stage;
use std::{ops::Range, sync::Arc};

/// A plan that runs.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    steps: Vec<Step>,
    tables: Vec<lookup::Table>,
    /// Where some step follows the watermark.
    clock: Option<Clock>,
    sinks: Vec<Sink>,
    fold: Fold,
    /// Whether some stage, or an aggregate that is a guest, may reject an event that already changed state.
    undoes: bool,
    /// The most bytes that a payload or an entry of the state was seen to have: about what a row can have.
    row_bytes: usize,
    counts: Counts,
    position: u64,
    /// The last sequence of all turns so far.
    last_sequence: u64,
    /// What happened to versions in the open turn, besides their trials.
    changes: Vec<VersionChange>,
    /// Rows that made a guest fail in the open turn.
    failed_rows: u64,
    receipt: Receipt,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
}

/// The running part of a step.
#[derive(Debug)]
enum Step {
    Source,
    Stage(Box<Stage>),
    LastValue(Box<LastValue>),
    Aggregate(Box<Aggregate>),
    Lookup,
    Window(Box<Window>),
    IntervalJoin(Box<IntervalJoin>),
    Sliding(Box<Sliding>),
    OnCrossing(Box<OnCrossing>),
    Deduplicate(Box<Deduplicate>),
    VersionLookup(Box<VersionLookup>),
    Union,
}

impl Step {
    fn stateful(&mut self) -> Option<&mut dyn Stateful> {
        match self {
            Self::LastValue(operator) => Some(operator.as_mut()),
            Self::Aggregate(operator) => Some(operator.as_mut()),
            Self::Window(operator) => Some(operator.as_mut()),
            Self::IntervalJoin(operator) => Some(operator.as_mut()),
            Self::Sliding(operator) => Some(operator.as_mut()),
            Self::OnCrossing(operator) => Some(operator.as_mut()),
            Self::Deduplicate(operator) => Some(operator.as_mut()),
            Self::VersionLookup(operator) => Some(operator.as_mut()),
            Self::Source | Self::Stage(_) | Self::Lookup | Self::Union => None,
        }
    }
}

/// What a pass over some events found out about each delivery of the batch.
#[derive(Debug)]
struct Fates {
    /// Reached a state, a table or a sink.
    applied: Vec<bool>,
    /// Is a dead letter.
    dead: Vec<bool>,
    rejected: Vec<Rejected>,
    /// Rows that came because time went on, and that a rule could not take.
    dead_rows: Vec<DeadRow>,
}

/// A row that a rule could not take and that is no event's doing.
#[derive(Debug)]
struct DeadRow {
    rejected: Rejected,
    /// The row, as a JSON object.
    row: String,
}

/// The deliveries that are gone over at once.
#[derive(Debug)]
struct Part<'a> {
    deliveries: &'a Deliveries,
    range: Range<u32>,
    /// Of each input.
    events: Vec<Batch>,
}

/// The rows on each edge while a batch passes.
type Edges = Vec<Vec<Batch>>;

/// A guest rejected an event after steps that may already have taken it in.
struct MustUndo(Rejected);

impl Engine {
    /// An engine without state. `seed` belongs to the database, see [`crate::state::KeyedState::new`].
    ///
    /// # Errors
    /// When a guest refuses its parameters.
    pub fn new(plan: Arc<Plan>, host: &StageHost, seed: u64) -> Result<Self> {
        let mut steps = Vec::with_capacity(plan.nodes.len());
        for node in &plan.nodes {
            steps.push(Self::step(node, host, seed)?);
        }
        let tables: Vec<_> = plan
            .tables
            .iter()
            .map(|table| lookup::Table::new(table.clone(), seed))
            .collect();
        let sinks: Vec<_> = plan
            .sinks
            .iter()
            .enumerate()
            .map(|(index, sink)| Sink::new(index, sink, seed))
            .collect();
        let undoes = plan.nodes.iter().any(|node| match &node.kind {
            NodeKind::Stage(stage) => stage.undoes,
            kind => kind.guests().next().is_some(),
        });
        let clock = plan
            .event_time
            .followed
            .then(|| Clock::new(plan.event_time, plan.inputs.len(), seed));
        Ok(Self {
            plan,
            steps,
            tables,
            clock,
            sinks,
            fold: Fold::default(),
            undoes,
            row_bytes: 0,
            counts: Counts::default(),
            position: 0,
            last_sequence: 0,
            changes: Vec::new(),
            failed_rows: 0,
            receipt: Receipt::default(),
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
        })
    }

    fn step(node: &Node, host: &StageHost, seed: u64) -> Result<Step> {
        let output = node.outputs.first();
        let schema = output.map(|output| output.schema.clone()).unwrap_or_default();
        let before_needed = output.is_none_or(|output| output.before_needed);
        let collapsible = output.is_some_and(|output| output.collapsible);
        let guests = Guests::prepare(node.kind.aggregates(), host)
            .map_err(|failure| Error::definition(format!("step \"{}\": {failure}", node.name)))?;
        Ok(match &node.kind {
            NodeKind::Source => Step::Source,
            NodeKind::Stage(stage) => {
                let stage = Stage::prepare(&node.name, stage, host)
                    .map_err(|failure| Error::definition(format!("step \"{}\": {failure}", node.name)))?;
                Step::Stage(Box::new(stage))
            }
            NodeKind::LastValue(plan) => {
                Step::LastValue(Box::new(LastValue::new(plan.clone(), schema, before_needed, seed)))
            }
            NodeKind::Aggregate(plan) => {
                let operator = Aggregate::new(plan.clone(), schema, before_needed, collapsible, guests, seed);
                Step::Aggregate(Box::new(operator))
            }
            NodeKind::Lookup(_) => Step::Lookup,
            NodeKind::IntervalJoin(plan) => Step::IntervalJoin(Box::new(IntervalJoin::new(plan.clone(), schema, seed))),
            NodeKind::Sliding(plan) => Step::Sliding(Box::new(Sliding::new(plan.clone(), schema, seed))),
            NodeKind::Window(plan) => {
                let schemas = node.outputs.iter().map(|output| output.schema.clone()).collect();
                let operator = Window::new(plan.clone(), schemas, before_needed, collapsible, guests, seed);
                Step::Window(Box::new(operator.map_err(|message| {
                    Error::definition(format!("step \"{}\": {message}", node.name))
                })?))
            }
            NodeKind::OnCrossing(plan) => Step::OnCrossing(Box::new(OnCrossing::new(plan.clone(), seed))),
            NodeKind::Deduplicate(plan) => Step::Deduplicate(Box::new(Deduplicate::new(plan.clone(), seed))),
            NodeKind::VersionLookup(plan) => {
                Step::VersionLookup(Box::new(VersionLookup::new((**plan).clone(), schema, seed)))
            }
            NodeKind::Union(_) => Step::Union,
        })
    }

    // ---- a batch ------------------------------------------------------------------------------------------------------

    /// Takes in a batch. What it changes is part of the turn that is open.
    pub fn process(&mut self, batch: DecodedBatch) {
        let DecodedBatch {
            deliveries,
            events,
            rejected,
            ticks,
            blank,
            last_sequence,
            receipt,
            behind: _,
        } = batch;
        let count = deliveries.len();
        let mut fates = Fates {
            applied: vec![false; count],
            dead: vec![false; count],
            rejected: Vec::new(),
            dead_rows: Vec::new(),
        };
        for rejected in rejected {
            fates.reject(rejected);
        }
        self.process_parts(&events, &deliveries, &mut fates);

        self.counts.events += count as u64 + blank;
        self.counts.blank += blank + ticks.len() as u64;
        let mut ticks = ticks.into_iter().peekable();
        for (delivery, (applied, dead)) in fates.applied.iter().zip(&fates.dead).enumerate() {
            if ticks.next_if(|&tick| tick as usize == delivery).is_some() {
                continue;
            }
            match (dead, applied) {
                (true, _) => self.counts.dead_letters += 1,
                (false, true) => self.counts.applied += 1,
                (false, false) => self.counts.filtered += 1,
            }
        }
        self.counts.dead_rows += fates.dead_rows.len() as u64;
        let of_events = fates.rejected.into_iter().map(|rejected| {
            let payload = deliveries.payloads.get(rejected.delivery as usize).to_vec();
            let subject = deliveries.subject(rejected.delivery).map(str::to_owned);
            (rejected, subject, payload)
        });
        let of_rows = fates.dead_rows.into_iter();
        let of_rows = of_rows.map(|DeadRow { rejected, row }| (rejected, None, row.into_bytes()));
        let mut dead: Vec<(Rejected, Option<String>, Vec<u8>)> = of_events.chain(of_rows).collect();
        dead.sort_by_key(|(rejected, _, _)| rejected.delivery);
        for (rejected, subject, payload) in dead {
            self.dead_letter_bytes += payload.len() + rejected.reason.len();
            self.dead_letters.push(DeadLetter {
                sequence: deliveries.sequence(rejected.delivery),
                subject,
                time_ms: deliveries.time_ms(rejected.delivery),
                step: rejected.step,
                module: rejected.module,
                reason: rejected.reason,
                payload,
            });
        }
        if last_sequence > 0 {
            self.position = last_sequence;
            self.last_sequence = last_sequence;
            self.receipt = receipt;
        }
    }

    /// Goes over the batch in parts, at most times one. Results do not depend on where they are cut.
    ///
    /// A part is short where rows may be large: small events may bring large rows out of the state, thousands of times.
    /// And a part in which an event has to be undone is rolled back and cut in front of that event; the next parts are
    /// short and grow again, so that many such events do not cost the whole batch each.
    fn process_parts(&mut self, events: &[Batch], deliveries: &Deliveries, fates: &mut Fates) {
        let largest = deliveries.payloads.offsets.windows(2).map(|w| match w {
            [start, end] => (end - start) as usize,
            _ => 0,
        });
        self.row_bytes = largest.max().unwrap_or(0).max(self.row_bytes);
        let part_max = (PART_BYTES_MAX / self.row_bytes.max(1)).clamp(1, BATCH_EVENTS_MAX) as u32;

        let end = deliveries.len() as u32;
        let (mut start, mut step) = (0, end.min(part_max));
        while start < end {
            let most = if self.is_trial_in_rounds() { 1 } else { step };
            let stop = start.saturating_add(step.min(most)).min(end);
            let part = Part {
                deliveries,
                range: start..stop,
                events: if start == 0 && stop == end {
                    events.to_vec()
                } else {
                    events.iter().map(|events| events.of_deliveries(start..stop)).collect()
                },
            };
            let dead_rows = fates.dead_rows.len();
            let applied = if self.undoes { fates.applied.clone() } else { Vec::new() };
            if self.undoes {
                self.each_state(|state| state.checkpoint());
                self.each_stage(Stage::checkpoint);
            }
            match self.pass(&part, fates) {
                Ok(edges) => {
                    if self.undoes {
                        self.each_state(|state| state.keep());
                    }
                    self.collect(&edges, deliveries, fates);
                    (start, step) = (stop, step.saturating_mul(2).min(part_max));
                }
                Err(MustUndo(rejected)) => {
                    self.rollback();
                    fates.applied = applied;
                    fates.dead_rows.truncate(dead_rows);
                    let at = rejected.delivery;
                    if at > start {
                        // The events in front of it are known to be good; they are done on their own.
                        step = at - start;
                    } else {
                        fates.reject(rejected);
                        (start, step) = (at + 1, 1);
                    }
                }
            }
        }
    }

    /// Whether a stage that runs in the rounds of a lookup is on trial. Rounds judge rows out of their order, and where a
    /// version is taken back has to be a place in the stream: so its events come one at a time.
    fn is_trial_in_rounds(&self) -> bool {
        let rounds = self.plan.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Lookup(lookup) => lookup.rounds.as_ref(),
            _ => None,
        });
        rounds
            .flatten()
            .any(|&at| matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial()))
    }

    /// Rolls everything back to what it was at the checkpoint.
    fn rollback(&mut self) {
        self.each_state(|state| state.rollback());
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
        self.steps.iter_mut().filter_map(Step::stateful).for_each(&mut each);
        if let Some(clock) = &mut self.clock {
            each(clock);
        }
        for table in &mut self.tables {
            each(table);
        }
    }

    /// Runs the events of each input through all steps and gives the rows on every edge.
    fn pass(&mut self, part: &Part<'_>, fates: &mut Fates) -> Result<Edges, MustUndo> {
        let plan = self.plan.clone();
        let deliveries = part.deliveries;
        // An event that a rule rejects does not move the watermark. Once the first step follows it, whatever else is
        // rejected is undone, so that it is known by then which events those are.
        let mut passage: Option<Passage<'_>> = None;
        let mut edges: Edges = vec![Vec::new(); plan.nodes.len()];
        let mut done = vec![false; plan.nodes.len()];
        for (at, node) in plan.nodes.iter().enumerate() {
            if done.get(at) == Some(&true) {
                continue; // It ran in the rounds of a lookup.
            }
            let input = of(&edges, node.input);
            let output = match &node.kind {
                NodeKind::Source => vec![part.events.get(at).cloned().unwrap_or_default()],
                NodeKind::Stage(_) => self.stage(at, node, input, deliveries, fates)?,
                NodeKind::LastValue(_) | NodeKind::Aggregate(_) => {
                    let mut input = fates.living(input);
                    let passage = match node.follows_time() {
                        true => follow(&mut passage, &mut self.clock, part, fates),
                        false => None,
                    };
                    let output = loop {
                        let output = match self.steps.get_mut(at) {
                            Some(Step::LastValue(operator)) => Ok(operator.update(&input, passage)),
                            Some(Step::Aggregate(operator)) => operator.update(&input, passage),
                            _ => Ok(Batch::default()),
                        };
                        match output {
                            Ok(output) => break output,
                            Err(refusal) => input = self.without_refused(node, &input, refusal, part, fates)?,
                        }
                    };
                    if !is_by_time(&plan, node.input) {
                        fates.apply(&input);
                    }
                    vec![output]
                }
                NodeKind::Window(_) | NodeKind::Sliding(_) | NodeKind::IntervalJoin(_) => {
                    let mut input = fates.living(input);
                    let passage = follow(&mut passage, &mut self.clock, part, fates);
                    let mut with = None;
                    let outputs = loop {
                        let outputs = match (self.steps.get_mut(at), passage) {
                            (Some(Step::IntervalJoin(operator)), Some(passage)) => {
                                let other = node.inputs().nth(1).unwrap_or(node.input);
                                let other = with.insert((other, fates.living(of(&edges, other))));
                                Ok(operator.update(&input, &other.1, passage))
                            }
                            (Some(Step::Window(operator)), Some(passage)) => operator.update(&input, passage),
                            (Some(Step::Sliding(operator)), passage) => Ok(operator.update(&input, passage)),
                            _ => Ok(Vec::new()),
                        };
                        match outputs {
                            Ok(outputs) => break outputs,
                            Err(refusal) => input = self.without_refused(node, &input, refusal, part, fates)?,
                        }
                    };
                    if !is_by_time(&plan, node.input) {
                        fates.apply_but(&input, outputs.get(1));
                    }
                    if let Some((edge, with)) = with
                        && !is_by_time(&plan, edge)
                    {
                        fates.apply_but(&with, outputs.get(2));
                    }
                    outputs
                }
                NodeKind::OnCrossing(_)
                | NodeKind::Deduplicate(_)
                | NodeKind::VersionLookup(_)
                | NodeKind::Union(_) => {
                    let inputs: Vec<Batch> = node.inputs().map(|edge| fates.living(of(&edges, edge))).collect();
                    let passage = match node.follows_time() {
                        true => follow(&mut passage, &mut self.clock, part, fates),
                        false => None,
                    };
                    self.pass_on(at, node, &inputs, passage, fates)
                }
                NodeKind::Lookup(lookup) => {
                    let input = fates.living(input);
                    let path = lookup.rounds.clone().unwrap_or_default();
                    let mut rounds = self.lookup(at, node, &input, &path, deliveries, fates)?;
                    for &step in &path {
                        if let (Some(edge), Some(rows), Some(done)) =
                            (edges.get_mut(step), rounds.get_mut(step), done.get_mut(step))
                        {
                            *edge = std::mem::take(rows);
                            *done = true;
                        }
                    }
                    rounds.get_mut(at).map(std::mem::take).unwrap_or_default()
                }
            };
            if let Some(edge) = edges.get_mut(at) {
                *edge = output;
            }
        }
        Ok(edges)
    }

    /// A lookup, with the steps on `path` up to the one that updates its table, in rounds in each of which a key occurs
    /// once. Gives the rows of all of them, in order of arrival.
    fn lookup(
        &mut self,
        at: usize,
        node: &Node,
        input: &Batch,
        path: &[usize],
        deliveries: &Deliveries,
        fates: &mut Fates,
    ) -> Result<Edges, MustUndo> {
        let plan = self.plan.clone();
        let (NodeKind::Lookup(lookup), Some(output)) = (&node.kind, node.outputs.first()) else {
            return Ok(Vec::new());
        };
        let rounds = match self.tables.get(lookup.table) {
            Some(table) => lookup::rounds(lookup, table, input),
            None => Vec::new(),
        };
        let mut collected: Vec<Vec<Vec<Batch>>> = plan
            .nodes
            .iter()
            .map(|node| vec![Vec::new(); node.outputs.len()])
            .collect();
        let mut keep = |step: usize, rows: Vec<Batch>| {
            if let Some(outputs) = collected.get_mut(step) {
                outputs
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(output, rows)| output.push(rows));
            }
        };
        for rows in rounds {
            let mut edges: Edges = vec![Vec::new(); plan.nodes.len()];
            let mut set = |edges: &mut Edges, step: usize, rows: Vec<Batch>| {
                keep(step, rows.clone());
                if let Some(edge) = edges.get_mut(step) {
                    *edge = rows;
                }
            };
            if let Some(table) = self.tables.get(lookup.table) {
                let joined = lookup::join(lookup, table, &output.schema, &input.gather(&rows));
                set(&mut edges, at, vec![joined]);
            }
            for &step in path {
                let Some(node) = plan.nodes.get(step) else { continue };
                let rows = self.stage(step, node, of(&edges, node.input), deliveries, fates)?;
                set(&mut edges, step, rows);
            }
            if let Some(table) = self.tables.get_mut(lookup.table)
                && let Some((edge, columns)) = table.plan().update.clone()
            {
                let update = fates.living(of(&edges, edge));
                fates.apply(&update);
                table.set(&update, &columns);
            }
        }
        Ok(collected
            .into_iter()
            .map(|outputs| outputs.into_iter().map(Batch::merge).collect())
            .collect())
    }

    fn collect(&mut self, edges: &Edges, deliveries: &Deliveries, fates: &mut Fates) {
        for (node, outputs) in self.plan.nodes.iter().zip(edges) {
            let late = node.late_outputs().iter().filter_map(|&late| outputs.get(late));
            self.counts.late_rows += late.map(|late| late.len() as u64).sum::<u64>();
        }
        for (sink, plan) in self.sinks.iter_mut().zip(&self.plan.sinks) {
            let rows = fates.living(of(edges, plan.input));
            // What comes because time went on is not the doing of the event that moved it.
            if !is_by_time(&self.plan, plan.input) {
                fates.apply(&rows);
            }
            sink.collect(&rows, |delivery| deliveries.sequence(delivery));
        }
    }

    // ---- a turn -------------------------------------------------------------------------------------------------------

    /// How many rows and entries the open turn holds.
    pub fn turn_entries(&mut self) -> usize {
        let states: usize = self
            .steps
            .iter_mut()
            .filter_map(Step::stateful)
            .flat_map(|s| s.states())
            .map(|(_, state)| state.changed())
            .sum();
        let tables: usize = self.tables.iter_mut().map(|table| table.rows().changed_len()).sum();
        states + tables + self.sinks.iter().map(Sink::pending).sum::<usize>() + self.dead_letters.len()
    }

    /// How many bytes the open turn holds that do not collapse.
    pub fn turn_bytes(&self) -> usize {
        self.dead_letter_bytes + self.sinks.iter().map(Sink::pending_bytes).sum::<usize>()
    }

    /// Whether anything happened since the turn before.
    pub fn has_turn(&self) -> bool {
        self.counts.events > 0 || self.position > 0 || self.has_changes()
    }

    /// Whether a version changed since the turn before, which somebody waits for.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Ends the turn: everything since the one before, under the number `epoch`.
    pub fn take_turn(&mut self, epoch: u64) -> Turn {
        let mut log = Vec::new();
        for (name, state) in self.states() {
            log.extend(state.log_changes().into_iter().map(|entries| LogRow {
                state: name.clone(),
                entries,
            }));
        }
        let log_bytes = log.iter().map(|row| row.entries.len()).sum();
        let mut fold = std::mem::take(&mut self.fold);
        let (snapshots, log_obsolete_through) = fold.advance(epoch, log_bytes, &self.states());
        self.fold = fold;

        let tables = self.tables.iter_mut().map(|table| {
            let mut rows = KeyedRows::default();
            table
                .rows()
                .take_changes(|key, row| rows.push(key, row.map(|row| &**row)));
            rows
        });
        let tables = tables.collect();
        let mut messages: Vec<Message> = self.sinks.iter_mut().flat_map(Sink::take_messages).collect();
        messages.sort_by_key(|message| (message.sequence, message.sink, message.ordinal));
        self.dead_letter_bytes = 0;
        let mut changes = std::mem::take(&mut self.changes);
        let mut failed_rows = std::mem::take(&mut self.failed_rows);
        for (step, node) in self.steps.iter_mut().zip(&self.plan.nodes) {
            if let (Step::Stage(stage), NodeKind::Stage(plan)) = (step, &node.kind) {
                let (more, failed) = stage.take_changes(plan);
                changes.extend(more);
                failed_rows += failed;
            }
        }
        Turn {
            epoch,
            changes,
            pauses: Vec::new(),
            failed_rows,
            position: std::mem::take(&mut self.position),
            receipt: std::mem::take(&mut self.receipt),
            counts: std::mem::take(&mut self.counts),
            sinks: self.sinks.iter_mut().map(Sink::take_rows).collect(),
            tables,
            messages,
            dead_letters: std::mem::take(&mut self.dead_letters),
            log,
            snapshots,
            log_obsolete_through,
        }
    }

    // ---- state --------------------------------------------------------------------------------------------------------

    /// Every keyed state, by the name that the state log has for it.
    fn states(&mut self) -> Vec<(String, &mut dyn StateMap)> {
        let steps = self
            .steps
            .iter_mut()
            .zip(&self.plan.nodes)
            .filter_map(|(step, node)| Some((step.stateful()?, node)));
        let steps = steps.flat_map(|(operator, node)| {
            operator
                .states()
                .into_iter()
                .map(move |(name, state)| (format!("{}/{name}", node.name), state))
        });
        let sinks = self.sinks.iter_mut().zip(&self.plan.sinks).filter_map(|(sink, plan)| {
            let crate::plan::Target::Table { name, .. } = &plan.target else {
                return None;
            };
            Some((format!("table {name}/rows"), sink.state()?))
        });
        let clock = self.clock.iter_mut().flat_map(|clock| {
            let states = clock.states().into_iter();
            states.map(|(name, state)| (format!("{CLOCK}/{name}"), state))
        });
        steps.chain(sinks).chain(clock).collect()
    }

    /// What the state of each name was built for: if this changes, the state of a database does not fit any more.
    pub fn fingerprints(&mut self) -> Vec<(String, String)> {
        let names: Vec<String> = self.states().into_iter().map(|(name, _)| name).collect();
        names
            .into_iter()
            .map(|name| (name.clone(), fingerprint(&self.plan, &name)))
            .collect()
    }

    /// How many entries each state has.
    pub fn state_sizes(&mut self) -> Vec<(String, usize)> {
        self.states()
            .into_iter()
            .map(|(name, state)| (name, state.live()))
            .collect()
    }

    /// Tells the engine where the database ends, and which versions it knows of: trials go on, and a version that it does
    /// not know yet is part of the next turn.
    pub fn begin(&mut self, position: u64, known: &[StoredVersion]) {
        self.last_sequence = position;
        for (step, node) in self.steps.iter_mut().zip(&self.plan.nodes) {
            let (Step::Stage(stage), NodeKind::Stage(plan)) = (step, &node.kind) else {
                continue;
            };
            let last = known.iter().rfind(|version| version.step == node.name);
            match last.filter(|last| last.deployment == plan.deployment && last.digest == plan.module.digest) {
                Some(last) => stage.resume_trial(&last.trial),
                None => {
                    stage.resume_trial(&TrialRecord::default());
                    self.changes.push(swap::in_force(&node.name, plan, position + 1, 0));
                }
            }
        }
    }

    /// Puts entries of a snapshot or a row of the log in place.
    ///
    /// # Errors
    /// When there is no such state, or the bytes are none of it. The engine is of no use then.
    pub fn restore(&mut self, state: &str, entries: &[u8]) -> Result<()> {
        let broken = || {
            Error::mismatch(format!(
                "the stored state \"{state}\" cannot be read: its bytes are damaged"
            ))
        };
        let mut states = self.states();
        let Some((_, map)) = states.iter_mut().find(|(name, _)| name == state) else {
            return Err(Error::mismatch(format!(
                "the database holds state \"{state}\", which this pipeline does not have"
            )));
        };
        let (mut rest, mut row_bytes) = (entries, 0);
        while !rest.is_empty() {
            let (key, value) = take_entry(&mut rest).ok_or_else(broken)?;
            row_bytes = row_bytes.max(key.len() + value.map_or(0, <[u8]>::len));
            if !map.restore_entry(key, value) {
                return Err(broken());
            }
        }
        self.row_bytes = row_bytes.max(self.row_bytes);
        Ok(())
    }

    /// Called once after everything was restored.
    pub fn restored(&mut self) {
        for operator in self.steps.iter_mut().filter_map(Step::stateful) {
            operator.restored();
        }
        self.sinks.iter_mut().for_each(Sink::restored);
    }

    /// Called once after the lookup tables were filled.
    pub fn tables_restored(&mut self) {
        for table in &mut self.tables {
            let largest = table.rows().iter().map(|(key, row)| key.len() + row.len()).max();
            self.row_bytes = largest.unwrap_or(0).max(self.row_bytes);
        }
    }

    /// For turns that nobody keeps: from now on they come without the changes of states and tables.
    pub fn leave_unlogged(&mut self) {
        self.states().into_iter().for_each(|(_, state)| state.leave_unlogged());
        self.tables.iter_mut().for_each(|table| table.rows().leave_unlogged());
    }

    /// The lookup tables, to be filled before the first batch.
    pub fn tables(&mut self) -> &mut [lookup::Table] {
        &mut self.tables
    }
}

impl Fates {
    fn is_alive(&self, delivery: u32) -> bool {
        self.dead.get(delivery as usize) == Some(&false)
    }

    fn reject(&mut self, rejected: Rejected) {
        if let Some(dead) = self.dead.get_mut(rejected.delivery as usize)
            && !std::mem::replace(dead, true)
        {
            self.rejected.push(rejected);
        }
    }

    fn apply(&mut self, rows: &Batch) {
        self.apply_each(&rows.deliveries);
    }

    fn apply_each(&mut self, deliveries: &[u32]) {
        for &delivery in deliveries {
            if let Some(applied) = self.applied.get_mut(delivery as usize) {
                *applied = true;
            }
        }
    }

    /// As [`Fates::apply`], but for the rows that were left out for being late.
    fn apply_but(&mut self, rows: &Batch, late: Option<&Batch>) {
        let mut late = late.into_iter().flat_map(|late| &late.deliveries).peekable();
        for delivery in &rows.deliveries {
            if late.next_if_eq(&delivery).is_none()
                && let Some(applied) = self.applied.get_mut(*delivery as usize)
            {
                *applied = true;
            }
        }
    }

    /// Keeps rows that no event is to blame for, as dead letters of their own.
    fn reject_rows(&mut self, rejected: Vec<(Rejected, u32)>, schema: &[Field], input: &Batch) {
        let names: Vec<String> = schema.iter().map(|field| field.name.clone()).collect();
        let columns: Vec<&Column> = input.columns.iter().map(|column| &**column).collect();
        let rows = rejected.into_iter().map(|(rejected, row)| DeadRow {
            rejected,
            row: json(&names, &columns, row as usize),
        });
        self.dead_rows.extend(rows);
    }

    /// The rows whose event is no dead letter.
    fn living(&self, rows: &Batch) -> Batch {
        let dead = |delivery: u32| self.dead.get(delivery as usize) == Some(&true);
        if !rows.deliveries.iter().any(|&delivery| dead(delivery)) {
            return rows.clone();
        }
        let alive = (0..rows.len() as u32).filter(|&row| rows.deliveries.get(row as usize).is_some_and(|&d| !dead(d)));
        rows.gather(&alive.collect::<Vec<_>>())
    }
}

/// How the watermark moves among the deliveries of a part. It is found out once, for the first step that follows it.
fn follow<'p, 'a>(
    passage: &'p mut Option<Passage<'a>>,
    clock: &mut Option<Clock>,
    part: &Part<'a>,
    fates: &Fates,
) -> Option<&'p Passage<'a>> {
    if let (None, Some(clock)) = (&passage, clock) {
        let is_alive = |delivery| fates.is_alive(delivery);
        *passage = Some(clock.pass(part.deliveries, part.range.clone(), &part.events, is_alive));
    }
    passage.as_ref()
}

/// The rows on an edge; none where nothing came through.
fn of(edges: &Edges, edge: Edge) -> &Batch {
    edges
        .get(edge.node)
        .and_then(|outputs| outputs.get(edge.output))
        .unwrap_or(&NOTHING)
}

/// Whether rows of an edge may come because time went on.
fn is_by_time(plan: &Plan, edge: Edge) -> bool {
    let node = plan.nodes.get(edge.node);
    node.and_then(|node| node.outputs.get(edge.output))
        .is_some_and(|output| output.by_time)
}

/// The name of the state of the clock; no step can be called so.
const CLOCK: &str = "event time";

/// The columns and settings that a state depends on.
fn fingerprint(plan: &Plan, state: &str) -> String {
    let columns = |fields: &mut dyn Iterator<Item = &Field>| {
        fields
            .map(|field| format!("{} {}", field.name, field.column_type))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let step = state.split_once('/').map_or(state, |(step, _)| step);
    if step == CLOCK {
        return match plan.inputs.as_slice() {
            [_] => "the latest event time".to_owned(),
            _ => format!("the latest event times of {}", listed(&plan.subjects())),
        };
    }
    if let Some(table) = step.strip_prefix("table ") {
        let sink = plan
            .sinks
            .iter()
            .find(|sink| matches!(&sink.target, crate::plan::Target::Table { name, .. } if name == table));
        return sink
            .map(|sink| columns(&mut sink.columns.iter().map(|(field, _)| field)))
            .unwrap_or_default();
    }
    let Some(node) = plan.nodes.iter().find(|node| node.name == step) else {
        return String::new();
    };
    let schema = node
        .outputs
        .first()
        .map(|output| columns(&mut output.schema.iter()))
        .unwrap_or_default();
    match &node.kind {
        NodeKind::Window(window) => {
            let input = plan.nodes.get(node.input.node);
            let input = input.and_then(|input| input.outputs.get(node.input.output));
            window_fingerprint(window, input.map_or(&[][..], |input| &input.schema), &schema)
        }
        NodeKind::IntervalJoin(join) => {
            let types = |edge: Edge, indices: &[usize]| {
                let schema = plan.nodes.get(edge.node).and_then(|node| node.outputs.get(edge.output));
                let schema = schema.map(|output| output.schema.as_slice()).unwrap_or_default();
                columns(&mut indices.iter().filter_map(|&index| schema.get(index)))
            };
            format!(
                "interval join from {} ms to {} ms of ({}) by ({}), with ({}) by ({})",
                join.earliest_ms,
                join.latest_ms,
                types(node.input, &join.own.held),
                types(node.input, &join.own.key),
                types(join.with_edge, &join.with.held),
                types(join.with_edge, &join.with.key)
            )
        }
        NodeKind::Sliding(plan) => {
            let span = match plan.span {
                SlidingSpan::Rows(rows) => format!("{rows} rows"),
                SlidingSpan::Time(span_ms) => format!("{span_ms} ms"),
            };
            format!(
                "sliding windows of {span} ({}) by {} columns of {schema}",
                functions(&plan.aggregates),
                plan.group.len()
            )
        }
        NodeKind::OnCrossing(_) | NodeKind::Deduplicate(_) => passing::fingerprint(plan, node),
        NodeKind::VersionLookup(_) => format!("{}, of {schema}", passing::fingerprint(plan, node)),
        NodeKind::LastValue(plan) => {
            let forgets = forgets(plan.ttl_ms);
            format!("last_value{forgets} by the first {} of {schema}", plan.key.len())
        }
        NodeKind::Aggregate(plan) => {
            format!(
                "aggregate{} ({}) by the first {} of {schema}",
                forgets(plan.ttl_ms),
                functions(&plan.aggregates),
                plan.group.len()
            )
        }
        _ => String::new(),
    }
}

/// Whether keys are forgotten. After how long may change: the state holds when they were touched.
fn forgets(ttl_ms: Option<i64>) -> &'static str {
    ttl_ms.map_or("", |_| " with a ttl")
}

fn functions(aggregates: &[AggregateSpec]) -> String {
    let functions: Vec<String> = aggregates
        .iter()
        .map(|spec| {
            let coalesce = spec
                .coalesce
                .map(|value| format!(" coalesce {value}"))
                .unwrap_or_default();
            let q = spec.q.map(|q| format!(" at {q}")).unwrap_or_default();
            match &spec.guest {
                Some(guest) => guests::fingerprint(guest),
                None => format!("{} of {}{coalesce}{q}", spec.function.name(), spec.column_type),
            }
        })
        .collect();
    functions.join(", ")
}

fn window_fingerprint(plan: &WindowPlan, input: &[Field], schema: &str) -> String {
    let kind = match &plan.kind {
        WindowKind::Session { gap_ms } => format!("sessions with gaps of {gap_ms} ms"),
        WindowKind::Aligned {
            cut,
            size_ms,
            every_ms,
            zone,
            offset_ms,
        } => {
            let (cut, zone) = (format!("{cut:?}").to_lowercase(), zone.as_deref().unwrap_or("UTC"));
            format!("{cut} windows of {size_ms} ms every {every_ms} ms by {zone} from {offset_ms} ms")
        }
    };
    let changes = if plan.aggregates.iter().any(|spec| spec.retracts) {
        " of a changelog"
    } else {
        ""
    };
    let kept = match &plan.top {
        None => functions(&plan.aggregates),
        Some(top) => {
            let order = if top.least { "least" } else { "greatest" };
            let by = input
                .get(top.by)
                .map(|field| format!("{} {}", field.name, field.column_type));
            format!("the {} rows with the {order} {}", top.n, by.unwrap_or_default())
        }
    };
    format!("{kind} ({kept}){changes} by the first {} of {schema}", plan.group.len())
}
