//! A rehearsal: the current rows are judged anew beside the data path, so that the swap only has to pass on what differs.
//!
//! The rules have guests of their own here, as they judge now and as they will. Between batches the engine hands over current
//! rows, a bucket at a time, and with each batch what it changed of the changelog. Both arrive in that order, so that the last
//! word on a key is how it stands: at the swap, all that was handed over has been judged.

use super::{
    Engine, Step,
    cast::{Cast, NoCast, Rehearsed, Work},
    differences::DifferencesByKey,
    handing::{Deciding, Handing},
    passing::{Passed, is_read_row_by_row},
    rules::{Refused, path_of},
    swap::Successor,
};
use crate::{
    error::{Result, take_defect},
    fail_point,
    limits::REHEARSED_BEHIND_MAX,
    model::delivery::Deliveries,
    plan::{GuestHost, NodeKind, OutputPort, Plan},
};
use crossbeam_channel::{Receiver, bounded};
use std::sync::Arc;

/// What the engine holds of a rehearsal.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// The plan that runs, and the one that is to take over.
    was: Arc<Plan>,
    plan: Arc<Plan>,
    /// What decided at each rule when it began.
    deciding: Deciding,
    pub(super) handing: Handing,
    rehearsed: Receiver<Rehearsed>,
}

/// A successor with a rehearsal that is ready to begin.
#[derive(Debug)]
pub struct Prepared {
    successor: Box<Successor>,
    cast: Cast,
}

impl Successor {
    /// Gets a rehearsal ready, where current rows have to be judged anew; else gives the successor back. What cannot be
    /// rehearsed is judged at the swap itself.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect), where it is a plan of another pipeline file.
    pub fn rehearse(self: Box<Self>, running: &Arc<Plan>, host: &dyn GuestHost) -> Result<Result<Prepared, Box<Self>>> {
        Ok(match Cast::of(running, self.plan(), &self.changed(), host)? {
            Ok(cast) => Ok(Prepared { successor: self, cast }),
            Err(NoCast::NothingChanges | NoCast::OtherColumns) => Err(self),
            Err(NoCast::Guest(step, failure)) => {
                tracing::warn!(
                    step,
                    "step {step} is swapped without a rehearsal, so events wait while current rows are judged: {failure}"
                );
                Err(self)
            }
        })
    }
}

impl Engine {
    /// Begins a rehearsal. Gives the successor, for when [`Engine::is_rehearsed`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin_rehearsal(&mut self, prepared: Prepared) -> Result<Box<Successor>> {
        let Prepared { successor, mut cast } = prepared;
        self.begin_to_keep_differences()?;
        let changed = successor.changed();
        let deciding = self.deciding_of(&cast.rules);
        cast.decide(deciding.clone());
        let on_trial = cast.plan.nodes.iter_enumerated().filter_map(|(at, node)| {
            let NodeKind::Stage(stage) = &node.kind else {
                return None;
            };
            let running = match self.steps.get(at) {
                Some(Step::Stage(running)) => running.is_on_trial(),
                _ => false,
            };
            let begins = stage.fallback.is_some() && stage.trial.rows > 0;
            let is_on_trial = match changed.contains(&at) {
                true => begins,
                false => running,
            };
            is_on_trial.then_some(at)
        });
        cast.on_trial = on_trial.collect();
        let (was, plan) = (cast.was.clone(), cast.plan.clone());
        let asked = cast.rules.iter().flat_map(|rules| &rules.affected);
        let outputs = asked.flat_map(|&node| {
            let outputs = plan.nodes.get(node).map_or(0, |node| node.outputs.len());
            (0..outputs).map(move |output| OutputPort { node, output })
        });
        let row_by_row = outputs.filter(|&port| is_read_row_by_row(&plan, &self.sinks, port));
        cast.read_row_by_row = row_by_row.map(|port| (port.node, port.output)).collect();
        let (done, rehearsed) = bounded(1);
        let handing = Handing::start("weir-rehearsal", cast, move |mut cast, heard| {
            let (mut rehearsed, mut is_whole) = (Rehearsed::default(), false);
            let heard = heard.each(|work| {
                match work {
                    Work::Rows { rules, rows } => cast.take(rules, &rows, &mut rehearsed)?,
                    Work::All => is_whole = true,
                    Work::Through(_) | Work::Anew(_) => {}
                }
                if is_whole {
                    rehearsed.renew(&cast.plan);
                }
                take_defect()?;
                fail_point::pass("in-rehearsal");
                Ok(rehearsed.failure.is_none())
            });
            match heard {
                Ok(true) => drop(done.send(rehearsed)),
                Ok(false) => {}
                Err(defect) => tracing::error!("a rehearsal ends: {defect}"),
            }
        })?;
        self.rehearsal = Some(Rehearsal {
            was,
            plan,
            deciding,
            handing,
            rehearsed,
        });
        self.keep_past();
        fail_point::pass("rehearsing");
        Ok(successor)
    }

    /// Hands over some current rows, where there are more and the rehearsal keeps up. Says whether it did.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn rehearse_some(&mut self) -> Result<bool> {
        let Some(mut rehearsal) = self.rehearsal.take() else {
            return Ok(false);
        };
        let goes_on = self.hand_over_some(&mut rehearsal.handing);
        self.rehearsal = Some(rehearsal);
        if matches!(goes_on, Ok(true)) {
            fail_point::pass("in-hand-over");
        }
        goes_on
    }

    /// Whether all current rows are judged, or will be in a moment.
    pub fn is_rehearsed(&self) -> bool {
        let Some(rehearsal) = &self.rehearsal else {
            return true;
        };
        if rehearsal.handing.has_ended() {
            return true;
        }
        let waiting = rehearsal.handing.waiting();
        // One that does not keep up with the events is not waited for.
        rehearsal.handing.is_whole() && (waiting <= 1 || waiting > REHEARSED_BEHIND_MAX)
    }

    /// Passes on what a rehearsal found, under the plan that runs by now, as rows of the only delivery. All states have a
    /// savepoint.
    ///
    /// # Errors
    /// Why the plan cannot take over.
    pub(super) fn pass_on_rehearsed(
        &mut self,
        rehearsed: Rehearsed,
        deliveries: &Deliveries,
    ) -> Result<Passed, Refused> {
        let is_on_trial = |at| matches!(self.steps.get(at), Some(Step::Stage(stage)) if stage.is_on_trial());
        let rejected = rehearsed.newly_rejected(is_on_trial);
        if !rejected.is_empty() {
            return Err(rejected.refused(&self.plan));
        }
        let Rehearsed {
            moved,
            mut differences,
            compared,
            ..
        } = rehearsed;
        let plan = self.plan.clone();
        let mut knows_all = true;
        for (at, step) in self.steps.iter_mut_enumerated() {
            let Step::Stage(stage) = step else { continue };
            if stage.is_on_trial() && path_of(&plan, at).is_some() {
                match compared.contains(&at) {
                    true => {
                        let of_step = differences.get_mut(&at);
                        let of_step = of_step.map(DifferencesByKey::take);
                        stage.set_differences(of_step.unwrap_or_default());
                    }
                    false => knows_all = false,
                }
            }
        }
        if !knows_all {
            self.keep_differences()?;
        }
        self.keep_past();
        let mut passed = self.pass_on_moved(moved, deliveries)?;
        passed.left.differences = differences;
        Ok(passed)
    }

    /// What the rehearsal for `plan` found, once all is judged. Nothing where there was none, or it does not hold any more.
    pub(super) fn end_rehearsal(&mut self, plan: &Arc<Plan>) -> Option<Rehearsed> {
        let Rehearsal {
            was,
            plan: rehearsed_plan,
            deciding,
            handing,
            rehearsed,
        } = self.rehearsal.take()?;
        let holds = Arc::ptr_eq(&rehearsed_plan, plan) && Arc::ptr_eq(&was, &self.plan) && {
            let rules = handing.rules();
            deciding == self.deciding_of(rules)
        };
        self.keep_past();
        let is_whole = handing.is_whole();
        let leaves = handing.close();
        let found = match is_whole || !rehearsed.is_empty() {
            true if holds => rehearsed.recv().ok(),
            _ => None,
        };
        drop(leaves);
        // One that failed on a row was not asked of all.
        found.filter(|found| is_whole || found.failure.is_some())
    }
}
