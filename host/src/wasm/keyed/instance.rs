//! A running keyed function: calls with bounds, and the search for what makes a call fail.

use super::work::{Due, Rows};
use crate::{
    definition::StageLimits,
    limits::ROWS_PER_ROW,
    metrics::ModuleVersion,
    model::{
        column::ColumnType,
        guest::{DueKeys, GuestFailure, KeyedFired, KeyedModule, KeyedProcessed, ParameterValue, RowsOfKeys},
    },
    plan::RunningKeyed,
    wasm::{guest::Guest, halving, host::StageHost, instance::declared_types, worlds::keyed::KeyedWorld},
};
use std::{fmt, sync::Arc};

/// A keyed function that can be called. It is instantiated at the first call and again after each failure.
pub struct KeyedInstance {
    module: Arc<KeyedModule>,
    guest: Guest<KeyedWorld>,
    /// The types of the columns that it is given.
    types: Vec<ColumnType>,
    rows_per_row: usize,
}

impl fmt::Debug for KeyedInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedInstance")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl KeyedInstance {
    /// A keyed function with its parameters, every one that its description lists.
    pub fn new(
        host: &StageHost,
        module: Arc<KeyedModule>,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        let watch = host.guest_watch(&module.digest, Some(&parameters));
        Self {
            guest: Guest::new(host, module.code.get(), &module.digest, parameters, limits).with_watch(watch),
            types: declared_types(&module.description.inputs),
            rows_per_row: limits
                .rows_per_row
                .as_ref()
                .map_or(ROWS_PER_ROW, |rows| *rows.get_ref() as usize),
            module,
        }
    }

    /// The same, called with columns of these types.
    #[must_use]
    pub fn with_inputs(mut self, types: &[ColumnType]) -> Self {
        self.types = types.to_vec();
        self
    }
}

impl RunningKeyed for KeyedInstance {
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        Some(self.guest.measured())
    }

    fn configure(&mut self) -> Result<(), GuestFailure> {
        self.guest.ready()
    }

    fn process(&mut self, asked: RowsOfKeys<'_>) -> KeyedProcessed {
        let Self {
            module,
            guest,
            types,
            rows_per_row,
        } = self;
        let mut rows = Rows::new(asked, types, *rows_per_row, &module.description);
        let refused = halving::run(guest, &module.description, &mut rows, asked.keys.len());
        rows.finish(refused)
    }

    fn on_timers(&mut self, asked: DueKeys<'_>) -> KeyedFired {
        let Self {
            module,
            guest,
            rows_per_row,
            ..
        } = self;
        let mut due = Due::new(asked, *rows_per_row, &module.description);
        let refused = halving::run(guest, &module.description, &mut due, asked.timers.len());
        due.finish(refused)
    }
}
