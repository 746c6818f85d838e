//! What an aggregate says of itself, checked.

use crate::{
    limits::GUEST_STATE_LAYOUT_BYTES_MAX,
    model::column::{ColumnType, Field},
    wasm::{
        bindings::aggregate::exports::weir::stage::aggregate as abi,
        description::ParameterSpec,
        measured::Measured,
        translate::of_aggregate::{column_type, inputs_of, parameters_of},
    },
};

/// What an aggregate reads, gives, and can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateDescription {
    /// The aggregate's name.
    pub name: String,
    /// The aggregate's version.
    pub version: String,
    /// What it is.
    pub doc: String,
    /// The columns that it reads.
    pub inputs: Vec<Field>,
    /// Its parameters.
    pub parameters: Vec<ParameterSpec>,
    /// What it gives for a group.
    pub result: ResultColumn,
    /// Whether rows can be taken back.
    pub retracts: bool,
    /// Whether two groups can be made into one.
    pub merges: bool,
    /// What a state looks like. A module goes on with the states of another only where both say the same.
    pub state: String,
}

/// The column of an aggregate's results, which the pipeline names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// The type.
    pub column_type: ColumnType,
    /// Whether a result may be null.
    pub nullable: bool,
}

impl AggregateDescription {
    /// Takes a description from a guest, if it keeps the rules of the contract.
    ///
    /// # Errors
    /// Which of them it breaks.
    pub(super) fn from_guest(given: abi::Description) -> Result<Self, String> {
        let mut measured = Measured::default();
        measured.name("its name", &given.name)?;
        measured.name("its version", &given.version)?;
        measured.doc("what it says that it is", &given.doc)?;
        let inputs = inputs_of(given.inputs, &mut measured)?;
        let layout = given.state.len();
        if layout == 0 || layout > GUEST_STATE_LAYOUT_BYTES_MAX {
            return Err(format!(
                "it says in {layout} bytes what its states look like; accepted are 1 to {GUEST_STATE_LAYOUT_BYTES_MAX}"
            ));
        }
        Ok(Self {
            name: given.name,
            version: given.version,
            doc: given.doc,
            inputs,
            parameters: parameters_of(given.parameters, &mut measured)?,
            result: ResultColumn {
                column_type: column_type(given.result.column_type),
                nullable: given.result.nullable,
            },
            retracts: given.retracts,
            merges: given.merges,
            state: given.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> abi::Description {
        abi::Description {
            name: "test".into(),
            version: "1".into(),
            doc: String::new(),
            inputs: vec![],
            parameters: vec![],
            result: abi::ResultColumn {
                column_type: abi::ColumnType::Double,
                nullable: true,
            },
            retracts: true,
            merges: false,
            state: "{sum: double}".into(),
        }
    }

    #[track_caller]
    fn check_refused(given: abi::Description, expected: &str) {
        let found = AggregateDescription::from_guest(given).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_right_description_is_taken_as_it_is() {
        let taken = AggregateDescription::from_guest(description()).unwrap();
        assert_eq!(taken.result.column_type, ColumnType::Double);
        assert_eq!(
            (taken.result.nullable, taken.retracts, taken.merges),
            (true, true, false)
        );
        assert_eq!(taken.state, "{sum: double}");
    }

    #[test]
    fn descriptions_that_break_the_contract_are_named() {
        let input = |name: &str| abi::InputColumn {
            name: name.into(),
            column_type: abi::ColumnType::Int,
            nullable: false,
        };
        let parameter = |name: &str, default| abi::ParameterSpec {
            name: name.into(),
            parameter_type: abi::ParameterType::Int,
            default,
            doc: String::new(),
        };
        let text = abi::ParameterValueResult::Text("1".into());
        check_refused(
            abi::Description {
                inputs: vec![input("a"), input("a")],
                ..description()
            },
            "an input column is named \"a\" twice",
        );
        check_refused(
            abi::Description {
                inputs: vec![input("")],
                ..description()
            },
            "an input column has no name",
        );
        check_refused(
            abi::Description {
                parameters: vec![parameter("p", None), parameter("p", None)],
                ..description()
            },
            "a parameter is named \"p\" twice",
        );
        check_refused(
            abi::Description {
                parameters: vec![parameter("p", Some(text))],
                ..description()
            },
            "parameter \"p\" is int, but its default is text",
        );
        for (state, bytes) in [(String::new(), 0), ("x".repeat(4097), 4097)] {
            check_refused(
                abi::Description { state, ..description() },
                &format!("it says in {bytes} bytes what its states look like; accepted are 1 to 4096"),
            );
        }
    }
}
