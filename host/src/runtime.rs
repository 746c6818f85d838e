//! What drives a pipeline: its threads, its server, the versions of its rules.

pub mod live;
pub mod pipeline;
pub mod retry;
pub mod rollout;
pub mod status;
