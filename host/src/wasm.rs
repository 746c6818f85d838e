//! Guests on wasmtime: stages, and aggregates.
//!
//! [`StageHost`] holds the engine and loads components; a [`Module`] is one that was found to be a stage of this contract;
//! an [`Instance`] runs it. A guest is a stranger: its memory, time and output are bounded, every answer is checked before
//! it is used, and a call that fails costs the rows that make it fail, found by halving the batch. [`AggregateModule`] and
//! [`AggregateInstance`] are the same for the other world of the contract.
//!
//! wasmtime is named in `wasm/` and nowhere else.

mod aggregate;
mod answer;
mod bindings;
mod cache;
mod call;
mod check;
mod compilations;
mod compile;
mod compiled;
mod context;
mod contract;
mod deadline;
mod description;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest;
mod host;
mod instance;
mod limiter;
mod lines;
mod log;
mod measured;
mod module;
mod names;
mod places;
mod proposals;
mod read;
mod required;
mod settings;
mod translate;
pub mod watch;
mod watched;

pub use aggregate::{
    Accumulate, Accumulated, AggregateDescription, AggregateInstance, Merged, Refused, ResultColumn, Results,
};
pub use answer::{Answer, OutputRows, RejectedRow};
pub use call::StageFailure;
pub use compilations::Compilation;
pub(crate) use compile::this_program;
pub use compile::{ChildCompiler, CompileBounds, Compiler, Work};
pub use description::{Description, OutputSpec, ParameterSpec, ParameterType, ParameterValue};
pub use host::StageHost;
pub use instance::{Instance, Judged, Patience};
pub use module::{AggregateModule, AnyModule, Module};
pub use places::GuestCounts;
pub use proposals::proposals;
pub use read::Binary;
pub(crate) use read::digest_of;
