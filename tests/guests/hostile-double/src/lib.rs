//! An aggregate of doubles that neither takes back nor merges, and whose results are none where its input says so.
//!
//! It is written against the bare contract: the SDK would reject the rows.

use bindings::exports::weir::stage::aggregate::{
    Accumulated, Batch, Column, ColumnType, ColumnValues, Description, Guest, InputColumn, Parameter, Rejected,
    ResultColumn, States,
};

mod bindings {
    wit_bindgen_rust_macro::generate!({ path: "../../../wit/0.1", world: "aggregate-component" });
}

struct HostileDouble;

bindings::export!(HostileDouble with_types_in bindings);

impl Guest for HostileDouble {
    fn describe() -> Description {
        Description {
            name: "hostile-double".to_owned(),
            version: "1".to_owned(),
            doc: "The sign of the last value of a group.".to_owned(),
            inputs: vec![InputColumn {
                name: "value".to_owned(),
                column_type: ColumnType::Double,
                nullable: false,
            }],
            parameters: Vec::new(),
            result: ResultColumn {
                column_type: ColumnType::Double,
                nullable: false,
            },
            retracts: false,
            merges: false,
            state: "a double".to_owned(),
        }
    }

    fn configure(_: Vec<Parameter>) -> Result<(), String> {
        Ok(())
    }

    fn accumulate(batch: Batch) -> Result<Accumulated, Rejected> {
        let ColumnValues::Double(values) = &batch.columns[0].values else {
            return Err(Rejected {
                number: 0,
                reason: "a column of doubles is expected".to_owned(),
            });
        };
        let count = batch.states.offsets.len() - 1;
        let mut lasts = vec![0.0; count];
        for (&group, value) in batch.groups.iter().zip(values) {
            lasts[group as usize] = *value;
        }
        Ok(Accumulated {
            states: States {
                offsets: (0..=count as u32).map(|state| state * 8).collect(),
                data: lasts.iter().flat_map(|last| last.to_le_bytes()).collect(),
            },
            results: Column {
                validity: None,
                values: ColumnValues::Double(values.iter().map(|value| value / value.abs()).collect()),
            },
        })
    }

    fn merge(_: States, _: States) -> Result<States, Rejected> {
        std::process::abort()
    }

    fn results(states: States) -> Result<Column, Rejected> {
        let values = states.data.chunks_exact(8).map(|bytes| {
            let last = bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
            last / last.abs()
        });
        Ok(Column {
            validity: None,
            values: ColumnValues::Double(values.collect()),
        })
    }
}
