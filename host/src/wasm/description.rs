//! What a stage says of itself, checked.

use super::measured::{Measured, unique};
use crate::{
    limits::GUEST_OUTPUTS_MAX,
    model::guest::{Description, OutputSpec},
};

/// A description that keeps the rules of the contract.
///
/// # Errors
/// Which of them it breaks.
pub(super) fn checked(given: Description) -> Result<Description, String> {
    let mut measured = Measured::default();
    measured.name("its name", &given.name)?;
    measured.name("its version", &given.version)?;
    measured.doc("what it says that it does", &given.doc)?;
    measured.inputs(&given.inputs)?;
    check_outputs(&given.outputs, &mut measured)?;
    measured.specs(&given.parameters)?;
    Ok(given)
}

/// The outputs of a guest.
///
/// # Errors
/// Which rule of the contract they break.
pub(super) fn check_outputs(outputs: &[OutputSpec], measured: &mut Measured) -> Result<(), String> {
    let count = outputs.len();
    if count == 0 || count > GUEST_OUTPUTS_MAX {
        return Err(format!("it has {count} outputs; accepted are 1 to {GUEST_OUTPUTS_MAX}"));
    }
    for output in outputs {
        measured.name("the name of an output", &output.name)?;
        measured.columns("columns in one output", output.passed.len() + output.computed.len())?;
        for (input, output) in &output.passed {
            measured.name("the name of a column that it passes", input)?;
            measured.name("the name of a column that it passes", output)?;
        }
        for column in &output.computed {
            measured.name("the name of a column that it computes", &column.name)?;
        }
    }
    unique("an output", outputs.iter().map(|output| output.name.as_str()))?;
    for output in outputs {
        let passed = output.passed.iter().map(|(_, to)| to.as_str());
        let computed = output.computed.iter().map(|field| field.name.as_str());
        unique(
            &format!("a column of output \"{}\"", output.name),
            passed.chain(computed),
        )?;
    }
    Ok(())
}
