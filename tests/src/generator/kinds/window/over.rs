//! What over windows mean: each row with those before it that it sees.

use super::model::{Emitted, Held, Window, compute, is_past};
use crate::generator::{
    calendar::Moment,
    model::{Change, Changes, Row, pick_key, single},
};
use std::collections::BTreeMap;

impl Window {
    pub(super) fn over_rows(&self, count: usize, input: &Changes) -> Emitted {
        let mut seen: Vec<Held> = Vec::new();
        let (mut out, mut took) = (Vec::new(), Vec::new());
        for changes in input {
            let mut emits = Vec::new();
            for (row, _) in single(changes) {
                let group = pick_key(&row, &self.group);
                seen.push(Held {
                    group: group.clone(),
                    bounds: None,
                    time_ms: 0,
                    row: row.clone(),
                });
                let of_group: Vec<&Held> = seen.iter().filter(|held| held.group == group).collect();
                emits.push(Change::Insert(
                    self.slid(row, &of_group[of_group.len().saturating_sub(count)..]),
                ));
            }
            took.push(!emits.is_empty());
            out.push(emits);
        }
        let mut groups: BTreeMap<Row, usize> = BTreeMap::new();
        for held in seen {
            let rows = groups.entry(held.group).or_default();
            *rows = count.min(*rows + 1);
        }
        Emitted {
            late: vec![Vec::new(); out.len()],
            out,
            took,
            held: groups.into_values().sum(),
            past: Vec::new(),
        }
    }

    pub(super) fn over_times(&self, span_ms: i64, input: &Changes, moments: &[Moment]) -> Emitted {
        // In the order in which it is their turn, with whether they were emitted.
        let mut rows: Vec<(Held, bool)> = Vec::new();
        let (mut out, mut late, mut took) = (Vec::new(), Vec::new(), Vec::new());
        for (changes, moment) in input.iter().zip(moments) {
            let (mut emits, mut lates, mut takes) = (Vec::new(), Vec::new(), false);
            let mut emit = |rows: &mut Vec<(Held, bool)>, watermark_ms: i64| {
                for at in 0..rows.len() {
                    let (held, is_told) = &rows[at];
                    if !is_told && is_past(held.time_ms, watermark_ms) {
                        let seen: Vec<&Held> = rows[..=at].iter().map(|(other, _)| other).collect();
                        let seen: Vec<&Held> = seen
                            .into_iter()
                            .filter(|other| other.group == held.group && other.time_ms > held.time_ms - span_ms)
                            .collect();
                        emits.push(Change::Insert(self.slid(held.row.clone(), &seen)));
                        rows[at].1 = true;
                    }
                }
            };
            for (row, _) in single(changes) {
                match self.time(&row, moment).filter(|&time_ms| time_ms >= moment.before_ms) {
                    None => lates.push(Change::Insert(row)),
                    Some(time_ms) => {
                        takes = true;
                        let at = rows.partition_point(|(held, _)| held.time_ms <= time_ms);
                        let group = pick_key(&row, &self.group);
                        let bounds = None;
                        rows.insert(
                            at,
                            (
                                Held {
                                    group,
                                    bounds,
                                    time_ms,
                                    row,
                                },
                                false,
                            ),
                        );
                        emit(&mut rows, moment.before_ms);
                    }
                }
            }
            emit(&mut rows, moment.after_ms);
            out.push(emits);
            late.push(lates);
            took.push(takes);
        }
        let last_ms = moments.last().map_or(i64::MIN, |moment| moment.after_ms);
        let held = rows
            .iter()
            .filter(|(held, _)| !is_past(held.time_ms + span_ms, last_ms));
        Emitted {
            out,
            late,
            took,
            held: held.count(),
            past: Vec::new(),
        }
    }

    /// A row with the aggregates over those that it sees.
    fn slid(&self, row: Row, seen: &[&Held]) -> Row {
        let results = self.aggregates.iter().map(|aggregate| compute(aggregate, seen));
        row.into_iter().chain(results).collect()
    }
}
