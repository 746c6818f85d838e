//! A running aggregate: calls with bounds, and the search for what makes a call fail.

use super::work::{Pairs, Rows, States};
use crate::{
    definition::StageLimits,
    metrics::ModuleVersion,
    model::{
        column::{Column, ColumnType},
        guest::{
            Accumulate, Accumulated, AggregateModule, GuestFailure, Merged, ParameterValue, RejectedInput, Results,
        },
    },
    plan::RunningAggregate,
    wasm::{
        guest::Guest,
        halving::{self, Work},
        host::StageHost,
        instance::declared_types,
        worlds::aggregate::AggregateWorld,
    },
};
use std::{fmt, sync::Arc};

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
        let refused = self.run(&mut rows, asked.groups.len());
        rows.finish(refused)
    }

    /// Merges the states of `into` with those of `from`, which are as many, up to the first pair that cannot be merged.
    pub fn merge(&mut self, into: &[&[u8]], from: &[&[u8]]) -> Merged {
        let mut pairs = Pairs {
            into,
            from,
            merged: Vec::with_capacity(into.len()),
        };
        let refused = self.run(&mut pairs, into.len().min(from.len()));
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
        let refused = self.run(&mut work, states.len());
        Results {
            column: work.results,
            refused,
        }
    }

    fn run(&mut self, work: &mut impl Work<AggregateWorld>, pieces: usize) -> Option<RejectedInput> {
        halving::run(&mut self.guest, &self.module.description, work, pieces)
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
