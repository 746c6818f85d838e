//! A running aggregate: calls with bounds, and the search for what makes a call fail.

use super::work::{Pairs, Rows, States, Stopped, Work};
use crate::{
    definition::StageLimits,
    limits::GUEST_CALL_STATE_BYTES_MAX,
    metrics::ModuleVersion,
    model::{
        column::{Column, ColumnType},
        guest::{
            Accumulate, Accumulated, AggregateModule, GuestFailure, Merged, ParameterValue, RejectedInput, Results,
        },
    },
    plan::RunningAggregate,
    wasm::{
        check::shorten, guest::Guest, host::StageHost, instance::declared_types, worlds::aggregate::AggregateWorld,
    },
};
use std::{fmt, ops::Range, sync::Arc};

/// An aggregate that can be called. It is instantiated at the first call and again after each failure.
pub struct AggregateInstance {
    module: Arc<AggregateModule>,
    guest: Guest<AggregateWorld>,
    /// The types of the columns that it is given.
    types: Vec<ColumnType>,
}

impl fmt::Debug for AggregateInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateInstance")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl AggregateInstance {
    /// An aggregate with its parameters, every one that its description lists.
    pub fn new(
        host: &StageHost,
        module: Arc<AggregateModule>,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        let watch = host.guest_watch(&module.digest, Some(&parameters));
        Self {
            guest: Guest::new(host, module.code.get(), &module.digest, parameters, limits).with_watch(watch),
            types: declared_types(&module.description.inputs),
            module,
        }
    }

    /// The same, called with columns of these types.
    #[must_use]
    pub fn with_inputs(mut self, types: &[ColumnType]) -> Self {
        self.types = types.to_vec();
        self
    }

    /// The component that runs here.
    pub fn module(&self) -> &Arc<AggregateModule> {
        &self.module
    }

    /// Instantiates and configures the guest now.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub fn configure(&mut self) -> Result<(), GuestFailure> {
        self.guest.ready()
    }

    /// Takes rows into the states of their groups, up to the first that cannot be taken in.
    ///
    /// What comes of a row does not depend on where the rows of a call end: those after the one that is refused can be
    /// given again.
    pub fn accumulate(&mut self, asked: Accumulate<'_>) -> Accumulated {
        debug_assert!(
            asked.retracts.is_none() || self.module.description.retracts,
            "a plan takes nothing back from an aggregate that cannot"
        );
        let types = self.types.clone();
        let mut rows = Rows::new(asked, &types, &self.module.description);
        let refused = self.run(&mut rows, 0..asked.groups.len(), Trust::Whole);
        rows.finish(refused)
    }

    /// Merges the states of `into` with those of `from`, which are as many, up to the first pair that cannot be merged.
    pub fn merge(&mut self, into: &[&[u8]], from: &[&[u8]]) -> Merged {
        let mut pairs = Pairs {
            into,
            from,
            merged: Vec::with_capacity(into.len()),
        };
        let refused = self.run(&mut pairs, 0..into.len().min(from.len()), Trust::Whole);
        Merged {
            states: pairs.merged,
            refused,
        }
    }

    /// The results of states, up to the first that has none.
    pub fn results(&mut self, states: &[&[u8]]) -> Results {
        let mut work = States {
            states,
            results: Column::with_capacity(self.module.description.result.column_type, states.len()),
        };
        let refused = self.run(&mut work, 0..states.len(), Trust::Whole);
        Results {
            column: work.results,
            refused,
        }
    }

    /// Does a part of the work, or what of it stands before the first that is refused.
    ///
    /// A part that fails is halved; so the search takes about two calls for each time that its length can be halved, and
    /// one more where what failed alone did so in an instance that had been called.
    fn run(&mut self, work: &mut impl Work, part: Range<usize>, trust: Trust) -> Option<RejectedInput> {
        if part.is_empty() {
            return None;
        }
        let stopped = match work.call(&mut self.guest, &self.module.description, part.clone()) {
            Ok(()) => return None,
            Err(stopped) => stopped,
        };
        let is_alone = part.len() == 1;
        match stopped {
            Stopped::Rejected(rejected) if is_alone || trust == Trust::Whole => {
                // The guest promised to take in what stands before.
                let before = part.start..part.start + rejected.number as usize;
                let rejected = RejectedInput {
                    reason: rejected.reason,
                    failed: false,
                    timed_out: false,
                };
                self.run(work, before, Trust::Halves).or(Some(rejected))
            }
            // What other rows left in the instance must not cost this one: a new one is asked.
            Stopped::Failed(failure) if is_alone && failure.used => self.run(work, part, trust),
            Stopped::Failed(failure) if is_alone => Some(RejectedInput {
                reason: shorten(failure.reason),
                failed: true,
                timed_out: failure.timed_out,
            }),
            Stopped::TooMuch if is_alone => Some(RejectedInput {
                reason: format!("its states have more than {GUEST_CALL_STATE_BYTES_MAX} bytes"),
                failed: true,
                timed_out: false,
            }),
            _ => {
                let middle = part.start + part.len() / 2;
                self.run(work, part.start..middle, trust)
                    .or_else(|| self.run(work, middle..part.end, trust))
            }
        }
    }
}

impl RunningAggregate for AggregateInstance {
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        Some(self.guest.measured())
    }

    fn configure(&mut self) -> Result<(), GuestFailure> {
        AggregateInstance::configure(self)
    }

    fn accumulate(&mut self, asked: Accumulate<'_>) -> Accumulated {
        AggregateInstance::accumulate(self, asked)
    }

    fn merge(&mut self, into: &[&[u8]], from: &[&[u8]]) -> Merged {
        AggregateInstance::merge(self, into, from)
    }

    fn results(&mut self, states: &[&[u8]]) -> Results {
        AggregateInstance::results(self, states)
    }
}

/// Whom to believe when the guest names what it rejects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The guest.
    Whole,
    /// Nobody, since the guest broke its word: halving finds it, in bounded time.
    Halves,
}
