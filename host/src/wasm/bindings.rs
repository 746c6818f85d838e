//! Bindings generated from `wit/`. Nothing here is written by hand; the docs live in the WIT files.

#![allow(unsafe_code, reason = "wasmtime's macro implements its own traits with it")]

/// The contract 0.1, whose interfaces have types of their own for columns and parameters.
pub(super) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "stage-component",
        // A guest that runs past its deadline in them is ended there.
        imports: { default: trappable },
        // Columns go to the guest as slices of the batch, without a copy on this side.
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    pub(in crate::wasm) mod aggregate {
        wasmtime::component::bindgen!({
            path: "../wit/0.1",
            world: "aggregate-component",
            imports: { default: trappable },
            ownership: Borrowing { duplicate_if_necessary: true },
            with: {
                "weir:stage/log@0.1.0": super::weir::stage::log,
                "weir:stage/time-zone@0.1.0": super::weir::stage::time_zone,
            },
        });
    }
}

/// The contract 0.2, whose interfaces share the types of one: so all of its worlds are generated as one, and a component is asked
/// for the interface that it exports.
pub(super) mod v0_2 {
    wasmtime::component::bindgen!({
        path: "../wit/0.2",
        inline: "
            package weir:host;

            world all {
                include weir:stage/stage-component@0.2.0;
                include weir:stage/aggregate-component@0.2.0;
                include weir:stage/keyed-component@0.2.0;
            }
        ",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
