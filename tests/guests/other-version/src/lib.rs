//! A rule that was built for a later version of the contract than the host speaks.

mod bindings {
    wit_bindgen_rust_macro::generate!({ path: "wit", world: "stage-component" });
}

struct OtherVersion;

bindings::export!(OtherVersion with_types_in bindings);

impl bindings::exports::weir::stage::stage::Guest for OtherVersion {
    fn describe() -> String {
        "other-version".to_owned()
    }
}
