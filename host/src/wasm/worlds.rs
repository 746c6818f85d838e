//! The worlds of the contract, each in every version that has it.

pub(super) mod aggregate;
pub(super) mod keyed;
pub(super) mod stage;
