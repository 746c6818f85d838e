//! What became of deliveries: counts, dead letters, and what metrics say of steps.

use super::{DeadRow, Edges, Engine, Outcomes, of};
use crate::{
    model::{
        batch::Batch,
        delivery::{DeadLetter, Deliveries, RejectedDelivery},
        ids::NodeId,
    },
    plan::NodeKind,
};
use std::time::Instant;

impl Engine {
    /// Counts the first `done` deliveries of a batch, beside `empty` payloads, and keeps the dead letters among them.
    pub(super) fn count(&mut self, outcomes: Outcomes, deliveries: &Deliveries, done: u32, ticks: &[u32], empty: u64) {
        self.counts.events += u64::from(done) + empty;
        let mut ticks = ticks.iter().filter(|tick| **tick < done).peekable();
        self.counts.empty += empty;
        for (delivery, (applied, dead)) in outcomes.applied.iter().zip(&outcomes.dead).enumerate() {
            if ticks.next_if(|tick| **tick as usize == delivery).is_some() {
                self.counts.empty += 1;
                continue;
            }
            match (dead, applied) {
                (true, _) => self.counts.dead_letters += 1,
                (false, true) => self.counts.applied += 1,
                (false, false) => self.counts.filtered += 1,
            }
        }
        self.counts.dead_rows += outcomes.dead_rows.len() as u64;
        let of_events = outcomes.rejected.into_iter().map(|rejected| {
            let payload = deliveries.payloads.get(rejected.delivery as usize).to_vec();
            let subject = deliveries.subject(rejected.delivery).map(str::to_owned);
            (rejected, subject, payload, false)
        });
        let of_rows = outcomes.dead_rows.into_iter();
        let of_rows = of_rows.map(|DeadRow { rejected, row }| (rejected, None, row.into_bytes(), true));
        let mut dead: Vec<(RejectedDelivery, Option<String>, Vec<u8>, bool)> = of_events.chain(of_rows).collect();
        dead.sort_by_key(|(rejected, ..)| rejected.delivery);
        for (rejected, subject, payload, is_row) in dead {
            self.dead_letter_bytes +=
                payload.len() + rejected.reason.len() + deliveries.headers(rejected.delivery).len();
            self.dead_letters.push(DeadLetter {
                sequence: deliveries.sequence(rejected.delivery),
                subject,
                headers: Some(deliveries.headers(rejected.delivery))
                    .filter(|headers| !is_row && !headers.is_empty())
                    .map(str::to_owned),
                written_sequence: deliveries.written_sequence(rejected.delivery).filter(|_| !is_row),
                time_ms: deliveries.time_ms(rejected.delivery),
                store_ms: deliveries.store_time_ms(rejected.delivery),
                step: rejected.step,
                module: rejected.module,
                reason: rejected.reason,
                payload,
                is_row,
            });
        }
    }

    /// Counts the time since `begun` for the step `at`. The time of a lookup holds that of the steps in its waves.
    pub(super) fn was_busy(&self, at: NodeId, begun: Instant) {
        if let Some(step) = self.metrics.steps().get(at) {
            step.step.busy.add(begun.elapsed());
        }
    }

    /// Counts the rows of a pass that went through, on every edge.
    pub(super) fn measure(&self, edges: &Edges) {
        for ((node, outputs), step) in self.plan.nodes.iter().zip(edges).zip(self.metrics.steps()) {
            let rows = |batch: &Batch| batch.len() as u64;
            let rows_in = match node.kind {
                NodeKind::Source => outputs.iter().map(rows).sum(),
                _ => node.inputs().map(|port| rows(of(edges, port))).sum(),
            };
            step.count(rows_in, outputs.iter().map(rows));
        }
    }
}
