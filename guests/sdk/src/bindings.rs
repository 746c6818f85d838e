//! What `wit-bindgen` generates of the contract. [`crate::abi`] is the part that others may name.

wit_bindgen::generate!({
    path: "../../wit",
    world: "stage-component",
    pub_export_macro: true,
    export_macro_name: "export_stage_component",
    default_bindings_module: "weir_guest::__private::bindings",
    runtime_path: "weir_guest::__private::rt",
    additional_derives: [PartialEq],
});

/// The world of aggregates. Its columns and parameters are those of stages, so that all that is written for the ones
/// serves the others.
pub mod aggregate {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aggregate-component",
        pub_export_macro: true,
        export_macro_name: "export_aggregate_component",
        default_bindings_module: "weir_guest::__private::bindings::aggregate",
        runtime_path: "weir_guest::__private::rt",
        additional_derives: [PartialEq],
        with: {
            "weir:stage/log@0.1.0": crate::bindings::weir::stage::log,
            "weir:stage/time-zone@0.1.0": crate::bindings::weir::stage::time_zone,
            "weir:stage/aggregate@0.1.0/column": crate::abi::Column,
            "weir:stage/aggregate@0.1.0/column-type": crate::abi::ColumnType,
            "weir:stage/aggregate@0.1.0/column-values": crate::abi::ColumnValues,
            "weir:stage/aggregate@0.1.0/text-values": crate::abi::TextValues,
            "weir:stage/aggregate@0.1.0/input-column": crate::abi::InputColumn,
            "weir:stage/aggregate@0.1.0/parameter": crate::abi::Parameter,
            "weir:stage/aggregate@0.1.0/parameter-spec": crate::abi::ParameterSpec,
            "weir:stage/aggregate@0.1.0/parameter-type": crate::abi::ParameterType,
            "weir:stage/aggregate@0.1.0/parameter-value": crate::abi::ParameterValue,
        },
    });
}
