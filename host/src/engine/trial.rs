//! The trial of a guest that is new.
//!
//! A version that was swapped in is on trial over its first rows. Where it fails on a row (a trap, a time-out, a
//! rejection) that the version before it takes, that one decides: the row is decided by fallback, neither lost nor a
//! dead letter. A version that fails on more rows than it may is taken back at that very row, as is one that runs into its
//! deadline.

use super::verdicts::{Parts, Verdicts, ask};
use crate::{
    limits::TRIAL_BATCH_ROWS,
    model::{column::Batch, delivery::Deliveries, deployment::TrialRecord, guest::Patience},
    plan::{RunningStage, StagePlan},
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
    /// How it stood at the savepoint.
    pub(super) kept: Option<(u64, usize)>,
}

impl Trial {
    /// Whether it ended, one way or the other.
    pub(super) fn is_over(&self) -> bool {
        self.record.left == 0 || self.record.taken_back.is_some()
    }

    /// Judges rows by the version on trial, and by the one before it where that fails.
    pub(super) fn judge(
        &mut self,
        live: &mut dyn RunningStage,
        plan: &StagePlan,
        fallback_plan: &StagePlan,
        input: &Batch,
        deliveries: &Deliveries,
    ) -> Verdicts {
        let mut parts = Parts::new(plan.outputs.len());
        let (mut start, rows) = (0, input.len() as u32);
        while start < rows && !self.is_over() {
            let left = u32::try_from(self.record.left).unwrap_or(u32::MAX);
            let end = rows.min(start.saturating_add(left.min(TRIAL_BATCH_ROWS)));
            let part = input.gather(&(start..end).collect::<Vec<_>>());
            let mut given = ask(live, plan, &part, deliveries, Patience::OneFailure);

            // A row that both reject is a dead letter. One that only the new version rejects, the fallback decides.
            let refused: Vec<u32> = given.rejected.iter().map(|rejected| rejected.row).collect();
            let refused_rows = part.gather(&refused);
            let mut again = ask(
                &mut *self.fallback,
                fallback_plan,
                &refused_rows,
                deliveries,
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
                let sequence = sequence_of(&part, row, deliveries);
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
        if start < rows {
            let rest = input.gather(&(start..rows).collect::<Vec<_>>());
            let mut given = match self.record.taken_back {
                Some(_) => ask(&mut *self.fallback, fallback_plan, &rest, deliveries, Patience::Endless),
                None => ask(live, plan, &rest, deliveries, Patience::Endless),
            };
            parts.push(mem::take(&mut given.outputs));
            parts.add(&given);
            parts.reject(given.rejected, start);
        }
        parts.finish()
    }
}

fn sequence_of(input: &Batch, row: u32, deliveries: &Deliveries) -> u64 {
    deliveries.sequence(input.delivery(row as usize))
}
