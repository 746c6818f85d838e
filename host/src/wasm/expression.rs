//! The guest that evaluates expressions, which is part of the host: a rule that is an expression needs no compiler, and all of them
//! are one component to wasmtime.

use super::{attachment::with_attachment, read::Binary};

/// The component. `cargo xtask expressions` makes it of `guests/expression`, and a test compares the two.
const ENGINE: &[u8] = include_bytes!("expression/engine.wasm");

/// The component of an expression: the guest, with what it carries along.
pub(super) fn component(attached: &[u8]) -> Binary {
    Binary::new(with_attachment(ENGINE, attached))
}
