//! A rule that keeps the contract, and imports a clock besides, which the host does not offer.

use bindings::{
    exports::weir::stage::stage::{Answer, Batch, Description, Guest, OutputRows, OutputSpec, Parameter},
    test::elsewhere::thing,
};

mod bindings {
    wit_bindgen_rust_macro::generate!({
        path: "../../../wit/0.1",
        inline: "
            package test:wasi-user;

            world wasi-user {
                include weir:stage/stage-component@0.1.0;
                import test:elsewhere/thing;
            }

            package test:elsewhere {
                interface thing {
                    now: func() -> u64;
                }
            }
        ",
        world: "test:wasi-user/wasi-user",
        generate_all,
    });
}

struct WasiUser;

bindings::export!(WasiUser with_types_in bindings);

impl Guest for WasiUser {
    fn describe() -> Description {
        Description {
            name: "wasi-user".to_owned(),
            version: "1".to_owned(),
            doc: "Keeps the rows of even instants.".to_owned(),
            inputs: Vec::new(),
            reads_time: false,
            outputs: vec![OutputSpec {
                name: "out".to_owned(),
                passed: Vec::new(),
                computed: Vec::new(),
            }],
            parameters: Vec::new(),
        }
    }

    fn configure(_: Vec<Parameter>) -> Result<(), String> {
        Ok(())
    }

    fn process(batch: Batch) -> Answer {
        let rows = (0..batch.row_count)
            .filter(|_| thing::now().is_multiple_of(2))
            .collect();
        Answer {
            outputs: vec![OutputRows {
                rows,
                computed: Vec::new(),
            }],
            rejected: Vec::new(),
        }
    }
}
