//! Sessions: windows that end where nothing came for a while.
//!
//! A row at `t` makes a window from `t` to `t` and the gap. Windows of a group that overlap are one: its start is that of
//! the first, its end that of the last. So rows that are at least the gap apart are in different sessions, and a row that
//! falls between two may join them: the one that begins later is gone then, and the other one goes on.

use super::{
    open::{Open, Windows},
    rows::{Row, columns},
};
use crate::{
    model::{
        batch::Batch,
        column::Value,
        row::{push_key, push_key_cell},
    },
    operator::{RowTimes, accumulators::Group, clock::WatermarkProgress, guests::Answers},
    planner::window::WindowPlan,
};
use std::ops::Bound;

/// Takes in rows; `answers` has one for each that is not late. The numbers of those that came too late go to `late`.
pub(super) fn update(
    windows: &mut Windows,
    plan: &WindowPlan,
    gap_us: i64,
    input: &Batch,
    progress: &WatermarkProgress<'_>,
    answers: &mut Answers,
    late: &mut Vec<u32>,
) -> Batch {
    let mut emitting = windows.begin(input, progress);
    let groups = input.pick(&plan.group);
    let columns = columns(plan, input);
    let times = RowTimes::of(plan.time, input);
    let mut group = Vec::new();
    for row in 0..input.len() {
        windows.before(row, &mut emitting);
        let Some(time_us) = times.time_us(row, progress) else {
            late.push(row as u32);
            continue;
        };
        group.clear();
        push_key(&mut group, &groups, row);
        let (mut start_us, mut end_us) = (time_us, time_us.saturating_add(gap_us));

        // Sessions of a group do not overlap, so the last of those that begin before the end ends last.
        let (first, behind) = (session_key(&group, i64::MIN), session_key(&group, end_us));
        let around = (Bound::Included(first.as_slice()), Bound::Excluded(behind.as_slice()));
        let mut joined: Vec<Vec<u8>> = Vec::new();
        for (key, session) in windows
            .sessions(around)
            .take_while(|(_, session)| session.end_us > time_us)
        {
            end_us = end_us.max(session.end_us);
            start_us = start_us.min(start_of(key, &group));
            joined.push(key.to_vec());
        }
        if windows.is_over(end_us, emitting.watermark_us) {
            late.push(row as u32);
            continue;
        }

        let row = Row::of(input, &columns, row, &times, progress);
        let key = session_key(&group, start_us);
        let mut merged = Vec::new();
        for other in joined.iter().filter(|other| **other != key) {
            let session = windows.take_out(other, row.delivery, &mut emitting);
            merged.extend(session.map(|session| (other, session)));
        }
        windows.change_session(
            &key,
            row.delivery,
            emitting.watermark_us,
            |current, values, aggregates| {
                let session = current.get_or_insert_with(|| Open {
                    end_us,
                    group: Group::new(aggregates),
                    emitted: None,
                    waits: false,
                });
                session.end_us = end_us;
                for (other, taken) in merged {
                    session.group.merge(aggregates, taken.group);
                    values.move_group(other, &key, aggregates, &mut session.group);
                }
                row.apply(&mut session.group, aggregates, &key, values);
                answers.give(&mut session.group);
            },
        );
    }
    windows.finish(emitting)
}

/// The key of a session of `group`.
pub(super) fn session_key(group: &[u8], start_us: i64) -> Vec<u8> {
    let mut key = group.to_vec();
    push_key_cell(&mut key, Value::Int(start_us));
    key
}

/// Where a session of `group` begins, by its key.
pub(super) fn start_of(key: &[u8], group: &[u8]) -> i64 {
    let mut start = key.get(group.len()..).unwrap_or_default();
    match crate::model::row::take_key_cell(&mut start, &mut Vec::new()) {
        Some(Value::Int(start_us)) => start_us,
        _ => i64::MAX,
    }
}
