//! Between the types of the host and those that are generated of the contract.
//!
//! Each interface of the contract has types of its own for columns and parameters, which differ in their names alone.

macro_rules! translate {
    ($($abi:ident)::+) => {
        use crate::{
            model::{
                column::{Column, ColumnType, Field, TextValues, Values},
                guest::{ParameterSpec, ParameterType, ParameterValue},
            },
            wasm::{
                bindings::$($abi)::+ as abi,
                measured::{Measured, unique},
            },
        };

        /// A column on its way to the guest.
        pub(in crate::wasm) fn lower(column: &Column) -> abi::ColumnParam<'_> {
            abi::ColumnParam {
                validity: column.validity.as_deref(),
                values: match &column.values {
                    Values::Int(values) => abi::ColumnValuesParam::Int(values),
                    Values::Double(values) => abi::ColumnValuesParam::Double(values),
                    Values::Boolean(values) => abi::ColumnValuesParam::Boolean(values),
                    Values::Text(texts) => abi::ColumnValuesParam::Text(abi::TextValuesParam {
                        offsets: &texts.offsets,
                        data: &texts.data,
                    }),
                    Values::Decimal(_) => {
                        $crate::error::note_defect("a guest is to be given decimals, which its contract has not");
                        abi::ColumnValuesParam::Int(&[])
                    }
                },
            }
        }

        /// A column as the guest gave it, not checked.
        pub(in crate::wasm) fn column_of(given: abi::ColumnResult) -> Column {
            Column {
                validity: given.validity,
                values: match given.values {
                    abi::ColumnValuesResult::Int(values) => Values::Int(values),
                    abi::ColumnValuesResult::Double(mut values) => {
                        // Negative zero is zero: adding zero leaves every other double as it is.
                        values.iter_mut().for_each(|value| *value += 0.0);
                        Values::Double(values)
                    }
                    abi::ColumnValuesResult::Boolean(values) => Values::Boolean(values),
                    abi::ColumnValuesResult::Text(texts) => Values::Text(TextValues {
                        offsets: texts.offsets,
                        data: texts.data,
                    }),
                },
            }
        }

        pub(in crate::wasm) fn column_type(given: abi::ColumnType) -> ColumnType {
            match given {
                abi::ColumnType::Int => ColumnType::Int,
                abi::ColumnType::Double => ColumnType::Double,
                abi::ColumnType::Boolean => ColumnType::Boolean,
                abi::ColumnType::Text => ColumnType::Text,
            }
        }

        /// The columns that a guest reads.
        ///
        /// # Errors
        /// Which rule of the contract they break.
        pub(in crate::wasm) fn inputs_of(
            given: Vec<abi::InputColumn>,
            measured: &mut Measured,
        ) -> Result<Vec<Field>, String> {
            measured.columns("input columns", given.len())?;
            for column in &given {
                measured.name("the name of an input column", &column.name)?;
            }
            let inputs = given.into_iter();
            let inputs: Vec<Field> = inputs
                .map(|column| field(column.name, column.column_type, column.nullable))
                .collect();
            unique("an input column", inputs.iter().map(|field| field.name.as_str()))?;
            Ok(inputs)
        }

        pub(in crate::wasm) fn field(name: String, given: abi::ColumnType, nullable: bool) -> Field {
            Field {
                name,
                column_type: column_type(given),
                nullable,
            }
        }

        /// The parameters that a guest describes.
        ///
        /// # Errors
        /// Which rule of the contract they break.
        pub(in crate::wasm) fn parameters_of(
            given: Vec<abi::ParameterSpec>,
            measured: &mut Measured,
        ) -> Result<Vec<ParameterSpec>, String> {
            measured.parameters(given.len())?;
            let mut parameters = Vec::with_capacity(given.len());
            for spec in given {
                measured.name("the name of a parameter", &spec.name)?;
                measured.doc("what a parameter is for", &spec.doc)?;
                let default = spec.default.map(parameter_value);
                if let Some(default) = &default {
                    measured.value(&spec.name, default)?;
                }
                let parameter_type = parameter_type(spec.parameter_type);
                if let Some(default) = &default
                    && default.parameter_type() != parameter_type
                {
                    let found = default.parameter_type();
                    return Err(format!(
                        "parameter \"{}\" is {parameter_type}, but its default is {found}",
                        spec.name
                    ));
                }
                parameters.push(ParameterSpec {
                    name: spec.name,
                    parameter_type,
                    default,
                    doc: spec.doc,
                });
            }
            unique("a parameter", parameters.iter().map(|spec| spec.name.as_str()))?;
            Ok(parameters)
        }

        fn parameter_type(given: abi::ParameterType) -> ParameterType {
            match given {
                abi::ParameterType::Int => ParameterType::Int,
                abi::ParameterType::Double => ParameterType::Double,
                abi::ParameterType::Boolean => ParameterType::Boolean,
                abi::ParameterType::Text => ParameterType::Text,
                abi::ParameterType::IntList => ParameterType::IntList,
                abi::ParameterType::DoubleList => ParameterType::DoubleList,
                abi::ParameterType::TextList => ParameterType::TextList,
            }
        }

        fn parameter_value(given: abi::ParameterValueResult) -> ParameterValue {
            match given {
                abi::ParameterValueResult::Int(value) => ParameterValue::Int(value),
                abi::ParameterValueResult::Double(value) => ParameterValue::Double(value),
                abi::ParameterValueResult::Boolean(value) => ParameterValue::Boolean(value),
                abi::ParameterValueResult::Text(value) => ParameterValue::Text(value),
                abi::ParameterValueResult::IntList(values) => ParameterValue::IntList(values),
                abi::ParameterValueResult::DoubleList(values) => ParameterValue::DoubleList(values),
                abi::ParameterValueResult::TextList(values) => ParameterValue::TextList(values),
            }
        }

        /// Calls with parameters on their way to the guest.
        pub(in crate::wasm) fn with_parameters<T>(
            parameters: &[(String, ParameterValue)],
            call: impl FnOnce(&[abi::Parameter<'_>]) -> T,
        ) -> T {
            let texts: Vec<Vec<&str>> = parameters
                .iter()
                .map(|(_, value)| match value {
                    ParameterValue::TextList(texts) => texts.iter().map(String::as_str).collect(),
                    _ => Vec::new(),
                })
                .collect();
            let lowered: Vec<abi::Parameter<'_>> = parameters
                .iter()
                .zip(&texts)
                .map(|((name, value), texts)| abi::Parameter {
                    name,
                    value: match value {
                        ParameterValue::Int(value) => abi::ParameterValueParam::Int(*value),
                        ParameterValue::Double(value) => abi::ParameterValueParam::Double(*value),
                        ParameterValue::Boolean(value) => abi::ParameterValueParam::Boolean(*value),
                        ParameterValue::Text(value) => abi::ParameterValueParam::Text(value),
                        ParameterValue::IntList(values) => abi::ParameterValueParam::IntList(values),
                        ParameterValue::DoubleList(values) => abi::ParameterValueParam::DoubleList(values),
                        ParameterValue::TextList(_) => abi::ParameterValueParam::TextList(texts),
                    },
                })
                .collect();
            call(&lowered)
        }
    };
}

pub(super) mod of_stage {
    translate!(exports::weir::stage::stage);
}

pub(super) mod of_aggregate {
    translate!(aggregate::exports::weir::stage::aggregate);
}
