//! The pages of the documentation, and the commands that they show.

pub mod page;
pub mod session;
