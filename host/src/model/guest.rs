//! Guests as data: the modules that hold them, what they say of themselves, and what they answer.
//!
//! A plan refers to a guest by its [`Module`] or [`AggregateModule`]: digest, bytes and description, and a [`CodeHandle`] that
//! keeps the compiled code alive for as long as the plan is. What runs them implements [`crate::plan::GuestHost`].

mod aggregate;
mod answer;
mod description;
mod keyed;
mod module;
mod parameter;

pub use aggregate::{Accumulate, Accumulated, Merged, RejectedInput, Results};
pub use answer::{Answer, GuestFailure, Judged, OutputRows, Patience, RejectedRow};
pub use description::{
    AggregateDescription, Description, InputColumn, InputType, KeyedDescription, OutputSpec, ResultColumn,
};
pub use keyed::{DueKeys, KeyedFired, KeyedProcessed, NO_TIMER, RowsOfKeys};
pub use module::{AggregateModule, CodeHandle, KeyedModule, Module};
pub use parameter::{ParameterSpec, ParameterType, ParameterValue};
