//! Between the types of the host and those that are generated of the contract 0.1.
//!
//! Each interface has types of its own for columns and parameters, which differ in their names alone.

macro_rules! translate {
    ($($abi:ident)::+) => {
        use crate::{
            model::{
                column::{Column, ColumnType, TextValues, Values},
                guest::{InputColumn, InputType, ParameterSpec, ParameterType, ParameterValue},
            },
            wasm::bindings::v0_1::$($abi)::+ as abi,
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

        fn column_type(given: abi::ColumnType) -> ColumnType {
            match given {
                abi::ColumnType::Int => ColumnType::Int,
                abi::ColumnType::Double => ColumnType::Double,
                abi::ColumnType::Boolean => ColumnType::Boolean,
                abi::ColumnType::Text => ColumnType::Text,
            }
        }

        /// The columns that a guest reads, not checked.
        fn inputs_of(given: Vec<abi::InputColumn>) -> Vec<InputColumn> {
            let input = |column: abi::InputColumn| InputColumn {
                name: column.name,
                accepts: InputType::Is(column_type(column.column_type)),
                nullable: column.nullable,
            };
            given.into_iter().map(input).collect()
        }

        /// The parameters that a guest describes, not checked.
        fn parameters_of(given: Vec<abi::ParameterSpec>) -> Vec<ParameterSpec> {
            let parameter = |spec: abi::ParameterSpec| ParameterSpec {
                name: spec.name,
                parameter_type: parameter_type(spec.parameter_type),
                default: spec.default.map(parameter_value),
                doc: spec.doc,
            };
            given.into_iter().map(parameter).collect()
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
                        ParameterValue::Decimal(_)
                        | ParameterValue::Timestamp(_)
                        | ParameterValue::Date(_)
                        | ParameterValue::DecimalList(_)
                        | ParameterValue::TimestampList(_)
                        | ParameterValue::DateList(_) => {
                            let name = value.parameter_type();
                            $crate::error::note_defect(format_args!("a guest is given a {name}, which its contract has not"));
                            abi::ParameterValueParam::Int(0)
                        }
                    },
                })
                .collect();
            call(&lowered)
        }
    };
}

pub(in crate::wasm) mod of_stage {
    translate!(exports::weir::stage::stage);

    use crate::model::{
        column::Field,
        guest::{Answer, Description, OutputRows, OutputSpec, RejectedRow},
    };

    fn field(name: String, given: abi::ColumnType, nullable: bool) -> Field {
        Field {
            name,
            column_type: column_type(given),
            nullable,
        }
    }

    /// What a stage says of itself, not checked.
    pub(in crate::wasm) fn description(given: abi::Description) -> Description {
        let output = |output: abi::OutputSpec| OutputSpec {
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
            many: false,
        };
        Description {
            name: given.name,
            version: given.version,
            doc: given.doc,
            inputs: inputs_of(given.inputs),
            reads_time: given.reads_time,
            outputs: given.outputs.into_iter().map(output).collect(),
            parameters: parameters_of(given.parameters),
        }
    }

    /// What a stage answers, not checked.
    pub(in crate::wasm) fn answer(given: abi::Answer) -> Answer {
        let outputs = given.outputs.into_iter().map(|output| OutputRows {
            rows: output.rows,
            computed: output.computed.into_iter().map(column_of).collect(),
        });
        let rejected = given.rejected.into_iter().map(|rejected| RejectedRow {
            row: rejected.row,
            reason: rejected.reason,
            failed: false,
        });
        Answer {
            outputs: outputs.collect(),
            rejected: rejected.collect(),
        }
    }
}

pub(in crate::wasm) mod of_aggregate {
    translate!(aggregate::exports::weir::stage::aggregate);

    use crate::model::guest::{AggregateDescription, ResultColumn};

    /// What an aggregate says of itself, not checked.
    pub(in crate::wasm) fn description(given: abi::Description) -> AggregateDescription {
        AggregateDescription {
            name: given.name,
            version: given.version,
            doc: given.doc,
            inputs: inputs_of(given.inputs),
            parameters: parameters_of(given.parameters),
            result: ResultColumn {
                column_type: column_type(given.result.column_type),
                nullable: given.result.nullable,
            },
            retracts: given.retracts,
            merges: given.merges,
            state: given.state,
        }
    }
}
