//! Guests on wasmtime: stages, and aggregates.
//!
//! [`StageHost`] holds the engine of wasmtime and loads components. A [`Module`](crate::model::guest::Module) is one that was
//! found to be a stage of this contract, and an [`Instance`] runs it. A guest is a stranger: its memory, time and output are
//! bounded, every answer is checked before it is used, and a call that fails costs the rows that make it fail, found by
//! halving the batch. [`AggregateModule`](crate::model::guest::AggregateModule) and [`AggregateInstance`] are the same for the
//! other world of the contract.
//!
//! Only `wasm/` names wasmtime. Planner and engine reach it through [`GuestHost`](crate::plan::GuestHost) and the traits
//! beside that, so they run as well over something else.

mod aggregate;
mod answer;
mod attachment;
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
mod expression;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest;
mod halving;
mod host;
mod instance;
mod keyed;
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
mod states;
mod translate;
pub mod watch;
mod watched;
mod worlds;

pub use aggregate::AggregateInstance;
pub use compilations::Compilation;
pub(crate) use compile::this_program;
pub use compile::{ChildCompiler, CompileBounds, Compiler, Work};
pub use context::RULE_LOG;
pub use host::StageHost;
pub use instance::Instance;
pub use keyed::KeyedInstance;
pub use module::AnyModule;
pub use proposals::proposals;
pub use read::Binary;
pub(crate) use read::digest_of;
