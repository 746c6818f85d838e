//! Keyed functions in a plan.

use super::{GuestHost, RunningKeyed, Setting};
use crate::{
    definition::StageLimits,
    model::{
        column::ColumnType,
        deployment::Whose,
        guest::{KeyedModule, ParameterValue},
    },
};
use std::sync::Arc;

/// A keyed function, with what it is set up with.
#[derive(Clone, Debug)]
pub struct KeyedGuest {
    /// The component.
    pub module: Arc<KeyedModule>,
    /// Every parameter that it has, in the order of its description.
    pub parameters: Vec<(String, ParameterValue)>,
    /// Bounds.
    pub limits: StageLimits,
    /// The types of the columns that it reads.
    pub input_types: Vec<ColumnType>,
}

impl KeyedGuest {
    /// The function that runs. It is not set up yet.
    pub fn running(&self, host: &dyn GuestHost, whose: Whose) -> Box<dyn RunningKeyed> {
        let setting = Setting {
            parameters: &self.parameters,
            inputs: &self.input_types,
            limits: &self.limits,
            whose,
        };
        host.keyed(&self.module, setting)
    }
}
