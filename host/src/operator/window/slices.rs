//! Windows that overlap, made of slices.
//!
//! Overlapping windows begin and end at the steps between them, so each is a run of slices, one step long each. A row
//! counts in its slice alone, and the slices are added up when a window ends: that costs a row as much as one window
//! does, however many there are that hold it.
//!
//! It takes results that are emitted once, at the end, and aggregates of the host's own that add up from accumulators alone.
//! Others keep an entry per window, see [`super::open`]: so do guests, to which rows come in the order of their arrival.

use super::cut::{Bounds, Cut};
use crate::{
    definition::BoundsUnit,
    model::{
        batch::Batch,
        column::{Schema, Value},
        keys::Keys,
        row::{cells, push_cell, push_key, push_length, take_bytes, take_key_cell, take_length},
    },
    operator::{
        ChangelogBuilder, RowTimes, StateMap,
        accumulators::{Group, Order, Values},
        clock::WatermarkProgress,
        timers::Timers,
        top,
        window::rows::{Row, columns},
    },
    plan::{AggregateSpec, ms_in_us},
    planner::window::WindowPlan,
    state::{KeyedState, StateValue},
};

/// The open windows of all groups.
#[derive(Debug)]
pub(super) struct Slices {
    schema: Schema,
    aggregates: Vec<AggregateSpec>,
    /// Whether rows are ranked, and not aggregated.
    ranked: bool,
    bounds: BoundsUnit,
    /// By group.
    slices: KeyedState<Run>,
    /// Empty: nothing is told apart here.
    values: Values,
    /// Groups that have rows in a window, by its end; windows of one end begin at different times where they cumulate.
    ends: Timers,
}

/// The slices of a group that are part of open windows, in the order of their starts.
#[derive(Clone, Debug, Default)]
struct Run(Vec<Slice>);

#[derive(Clone, Debug)]
struct Slice {
    start_us: i64,
    /// When the last window ends that it is part of.
    goes_us: i64,
    group: Group,
}

impl StateValue for Run {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut group = Vec::new();
        for slice in &self.0 {
            bytes.extend_from_slice(&slice.start_us.to_le_bytes());
            bytes.extend_from_slice(&slice.goes_us.to_le_bytes());
            group.clear();
            slice.group.encode(&mut group);
            push_length(bytes, group.len());
            bytes.extend_from_slice(&group);
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mut slices = Vec::new();
        while !bytes.is_empty() {
            let start_us = i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
            let goes_us = i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
            let length = take_length(bytes)?;
            let group = Group::decode(take_bytes(bytes, length)?)?;
            slices.push(Slice {
                start_us,
                goes_us,
                group,
            });
        }
        Some(Self(slices))
    }

    fn touch(&self) -> u8 {
        self.0.first().map_or(0, |slice| slice.start_us as u8)
    }
}

/// The slices of a group, of which an older Weir wrote the times in milliseconds.
pub(super) fn run_in_us(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut run = Run::decode(bytes)?;
    for slice in &mut run.0 {
        (slice.start_us, slice.goes_us) = (ms_in_us(slice.start_us), ms_in_us(slice.goes_us));
        slice.group.times_in_us();
    }
    let mut converted = Vec::with_capacity(bytes.len());
    run.encode(&mut converted);
    Some(converted)
}

impl Slices {
    /// Whether the windows of `plan` can be made of slices, and overlap.
    pub(super) fn fit(plan: &WindowPlan) -> bool {
        let adds_up = |spec: &AggregateSpec| !spec.tells_values_apart() && spec.guest.is_none();
        plan.overlap_and_end_once() && !plan.retracts && plan.aggregates.iter().all(adds_up)
    }

    pub(super) fn new(plan: &WindowPlan, schema: Schema, seed: u64) -> Self {
        Self {
            schema,
            aggregates: plan.aggregates.clone(),
            ranked: plan.top.is_some(),
            bounds: plan.bounds,
            slices: KeyedState::new(seed),
            values: Values::new(Order::All, seed),
            ends: Timers::default(),
        }
    }

    pub(super) fn replace(&mut self, plan: &WindowPlan, schema: Schema) {
        self.aggregates.clone_from(&plan.aggregates);
        self.schema = schema;
    }

    /// Takes in rows. The numbers of those that came too late go to `late`.
    pub(super) fn update(
        &mut self,
        plan: &WindowPlan,
        cut: &mut Cut,
        input: &Batch,
        progress: &WatermarkProgress<'_>,
        late: &mut Vec<u32>,
    ) -> Batch {
        let mut out = ChangelogBuilder::new(&self.schema, 64);
        let (mut cursor, mut watermark_us) = (progress.cursor(), progress.before_us());
        // Windows that had ended already: what a restart or an undo put there once more.
        while self.ends.take_due(watermark_us).is_some() {}
        let groups = input.pick(&plan.group);
        let columns = columns(plan, input);
        let times = RowTimes::of(plan.time, input);
        let mut ahead = Keys::default();
        // Most rows are in the step of the row before, and so in its windows.
        let (mut step, mut windows) = (0..0, Vec::new());
        while let Some(rows) = self
            .slices
            .next_rows(&mut ahead, input.len(), |key, row| push_key(key, &groups, row))
        {
            for (row, delivery) in input.rows_in(rows) {
                while let Some((mover, moved_us)) = cursor.next_before(delivery) {
                    watermark_us = moved_us;
                    self.advance(cut, mover, watermark_us, &mut out);
                }
                let time_us = times.time_us(row, progress);
                if !time_us.is_some_and(|time_us| step.contains(&time_us)) {
                    windows.clear();
                    step = time_us.map_or(0..0, |time_us| {
                        cut.push_windows(time_us, &mut windows);
                        cut.step_of(time_us)
                    });
                }
                let row = Row::of(input, &columns, row, &times, progress);
                if !self.take_in(&row, step.start, &windows, &mut ahead, watermark_us) {
                    late.push(row.row as u32);
                }
            }
        }
        while let Some((mover, moved_us)) = cursor.next_move() {
            self.advance(cut, mover, moved_us, &mut out);
        }
        out.finish_inserts()
    }

    /// Adds a row to its slice, which begins at `start_us`. False when all windows of the row are over.
    #[inline]
    fn take_in(
        &mut self,
        row: &Row<'_>,
        start_us: i64,
        windows: &[Bounds],
        ahead: &mut Keys,
        watermark_us: i64,
    ) -> bool {
        let Self {
            aggregates,
            slices,
            values,
            ends,
            ..
        } = self;
        let last = windows.last().filter(|window| window.end_us > watermark_us);
        slices.modify_next(ahead, |key, current| {
            let Some(last) = last else { return false };
            let run = current.get_or_insert_default();
            let slices_before = run.0.len();
            let at = match run.0.binary_search_by_key(&start_us, |slice| slice.start_us) {
                Ok(at) => at,
                Err(at) => {
                    // Where another slice of the group is in a window, the window knows of the group.
                    let is_known = |window: &Bounds| {
                        let within = |slice: &Slice| (window.start_us..window.end_us).contains(&slice.start_us);
                        let before = at.checked_sub(1).and_then(|at| run.0.get(at));
                        before.is_some_and(within) || run.0.get(at).is_some_and(within)
                    };
                    for window in windows.iter().filter(|window| window.end_us > watermark_us) {
                        if !is_known(window) {
                            ends.add(window.end_us, key);
                        }
                    }
                    let slice = Slice {
                        start_us,
                        goes_us: last.end_us,
                        group: Group::new(aggregates),
                    };
                    run.0.insert(at, slice);
                    at
                }
            };
            let mut changes = run.0.len() > slices_before;
            if let Some(slice) = run.0.get_mut(at) {
                changes |= row.apply(&mut slice.group, aggregates, key, values);
            }
            changes
        });
        last.is_some()
    }

    /// The watermark moved: windows end.
    fn advance(&mut self, cut: &mut Cut, delivery: u32, watermark_us: i64, out: &mut ChangelogBuilder) {
        while let Some((end_us, groups)) = self.ends.take_due(watermark_us) {
            // All windows that end there hold the instant before.
            let mut windows = Vec::new();
            cut.push_windows(end_us - 1, &mut windows);
            windows.retain(|window| window.end_us == end_us);
            windows.sort_unstable_by_key(|window| window.start_us);
            for group in groups {
                for &window in &windows {
                    self.emit(&group, window, delivery, out);
                }
                self.slices.modify(&group, |current| {
                    let Some(run) = current else { return false };
                    let before = run.0.len();
                    run.0.retain(|slice| slice.goes_us > end_us);
                    let goes = run.0.len() < before;
                    if run.0.is_empty() {
                        *current = None;
                    }
                    goes
                });
            }
        }
    }

    fn emit(&mut self, group: &[u8], window: Bounds, delivery: u32, out: &mut ChangelogBuilder) {
        let Self {
            aggregates,
            slices,
            values,
            ..
        } = self;
        let Some(run) = slices.get(group) else { return };
        let within = |slice: &&Slice| (window.start_us..window.end_us).contains(&slice.start_us);
        let mut within = run.0.iter().filter(within).map(|slice| &slice.group);
        let Some(first) = within.next() else { return };
        let mut merged = None;
        for slice in within {
            let all = merged.get_or_insert_with(|| first.clone());
            all.merge(aggregates, slice.clone());
        }
        let all = merged.as_ref().unwrap_or(first);
        let mut results = Vec::new();
        match (all.top(), self.ranked) {
            (Some(top), _) => top.push_results(None, &mut results),
            (None, false) => all.push_results(aggregates, group, values, &mut results),
            // Rows, none of which has a rank.
            (None, true) => {}
        }
        let (mut row, mut rest, mut text) = (Vec::new(), group, Vec::new());
        while let Some(cell) = take_key_cell(&mut rest, &mut text) {
            push_cell(&mut row, cell);
        }
        for bound_us in [window.start_us, window.end_us] {
            push_cell(&mut row, Value::Int(self.bounds.of_us(bound_us)));
        }
        for result in top::results(Some(results.as_slice()), self.ranked) {
            out.push_insert(delivery, cells(&row).chain(cells(result)));
        }
    }

    pub(super) fn savepoint(&mut self) {
        self.slices.savepoint();
        self.ends.savepoint();
    }

    pub(super) fn release(&mut self) {
        self.slices.release();
        self.ends.release();
    }

    pub(super) fn rollback(&mut self, cut: &mut Cut) {
        let mut back: Vec<Box<[u8]>> = Vec::new();
        self.slices.rollback(|group, live| {
            if live {
                back.push(group.into());
            }
        });
        back.iter().for_each(|group| self.expect(cut, group));
        // A group may have a window end and keep all of its slices.
        self.ends.rollback();
    }

    pub(super) fn restored(&mut self, cut: &mut Cut) {
        let groups: Vec<Box<[u8]>> = self.slices.iter().map(|(group, _)| group.into()).collect();
        groups.iter().for_each(|group| self.expect(cut, group));
    }

    /// Makes sure that all windows know of a group. Those that are over already go with the next rows.
    fn expect(&mut self, cut: &mut Cut, group: &[u8]) {
        let Some(run) = self.slices.get(group) else { return };
        let mut windows = Vec::new();
        run.0
            .iter()
            .for_each(|slice| cut.push_windows(slice.start_us, &mut windows));
        let mut ends: Vec<i64> = windows.iter().map(|window| window.end_us).collect();
        ends.sort_unstable();
        ends.dedup();
        ends.into_iter().for_each(|end_us| self.ends.add_again(end_us, group));
    }

    pub(super) fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![("slices", &mut self.slices)]
    }
}
