//! The settings of the engine that decide which code is made of a component, and what that code computes.
//!
//! The process that compiles and the one that runs the code have them from here, so that they are the same. How
//! instances are allocated is the host's alone, and changes no code.

use super::proposals;
use crate::limits::GUEST_BACKTRACE_FRAMES_MAX;
use std::num::NonZeroUsize;
use wasmtime::{Config, WasmBacktraceDetails};

/// The settings of every engine of Weir.
pub(super) fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // A NaN that a calculation makes has one pattern of bits on every machine; else it would show through integers.
        .cranelift_nan_canonicalization(true)
        // `Lines` looks them up, and whatever the environment says, no one else does.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(GUEST_BACKTRACE_FRAMES_MAX));
    proposals::set(&mut config);
    config
}
