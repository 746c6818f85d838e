//! What windows mean, over whole inputs: after every event everything is computed anew from the rows that there are.

use super::cuts::{Bounds, Cut};
use crate::{
    generator::{
        calendar::Moment,
        model::{self, Aggregate, Change, Changes, Row, pick_key, single},
    },
    table::Cell,
};
use std::collections::{BTreeMap, BTreeSet};

/// A `window`.
#[derive(Clone, Debug)]
pub struct Window {
    /// How it is cut.
    pub kind: Kind,
    /// The columns of its groups.
    pub group: Vec<usize>,
    /// What it computes.
    pub aggregates: Vec<Aggregate>,
    /// The column that holds a row's time; that of its event, when absent.
    pub time: Option<usize>,
    /// When it emits its results.
    pub emit: Emit,
    /// For how long after its end it takes rows.
    pub lateness_ms: i64,
    /// Whether the input is a changelog.
    pub retracts: bool,
}

/// How a window is cut.
#[derive(Clone, Debug)]
pub enum Kind {
    /// By the clock.
    Cut(Cut),
    /// By silence.
    Session {
        /// How long the silence is.
        gap_ms: i64,
    },
    /// By how many rows of its group a row sees.
    OverRows(usize),
    /// By how far back a row sees.
    OverTime(i64),
}

/// When a window emits its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// When it ends.
    Close,
    /// With every change.
    Update,
    /// At multiples of so many milliseconds, and when it ends.
    Early(i64),
}

/// What a window gives for each event, and what it holds in the end.
#[derive(Debug)]
pub struct Emitted {
    /// The rows of its results.
    pub out: Changes,
    /// The rows that came too late.
    pub late: Changes,
    /// Whether some row of the event was not late.
    pub took: Vec<bool>,
    /// How many groups of windows, or rows, are held.
    pub held: usize,
    /// The rows of windows that take no rows in any more after an event.
    pub past: Vec<Vec<Row>>,
}

/// A row that a window holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) group: Row,
    /// None for sessions.
    pub(super) bounds: Option<Bounds>,
    pub(super) time_ms: i64,
    pub(super) row: Row,
}

/// A group and the bounds of its window. Sessions that have one start are the same, wherever they end.
type Key = (Row, i64, Option<i64>);

/// The end of a window, and its row.
type Found = BTreeMap<Key, (i64, Row)>;

/// Whether a window has got so far.
pub(super) fn is_past(ms: i64, watermark_ms: i64) -> bool {
    ms <= watermark_ms
}

impl Window {
    /// Whether each row has a window of its own.
    pub(super) fn slides(&self) -> bool {
        matches!(self.kind, Kind::OverRows(_) | Kind::OverTime(_))
    }

    /// What it gives.
    pub fn run(&self, input: &Changes, moments: &[Moment]) -> Emitted {
        match self.kind {
            Kind::OverRows(count) => self.over_rows(count, input),
            Kind::OverTime(span_ms) => self.over_times(span_ms, input, moments),
            Kind::Cut(_) | Kind::Session { .. } => self.run_windows(input, moments),
        }
    }

    fn run_windows(&self, input: &Changes, moments: &[Moment]) -> Emitted {
        let all = self.all_windows(input, moments);
        let (mut held, mut emitted) = (Vec::new(), Found::new());
        let (mut out, mut late, mut took, mut past) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (changes, moment) in input.iter().zip(moments) {
            let (mut emits, mut lates, mut takes) = (Vec::new(), Vec::new(), false);
            for (row, retracts) in single(changes) {
                if self.take(&mut held, &row, retracts, moment, &all) {
                    takes = true;
                } else {
                    lates.push(Change::Insert(self.late(row, retracts)));
                }
                self.drop_merged(&held, &mut emitted, &mut emits);
            }

            // What changes in a window that has ended is emitted at once, and with `update` everything.
            let now = |end_ms: i64| self.emit == Emit::Update || is_past(end_ms, moment.before_ms);
            self.emit(&held, &mut emitted, &mut emits, now);

            // Time goes on: windows end, one after the other.
            let mut ends: Vec<i64> = self.found(&held).values().map(|(end_ms, _)| *end_ms).collect();
            ends.extend(emitted.values().map(|(end_ms, _)| *end_ms));
            ends.retain(|&end_ms| !is_past(end_ms, moment.before_ms) && is_past(end_ms, moment.after_ms));
            ends.sort_unstable();
            ends.dedup();
            for due_ms in ends {
                self.emit(&held, &mut emitted, &mut emits, |end_ms| end_ms == due_ms);
            }
            if let Emit::Early(every_ms) = self.emit
                && moment.before_ms.div_euclid(every_ms) < moment.after_ms.div_euclid(every_ms)
            {
                self.emit(&held, &mut emitted, &mut emits, |_| true);
            }
            past.push(self.forget(&mut held, &mut emitted, moment.after_ms));
            out.push(emits);
            late.push(lates);
            took.push(takes);
        }
        // One that was emitted and is empty now stays until that is emitted as well.
        let keys: BTreeSet<Key> = self.found(&held).into_keys().chain(emitted.into_keys()).collect();
        Emitted {
            out,
            late,
            took,
            held: keys.len(),
            past,
        }
    }

    /// All windows that any row may fall into.
    fn all_windows(&self, input: &Changes, moments: &[Moment]) -> Vec<Bounds> {
        let Kind::Cut(cut) = &self.kind else {
            return Vec::new();
        };
        let times = input.iter().zip(moments).flat_map(|(changes, moment)| {
            let rows = single(changes).into_iter();
            rows.filter_map(|(row, _)| self.time(&row, moment)).collect::<Vec<_>>()
        });
        let times: Vec<i64> = times.collect();
        match (times.iter().min(), times.iter().max()) {
            (Some(&first_ms), Some(&last_ms)) => cut.windows(first_ms, last_ms),
            _ => Vec::new(),
        }
    }

    pub(super) fn time(&self, row: &Row, moment: &Moment) -> Option<i64> {
        match self.time.map(|column| &row[column]) {
            None => Some(moment.time_ms),
            Some(Cell::Int(time_ms)) => Some(*time_ms),
            Some(_) => None,
        }
    }

    fn is_over(&self, end_ms: i64, watermark_ms: i64) -> bool {
        is_past(end_ms + self.lateness_ms, watermark_ms)
    }

    /// Puts a row into its windows, or takes it out of them. Not when all of them are over.
    fn take(&self, held: &mut Vec<Held>, row: &Row, retracts: bool, moment: &Moment, all: &[Bounds]) -> bool {
        let Some(time_ms) = self.time(row, moment) else {
            return false;
        };
        let new = |bounds| Held {
            group: pick_key(row, &self.group),
            bounds,
            time_ms,
            row: row.clone(),
        };
        if let Kind::Session { gap_ms } = self.kind {
            let mut with_it = held.clone();
            with_it.push(new(None));
            let sessions = sessions(&with_it, gap_ms);
            let session = sessions.iter().find(|session| session.rows.contains(&held.len()));
            let in_time = session.is_some_and(|session| !self.is_over(session.end_ms, moment.before_ms));
            if in_time {
                *held = with_it;
            }
            return in_time;
        }
        let windows = all
            .iter()
            .filter(|&&(start_ms, end_ms)| start_ms <= time_ms && time_ms < end_ms);
        let mut open = windows
            .filter(|(_, end_ms)| !self.is_over(*end_ms, moment.before_ms))
            .peekable();
        let in_time = open.peek().is_some();
        for &bounds in open {
            let new = new(Some(bounds));
            if retracts {
                let same = |held: &Held| held.bounds == new.bounds && held.row == new.row;
                let at = held.iter().position(same).expect("what is taken away was there");
                held.remove(at);
            } else {
                held.push(new);
            }
        }
        in_time
    }

    /// The windows that have rows, with their results.
    fn found(&self, held: &[Held]) -> Found {
        let mut found = Found::new();
        let mut insert = |group: &Row, (start_ms, end_ms): Bounds, rows: &[&Held]| {
            let bounds = [Cell::Int(start_ms), Cell::Int(end_ms)];
            let results = self.aggregates.iter().map(|aggregate| compute(aggregate, rows));
            let row: Row = group.iter().cloned().chain(bounds).chain(results).collect();
            let is_cut = matches!(self.kind, Kind::Cut(_));
            found.insert((group.clone(), start_ms, is_cut.then_some(end_ms)), (end_ms, row));
        };
        if let Kind::Session { gap_ms } = self.kind {
            for session in sessions(held, gap_ms) {
                let rows: Vec<&Held> = session.rows.iter().map(|&at| &held[at]).collect();
                insert(&rows[0].group, (session.start_ms, session.end_ms), &rows);
            }
            return found;
        }
        let mut windows: BTreeMap<(&Row, Bounds), Vec<&Held>> = BTreeMap::new();
        for row in held {
            let bounds = row.bounds.expect("it is in a window");
            windows.entry((&row.group, bounds)).or_default().push(row);
        }
        for ((group, bounds), rows) in windows {
            insert(group, bounds, &rows);
        }
        found
    }

    /// Emits how windows differ from what they emitted last, where `is_time` for their end: by group, then start and end.
    fn emit(&self, held: &[Held], emitted: &mut Found, emits: &mut Vec<Change>, is_time: impl Fn(i64) -> bool) {
        let found = self.found(held);
        let mut keys: Vec<Key> = found.keys().chain(emitted.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let (before, after) = (emitted.get(&key), found.get(&key));
            let end_ms = after.or(before).map_or(0, |(end_ms, _)| *end_ms);
            if before == after || !is_time(end_ms) {
                continue;
            }
            emits.extend(match (before.cloned(), after.cloned()) {
                (None, Some((_, after))) => Some(Change::Insert(after)),
                (Some((_, before)), None) => Some(Change::Delete(before)),
                (Some((_, before)), Some((_, after))) => Some(Change::Update(before, after)),
                (None, None) => None,
            });
            match found.get(&key) {
                Some(after) => emitted.insert(key, after.clone()),
                None => emitted.remove(&key),
            };
        }
    }

    /// A session that was emitted and began later than what it is part of now is gone at once.
    fn drop_merged(&self, held: &[Held], emitted: &mut Found, emits: &mut Vec<Change>) {
        if let Kind::Session { .. } = self.kind {
            let found = self.found(held);
            let gone = emitted.extract_if(.., |key, _| !found.contains_key(key));
            emits.extend(gone.map(|(_, (_, row))| Change::Delete(row)));
        }
    }

    /// Windows that are over go, and their rows with them. Gives what they emitted last.
    fn forget(&self, held: &mut Vec<Held>, emitted: &mut Found, watermark_ms: i64) -> Vec<Row> {
        // A session may have grown since it was emitted.
        let found = self.found(held);
        let over = emitted.extract_if(.., |key, emitted| {
            self.is_over(found.get(key).unwrap_or(emitted).0, watermark_ms)
        });
        let over = over.map(|(_, (_, row))| row).collect();
        if let Kind::Session { gap_ms } = self.kind {
            let ended = sessions(held, gap_ms)
                .into_iter()
                .filter(|session| self.is_over(session.end_ms, watermark_ms));
            let ended: Vec<usize> = ended.flat_map(|session| session.rows).collect();
            let mut at = 0..;
            held.retain(|_| !ended.contains(&at.next().unwrap()));
        } else {
            held.retain(|row| {
                row.bounds
                    .is_some_and(|(_, end_ms)| !self.is_over(end_ms, watermark_ms))
            });
        }
        over
    }

    fn late(&self, mut row: Row, retracts: bool) -> Row {
        if self.retracts {
            row.push(Cell::Int(retracts.into()));
        }
        row
    }
}

/// Rows of a group that are bridged, by their numbers.
struct Session {
    start_ms: i64,
    end_ms: i64,
    rows: Vec<usize>,
}

/// The sessions of all groups.
fn sessions(held: &[Held], gap_ms: i64) -> Vec<Session> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by_key(|&at| (held[at].group.clone(), held[at].time_ms));
    let mut sessions: Vec<Session> = Vec::new();
    for at in order {
        let (row, end_ms) = (&held[at], held[at].time_ms + gap_ms);
        match sessions.last_mut() {
            Some(session) if held[session.rows[0]].group == row.group && row.time_ms < session.end_ms => {
                session.end_ms = end_ms;
                session.rows.push(at);
            }
            _ => sessions.push(Session {
                start_ms: row.time_ms,
                end_ms,
                rows: vec![at],
            }),
        }
    }
    // In order of arrival, as functions want them.
    sessions.iter_mut().for_each(|session| session.rows.sort_unstable());
    sessions
}

/// An aggregate over rows in order of arrival.
pub(super) fn compute(aggregate: &Aggregate, rows: &[&Held]) -> Cell {
    let column = aggregate.column.unwrap_or_default();
    let values = rows.iter().filter(|held| held.row[column] != Cell::Null);
    let found = match aggregate.function {
        // Of equal ones `min_by_key` gives the first, and `max_by_key` the last.
        "first" => values.min_by_key(|held| held.time_ms),
        "last" => values.max_by_key(|held| held.time_ms),
        _ => {
            let rows: Vec<&Row> = rows.iter().map(|held| &held.row).collect();
            return model::compute(aggregate, &rows);
        }
    };
    found.map_or(Cell::Null, |held| held.row[column].clone())
}
