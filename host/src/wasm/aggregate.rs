//! Aggregates: guests that say what the rows of a group come to, over states that the host keeps.
//!
//! The guest is as pure as a stage. What it knows of a group is that group's state: bytes that only the guest
//! understands. An [`AggregateInstance`] is given rows with the states of their groups, and gives the states and results
//! after them; a call that fails costs the first row that makes it fail, found by halving.

mod answer;
mod description;
mod instance;
mod work;

pub(super) use description::{check_layout, checked};
pub use instance::AggregateInstance;
