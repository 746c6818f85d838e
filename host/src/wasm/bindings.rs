//! Bindings generated from `wit/`. Nothing here is written by hand; the docs live in the WIT files.

#![allow(unsafe_code, reason = "wasmtime's macro implements its own traits with it")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "stage-component",
    // A guest that runs past its deadline in them is ended there.
    imports: { default: trappable },
    // Columns go to the guest as slices of the batch, without a copy on this side.
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(super) mod aggregate {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "aggregate-component",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "weir:stage/log@0.1.0": super::weir::stage::log,
            "weir:stage/time-zone@0.1.0": super::weir::stage::time_zone,
        },
    });
}
