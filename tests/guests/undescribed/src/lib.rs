//! An aggregate that keeps the contract, but for that it does not say what its states look like.

use bindings::exports::weir::stage::aggregate::{
    Accumulated, Batch, Column, ColumnType, ColumnValues, Description, Guest, Parameter, Rejected, ResultColumn, States,
};

mod bindings {
    wit_bindgen_rust_macro::generate!({ path: "../../../wit/0.1", world: "aggregate-component" });
}

struct Undescribed;

bindings::export!(Undescribed with_types_in bindings);

impl Guest for Undescribed {
    fn describe() -> Description {
        Description {
            name: "undescribed".to_owned(),
            version: "1".to_owned(),
            doc: "Zero.".to_owned(),
            inputs: Vec::new(),
            parameters: Vec::new(),
            result: ResultColumn {
                column_type: ColumnType::Int,
                nullable: false,
            },
            retracts: false,
            merges: false,
            state: String::new(),
        }
    }

    fn configure(_: Vec<Parameter>) -> Result<(), String> {
        Ok(())
    }

    fn accumulate(batch: Batch) -> Result<Accumulated, Rejected> {
        Ok(Accumulated {
            states: batch.states,
            results: zeros(batch.groups.len()),
        })
    }

    fn merge(into: States, _: States) -> Result<States, Rejected> {
        Ok(into)
    }

    fn results(states: States) -> Result<Column, Rejected> {
        Ok(zeros(states.offsets.len() - 1))
    }
}

fn zeros(count: usize) -> Column {
    Column {
        validity: None,
        values: ColumnValues::Int(vec![0; count]),
    }
}
