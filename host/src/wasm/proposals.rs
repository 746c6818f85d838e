//! Which proposals of WebAssembly a guest may use.
//!
//! The list is closed: what stands in [`LET_IN`] is on, everything else is off, also what a later wasmtime turns on by
//! default. Each costs code that a stranger reaches, and some would let a rule answer differently on different machines.

use wasmtime::{Config, WasmFeatures};

/// The proposals that are let in, and why. Parts of them that have names of their own (`BULK_MEMORY_OPT`,
/// `CALL_INDIRECT_OVERLONG`) come with them.
const LET_IN: [(WasmFeatures, &str); 12] = [
    (
        WasmFeatures::COMPONENT_MODEL,
        "the contract is written in it, and a guest is a component",
    ),
    (
        WasmFeatures::FLOATS,
        "columns hold doubles; IEEE 754 decides each result, and NaNs are canonical",
    ),
    (
        WasmFeatures::MUTABLE_GLOBAL,
        "compilers keep the pointer of the stack in one",
    ),
    (
        WasmFeatures::SIGN_EXTENSION,
        "LLVM and Go emit it unless they are told not to",
    ),
    (
        WasmFeatures::SATURATING_FLOAT_TO_INT,
        "`as` of Rust, and LLVM by default: the same for every double on every machine",
    ),
    (
        WasmFeatures::MULTI_VALUE,
        "LLVM emits it by default, and adapters of components use it",
    ),
    (
        WasmFeatures::BULK_MEMORY,
        "LLVM emits it by default for copies; a copy is one instruction and not a loop",
    ),
    (
        WasmFeatures::REFERENCE_TYPES,
        "LLVM emits its wide table indices by default; references to the host's objects stay out, which need a collector",
    ),
    (
        WasmFeatures::SIMD,
        "a rule that reads columns is twice as fast; 128 bits, defined to the bit",
    ),
    (
        WasmFeatures::MULTI_MEMORY,
        "tools that merge modules into one leave each its memory; how many is bounded, with all others of the component",
    ),
    (
        WasmFeatures::EXTENDED_CONST,
        "part of the common set of compilers (lime1): offsets that linkers leave to be added",
    ),
    (
        WasmFeatures::TAIL_CALL,
        "interpreters of other languages are built on it: a call that takes no stack",
    ),
];

/// Turns on what is let in, and turns off everything else.
pub(super) fn set(config: &mut Config) {
    config.wasm_features(WasmFeatures::all(), false);
    for (proposal, _) in LET_IN {
        config.wasm_features(proposal, true);
    }
}

/// Every proposal that the parser knows, by its name there, and why it is let in; nothing where it is not.
pub fn proposals() -> Vec<(String, Option<&'static str>)> {
    let reason = |proposal: WasmFeatures| LET_IN.iter().find(|(let_in, _)| *let_in == proposal);
    let all = WasmFeatures::all();
    let each = all.iter_names();
    each.map(|(name, proposal)| (name.to_lowercase(), reason(proposal).map(|(_, reason)| *reason)))
        .collect()
}
