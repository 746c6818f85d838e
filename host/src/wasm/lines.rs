//! The lines of a rule's own source that a failure led through.
//!
//! A host parses no debug information, which can make a gigabyte of a kilobyte: `weir build` has reduced it to a table. The
//! table is read once, when the component is loaded; after a failure there is nothing but searching in it.

use super::names;
use crate::{say, wasm::digest_of};
use std::fmt;
use wasmtime::{FrameInfo, WasmBacktrace};

/// Functions that a reason names.
const FRAMES_SHOWN: usize = 5;

/// In the names of functions: how a panic gets out of a rule, and how a call gets into it.
const NO_FUNCTIONS: [&str; 4] = ["panic", "rust_begin_unwind", "__rust", "cabi_"];

/// What the modules are called that lend a component its imports. They have no source.
const NO_RULE: &str = "wit-component:";

/// A component's lines.
pub(super) struct Lines(weir_lines::Lines);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Reads the tables of a component that was found to be valid. Where one breaks a rule, the component has no lines, which is
    /// said; it runs as well without.
    pub(super) fn read(component: &[u8]) -> Self {
        let lines = weir_lines::Lines::read(component).unwrap_or_else(|broken| {
            let digest = digest_of(component);
            let digest = digest.get(..12).unwrap_or(&digest);
            say!(
                Warning,
                "weir: module {digest}: its table of lines (custom section {}) is ignored: {broken}; where the module fails, no \
                 lines are named; build it again with `weir build`",
                weir_lines::SECTION
            );
            weir_lines::Lines::default()
        });
        Self(lines)
    }

    /// Functions that led to a failure, the innermost first: those of the rule's own source with their lines, where the
    /// component has lines; else the names of all.
    pub(super) fn frames(&self, backtrace: &WasmBacktrace) -> Vec<String> {
        let is_rule = |frame: &&FrameInfo| !frame.module().name().is_some_and(|name| name.starts_with(NO_RULE));
        let frames = || backtrace.frames().iter().filter(is_rule);
        let places = frames().filter_map(FrameInfo::module_offset);
        let own = places.flat_map(|place| self.0.at(place)).take(FRAMES_SHOWN);
        let own: Vec<String> = own.map(|frame| frame.to_string()).collect();
        if !own.is_empty() {
            return own;
        }
        frames()
            .filter_map(FrameInfo::func_name)
            .filter(|name| !NO_FUNCTIONS.iter().any(|noise| name.contains(noise)))
            .map(names::shown)
            .take(FRAMES_SHOWN)
            .collect()
    }
}
