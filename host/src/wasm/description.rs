//! What a stage says of itself, checked.

use super::{
    bindings::exports::weir::stage::stage as abi,
    measured::{Measured, unique},
    translate::of_stage::{field, inputs_of, parameters_of},
};
use crate::{
    limits::GUEST_OUTPUTS_MAX,
    model::guest::{Description, OutputSpec},
};

/// Takes a description from a guest, if it keeps the rules of the contract.
///
/// # Errors
/// Which of them it breaks.
pub(super) fn description_of(given: abi::Description) -> Result<Description, String> {
    let mut measured = Measured::default();
    measured.name("its name", &given.name)?;
    measured.name("its version", &given.version)?;
    measured.doc("what it says that it does", &given.doc)?;
    let inputs = inputs_of(given.inputs, &mut measured)?;

    let count = given.outputs.len();
    if count == 0 || count > GUEST_OUTPUTS_MAX {
        return Err(format!("it has {count} outputs; accepted are 1 to {GUEST_OUTPUTS_MAX}"));
    }
    for output in &given.outputs {
        measured.name("the name of an output", &output.name)?;
        measured.columns("columns in one output", output.passed.len() + output.computed.len())?;
        for column in &output.passed {
            measured.name("the name of a column that it passes", &column.input)?;
            measured.name("the name of a column that it passes", &column.output)?;
        }
        for column in &output.computed {
            measured.name("the name of a column that it computes", &column.name)?;
        }
    }
    let outputs: Vec<OutputSpec> = given
        .outputs
        .into_iter()
        .map(|output| OutputSpec {
            name: output.name,
            passed: output
                .passed
                .into_iter()
                .map(|column| (column.input, column.output))
                .collect(),
            computed: output
                .computed
                .into_iter()
                .map(|column| field(column.name, column.column_type, column.nullable))
                .collect(),
        })
        .collect();
    unique("an output", outputs.iter().map(|output| output.name.as_str()))?;
    for output in &outputs {
        let passed = output.passed.iter().map(|(_, to)| to.as_str());
        let computed = output.computed.iter().map(|field| field.name.as_str());
        unique(
            &format!("a column of output \"{}\"", output.name),
            passed.chain(computed),
        )?;
    }

    let parameters = parameters_of(given.parameters, &mut measured)?;
    Ok(Description {
        name: given.name,
        version: given.version,
        doc: given.doc,
        inputs,
        reads_time: given.reads_time,
        outputs,
        parameters,
    })
}
