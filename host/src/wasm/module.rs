//! Components of either kind.

use crate::model::guest::{AggregateModule, Module};
use std::sync::Arc;

/// A component of either kind.
#[derive(Clone, Debug)]
pub enum AnyModule {
    /// It is a stage.
    Stage(Arc<Module>),
    /// It is an aggregate.
    Aggregate(Arc<AggregateModule>),
}
