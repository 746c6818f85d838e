//! What `wit-bindgen` generates of the contract in `wit/0.2/`. [`crate::abi`] is the part that others may name.
//!
//! The files in `bindings/` are in the repository: compiling the macro `wit_bindgen::generate!` would take several times as
//! long as compiling a rule. `tests/bindings.rs` writes them, and fails when the contract changed and they did not.

#![allow(
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    reason = "nobody writes it by hand"
)]

include!("bindings/stage.rs");

/// The world of aggregates. All worlds have their columns and parameters from that of stages, so that what is written for the
/// ones serves the others.
pub mod aggregate {
    include!("bindings/aggregate.rs");
}

/// The world of keyed functions.
pub mod keyed {
    include!("bindings/keyed.rs");
}

/// The world of decoders.
pub mod decoder {
    include!("bindings/decoder.rs");
}
