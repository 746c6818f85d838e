//! The trial of a guest that is new.
//!
//! A version that was swapped in is on trial over its first rows. Where it fails on a row (a trap, a time-out, a
//! rejection) that the version before it takes, that one decides: the row is decided by fallback, neither lost nor a
//! dead letter. A version that fails on more rows than it may is taken back at that very row, as is one that runs into its
//! deadline.
//!
//! Over a changelog, the first such row takes it back: if the fallback decided it, nobody could say later, when the row
//! changes, what had come of it. All current rows are judged back then, see [`Differences`].

use super::{
    differences::Differences,
    verdicts::{Events, Parts, Verdicts, ask, ask_at, numbered},
};
use crate::{
    fail_point,
    limits::TRIAL_BATCH_ROWS,
    model::{
        batch::{Batch, RowKind},
        deployment::TrialRecord,
        guest::Patience,
    },
    plan::{Output, RunningStage, StagePlan},
};
use std::mem;

/// A trial that runs, or that the version did not pass.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) fallback: Box<dyn RunningStage>,
    pub(super) record: TrialRecord,
    /// Where the version was taken back.
    pub(super) last_sequence: u64,
    /// The record of the last turn.
    pub(super) logged: TrialRecord,
    /// Over a changelog: where it differs from the fallback.
    pub(super) differences: Option<Differences>,
    /// How it stood at the savepoint.
    pub(super) kept: Option<(u64, usize)>,
}

impl Trial {
    /// Whether it ended, one way or the other.
    pub(super) fn is_over(&self) -> bool {
        self.record.left == 0 || self.record.taken_back.is_some()
    }

    /// Judges rows, which go by their numbers, by the version on trial, and by the one before it where that fails.
    pub(super) fn judge(
        &mut self,
        live: &mut dyn RunningStage,
        plan: &StagePlan,
        fallback_plan: &StagePlan,
        input: &Batch,
        events: Events<'_>,
    ) -> Verdicts {
        let mut parts = Parts::new(plan.outputs.len());
        let (mut start, rows) = (0, input.len() as u32);
        while start < rows && !self.is_over() {
            let left = u32::try_from(self.record.left).unwrap_or(u32::MAX);
            let end = rows.min(start.saturating_add(left.min(TRIAL_BATCH_ROWS)));
            let part = input.gather(&(start..end).collect::<Vec<_>>());
            let mut given = ask(live, plan, &part, events, Patience::OneFailure);

            // A row that both reject is a dead letter. One that only the new version rejects, the fallback decides.
            let refused: Vec<u32> = given.rejected.iter().map(|rejected| rejected.row).collect();
            let refused_rows = part.gather(&refused);
            let mut again = ask(
                &mut *self.fallback,
                fallback_plan,
                &refused_rows,
                events,
                Patience::Endless,
            );
            let mut by_fallback = vec![true; refused.len()];
            for rejected in &again.rejected {
                if let Some(by_fallback) = by_fallback.get_mut(rejected.row as usize) {
                    *by_fallback = false;
                }
            }
            let mut kept = given.judged_rows;
            for ((&row, rejected), _) in refused
                .iter()
                .zip(&given.rejected)
                .zip(&by_fallback)
                .filter(|(_, by_fallback)| **by_fallback)
            {
                let sequence = events.sequence(part.delivery(row as usize));
                self.record.by_fallback.push(sequence);
                let ran_too_long = given.timed_out && row + 1 == given.judged_rows;
                if ran_too_long || self.record.by_fallback.len() as u64 > plan.trial.failures {
                    self.record.taken_back = Some(rejected.reason.clone());
                    self.last_sequence = sequence;
                    kept = row + 1;
                    break;
                }
            }
            self.record.left = self.record.left.saturating_sub(u64::from(kept));

            let mut by_fallback = by_fallback.iter();
            given
                .rejected
                .retain(|rejected| by_fallback.next() == Some(&false) && rejected.row < kept);
            let end = part.deliveries.get(kept as usize).copied().unwrap_or(u32::MAX);
            for verdicts in [&mut given, &mut again] {
                for output in &mut verdicts.outputs {
                    *output = output.of_deliveries(0..end);
                }
                parts.push(mem::take(&mut verdicts.outputs));
            }
            parts.add(&given);
            parts.reject(given.rejected, start);
            start += kept;
        }
        self.judge_rest(live, (plan, fallback_plan), (input, start), events, &mut parts);
        parts.finish()
    }

    /// As [`Trial::judge`], of the rows of a changelog. `outputs` are those of the step; of the rows that are `past`, each is so
    /// behind its delivery.
    pub(super) fn judge_changes(
        &mut self,
        live: &mut dyn RunningStage,
        (plan, fallback_plan): (&StagePlan, &StagePlan),
        outputs: &[Output],
        (input, past): (&Batch, &Batch),
        events: Events<'_>,
    ) -> Verdicts {
        let mut parts = Parts::new(plan.outputs.len());
        let (mut start, rows) = (0, input.len() as u32);
        while start < rows && !self.is_over() {
            let left = u32::try_from(self.record.left).unwrap_or(u32::MAX);
            let mut end = rows.min(start.saturating_add(left.min(TRIAL_BATCH_ROWS)));
            // The two rows of an update stay together.
            if end < rows && input.kind(end as usize - 1) == RowKind::UpdateBefore {
                end += 1;
            }
            let part = input.gather(&(start..end).collect::<Vec<_>>());
            let numbered = numbered(&part);
            let mut given = ask_at(live, plan, &numbered, &[], Patience::OneFailure);
            let judged = numbered.of_deliveries(0..given.judged_rows);
            let by_fallback = ask_at(&mut *self.fallback, fallback_plan, &judged, &[], Patience::Endless);

            let failed = given.rejected.iter().find(|rejected| {
                let mut also = by_fallback.rejected.iter();
                let goes = !rejected.failed && part.kind(rejected.row as usize).retracts();
                !goes && !also.any(|also| also.row == rejected.row)
            });
            let failed = failed.map(|failed| (failed.row, failed.reason.clone()));
            let kept = match &failed {
                None => given.judged_rows,
                Some((row, _)) => first_of_update(&part, *row),
            };
            if let Some(differences) = &mut self.differences {
                differences.note(&part, kept, &given.outputs, &by_fallback.outputs);
            }
            self.record.left = self.record.left.saturating_sub(u64::from(kept));
            let given_of_kept = mem::take(&mut given.outputs).into_iter().map(|output| {
                let output = output.of_deliveries(0..kept);
                let deliveries = output.deliveries.iter().map(|&row| part.delivery(row as usize));
                Batch {
                    deliveries: deliveries.collect(),
                    ..output
                }
            });
            parts.push(given_of_kept.collect());
            given.judged_rows = kept;
            parts.add(&given);
            given.rejected.retain(|rejected| rejected.row < kept);
            parts.reject(given.rejected, start);
            start += kept;
            if let Some((row, reason)) = failed {
                let sequence = events.sequence(part.delivery(row as usize));
                self.record.by_fallback.push(sequence);
                self.record.taken_back = Some(reason);
                self.last_sequence = sequence;
                fail_point::pass("judging-back");
                // In front of all that the fallback makes of the update.
                let number = part.delivery(kept as usize);
                let back = self.differences.as_mut().map(|differences| {
                    differences.leave(&past.of_deliveries(0..events.delivery(number)));
                    differences.take_back(outputs, number)
                });
                parts.push(back.unwrap_or_default());
            }
        }
        self.judge_rest(live, (plan, fallback_plan), (input, start), events, &mut parts);
        parts.finish()
    }

    /// Judges the rows from `start` on, where the trial is over.
    fn judge_rest(
        &mut self,
        live: &mut dyn RunningStage,
        (plan, fallback_plan): (&StagePlan, &StagePlan),
        (input, start): (&Batch, u32),
        events: Events<'_>,
        parts: &mut Parts,
    ) {
        let rows = input.len() as u32;
        if start == rows {
            return;
        }
        let rest = input.gather(&(start..rows).collect::<Vec<_>>());
        let mut given = match self.record.taken_back {
            Some(_) => ask(&mut *self.fallback, fallback_plan, &rest, events, Patience::Endless),
            None => ask(live, plan, &rest, events, Patience::Endless),
        };
        parts.push(mem::take(&mut given.outputs));
        parts.add(&given);
        parts.reject(given.rejected, start);
    }

    /// Takes in the current rows of the input, of which both versions are asked.
    ///
    /// # Errors
    /// Why the version on trial does not take one of them that the fallback takes.
    pub(super) fn add_current(
        &mut self,
        live: &mut dyn RunningStage,
        (plan, fallback_plan): (&StagePlan, &StagePlan),
        rows: &Batch,
    ) -> Result<(), String> {
        let given = ask_at(live, plan, rows, &[], Patience::Endless);
        let by_fallback = ask_at(&mut *self.fallback, fallback_plan, rows, &[], Patience::Endless);
        let mut failed = given.rejected.iter().filter(|rejected| {
            let mut also = by_fallback.rejected.iter();
            !also.any(|also| also.row == rejected.row)
        });
        if let Some(failed) = failed.next() {
            return Err(failed.reason.clone());
        }
        if let Some(differences) = &mut self.differences {
            differences.note(rows, rows.len() as u32, &given.outputs, &by_fallback.outputs);
        }
        Ok(())
    }
}

/// The row that an update begins with, of which `row` is the second half; else that row.
fn first_of_update(input: &Batch, row: u32) -> u32 {
    match row.checked_sub(1) {
        Some(before)
            if input.kind(row as usize) == RowKind::UpdateAfter
                && input.kind(before as usize) == RowKind::UpdateBefore =>
        {
            before
        }
        _ => row,
    }
}
