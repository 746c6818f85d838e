//! Files: those that somebody names, and those that Weir makes.

pub mod input;
pub mod private_file;
