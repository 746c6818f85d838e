//! Between the types of the host and those that are generated of each version of the contract.
//!
//! What comes from a guest is not checked here: `description.rs`, `answer.rs` and their kin do that, for all versions alike.

pub(super) mod v0_1;
pub(super) mod v0_2;
