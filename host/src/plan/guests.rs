//! The seam between plans and what runs guests.
//!
//! A plan is data: it names modules, parameters and bounds. Whoever can run them implements [`GuestHost`]: `wasm` does so for
//! components, and a test with closures. The planner asks it for modules, the engine for guests that it calls. Both know it
//! by these traits alone.

#[cfg(test)]
pub(crate) mod double;

use crate::{
    definition::StageLimits,
    error::Result,
    metrics::ModuleVersion,
    model::{
        column::{Column, ColumnType},
        deployment::Whose,
        guest::{
            Accumulate, Accumulated, AggregateModule, DueKeys, GuestFailure, Judged, KeyedFired, KeyedModule,
            KeyedProcessed, Merged, Module, ParameterValue, Patience, Results, RowsOfKeys,
        },
    },
};
use std::{
    fmt,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// Loads modules and makes guests of them.
///
/// `whose` says which step and which version a guest is for, so that the host knows what it was at work for when it died.
pub trait GuestHost: fmt::Debug {
    /// Loads the stage at `path`, and has it describe itself.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    fn load_stage(&self, path: &Path, whose: Whose) -> Result<Arc<Module>>;

    /// Loads the aggregate at `path`, and has it describe itself.
    ///
    /// # Errors
    /// As [`GuestHost::load_stage`].
    fn load_aggregate(&self, path: &Path, whose: Whose) -> Result<Arc<AggregateModule>>;

    /// Loads the stage that evaluates an expression: `attached` is the program, with its name.
    ///
    /// # Errors
    /// As [`GuestHost::load_stage`].
    fn load_expression(&self, attached: &[u8], whose: Whose) -> Result<Arc<Module>>;

    /// Loads the keyed function at `path`, and has it describe itself.
    ///
    /// # Errors
    /// As [`GuestHost::load_stage`].
    fn load_keyed(&self, path: &Path, whose: Whose) -> Result<Arc<KeyedModule>>;

    /// A stage that runs `module` under `setting`. It is set up at its first call, if not before.
    fn stage(&self, module: &Arc<Module>, setting: Setting<'_>) -> Box<dyn RunningStage>;

    /// An aggregate that runs `module` under `setting`, likewise.
    fn aggregate(&self, module: &Arc<AggregateModule>, setting: Setting<'_>) -> Box<dyn RunningAggregate>;

    /// A keyed function that runs `module` under `setting`, likewise.
    fn keyed(&self, module: &Arc<KeyedModule>, setting: Setting<'_>) -> Box<dyn RunningKeyed>;
}

/// What a guest is set up with.
#[derive(Clone, Debug)]
pub struct Setting<'s> {
    /// Every parameter that its description lists, in that order.
    pub parameters: &'s [(String, ParameterValue)],
    /// The types of the columns that it is called with, in the order of its description. Nothing for one that is not called.
    pub inputs: &'s [ColumnType],
    /// Bounds on each of its calls.
    pub limits: &'s StageLimits,
    /// The step and the version that it is for.
    pub whose: Whose,
}

/// A stage that can be called.
pub trait RunningStage: fmt::Debug + Send {
    /// Why the host does not run it any more, where it died of it too often. Every call fails then.
    fn refusal(&self) -> Option<&str> {
        None
    }

    /// What its calls come to, where the host measures them.
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        None
    }

    /// A flag that ends the search for rows that make a call fail, once somebody sets it: nobody wants the answers any more.
    fn over(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    /// Gives the guest its parameters now, and not with its first call.
    ///
    /// # Errors
    /// What the guest says against them, or how it failed.
    fn configure(&mut self) -> Result<(), GuestFailure> {
        Ok(())
    }

    /// Calls the guest without rows, so that its first batch meets nothing that is new to it.
    ///
    /// # Errors
    /// How it failed.
    fn warm_up(&mut self) -> Result<(), GuestFailure> {
        Ok(())
    }

    /// Judges `row_count` rows, up to the row at which `patience` ends. `columns` are those of the description, in order, and
    /// `times_ms` the time of each row, empty where the rule does not read it.
    ///
    /// The answer keeps what the description promises. A row that makes the guest fail is among the rejected ones and costs no
    /// other row.
    fn judge(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column], patience: Patience) -> Judged;
}

/// An aggregate that can be called. It keeps nothing: its states are the caller's.
pub trait RunningAggregate: fmt::Debug + Send {
    /// What its calls come to, where the host measures them.
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        None
    }

    /// Gives the guest its parameters now, and not with its first call.
    ///
    /// # Errors
    /// What the guest says against them, or how it failed.
    fn configure(&mut self) -> Result<(), GuestFailure> {
        Ok(())
    }

    /// Takes rows into the states of their groups, up to the first that cannot be taken in.
    ///
    /// What comes of a row does not depend on where the rows of a call end: those after the one that is refused can be given
    /// again.
    fn accumulate(&mut self, asked: Accumulate<'_>) -> Accumulated;

    /// Merges the states of `into` with those of `from`, which are as many, up to the first pair that cannot be merged.
    fn merge(&mut self, into: &[&[u8]], from: &[&[u8]]) -> Merged;

    /// The results of states, up to the first that has none. A module of the same description may have made them.
    fn results(&mut self, states: &[&[u8]]) -> Results;
}

/// A keyed function that can be called. It keeps nothing: its states and timers are the caller's.
pub trait RunningKeyed: fmt::Debug + Send {
    /// What its calls come to, where the host measures them.
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        None
    }

    /// Gives the guest its parameters now, and not with its first call.
    ///
    /// # Errors
    /// What the guest says against them, or how it failed.
    fn configure(&mut self) -> Result<(), GuestFailure> {
        Ok(())
    }

    /// Takes rows into the states of their keys, up to the first that cannot be taken in. No timer of a key comes due in between.
    ///
    /// What comes of a row does not depend on where the rows of a call end, nor on the rows of other keys.
    fn process(&mut self, asked: RowsOfKeys<'_>) -> KeyedProcessed;

    /// Takes note of times that have come, up to the first key that cannot do so.
    fn on_timers(&mut self, asked: DueKeys<'_>) -> KeyedFired;
}
