//! Sessions: windows that grow, and merge.

use super::{Emitting, Open, Windows};
use crate::{
    model::{batch::RowKind, row::cells},
    operator::{accumulators::Values, top::results},
    plan::AggregateSpec,
    planner::window::Emit,
};
use std::{mem, ops::RangeBounds};

impl Windows {
    /// The sessions with keys in a range, the last one first.
    pub(in crate::operator::window) fn sessions(
        &self,
        keys: impl RangeBounds<[u8]>,
    ) -> impl Iterator<Item = (&[u8], &Open)> {
        let found = self.sessions.iter().flat_map(move |sessions| {
            let bounds = (keys.start_bound(), keys.end_bound());
            sessions.range::<[u8], _>(bounds).rev()
        });
        found.filter_map(|key| Some((&**key, self.open.get(key)?)))
    }

    /// Lets `change` alter a session, or make it, and emits it when it is time.
    pub(in crate::operator::window) fn change_session(
        &mut self,
        key: &[u8],
        delivery: u32,
        watermark_us: i64,
        change: impl FnOnce(&mut Option<Open>, &mut Values, &[AggregateSpec]),
    ) {
        let Self {
            open,
            sessions,
            values,
            aggregates,
            timers,
            emit,
            lateness_us,
            touched,
            waiting,
            ..
        } = self;
        open.modify(key, |current| {
            let before_us = current.as_ref().map(|window| window.end_us);
            change(current, values, aggregates);
            let Some(window) = current else { return false };
            let has_ended = window.end_us <= watermark_us;
            if before_us != Some(window.end_us) {
                let kept_us = if has_ended { *lateness_us } else { 0 };
                timers.add(window.end_us.saturating_add(kept_us), key);
            }
            if before_us.is_none()
                && let Some(sessions) = sessions
            {
                sessions.insert(key.into());
            }
            match emit {
                Emit::Close if !has_ended => {}
                Emit::Early(_) if !has_ended => {
                    if !mem::replace(&mut window.waits, true) {
                        waiting.push(key.into());
                    }
                }
                _ => touched.push((key.into(), delivery)),
            }
            true
        });
    }

    /// Takes a session out, to be merged into another; emits deletes if it was emitted.
    pub(in crate::operator::window) fn take_out(
        &mut self,
        key: &[u8],
        delivery: u32,
        emitting: &mut Emitting<'_, '_>,
    ) -> Option<Open> {
        let mut taken = None;
        self.open.modify(key, |current| {
            taken = current.take();
            taken.is_some()
        });
        if let Some(sessions) = &mut self.sessions {
            sessions.remove(key);
        }
        let window = taken?;
        let row = self.bounds.row_of(key);
        for emitted in results(window.emitted.as_deref(), self.ranked) {
            let cells = cells(&row).chain(cells(emitted));
            emitting.out.push(RowKind::Delete, delivery, cells);
            emitting.out.with_lineage_of(&[delivery]);
        }
        Some(window)
    }
}
