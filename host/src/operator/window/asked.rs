//! What the guests among the aggregates of a window are to be asked: which row comes to which windows, or goes from them.
//!
//! This goes through the rows as the window itself will, and changes nothing.

use super::{
    cut::{Bounds, Cut},
    open::{Open, Windows, push_window_key},
    session::{session_key, start_of},
};
use crate::{
    model::{batch::Batch, column::Column, row::push_key},
    operator::{
        RowTimes,
        accumulators::Group,
        clock::{Cursor, WatermarkProgress},
        guests::{Asked, GroupNumber, Guests},
    },
    planner::window::WindowPlan,
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

/// Of windows that are cut by the clock: an answer will be wanted for each row and window, in their order.
pub(super) fn of_cut<'s>(
    guests: &Guests,
    windows: &'s Windows,
    plan: &WindowPlan,
    cut: &mut Cut,
    input: &Batch,
    progress: &WatermarkProgress<'_>,
) -> Asked<'s> {
    let mut asked = guests.ask();
    let mut rows = Rows::new(plan, input, progress);
    let (mut bounds, mut group, mut key) = (Vec::<Bounds>::new(), Vec::new(), Vec::new());
    for row in 0..input.len() {
        let Some(time_us) = rows.next(row) else { continue };
        let retracts = input.kind(row).retracts();
        bounds.clear();
        cut.push_windows(time_us, &mut bounds);
        group.clear();
        push_key(&mut group, &rows.groups, row);
        for &bounds in &bounds {
            if windows.is_over(bounds.end_us, rows.watermark_us) {
                asked.pass_over();
                continue;
            }
            key.clear();
            push_window_key(&mut key, &group, bounds);
            let number = asked.group(&key, || windows.held(&key).map(|window| &window.group));
            match retracts && asked.rows(number) == 0 {
                true => asked.pass_over(),
                false => asked.row(number, row, retracts),
            }
        }
    }
    asked
}

/// A session, as far as it will have come.
#[derive(Clone, Copy)]
struct Session {
    end_us: i64,
    number: GroupNumber,
}

/// Of sessions: an answer will be wanted for each row that is not late.
pub(super) fn of_sessions<'s>(
    guests: &Guests,
    windows: &'s Windows,
    plan: &WindowPlan,
    gap_us: i64,
    input: &Batch,
    progress: &WatermarkProgress<'_>,
) -> Asked<'s> {
    let mut asked = guests.ask();
    let mut rows = Rows::new(plan, input, progress);
    // By group, then start.
    let mut groups: HashMap<Vec<u8>, BTreeMap<i64, Session>> = HashMap::new();
    let mut group = Vec::new();
    for row in 0..input.len() {
        let Some(time_us) = rows.next(row) else { continue };
        group.clear();
        push_key(&mut group, &rows.groups, row);
        let sessions = groups
            .entry(group.clone())
            .or_insert_with(|| held(windows, &group, &mut asked));
        // Those that are over are gone.
        sessions.retain(|_, session| !windows.is_over(session.end_us, rows.watermark_us));

        let (mut start_us, mut end_us) = (time_us, time_us.saturating_add(gap_us));
        let before = sessions.range(..end_us).rev();
        let joined = before.take_while(|(_, session)| session.end_us > time_us);
        let joined: Vec<(i64, Session)> = joined.map(|(&start_us, &session)| (start_us, session)).collect();
        for (start, session) in &joined {
            (start_us, end_us) = (start_us.min(*start), end_us.max(session.end_us));
        }
        if windows.is_over(end_us, rows.watermark_us) {
            continue;
        }
        let into = joined.iter().find(|(start, _)| *start == start_us);
        let number = into.map_or_else(|| asked.add(None), |(_, session)| session.number);
        for (start, session) in joined.iter().filter(|(start, _)| *start != start_us) {
            asked.merge(number, session.number, row);
            sessions.remove(start);
        }
        asked.row(number, row, false);
        sessions.insert(start_us, Session { end_us, number });
    }
    asked
}

/// The sessions that are held of a group.
fn held<'s>(windows: &'s Windows, group: &[u8], asked: &mut Asked<'s>) -> BTreeMap<i64, Session> {
    let (first, last) = (session_key(group, i64::MIN), session_key(group, i64::MAX));
    let all = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    let held = windows.sessions(all).map(|(key, session): (_, &'s Open)| {
        let of_group: Option<&'s Group> = Some(&session.group);
        let (end_us, number) = (session.end_us, asked.add(of_group));
        (start_of(key, group), Session { end_us, number })
    });
    held.collect()
}

/// Rows on their way, and the watermark as it stands when they come.
struct Rows<'a, 'b> {
    input: &'a Batch,
    groups: Vec<&'a Column>,
    times: RowTimes<'a>,
    progress: &'b WatermarkProgress<'b>,
    cursor: Cursor<'b>,
    watermark_us: i64,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(plan: &WindowPlan, input: &'a Batch, progress: &'b WatermarkProgress<'_>) -> Self {
        Self {
            input,
            groups: input.pick(&plan.group),
            times: RowTimes::of(plan.time, input),
            progress,
            cursor: progress.cursor(),
            watermark_us: progress.before_us(),
        }
    }

    /// Lets the watermark move on to where it is when `row` comes; gives the row's time.
    fn next(&mut self, row: usize) -> Option<i64> {
        let delivery = self.input.delivery(row);
        while let Some((_, watermark_us)) = self.cursor.next_before(delivery) {
            self.watermark_us = watermark_us;
        }
        self.times.time_us(row, self.progress)
    }
}
