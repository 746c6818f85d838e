//! Stages: guests on wasmtime.
//!
//! [`StageHost`] holds the engine and loads components; a [`Module`] is one that was found to be of this contract; an
//! [`Instance`] runs it. A guest is a stranger: its memory, time and output are bounded, every answer is checked before
//! it is used, and a call that fails costs the rows that make it fail, found by halving the batch.
//!
//! wasmtime is named in `stage/` and nowhere else.

mod answer;
mod bindings;
mod call;
mod context;
mod description;
mod host;
mod instance;
mod lines;

pub use answer::{Answer, OutputRows, RejectedRow};
pub use call::StageFailure;
pub use description::{Description, OutputSpec, ParameterSpec, ParameterType, ParameterValue};
pub(crate) use host::digest_of;
pub use host::{Module, StageHost};
pub use instance::{Instance, Judged, Patience};
