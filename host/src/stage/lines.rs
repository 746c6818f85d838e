//! The lines of a rule's own source that a failure led through.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use wasmtime::{FrameInfo, WasmBacktrace};

/// Functions that a reason names.
const FRAMES_SHOWN: usize = 5;

/// Places in the code whose lines are remembered. A rule fails in few places; one that does not is a stranger.
const PLACES_MAX: usize = 1024;

/// In the names of functions: how a panic gets out of a rule, and how a call gets into it.
const NO_FUNCTIONS: [&str; 4] = ["panic", "rust_begin_unwind", "__rust", "cabi_"];

/// What the modules are called that lend a component its imports. They have no source.
const NO_RULE: &str = "wit-component:";

/// A component's lines.
///
/// wasmtime would look them up at every trap, which takes ten times as long as all else that a trap costs. Here a place
/// is looked up once.
pub(super) struct Lines {
    component: Arc<[u8]>,
    known: Mutex<HashMap<usize, Arc<[String]>>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn new(component: Arc<[u8]>) -> Self {
        Self {
            component,
            known: Mutex::default(),
        }
    }

    /// Functions that led to a failure, the innermost first: those of the rule's own source with their lines, where the
    /// component has lines; else the names of all.
    pub(super) fn frames(&self, backtrace: &WasmBacktrace) -> Vec<String> {
        let is_rule = |frame: &&FrameInfo| !frame.module().name().is_some_and(|name| name.starts_with(NO_RULE));
        let frames = || backtrace.frames().iter().filter(is_rule);
        let mut own = Vec::new();
        for place in frames().filter_map(FrameInfo::module_offset) {
            own.extend(self.at(place).iter().cloned());
            if own.len() >= FRAMES_SHOWN {
                own.truncate(FRAMES_SHOWN);
                break;
            }
        }
        if !own.is_empty() {
            return own;
        }
        let names = frames().filter_map(FrameInfo::func_name);
        names
            .filter(|name| !NO_FUNCTIONS.iter().any(|noise| name.contains(noise)))
            .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
            .take(FRAMES_SHOWN)
            .collect()
    }

    fn at(&self, place: usize) -> Arc<[String]> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = known().get(&place) {
            return lines.clone();
        }
        let lines: Arc<[String]> = weir_component::lines_at(&self.component, place as u64).into();
        let mut known = known();
        if known.len() >= PLACES_MAX {
            known.clear();
        }
        known.insert(place, lines.clone());
        lines
    }
}
