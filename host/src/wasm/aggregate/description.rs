//! What an aggregate says of itself, checked.

use crate::{limits::GUEST_STATE_LAYOUT_BYTES_MAX, model::guest::AggregateDescription, wasm::measured::Measured};

/// A description that keeps the rules of the contract.
///
/// # Errors
/// Which of them it breaks.
pub(in crate::wasm) fn checked(given: AggregateDescription) -> Result<AggregateDescription, String> {
    let mut measured = Measured::default();
    measured.name("its name", &given.name)?;
    measured.name("its version", &given.version)?;
    measured.doc("what it says that it is", &given.doc)?;
    measured.inputs(&given.inputs)?;
    check_layout(&given.state)?;
    measured.specs(&given.parameters)?;
    Ok(given)
}

/// What a guest says that its states look like.
///
/// # Errors
/// It says nothing, or too much.
pub(in crate::wasm) fn check_layout(state: &str) -> Result<(), String> {
    let bytes = state.len();
    match bytes == 0 || bytes > GUEST_STATE_LAYOUT_BYTES_MAX {
        true => Err(format!(
            "it says in {bytes} bytes what its states look like; accepted are 1 to {GUEST_STATE_LAYOUT_BYTES_MAX}"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        column::{ColumnType, Field},
        guest::{InputColumn, ParameterSpec, ParameterType, ParameterValue, ResultColumn},
    };

    fn description() -> AggregateDescription {
        AggregateDescription {
            name: "test".into(),
            version: "1".into(),
            doc: String::new(),
            inputs: vec![],
            parameters: vec![],
            result: ResultColumn {
                column_type: ColumnType::Double,
                nullable: true,
            },
            retracts: true,
            merges: false,
            state: "{sum: double}".into(),
        }
    }

    #[track_caller]
    fn check_refused(given: AggregateDescription, expected: &str) {
        let found = checked(given).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_right_description_is_taken_as_it_is() {
        let taken = checked(description()).unwrap();
        assert_eq!(taken.result.column_type, ColumnType::Double);
        assert_eq!(
            (taken.result.nullable, taken.retracts, taken.merges),
            (true, true, false)
        );
        assert_eq!(taken.state, "{sum: double}");
    }

    #[test]
    fn descriptions_that_break_the_contract_are_named() {
        let input = |name: &str| {
            InputColumn::from(Field {
                name: name.into(),
                column_type: ColumnType::Int,
                nullable: false,
            })
        };
        let parameter = |name: &str, default| ParameterSpec {
            name: name.into(),
            parameter_type: ParameterType::Int,
            default,
            doc: String::new(),
        };
        let text = ParameterValue::Text("1".into());
        check_refused(
            AggregateDescription {
                inputs: vec![input("a"), input("a")],
                ..description()
            },
            "an input column is named \"a\" twice",
        );
        check_refused(
            AggregateDescription {
                inputs: vec![input("")],
                ..description()
            },
            "an input column has no name",
        );
        check_refused(
            AggregateDescription {
                parameters: vec![parameter("p", None), parameter("p", None)],
                ..description()
            },
            "a parameter is named \"p\" twice",
        );
        check_refused(
            AggregateDescription {
                parameters: vec![parameter("p", Some(text))],
                ..description()
            },
            "parameter \"p\" is int, but its default is text",
        );
        for (state, bytes) in [(String::new(), 0), ("x".repeat(4097), 4097)] {
            check_refused(
                AggregateDescription { state, ..description() },
                &format!("it says in {bytes} bytes what its states look like; accepted are 1 to 4096"),
            );
        }
    }
}
