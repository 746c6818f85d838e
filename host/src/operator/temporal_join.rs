//! `temporal_join`, an as-of join: each row with the version of its key that was valid when the row happened.
//!
//! Versions are rows of another edge, valid from the time of their event until the next one of their key is. Of two of one
//! time the one that came later is valid.
//!
//! - Emits: a row waits until the watermark is past its time, so that versions which come out of order count; then it is
//!   given with its version, in the order of times, and of arrival where they are the same. It bears the event that moved
//!   the watermark. A row without a version is left out.
//! - Order of arrival: what counts when a row is given is every version that came until then, with the event that moved the
//!   watermark as the last. Of one event the versions come first, which makes no difference.
//! - Late rows, which happened before the watermark, go to `late` and are counted. A late version is valid for the rows that
//!   wait or are to come, unless one that is newer is kept for them: then it goes to `late_versions`, and is counted too.
//! - With a `ttl` a version is valid for that long at most. One that comes when that is over is late.
//! - Versions go that no row can need any more: of those that the watermark is at or past all but the last of each key, and
//!   with a `ttl` those whose time is over by then.
//! - Nulls: a row with a null in the key has no version, and a version with one is nobody's.
//! - Restart: the state holds an entry per row that waits and per version that is kept, so nothing changes.

use super::{
    Applied, Build, ChangelogBuilder, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful,
    clock::WatermarkProgress, guests::Guests, held_times::HeldTimes, timers::Timers,
};
use crate::{
    error::Result,
    model::{
        batch::{Batch, RowKind},
        column::{Column, Schema, Value},
        row::{cells, push_cell, push_key, push_key_cell, push_length, take_bytes, take_key_cell, take_length},
    },
    plan::Node,
    planner::temporal_join::TemporalJoinPlan,
    state::KeyedState,
};
use std::{collections::BTreeSet, ops::Bound};

/// The operator.
#[derive(Debug)]
pub struct TemporalJoin {
    plan: TemporalJoinPlan,
    /// That of the rows that are given.
    schema: Schema,
    versions: Versions,
    waiting: Waiting,
}

impl TemporalJoin {
    /// Takes in rows and versions, while the watermark moves.
    fn update(&mut self, rows: &Batch, versions: &Batch, progress: &WatermarkProgress<'_>) -> Outputs {
        let plan = self.plan.clone();
        let mut out = ChangelogBuilder::new(&self.schema, rows.len());
        let (row_keys, passed) = (rows.pick(&plan.on), rows.pick(&plan.passed));
        let (version_keys, added) = (versions.pick(&plan.version_key), versions.pick(&plan.added));
        let (mut waits, mut late, mut kept, mut late_versions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut cursor, mut watermark_us) = (progress.cursor(), progress.before_us());
        let (mut row, mut version, mut ordinal) = (0, 0, Ordinal::default());
        let (mut key, mut bytes) = (Vec::new(), Vec::new());
        loop {
            let (next_row, next_version) = (rows.deliveries.get(row), versions.deliveries.get(version));
            let Some(&delivery) = next_row.into_iter().chain(next_version).min() else {
                break;
            };
            while let Some((mover, moved_us)) = cursor.next_before(delivery) {
                self.advance(mover, moved_us, &mut out);
                watermark_us = moved_us;
            }
            let time_us = progress.time_us(delivery);
            key.clear();
            bytes.clear();
            if next_version == Some(&delivery) {
                push_key(&mut key, &version_keys, version);
                push_row(&mut bytes, &added, version);
                if has_null(&version_keys, version) {
                    // Nobody's.
                } else if self.versions.keep(&key, time_us, &bytes, watermark_us) {
                    kept.push(delivery);
                    if time_us <= watermark_us {
                        // The one before it is needed no more, and waits for no move of the watermark.
                        self.versions.forget(watermark_us);
                    }
                } else {
                    late_versions.push(version as u32);
                }
                version += 1;
            } else {
                push_key(&mut key, &row_keys, row);
                if time_us < watermark_us {
                    late.push(row as u32);
                } else if !has_null(&row_keys, row) {
                    push_length(&mut bytes, key.len());
                    bytes.extend_from_slice(&key);
                    push_row(&mut bytes, &passed, row);
                    let place = [time_us, progress.sequence(delivery) as i64, ordinal.of(delivery)];
                    self.waiting.add(place, &bytes);
                    waits.push(delivery);
                }
                row += 1;
            }
        }
        while let Some((mover, moved_us)) = cursor.next_move() {
            self.advance(mover, moved_us, &mut out);
        }
        let rows = vec![
            out.finish(),
            rows.rows_of(&late, &plan.late),
            versions.rows_of(&late_versions, &plan.late_versions),
        ];
        // What waits and what is kept has an effect, whether a row finds a version or not.
        Outputs::new(rows, vec![Applied::Only(waits), Applied::Only(kept)])
    }

    /// The watermark moved: gives the rows that it is past, and forgets versions.
    fn advance(&mut self, mover: u32, watermark_us: i64, out: &mut ChangelogBuilder) {
        while let Some((time_us, row)) = self.waiting.take_before(watermark_us) {
            let mut rest = &*row;
            let key = take_length(&mut rest).and_then(|length| take_bytes(&mut rest, length));
            if let Some(version) = key.and_then(|key| self.versions.at(key, time_us)) {
                out.push(RowKind::Insert, mover, cells(rest).chain(cells(version)));
            }
        }
        self.versions.forget(watermark_us);
    }
}

impl Build for TemporalJoin {
    type Plan = TemporalJoinPlan;

    fn build(node: &Node, plan: &TemporalJoinPlan, _: Guests, seed: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            schema: node.output(0)?.schema.clone(),
            versions: Versions::new(plan.ttl_us, seed),
            waiting: Waiting::new(seed),
        })
    }
}

impl Operator for TemporalJoin {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let (rows, versions) = inputs.two()?;
        Ok(self.update(rows, versions, inputs.followed()?))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        self.plan = node.operator_plan::<TemporalJoinPlan>()?.clone();
        self.schema = node.output(0)?.schema.clone();
        Ok(())
    }
}

fn has_null(columns: &[&Column], row: usize) -> bool {
    columns.iter().any(|column| column.is_null(row))
}

fn push_row(bytes: &mut Vec<u8>, columns: &[&Column], row: usize) {
    columns.iter().for_each(|column| push_cell(bytes, column.get(row)));
}

/// Counts the rows of one delivery.
#[derive(Debug, Default)]
struct Ordinal {
    delivery: Option<u32>,
    next: i64,
}

impl Ordinal {
    /// Which row of `delivery` comes now.
    fn of(&mut self, delivery: u32) -> i64 {
        if self.delivery.replace(delivery) != Some(delivery) {
            self.next = 0;
        }
        self.next += 1;
        self.next - 1
    }
}

/// The versions that are kept: by key and time, the columns that are added.
#[derive(Debug)]
struct Versions {
    rows: KeyedState<Box<[u8]>>,
    /// The keys of `rows`.
    order: BTreeSet<Box<[u8]>>,
    /// When versions become valid, and those of the key before them may go; and when they are valid no more.
    timers: Timers,
    ttl_us: Option<i64>,
}

impl Versions {
    fn new(ttl_us: Option<i64>, seed: u64) -> Self {
        Self {
            rows: KeyedState::new(seed),
            order: BTreeSet::new(),
            timers: Timers::default(),
            ttl_us,
        }
    }

    /// The first instant at which a version of this time is valid no more.
    fn end_us(&self, time_us: i64) -> i64 {
        self.ttl_us.map_or(i64::MAX, |ttl_us| time_us.saturating_add(ttl_us))
    }

    /// Keeps a version. False when it came too late, and none of the rows that there may be can need it.
    fn keep(&mut self, key: &[u8], time_us: i64, row: &[u8], watermark_us: i64) -> bool {
        let newest = if time_us < watermark_us {
            self.last(key, watermark_us).and_then(time_of)
        } else {
            None
        };
        if newest.is_some_and(|newest_us| newest_us > time_us) || self.end_us(time_us) <= watermark_us {
            return false;
        }
        let entry = version_key(key, time_us);
        self.rows.modify(&entry, |current| {
            if current.as_deref() == Some(row) {
                return false;
            }
            *current = Some(row.into());
            true
        });
        self.expect(&entry);
        true
    }

    /// The key of the last version that is valid at `time_us`.
    fn last(&self, key: &[u8], time_us: i64) -> Option<&[u8]> {
        let (first, last) = (version_key(key, i64::MIN), version_key(key, time_us));
        let until = (Bound::Included(&*first), Bound::Included(&*last));
        self.order.range::<[u8], _>(until).next_back().map(|entry| &**entry)
    }

    /// The version that is valid at `time_us`.
    fn at(&self, key: &[u8], time_us: i64) -> Option<&[u8]> {
        let entry = self.last(key, time_us)?;
        let is_valid = time_of(entry).is_some_and(|begun_us| time_us < self.end_us(begun_us));
        let row = self.rows.get(entry).filter(|_| is_valid);
        row.map(|row| &**row)
    }

    /// Forgets the versions that no row from `watermark_us` on can need.
    fn forget(&mut self, watermark_us: i64) {
        while let Some((_, entries)) = self.timers.take_due(watermark_us) {
            for entry in entries {
                let key = entry.get(..entry.len().saturating_sub(TIME_BYTES)).unwrap_or_default();
                let Some(last) = self.last(key, watermark_us).map(Box::<[u8]>::from) else {
                    continue;
                };
                let first = version_key(key, i64::MIN);
                let is_over = time_of(&last).is_some_and(|begun_us| self.end_us(begun_us) <= watermark_us);
                let until = match is_over {
                    true => Bound::Included(&*last),
                    false => Bound::Excluded(&*last),
                };
                let before = (Bound::Included(&*first), until);
                let gone: Vec<Box<[u8]>> = self.order.range::<[u8], _>(before).cloned().collect();
                for entry in gone {
                    self.rows.modify(&entry, |current| current.take().is_some());
                    self.order.remove(&entry);
                }
            }
        }
    }

    /// Puts a version in order.
    fn expect(&mut self, entry: &[u8]) {
        if !self.order.contains(entry) {
            self.order.insert(entry.into());
        }
        self.add_timers(entry);
    }

    fn add_timers(&mut self, entry: &[u8]) {
        let time_us = time_of(entry).unwrap_or(i64::MIN);
        self.timers.add(time_us, entry);
        if self.ttl_us.is_some() {
            self.timers.add(self.end_us(time_us), entry);
        }
    }
}

/// Bytes of a time at the end of a key.
const TIME_BYTES: usize = 9;

fn version_key(key: &[u8], time_us: i64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(key.len() + TIME_BYTES);
    entry.extend_from_slice(key);
    push_key_cell(&mut entry, Value::Int(time_us));
    entry
}

/// The time in the key of a version.
fn time_of(entry: &[u8]) -> Option<i64> {
    first_int(entry.get(entry.len().checked_sub(TIME_BYTES)?..)?)
}

fn first_int(mut key: &[u8]) -> Option<i64> {
    match take_key_cell(&mut key, &mut Vec::new()) {
        Some(Value::Int(value)) => Some(value),
        _ => None,
    }
}

/// The rows that wait: by time, sequence, and which row of its event it is; the key that is looked up, and the columns.
#[derive(Debug)]
struct Waiting {
    rows: KeyedState<Box<[u8]>>,
    /// The keys of `rows`.
    order: BTreeSet<Box<[u8]>>,
}

impl Waiting {
    fn new(seed: u64) -> Self {
        Self {
            rows: KeyedState::new(seed),
            order: BTreeSet::new(),
        }
    }

    fn add(&mut self, place: [i64; 3], row: &[u8]) {
        let mut key = Vec::with_capacity(3 * TIME_BYTES);
        place
            .iter()
            .for_each(|&value| push_key_cell(&mut key, Value::Int(value)));
        self.rows.modify(&key, |current| {
            *current = Some(row.into());
            true
        });
        self.order.insert(key.into());
    }

    /// Takes the first row, if the watermark is past it: its time, and the row.
    fn take_before(&mut self, watermark_us: i64) -> Option<(i64, Box<[u8]>)> {
        let time_us = first_int(self.order.first()?)?;
        if time_us >= watermark_us {
            return None;
        }
        let key = self.order.pop_first()?;
        let mut taken = None;
        self.rows.modify(&key, |current| {
            taken = current.take();
            taken.is_some()
        });
        Some((time_us, taken?))
    }
}

impl Stateful for TemporalJoin {
    fn rollback(&mut self) {
        let Versions { rows, order, .. } = &mut self.versions;
        let mut back: Vec<Box<[u8]>> = Vec::new();
        rows.rollback(|entry, live| match live {
            true => back.push(entry.into()),
            false => _ = order.remove(entry),
        });
        back.iter().for_each(|entry| self.versions.expect(entry));
        let Waiting { rows, order } = &mut self.waiting;
        rows.rollback(|key, live| match live {
            true => _ = order.insert(key.into()),
            false => _ = order.remove(key),
        });
    }

    fn held_times(&self, state: &str) -> Option<HeldTimes> {
        let key = match state {
            "versions" => self.plan.version_key.len(),
            _ => 0,
        };
        Some(HeldTimes::in_keys(key..key + 1))
    }

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        vec![
            ("versions", &mut self.versions.rows),
            ("waiting", &mut self.waiting.rows),
        ]
    }

    fn restored(&mut self) {
        let entries: Vec<Box<[u8]>> = self.versions.rows.iter().map(|(entry, _)| entry.into()).collect();
        entries.iter().for_each(|entry| self.versions.expect(entry));
        let waiting = self.waiting.rows.iter().map(|(key, _)| Box::from(key));
        self.waiting.order.extend(waiting);
    }
}
