//! Components of any kind.

use crate::model::guest::{AggregateModule, KeyedModule, Module};
use std::sync::Arc;

/// A component of any kind.
#[derive(Clone, Debug)]
pub enum AnyModule {
    /// It is a stage.
    Stage(Arc<Module>),
    /// It is an aggregate.
    Aggregate(Arc<AggregateModule>),
    /// It is a keyed function.
    Keyed(Arc<KeyedModule>),
}
