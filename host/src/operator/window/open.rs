//! Windows that are open: what they hold, when they end, and what they emitted.

mod anew;
mod past;
mod sessions;

use super::{
    cut::{Bounds, Cut},
    rows::{Row, columns},
};
use crate::{
    definition::BoundsUnit,
    model::{
        batch::{Batch, RowKind},
        column::{Schema, Value},
        keys::Keys,
        row::{cells, push_cell, push_key, push_key_cell, push_length, take_bytes, take_key_cell, take_length},
    },
    operator::{
        ChangelogBuilder, RowTimes, StateMap,
        accumulators::{Group, Order, Values},
        clock::WatermarkProgress,
        guests::Answers,
        timers::Timers,
        top::each_change,
    },
    plan::{AggregateSpec, Readers, ms_in_us},
    planner::window::{Emit, WindowKind, WindowPlan},
    state::{KeyedState, StateValue},
};
use std::{collections::BTreeSet, mem};

/// A group within a window.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// The first instant after the window.
    pub(super) end_us: i64,
    pub(super) group: Group,
    /// Its results as they were emitted last, those of a session with its end in front, those of ranked rows each behind its
    /// length. Only where they may change afterwards.
    pub(super) emitted: Option<Box<[u8]>>,
    /// Whether it waits for the next interval already. Not kept.
    pub(super) waits: bool,
}

impl Open {
    /// Its results, as they are emitted; none where its rows are gone. Those of a session begin with its end, in that unit.
    fn results(
        &self,
        key: &[u8],
        end_in: Option<BoundsUnit>,
        aggregates: &[AggregateSpec],
        values: &Values,
    ) -> Option<Vec<u8>> {
        if self.group.rows == 0 {
            return None;
        }
        let mut results = Vec::new();
        let end = end_in.map(|unit| unit.of_us(self.end_us));
        if let Some(top) = self.group.top() {
            top.push_results(end, &mut results);
        } else {
            end.into_iter().for_each(|end| push_cell(&mut results, Value::Int(end)));
            self.group.push_results(aggregates, key, values, &mut results);
        }
        Some(results)
    }
}

impl StateValue for Open {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.end_us.to_le_bytes());
        push_length(bytes, self.emitted.as_ref().map_or(0, |emitted| emitted.len() + 1));
        bytes.extend_from_slice(self.emitted.as_deref().unwrap_or_default());
        self.group.encode(bytes);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let end_us = i64::from_le_bytes(take_bytes(&mut bytes, 8)?.try_into().ok()?);
        let emitted = match take_length(&mut bytes)? {
            0 => None,
            length => Some(take_bytes(&mut bytes, length - 1)?.into()),
        };
        let group = Group::decode(bytes)?;
        Some(Self {
            end_us,
            group,
            emitted,
            waits: false,
        })
    }
}

/// What is held of a window, of which an older Weir wrote the times in milliseconds.
pub(super) fn open_in_us(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut open = Open::decode(bytes)?;
    open.end_us = ms_in_us(open.end_us);
    open.group.times_in_us();
    let mut converted = Vec::with_capacity(bytes.len());
    open.encode(&mut converted);
    Some(converted)
}

/// All open windows. Their keys are the group and the start; but for sessions, which grow, also the end.
#[derive(Debug)]
pub(super) struct Windows {
    schema: Schema,
    readers: Readers,
    pub(super) aggregates: Vec<AggregateSpec>,
    /// Whether rows are ranked, and not aggregated.
    ranked: bool,
    emit: Emit,
    lateness_us: i64,
    bounds: Shown,
    open: KeyedState<Open>,
    /// The keys of sessions, in order; nothing for other windows.
    sessions: Option<BTreeSet<Box<[u8]>>>,
    pub(super) values: Values,
    /// When windows end, and when they go.
    timers: Timers,
    /// Keys whose results may differ from what was emitted, with the delivery that changed them: to be emitted at once.
    touched: Vec<(Box<[u8]>, u32)>,
    /// The same, to be emitted at the next interval.
    waiting: Vec<Box<[u8]>>,
    /// Windows that are gone; nothing where nobody wants to know.
    past: Option<Vec<past::Past>>,
}

/// What is given of the progress of some rows.
pub(super) struct Emitting<'a, 'b> {
    input: &'a Batch,
    cursor: crate::operator::clock::Cursor<'b>,
    pub(super) watermark_us: i64,
    /// The delivery of the last row.
    delivery: Option<u32>,
    out: ChangelogBuilder,
}

impl Windows {
    pub(super) fn new(plan: &WindowPlan, schema: Schema, readers: Readers, seed: u64) -> Self {
        Self {
            schema,
            readers,
            aggregates: plan.aggregates.clone(),
            ranked: plan.top.is_some(),
            emit: plan.emit,
            lateness_us: plan.lateness_us,
            bounds: Shown::of(plan),
            open: KeyedState::new(seed),
            sessions: matches!(plan.kind, WindowKind::Session { .. }).then(BTreeSet::new),
            values: Values::new(Order::All, seed),
            timers: Timers::default(),
            touched: Vec::new(),
            waiting: Vec::new(),
            past: None,
        }
    }

    pub(super) fn replace(&mut self, plan: &WindowPlan, schema: Schema, readers: Readers) {
        self.aggregates.clone_from(&plan.aggregates);
        (self.schema, self.readers) = (schema, readers);
    }

    // ---- rows ---------------------------------------------------------------------------------------------------------

    /// Takes in rows whose windows are cut by the clock; `answers` has one for each row and window. The numbers of those
    /// that came too late go to `late`.
    pub(super) fn update_cut(
        &mut self,
        plan: &WindowPlan,
        cut: &mut Cut,
        input: &Batch,
        progress: &WatermarkProgress<'_>,
        answers: &mut Answers,
        late: &mut Vec<u32>,
    ) -> Batch {
        let mut emitting = self.begin(input, progress);
        let groups = input.pick(&plan.group);
        let columns = columns(plan, input);
        let times = RowTimes::of(plan.time, input);
        let (mut ahead, mut bounds, mut ends, mut group) = (Keys::default(), Vec::new(), Vec::new(), Vec::new());

        // Some rows with all of their windows, which are looked up together.
        while let Some(rows) = self.open.next_rows_of(&mut ahead, input.len(), |ahead, row| {
            let from = bounds.len();
            if let Some(time_us) = times.time_us(row, progress) {
                cut.push_windows(time_us, &mut bounds);
            }
            group.clear();
            push_key(&mut group, &groups, row);
            for bounds in bounds.get(from..).unwrap_or_default() {
                ahead.push(|key| push_window_key(key, &group, *bounds));
            }
            ends.push(bounds.len());
            1
        }) {
            let mut from = 0;
            for (row, &end) in rows.zip(&ends) {
                self.before(row, &mut emitting);
                let row = Row::of(input, &columns, row, &times, progress);
                let mut is_late = true;
                for &bounds in bounds.get(from..end).unwrap_or_default() {
                    is_late &= !self.take_in(&row, bounds, &mut ahead, answers, emitting.watermark_us);
                }
                if is_late {
                    late.push(row.row as u32);
                }
                from = end;
            }
            bounds.clear();
            ends.clear();
        }
        self.finish(emitting)
    }

    /// Adds a row to the window whose key is the next of `ahead`, or takes it away. False when that is over.
    #[inline]
    fn take_in(
        &mut self,
        row: &Row<'_>,
        bounds: Bounds,
        ahead: &mut Keys,
        answers: &mut Answers,
        watermark_us: i64,
    ) -> bool {
        let is_over = self.is_over(bounds.end_us, watermark_us);
        let Self {
            open,
            values,
            timers,
            aggregates,
            emit,
            lateness_us,
            touched,
            waiting,
            ..
        } = self;
        let has_ended = bounds.end_us <= watermark_us;
        open.modify_next(ahead, |key, current| {
            if is_over || current.is_none() && row.retracts {
                answers.pass_over();
                return false;
            }
            let window = match current {
                Some(window) => window,
                None => {
                    let due_us = if has_ended {
                        bounds.end_us.saturating_add(*lateness_us)
                    } else {
                        bounds.end_us
                    };
                    timers.add(due_us, key);
                    current.insert(Open {
                        end_us: bounds.end_us,
                        group: Group::new(aggregates),
                        emitted: None,
                        waits: false,
                    })
                }
            };
            if !row.apply(&mut window.group, aggregates, key, values) && window.group.rows > 0 {
                return false;
            }
            answers.give(&mut window.group);
            match emit {
                Emit::Close if !has_ended => {}
                Emit::Early(_) if !has_ended => {
                    if !mem::replace(&mut window.waits, true) {
                        waiting.push(key.into());
                    }
                }
                _ => touched.push((key.into(), row.delivery)),
            }
            // One that was emitted has to be deleted downstream.
            if window.group.rows == 0 && window.emitted.is_none() {
                *current = None;
            }
            true
        });
        !is_over
    }

    /// See [`crate::operator::Operator::current_rows`]: the results as they were emitted last.
    pub(super) fn current_rows(&self, bucket: usize) -> Option<Batch> {
        if !self.keeps_emitted() {
            return None;
        }
        let mut out = ChangelogBuilder::new(&self.schema, 0);
        for (key, window) in self.open.bucket(bucket) {
            let row = self.bounds.row_of(key);
            each_change(None, window.emitted.as_deref(), self.ranked, |_, result| {
                out.push_current(cells(&row).chain(cells(result)));
            });
        }
        Some(out.finish_inserts())
    }

    /// Whether what was emitted may change afterwards.
    fn keeps_emitted(&self) -> bool {
        self.emit != Emit::Close || self.lateness_us > 0
    }

    /// The unit in which results show the end of their window, where they do.
    fn shows_end(&self) -> Option<BoundsUnit> {
        self.sessions.as_ref().map(|_| self.bounds.unit)
    }

    /// Whether a window that ends then takes no rows in any more.
    #[inline]
    pub(super) fn is_over(&self, end_us: i64, watermark_us: i64) -> bool {
        end_us.saturating_add(self.lateness_us) <= watermark_us
    }

    /// What is held of a window.
    pub(super) fn held(&self, key: &[u8]) -> Option<&Open> {
        self.open.get(key)
    }

    // ---- time ---------------------------------------------------------------------------------------------------------

    /// Begins with the rows of `input`.
    pub(super) fn begin<'a, 'b>(&self, input: &'a Batch, progress: &'b WatermarkProgress<'_>) -> Emitting<'a, 'b> {
        let out = ChangelogBuilder::new(&self.schema, 64).with_lineage();
        Emitting {
            input,
            cursor: progress.cursor(),
            watermark_us: progress.before_us(),
            delivery: None,
            out,
        }
    }

    /// Before a row: emits what the event before it changed, and lets the watermark move on to where it is now.
    #[inline]
    pub(super) fn before(&mut self, row: usize, emitting: &mut Emitting<'_, '_>) {
        let delivery = emitting.input.delivery(row);
        if emitting.delivery == Some(delivery) {
            return;
        }
        if !self.readers.compactable {
            self.emit_touched(emitting);
        }
        while let Some((mover, watermark_us)) = emitting.cursor.next_before(delivery) {
            self.advance(mover, watermark_us, emitting);
        }
        emitting.delivery = Some(delivery);
    }

    /// After the last row.
    pub(super) fn finish(&mut self, mut emitting: Emitting<'_, '_>) -> Batch {
        self.emit_touched(&mut emitting);
        while let Some((mover, watermark_us)) = emitting.cursor.next_move() {
            self.advance(mover, watermark_us, &mut emitting);
        }
        emitting.out.finish()
    }

    /// The watermark moved: windows end, and go.
    #[inline]
    fn advance(&mut self, delivery: u32, watermark_us: i64, emitting: &mut Emitting<'_, '_>) {
        let before_us = mem::replace(&mut emitting.watermark_us, watermark_us);
        let is_early = |every_us| before_us.div_euclid(every_us) < watermark_us.div_euclid(every_us);
        let emits_early = matches!(self.emit, Emit::Early(every_us) if is_early(every_us)) && !self.waiting.is_empty();
        // What rows changed is emitted first, as their doing. It waits only where changes may be emitted as one.
        if emits_early || self.timers.is_due(watermark_us) {
            self.emit_touched(emitting);
        }
        while let Some((due_us, keys)) = self.timers.take_due(watermark_us) {
            for key in keys {
                self.end(&key, due_us, delivery, watermark_us, &mut emitting.out);
            }
        }
        if emits_early {
            let mut waiting = mem::take(&mut self.waiting);
            waiting.sort_unstable();
            waiting.dedup();
            for key in waiting {
                self.emit(&key, delivery, &[delivery], &mut emitting.out);
            }
        }
    }

    /// A window is due: it ends, or goes, or neither yet.
    fn end(&mut self, key: &[u8], due_us: i64, delivery: u32, watermark_us: i64, out: &mut ChangelogBuilder) {
        let Some(end_us) = self.open.get(key).map(|window| window.end_us) else {
            return;
        };
        if end_us > due_us {
            return; // A session that grew meanwhile; it is due at its end, in the order of ends.
        }
        let goes_us = end_us.saturating_add(self.lateness_us);
        self.emit(key, delivery, &[delivery], out);
        if goes_us <= watermark_us {
            let emitted = self.open.get(key).and_then(|window| window.emitted.clone());
            if let (Some(past), Some(emitted)) = (&mut self.past, emitted) {
                past.push((delivery, key.into(), emitted));
            }
            self.remove(key);
        } else {
            self.timers.add(goes_us, key);
        }
    }

    fn emit_touched(&mut self, emitting: &mut Emitting<'_, '_>) {
        if self.touched.is_empty() {
            return;
        }
        let mut touched = mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        // Deliveries ascend, and rows of others may have been emitted since the one that changed it.
        let last = emitting.delivery.unwrap_or_default();
        for changes in touched.chunk_by(|(a, _), (b, _)| a == b) {
            let lineage: Vec<u32> = changes.iter().map(|(_, delivery)| *delivery).collect();
            if let Some((key, _)) = changes.first() {
                self.emit(key, last, &lineage, &mut emitting.out);
            }
        }
        touched.clear();
        self.touched = touched;
    }

    /// Emits how the results of a window differ from what was emitted before.
    fn emit(&mut self, key: &[u8], delivery: u32, lineage: &[u32], out: &mut ChangelogBuilder) {
        // What is emitted once is not kept.
        let keeps = self.keeps_emitted();
        let end_in = self.shows_end();
        let Self {
            open,
            values,
            aggregates,
            ranked,
            readers,
            bounds,
            ..
        } = self;
        open.modify(key, |current| {
            let Some(window) = current else { return false };
            window.waits = false;
            let after = window.results(key, end_in, aggregates, values);
            if window.emitted.as_deref() == after.as_deref() {
                return false;
            }
            let row = bounds.row_of(key);
            each_change(window.emitted.as_deref(), after.as_deref(), *ranked, |kind, result| {
                if kind != RowKind::UpdateBefore || readers.needs_update_before {
                    out.push(kind, delivery, cells(&row).chain(cells(result)));
                    out.with_lineage_of(lineage);
                }
            });
            match after {
                None => *current = None,
                Some(after) if keeps => window.emitted = Some(after.into()),
                Some(_) => return false,
            }
            true
        });
    }

    // ---- sessions -----------------------------------------------------------------------------------------------------

    fn remove(&mut self, key: &[u8]) {
        self.values.remove_group(key, &self.aggregates);
        self.open.modify(key, |current| current.take().is_some());
        if let Some(sessions) = &mut self.sessions {
            sessions.remove(key);
        }
    }

    // ---- state --------------------------------------------------------------------------------------------------------

    pub(super) fn savepoint(&mut self) {
        self.open.savepoint();
        self.values.savepoint();
        self.timers.savepoint();
    }

    pub(super) fn release(&mut self) {
        self.open.release();
        self.values.release();
        self.timers.release();
    }

    pub(super) fn rollback(&mut self) {
        let mut back: Vec<Box<[u8]>> = Vec::new();
        let sessions = &mut self.sessions;
        self.open.rollback(|key, live| {
            if live {
                back.push(key.into());
            } else if let Some(sessions) = sessions {
                sessions.remove(key);
            }
        });
        self.values.rollback(&self.aggregates);
        self.touched.clear();
        self.past.iter_mut().for_each(Vec::clear);
        // A window may end as it was emitted last, and stay for late rows.
        self.timers.rollback();
        back.iter().for_each(|key| self.expect(key));
    }

    pub(super) fn restored(&mut self) {
        self.values.restored(&self.aggregates);
        let keys: Vec<Box<[u8]>> = self.open.iter().map(|(key, _)| key.into()).collect();
        keys.iter().for_each(|key| self.expect(key));
    }

    /// Makes sure that a window emits, ends and goes when it is time. One that is over already is due at once.
    fn expect(&mut self, key: &[u8]) {
        if let Some(window) = self.open.get(key) {
            self.timers.add_again(window.end_us, key);
            if let Some(sessions) = &mut self.sessions {
                sessions.insert(key.into());
            }
            if matches!(self.emit, Emit::Early(_)) {
                self.waiting.push(key.into());
            }
        }
    }

    pub(super) fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("windows", &mut self.open), ("values", self.values.state())]
    }
}

/// How the key of a window is shown: the group as it is, then the bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    group_len: usize,
    pub(super) unit: BoundsUnit,
}

impl Shown {
    pub(super) fn of(plan: &WindowPlan) -> Self {
        Self {
            group_len: plan.group.len(),
            unit: plan.bounds,
        }
    }

    /// The cells of a key, as a row.
    pub(super) fn row_of(self, mut key: &[u8]) -> Vec<u8> {
        let (mut row, mut text) = (Vec::with_capacity(key.len()), Vec::new());
        for column in 0.. {
            match take_key_cell(&mut key, &mut text) {
                None => break,
                Some(Value::Int(bound_us)) if column >= self.group_len => {
                    push_cell(&mut row, Value::Int(self.unit.of_us(bound_us)));
                }
                Some(cell) => push_cell(&mut row, cell),
            }
        }
        row
    }
}

/// Appends the key of a window that is cut by the clock.
pub(super) fn push_window_key(key: &mut Vec<u8>, group: &[u8], bounds: Bounds) {
    key.extend_from_slice(group);
    push_key_cell(key, Value::Int(bounds.start_us));
    push_key_cell(key, Value::Int(bounds.end_us));
}
