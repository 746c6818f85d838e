//! Guests on wasmtime: stages, and aggregates.
//!
//! [`StageHost`] holds the engine and loads components; a [`Module`] is one that was found to be a stage of this contract;
//! an [`Instance`] runs it. A guest is a stranger: its memory, time and output are bounded, every answer is checked before
//! it is used, and a call that fails costs the rows that make it fail, found by halving the batch. [`AggregateModule`] and
//! [`AggregateInstance`] are the same for the other world of the contract.
//!
//! wasmtime is named in `stage/` and nowhere else.

mod aggregate;
mod answer;
mod bindings;
mod call;
mod check;
mod context;
mod description;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest;
mod host;
mod instance;
mod lines;
mod names;
mod translate;

pub use aggregate::{
    Accumulate, Accumulated, AggregateDescription, AggregateInstance, Merged, Refused, ResultColumn, Results,
};
pub use answer::{Answer, OutputRows, RejectedRow};
pub use call::StageFailure;
pub use description::{Description, OutputSpec, ParameterSpec, ParameterType, ParameterValue};
pub(crate) use host::digest_of;
pub use host::{AggregateModule, AnyModule, Module, StageHost};
pub use instance::{Instance, Judged, Patience};
