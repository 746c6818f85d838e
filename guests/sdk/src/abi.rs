//! The contract's own types, as `wit-bindgen` makes them of `wit/`.
//!
//! A rule's author needs none of them. A native test or bench that runs a rule over columns does: see [`Stage`].
//!
//! [`Stage`]: crate::Stage

pub use crate::bindings::exports::weir::stage::stage::{
    Answer, Batch, Column, ColumnType, ColumnValues, ComputedColumn, Description, InputColumn, OutputRows, OutputSpec,
    Parameter, ParameterSpec, ParameterType, ParameterValue, PassedColumn, RejectedRow, TextValues,
};

/// The types of an [`Aggregate`](crate::Aggregate), where they are not those of a stage.
pub mod aggregate {
    pub use crate::bindings::aggregate::exports::weir::stage::aggregate::{
        Accumulated, Batch, Description, Rejected, ResultColumn, States,
    };
}
