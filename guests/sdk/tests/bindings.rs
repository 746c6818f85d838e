//! The bindings in `src/bindings/` are what `wit-bindgen` generates of the contract.
//!
//! `WEIR_WRITE_BINDINGS=1 cargo test -p weir-guest --test bindings` writes them, after a change of `wit/0.2/` or of the version of
//! `wit-bindgen`. A new version goes to the dev-dependencies first, and to the dependency once the files are written: they have to
//! compile before they can be.

use std::{env, fs, path::Path};
use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};
use wit_bindgen_rust::{Opts, WithOption};

const WRITE: &str = "WEIR_WRITE_BINDINGS=1 cargo test -p weir-guest --test bindings";

/// A file of bindings.
struct Bindings {
    /// Its name in `src/bindings/`.
    file: &'static str,
    world: &'static str,
    /// The module that includes it, as the crates of rules name it.
    module: &'static str,
    export_macro: &'static str,
    /// What it does not declare: names of the contract, each with the Rust that stands for it.
    with: &'static [(&'static str, &'static str)],
}

const STAGE: Bindings = Bindings {
    file: "stage.rs",
    world: "stage-component",
    module: "weir_guest::__private::bindings",
    export_macro: "export_stage_component",
    with: &[],
};

/// What a world shares with that of stages.
const SHARED: &[(&str, &str)] = &[
    ("weir:stage/types@0.2.0", "crate::bindings::weir::stage::types"),
    ("weir:stage/log@0.2.0", "crate::bindings::weir::stage::log"),
    ("weir:stage/time-zone@0.2.0", "crate::bindings::weir::stage::time_zone"),
    (
        "weir:stage/attachment@0.2.0",
        "crate::bindings::weir::stage::attachment",
    ),
];

const AGGREGATE: Bindings = Bindings {
    file: "aggregate.rs",
    world: "aggregate-component",
    module: "weir_guest::__private::bindings::aggregate",
    export_macro: "export_aggregate_component",
    with: SHARED,
};

const KEYED: Bindings = Bindings {
    file: "keyed.rs",
    world: "keyed-component",
    module: "weir_guest::__private::bindings::keyed",
    export_macro: "export_keyed_component",
    with: SHARED,
};

const DECODER: Bindings = Bindings {
    file: "decoder.rs",
    world: "decoder-component",
    module: "weir_guest::__private::bindings::decoder",
    export_macro: "export_decoder_component",
    with: SHARED,
};

impl Bindings {
    /// What the file holds.
    fn generate(&self) -> String {
        let mut resolve = Resolve::default();
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.2");
        let (package, _) = resolve.push_path(contract).unwrap();
        let world = resolve.select_world(&[package], Some(self.world)).unwrap();
        let with = self.with.iter();
        let options = Opts {
            format: true,
            pub_export_macro: true,
            export_macro_name: Some(self.export_macro.to_owned()),
            default_bindings_module: Some(self.module.to_owned()),
            runtime_path: Some("weir_guest::__private::rt".to_owned()),
            additional_derive_attributes: vec!["PartialEq".to_owned()],
            with: with
                .map(|(name, path)| ((*name).to_owned(), WithOption::Path((*path).to_owned())))
                .collect(),
            ..Opts::default()
        };
        let mut files = Files::default();
        options.build().generate(&mut resolve, world, &mut files).unwrap();
        let (_, text) = files.iter().next().unwrap();
        format!("// `{WRITE}` writes this.\n{}", str::from_utf8(text).unwrap())
    }

    /// Compares the file with what it should hold, or writes it.
    #[track_caller]
    fn check(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/bindings")
            .join(self.file);
        let generated = self.generate();
        if env::var_os("WEIR_WRITE_BINDINGS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &generated).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        // Not both texts: they have hundreds of lines.
        let mut lines = kept.lines().zip(generated.lines());
        let same = lines.by_ref().take_while(|(kept, generated)| kept == generated).count();
        assert!(
            kept == generated,
            "{} is not what wit-bindgen generates of wit/0.2/, from line {} on; `{WRITE}` writes it",
            path.display(),
            same + 1
        );
    }
}

#[test]
fn the_bindings_of_stages_are_those_of_the_contract() {
    STAGE.check();
}

#[test]
fn the_bindings_of_aggregates_are_those_of_the_contract() {
    AGGREGATE.check();
}

#[test]
fn the_bindings_of_keyed_functions_are_those_of_the_contract() {
    KEYED.check();
}

#[test]
fn the_bindings_of_decoders_are_those_of_the_contract() {
    DECODER.check();
}
