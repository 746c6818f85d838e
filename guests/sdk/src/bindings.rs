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
