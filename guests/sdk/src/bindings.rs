//! What `wit-bindgen` generates of the contract in `wit/`. [`crate::abi`] is the part that others may name.
//!
//! The files in `bindings/` are kept, and not made anew by `wit_bindgen::generate!`: compiling that macro takes several times as long
//! as a rule. `tests/bindings.rs` has their options, holds them to the contract, and writes them.

#![allow(
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    reason = "nobody writes it by hand"
)]

include!("bindings/stage.rs");

/// The world of aggregates. Its columns and parameters are those of stages, so that all that is written for the ones
/// serves the others.
pub mod aggregate {
    include!("bindings/aggregate.rs");
}
