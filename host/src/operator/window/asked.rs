//! What the guests among the aggregates of a window are to be asked: which row comes to which windows, or goes from them.
//!
//! This goes through the rows as the window itself will, and changes nothing.

use super::{
    cut::{Bounds, Cut},
    open::{Open, Windows, push_window_key},
    session::{session_key, start_of},
};
use crate::{
    column::{Batch, Column},
    operator::{
        accumulators::Group,
        clock::{Passage, Walk},
        guests::{Asked, GroupNumber, Guests},
        row_time_ms,
    },
    plan::WindowPlan,
    row::push_key,
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
    passage: &Passage<'_>,
) -> Asked<'s> {
    let mut asked = guests.ask();
    let mut rows = Rows::new(plan, input, passage);
    let (mut bounds, mut group, mut key) = (Vec::<Bounds>::new(), Vec::new(), Vec::new());
    for row in 0..input.len() {
        let Some(time_ms) = rows.next(row) else { continue };
        let retracts = input.kind(row).retracts();
        bounds.clear();
        cut.push_windows(time_ms, &mut bounds);
        group.clear();
        push_key(&mut group, &rows.groups, row);
        for &bounds in &bounds {
            if windows.is_over(bounds.end_ms, rows.watermark_ms) {
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
    end_ms: i64,
    number: GroupNumber,
}

/// Of sessions: an answer will be wanted for each row that is not late.
pub(super) fn of_sessions<'s>(
    guests: &Guests,
    windows: &'s Windows,
    plan: &WindowPlan,
    gap_ms: i64,
    input: &Batch,
    passage: &Passage<'_>,
) -> Asked<'s> {
    let mut asked = guests.ask();
    let mut rows = Rows::new(plan, input, passage);
    // By group, then start.
    let mut groups: HashMap<Vec<u8>, BTreeMap<i64, Session>> = HashMap::new();
    let mut group = Vec::new();
    for row in 0..input.len() {
        let Some(time_ms) = rows.next(row) else { continue };
        group.clear();
        push_key(&mut group, &rows.groups, row);
        let sessions = groups
            .entry(group.clone())
            .or_insert_with(|| held(windows, &group, &mut asked));
        // Those that are over are gone.
        sessions.retain(|_, session| !windows.is_over(session.end_ms, rows.watermark_ms));

        let (mut start_ms, mut end_ms) = (time_ms, time_ms.saturating_add(gap_ms));
        let before = sessions.range(..end_ms).rev();
        let joined = before.take_while(|(_, session)| session.end_ms > time_ms);
        let joined: Vec<(i64, Session)> = joined.map(|(&start_ms, &session)| (start_ms, session)).collect();
        for (start, session) in &joined {
            (start_ms, end_ms) = (start_ms.min(*start), end_ms.max(session.end_ms));
        }
        if windows.is_over(end_ms, rows.watermark_ms) {
            continue;
        }
        let into = joined.iter().find(|(start, _)| *start == start_ms);
        let number = into.map_or_else(|| asked.add(None), |(_, session)| session.number);
        for (start, session) in joined.iter().filter(|(start, _)| *start != start_ms) {
            asked.merge(number, session.number, row);
            sessions.remove(start);
        }
        asked.row(number, row, false);
        sessions.insert(start_ms, Session { end_ms, number });
    }
    asked
}

/// The sessions that are held of a group.
fn held<'s>(windows: &'s Windows, group: &[u8], asked: &mut Asked<'s>) -> BTreeMap<i64, Session> {
    let (first, last) = (session_key(group, i64::MIN), session_key(group, i64::MAX));
    let all = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    let held = windows.sessions(all).map(|(key, session): (_, &'s Open)| {
        let of_group: Option<&'s Group> = Some(&session.group);
        let (end_ms, number) = (session.end_ms, asked.add(of_group));
        (start_of(key, group), Session { end_ms, number })
    });
    held.collect()
}

/// Rows on their way, and the watermark as it stands when they come.
struct Rows<'a, 'b> {
    input: &'a Batch,
    groups: Vec<&'a Column>,
    time: Option<&'a Column>,
    passage: &'b Passage<'b>,
    walk: Walk<'b>,
    watermark_ms: i64,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(plan: &WindowPlan, input: &'a Batch, passage: &'b Passage<'_>) -> Self {
        let time = plan.time.and_then(|index| input.columns.get(index));
        Self {
            input,
            groups: input.pick(&plan.group),
            time: time.map(|column| &**column),
            passage,
            walk: passage.walk(),
            watermark_ms: passage.before_ms(),
        }
    }

    /// Lets the watermark move on to where it is when `row` comes; gives the row's time.
    fn next(&mut self, row: usize) -> Option<i64> {
        let delivery = self.input.deliveries.get(row).copied().unwrap_or_default();
        while let Some((_, watermark_ms)) = self.walk.next_before(delivery) {
            self.watermark_ms = watermark_ms;
        }
        row_time_ms(self.time, self.input, row, self.passage)
    }
}
