//! How often the guest of a stage fails, and when that is too often.
//!
//! A guest fails on a row where it traps, runs too long, or answers against the contract. One that does so again and again
//! is broken, and would make a dead letter of every event; so its pipeline stops. The rows that a stage judges are counted
//! in blocks, from its first row on: where more rows of a block fail than may, the pipeline stops in front of the event of
//! that row. So where it stops depends on the rows alone: not on batches, turns or restarts, since the count is part of each
//! turn. A version that takes over begins a block of its own.
//!
//! Rows are counted when it is settled what becomes of them: those of an event that is undone once, and in the order of the
//! stream, whichever order they were judged in. What a version on trial fails on and the version before it takes is no
//! failure here.

use super::{Cut, Engine, Stage, Step, verdicts::Verdicts};
use crate::{
    error::Error,
    model::turn::{FailureCount, StepFailures},
    plan::{FailureBound, NodeKind},
};
use std::ops::Range;

/// The count of a stage.
#[derive(Debug)]
pub(super) struct Failures {
    bound: FailureBound,
    count: FailureCount,
    /// As of the last turn; nothing where that does not know of this version yet.
    logged: Option<FailureCount>,
    /// The delivery of each row that was judged since the open part began.
    rows: Vec<u32>,
    /// Those of them on which the guest failed, as places in `rows`, and why.
    failed: Vec<(usize, String)>,
}

/// A guest failed too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The step.
    pub step: String,
    /// Its module, in short.
    pub module: String,
    /// Rows of the block that were judged, with the last one that failed, and how many of them failed.
    pub judged: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many may fail, of how many.
    pub bound: FailureBound,
    /// The event of the first of the rows that failed.
    pub first_sequence: u64,
    /// The event in front of which the pipeline stops.
    pub sequence: u64,
    /// Why the last one failed.
    pub reason: String,
}

impl Stopped {
    /// What is said of it.
    pub fn error(&self) -> Error {
        let Self {
            step,
            module,
            judged,
            failed,
            bound: FailureBound { most, of },
            first_sequence,
            sequence,
            reason,
        } = self;
        Error::environment(format!(
            "step \"{step}\": module {module} failed on {failed} of {judged} rows, the first of them at sequence \
             {first_sequence}, the last at sequence {sequence}: {reason}; {most} of {of} rows may fail. Everything before \
             sequence {sequence} is committed, and nothing from there on. Put a mended module in its place (in the pipeline \
             file, or with weir deploy or weir rollback), or let more rows fail (key `failures` of the stage), and start \
             again: it goes on with sequence {sequence}"
        ))
    }
}

impl Failures {
    pub(super) fn new(bound: FailureBound) -> Self {
        Self {
            bound,
            count: FailureCount::default(),
            logged: None,
            rows: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Notes what became of rows of these deliveries.
    pub(super) fn note(&mut self, deliveries: &[u32], verdicts: &Verdicts) {
        let start = self.rows.len();
        self.rows.extend_from_slice(deliveries);
        let failed = verdicts.rejected.iter().filter(|rejected| rejected.failed);
        let failed = failed.map(|rejected| (start + rejected.row as usize, rejected.reason.clone()));
        self.failed.extend(failed);
    }

    fn forget(&mut self) {
        self.rows.clear();
        self.failed.clear();
    }

    /// The count after the rows of the deliveries in `range`; or where it is too high.
    fn count(&self, range: &Range<u32>, sequence: &impl Fn(u32) -> u64) -> Result<FailureCount, (u32, Exceeded)> {
        let (mut count, FailureBound { most, of }) = (self.count, self.bound);
        if self.failed.is_empty() {
            let rows = self.rows.iter().filter(|delivery| range.contains(delivery)).count() as u64;
            if count.judged + rows >= of {
                count.failed = 0;
            }
            count.judged = (count.judged + rows) % of;
            return Ok(count);
        }
        let mut failed = self.failed.iter().peekable();
        let rows = self.rows.iter().enumerate().map(|(place, &delivery)| {
            let reason = failed.next_if(|(failed, _)| *failed == place);
            (delivery, reason.map(|(_, reason)| reason))
        });
        let mut rows: Vec<(u32, Option<&String>)> = rows.filter(|(delivery, _)| range.contains(delivery)).collect();
        // The waves of a lookup judge rows out of the order of the stream.
        rows.sort_by_key(|(delivery, _)| *delivery);
        for (delivery, reason) in rows {
            count.judged += 1;
            if let Some(reason) = reason {
                if count.failed == 0 {
                    count.first_sequence = sequence(delivery);
                }
                count.failed += 1;
                if count.failed > most {
                    let reason = reason.clone();
                    return Err((delivery, Exceeded { count, reason }));
                }
            }
            if count.judged >= of {
                (count.judged, count.failed) = (0, 0);
            }
        }
        Ok(count)
    }
}

/// A count that is too high.
struct Exceeded {
    count: FailureCount,
    reason: String,
}

impl Engine {
    /// Begins a part: what was judged in one that was not settled is forgotten.
    pub(super) fn forget_failures(&mut self) {
        self.each_stage(|stage| stage.failures.forget());
    }

    /// Checks that no guest failed too often on the rows of the deliveries in `range`.
    ///
    /// # Errors
    /// The first delivery at which one did.
    pub(super) fn check_failures(&mut self, range: &Range<u32>, sequence: impl Fn(u32) -> u64) -> Result<(), Cut> {
        if !self.counts_failures {
            return Ok(());
        }
        let mut first: Option<(u32, Stopped)> = None;
        for (step, node) in self.steps.iter().zip(&self.plan.nodes) {
            let (Step::Stage(stage), NodeKind::Stage(plan)) = (step, &node.kind) else {
                continue;
            };
            if let Err((delivery, Exceeded { count, reason })) = stage.failures.count(range, &sequence)
                && first.as_ref().is_none_or(|(before, _)| delivery < *before)
            {
                let stopped = Stopped {
                    step: node.name.clone(),
                    module: stage.deciding(plan).module.short_digest().to_owned(),
                    judged: count.judged,
                    failed: count.failed,
                    bound: stage.failures.bound,
                    first_sequence: count.first_sequence,
                    sequence: sequence(delivery),
                    reason,
                };
                first = Some((delivery, stopped));
            }
        }
        match first {
            Some((delivery, stopped)) => Err(Cut::Stop(delivery, Box::new(stopped))),
            None => Ok(()),
        }
    }

    /// Counts the rows of the deliveries in `range`, of which it is settled what becomes of them.
    pub(super) fn settle_failures(&mut self, range: &Range<u32>, sequence: impl Fn(u32) -> u64) {
        let counts = self.counts_failures;
        self.each_stage(|stage| {
            let failures = &mut stage.failures;
            if counts && let Ok(count) = failures.count(range, &sequence) {
                failures.count = count;
            }
            failures.forget();
        });
    }

    /// The counts that changed since the last turn, by step.
    pub(super) fn take_failures(&mut self) -> Vec<StepFailures> {
        let stopped = self.stopped.as_ref().map(|stopped| stopped.step.as_str());
        let stages = self.steps.iter_mut().zip(&self.plan.nodes);
        let changed = stages.filter_map(|(step, node)| {
            let Step::Stage(stage) = step else { return None };
            let is_stopped = stopped == Some(node.name.as_str());
            let count = stage.failures.count;
            let is_known = stage.failures.logged.replace(count) == Some(count);
            (!is_known || is_stopped).then(|| StepFailures {
                step: node.name.clone(),
                count,
                is_stopped,
            })
        });
        changed.collect()
    }

    /// Goes on counting where the last turn was.
    pub fn restore_failures(&mut self, step: &str, count: FailureCount) {
        let at = self.plan.nodes.position(|node| node.name == step);
        if let Some(Step::Stage(stage)) = at.and_then(|at| self.steps.get_mut(at)) {
            stage.failures.count = count;
            stage.failures.logged = Some(count);
        }
    }

    /// For events that are retried: what fails of them stays what it was, and stops nothing.
    pub fn leave_failures_uncounted(&mut self) {
        self.counts_failures = false;
    }

    /// Where a guest failed too often: from there on nothing is taken in.
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }
}

impl Stage {
    /// Begins a count of its own, as a version does that takes over.
    pub(super) fn begin_failures(&mut self) {
        self.failures = Failures::new(self.failures.bound);
    }
}
