//! Keys that are due and still there: where millions are forgotten at one event, they go in several turns.
//!
//! Only steps whose rows nothing but tables of the same keys reads do that, so nobody sees the order in which they go. Which
//! keys are left is not kept: they are those that are due by the watermark, also after a start. Until all are gone the
//! tables hold rows that the stream has outlived, and a row that comes for such a key is its first all the same.

use super::{Engine, Step};
use crate::{
    error::note_defect,
    operator::{Forgets, Forgotten, clock::Clock},
    plan::OutputPort,
};

impl Step {
    fn forgets(&mut self) -> Option<&mut dyn Forgets> {
        self.operator()?.forgets()
    }

    fn has_due(&mut self, watermark_us: i64) -> bool {
        let expiry = self.forgets().and_then(Forgets::expiry);
        expiry.is_some_and(|expiry| expiry.has_left(watermark_us))
    }
}

impl Engine {
    /// Whether keys that are due were left for [`Engine::forget_due`].
    pub fn has_due(&mut self) -> bool {
        let watermark_us = self.clock.as_ref().map(Clock::watermark_us);
        watermark_us.is_some_and(|watermark_us| self.steps.iter_mut().any(|step| step.has_due(watermark_us)))
    }

    /// Forgets some of the keys that are due, as many as go at once in each step. Their rows are part of the open turn.
    pub fn forget_due(&mut self) {
        let Some(clock) = &self.clock else { return };
        let (watermark_us, last) = (clock.watermark_us(), self.last_sequence);
        for (node, step) in self.steps.iter_mut_enumerated() {
            if !step.has_due(watermark_us) {
                continue;
            }
            let Some(operator) = step.forgets() else { continue };
            let Forgotten { rows, events } = operator.forget_due(watermark_us, last);
            self.has_forgotten = true;
            if let Some(step) = self.metrics.steps().get(node) {
                step.count(0, [rows.len() as u64]);
            }
            let port = OutputPort { node, output: 0 };
            for (sink, plan) in self.sinks.iter_mut().zip(&self.plan.sinks) {
                if plan.input == port {
                    sink.collect(&rows, |event| {
                        events.get(event as usize).copied().unwrap_or_else(|| {
                            note_defect(format_args!(
                                "a key that is due goes by event {event} of {}",
                                events.len()
                            ));
                            last
                        })
                    });
                }
            }
        }
    }

    /// Changes how many keys each step forgets at once, where not all of them have to go, from
    /// [`FORGOTTEN_AT_ONCE`](crate::limits::FORGOTTEN_AT_ONCE).
    pub fn set_forgotten_at_once(&mut self, keys: usize) {
        let forgetting = self.steps.iter_mut().filter_map(Step::forgets);
        for expiry in forgetting.filter_map(Forgets::expiry) {
            expiry.set_at_once(keys);
        }
    }
}
