//! The contract's own types, as `wit-bindgen` makes them of `wit/0.2/`.
//!
//! A rule's author needs none of them. A native test or bench that runs a rule over columns does: see [`Stage`].
//!
//! [`Stage`]: crate::Stage

pub use crate::bindings::exports::weir::stage::stage::{Answer, Batch, Description};
pub use crate::bindings::weir::stage::types::{
    Column, ColumnType, ColumnValues, ComputedColumn, DecimalType, DecimalValues, ElementType, InputColumn, OutputRows,
    OutputSpec, Parameter, ParameterSpec, ParameterType, ParameterValue, PassedColumn, RejectedRow, States, TextValues,
};

/// The types of an [`Aggregate`](crate::Aggregate), where they are not those of a stage.
pub mod aggregate {
    pub use crate::bindings::aggregate::exports::weir::stage::aggregate::{
        Accumulated, Batch, Description, Rejected, ResultColumn,
    };
    pub use crate::bindings::weir::stage::types::States;
}

/// The types of a [`Keyed`](crate::Keyed), where they are not those of a stage.
pub mod keyed {
    pub use crate::bindings::keyed::exports::weir::stage::keyed::{
        Batch, Description, Due, Fired, Processed, Rejected,
    };
}

/// The types of a [`Decoder`](crate::Decoder), where they are not those of a stage.
pub mod decoder {
    pub use crate::bindings::decoder::exports::weir::stage::decoder::{Answer, Batch, Description, Header};
}
