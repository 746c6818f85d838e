//! Between the types of the host and those that are generated of the contract 0.2.

use crate::{
    error::note_defect,
    model::{
        column::{Column, ColumnType, ElementType, Field, TextValues, Values},
        decimal::DecimalType,
        guest::{
            AggregateDescription, Answer, Description, InputColumn, InputType, KeyedDescription, OutputRows,
            OutputSpec, ParameterSpec, ParameterType, ParameterValue, RejectedRow, ResultColumn,
        },
    },
    wasm::bindings::v0_2::{
        exports::weir::stage::{aggregate, keyed, stage},
        weir::stage::types,
    },
};

// ---- columns --------------------------------------------------------------------------------------------------------

/// A column of this type on its way to the guest.
pub(in crate::wasm) fn lower(column: &Column, column_type: ColumnType) -> types::ColumnParam<'_> {
    types::ColumnParam {
        validity: column.validity.as_deref(),
        values: match &column.values {
            Values::Int(values) => types::ColumnValuesParam::Int(values),
            Values::Double(values) => types::ColumnValuesParam::Double(values),
            Values::Boolean(values) => types::ColumnValuesParam::Boolean(values),
            Values::Text(texts) => types::ColumnValuesParam::Text(types::TextValuesParam {
                offsets: &texts.offsets,
                data: &texts.data,
            }),
            Values::Decimal(values) => {
                let ColumnType::Decimal(decimal) = column_type else {
                    note_defect(format_args!("a guest is given decimals as {column_type}"));
                    return lower_nothing();
                };
                types::ColumnValuesParam::Decimal(types::DecimalValuesParam {
                    scale: decimal.scale(),
                    unscaled: halves(values),
                })
            }
        },
    }
}

fn lower_nothing() -> types::ColumnParam<'static> {
    types::ColumnParam {
        validity: None,
        values: types::ColumnValuesParam::Int(&[]),
    }
}

/// The lower and the higher half of each number, as they lie in memory.
#[cfg(target_endian = "little")]
fn halves(values: &[i128]) -> &[i64] {
    bytemuck::cast_slice(values)
}

#[cfg(not(target_endian = "little"))]
compile_error!("the halves of decimals lie the other way round on this machine; `halves` has to copy them");

/// A column as the guest gave it, which is described as one of this type. Not checked but for what is lost here.
///
/// # Errors
/// Which promise of the contract it breaks.
fn column_of(given: types::ColumnResult, described: Option<ColumnType>) -> Result<Column, String> {
    let values = match given.values {
        types::ColumnValuesResult::Int(values) => Values::Int(values),
        types::ColumnValuesResult::Double(mut values) => {
            // Negative zero is zero: adding zero leaves every other double as it is.
            values.iter_mut().for_each(|value| *value += 0.0);
            Values::Double(values)
        }
        types::ColumnValuesResult::Boolean(values) => Values::Boolean(values),
        types::ColumnValuesResult::Text(texts) => Values::Text(TextValues {
            offsets: texts.offsets,
            data: texts.data,
        }),
        types::ColumnValuesResult::Decimal(decimals) => {
            if let Some(ColumnType::Decimal(decimal)) = described
                && decimal.scale() != decimals.scale
            {
                let (found, said) = (decimals.scale, decimal.scale());
                return Err(format!("decimals of scale {found}, though it is described as {said}"));
            }
            let (pairs, rest) = decimals.unscaled.as_chunks::<2>();
            if !rest.is_empty() {
                let numbers = decimals.unscaled.len();
                return Err(format!("{numbers} halves of decimals; accepted are two for each"));
            }
            let joined = pairs
                .iter()
                .map(|[low, high]| i128::from(*high) << 64 | i128::from(*low as u64));
            Values::Decimal(joined.collect())
        }
    };
    Ok(Column {
        validity: given.validity,
        values,
    })
}

// ---- types ----------------------------------------------------------------------------------------------------------

/// The type that a guest describes; none is what only inputs may be.
///
/// # Errors
/// Why there is no such type.
fn column_type(given: types::ColumnType) -> Result<Option<ColumnType>, String> {
    Ok(Some(match given {
        types::ColumnType::Int => ColumnType::Int,
        types::ColumnType::Double => ColumnType::Double,
        types::ColumnType::Boolean => ColumnType::Boolean,
        types::ColumnType::Text => ColumnType::Text,
        types::ColumnType::Decimal(decimal) => ColumnType::Decimal(decimal_type(decimal)?),
        types::ColumnType::AnyDecimal => return Ok(None),
        types::ColumnType::Timestamp => ColumnType::Timestamp,
        types::ColumnType::Date => ColumnType::Date,
        types::ColumnType::Bytes => ColumnType::Bytes,
        types::ColumnType::Json => ColumnType::Json,
        types::ColumnType::List(element) => ColumnType::List(element_type(element)?),
    }))
}

fn decimal_type(given: types::DecimalType) -> Result<DecimalType, String> {
    let types::DecimalType { precision, scale } = given;
    let most = DecimalType::PRECISION_MAX;
    DecimalType::new(precision, scale).ok_or_else(|| {
        format!("decimal({precision}, {scale}); accepted are 1 to {most} digits, and up to as many behind the point")
    })
}

fn element_type(given: types::ElementType) -> Result<ElementType, String> {
    let of = match given {
        types::ElementType::Int => ColumnType::Int,
        types::ElementType::Double => ColumnType::Double,
        types::ElementType::Boolean => ColumnType::Boolean,
        types::ElementType::Text => ColumnType::Text,
        types::ElementType::Decimal(decimal) => ColumnType::Decimal(decimal_type(decimal)?),
        types::ElementType::Timestamp => ColumnType::Timestamp,
        types::ElementType::Date => ColumnType::Date,
        types::ElementType::Bytes => ColumnType::Bytes,
    };
    ElementType::of(of).ok_or_else(|| format!("a list of {of}"))
}

/// What stands before what is wrong with a type.
fn of_column(name: &str, wrong: String) -> String {
    format!("column \"{}\" is {wrong}", crate::text::printable(name))
}

fn inputs(given: Vec<types::InputColumn>) -> Result<Vec<InputColumn>, String> {
    let input = |column: types::InputColumn| {
        let found = column_type(column.column_type).map_err(|wrong| of_column(&column.name, wrong))?;
        Ok(InputColumn {
            accepts: found.map_or(InputType::AnyDecimal, InputType::Is),
            name: column.name,
            nullable: column.nullable,
        })
    };
    given.into_iter().map(input).collect()
}

fn computed(given: Vec<types::ComputedColumn>) -> Result<Vec<Field>, String> {
    let field = |column: types::ComputedColumn| {
        let found = column_type(column.column_type).map_err(|wrong| of_column(&column.name, wrong))?;
        let column_type = found.ok_or_else(|| of_column(&column.name, of_any_digits()))?;
        Ok(Field {
            name: column.name,
            column_type,
            nullable: column.nullable,
        })
    };
    given.into_iter().map(field).collect()
}

fn of_any_digits() -> String {
    "a decimal of any digits, which only a column can be that a guest reads; accepted is one that says how many"
        .to_owned()
}

fn outputs(given: Vec<types::OutputSpec>) -> Result<Vec<OutputSpec>, String> {
    let output = |output: types::OutputSpec| {
        let passed = output.passed.into_iter();
        Ok(OutputSpec {
            name: output.name,
            passed: passed.map(|column| (column.input, column.output)).collect(),
            computed: computed(output.computed)?,
            many: output.many,
        })
    };
    given.into_iter().map(output).collect()
}

// ---- parameters -----------------------------------------------------------------------------------------------------

fn parameters(given: Vec<types::ParameterSpec>) -> Vec<ParameterSpec> {
    let parameter = |spec: types::ParameterSpec| ParameterSpec {
        name: spec.name,
        parameter_type: parameter_type(spec.parameter_type),
        default: spec.default.map(parameter_value),
        doc: spec.doc,
    };
    given.into_iter().map(parameter).collect()
}

/// Writes the arms of matches over all types of parameters, which have the same names on both sides.
macro_rules! parameter_types {
    ($($case:ident),*) => {
        fn parameter_type(given: types::ParameterType) -> ParameterType {
            match given {
                $(types::ParameterType::$case => ParameterType::$case,)*
            }
        }

        fn parameter_value(given: types::ParameterValueResult) -> ParameterValue {
            match given {
                $(types::ParameterValueResult::$case(value) => ParameterValue::$case(value),)*
            }
        }
    };
}

parameter_types!(
    Int,
    Double,
    Boolean,
    Text,
    Decimal,
    Timestamp,
    Date,
    IntList,
    DoubleList,
    TextList,
    DecimalList,
    TimestampList,
    DateList
);

/// Calls with parameters on their way to the guest.
pub(in crate::wasm) fn with_parameters<T>(
    parameters: &[(String, ParameterValue)],
    call: impl FnOnce(&[types::Parameter<'_>]) -> T,
) -> T {
    let texts = parameters.iter().map(|(_, value)| match value {
        ParameterValue::TextList(texts) | ParameterValue::DecimalList(texts) => {
            texts.iter().map(String::as_str).collect()
        }
        _ => Vec::new(),
    });
    let texts: Vec<Vec<&str>> = texts.collect();
    let lowered = parameters
        .iter()
        .zip(&texts)
        .map(|((name, value), texts)| types::Parameter {
            name,
            value: match value {
                ParameterValue::Int(value) => types::ParameterValueParam::Int(*value),
                ParameterValue::Double(value) => types::ParameterValueParam::Double(*value),
                ParameterValue::Boolean(value) => types::ParameterValueParam::Boolean(*value),
                ParameterValue::Text(value) => types::ParameterValueParam::Text(value),
                ParameterValue::Decimal(value) => types::ParameterValueParam::Decimal(value),
                ParameterValue::Timestamp(value) => types::ParameterValueParam::Timestamp(*value),
                ParameterValue::Date(value) => types::ParameterValueParam::Date(*value),
                ParameterValue::IntList(values) => types::ParameterValueParam::IntList(values),
                ParameterValue::DoubleList(values) => types::ParameterValueParam::DoubleList(values),
                ParameterValue::TextList(_) => types::ParameterValueParam::TextList(texts),
                ParameterValue::DecimalList(_) => types::ParameterValueParam::DecimalList(texts),
                ParameterValue::TimestampList(values) => types::ParameterValueParam::TimestampList(values),
                ParameterValue::DateList(values) => types::ParameterValueParam::DateList(values),
            },
        });
    call(&lowered.collect::<Vec<_>>())
}

// ---- stages ---------------------------------------------------------------------------------------------------------

/// What a stage says of itself, not checked but for its types.
///
/// # Errors
/// Which types there are not.
pub(in crate::wasm) fn description(given: stage::Description) -> Result<Description, String> {
    Ok(Description {
        name: given.name,
        version: given.version,
        doc: given.doc,
        inputs: inputs(given.inputs)?,
        reads_time: given.reads_time,
        outputs: outputs(given.outputs)?,
        parameters: parameters(given.parameters),
    })
}

/// What a stage answers, not checked but for its decimals.
///
/// # Errors
/// Which of them break the contract.
pub(in crate::wasm) fn answer(given: stage::Answer, description: &Description) -> Result<Answer, String> {
    Ok(Answer {
        outputs: outputs_of(given.outputs, &description.outputs)?,
        rejected: given.rejected.into_iter().map(rejected).collect(),
    })
}

/// What goes to outputs that are described like this, not checked but for decimals.
///
/// # Errors
/// Which of them break the contract.
pub(in crate::wasm) fn outputs_of(
    given: Vec<types::OutputRows>,
    described: &[OutputSpec],
) -> Result<Vec<OutputRows>, String> {
    let mut described = described.iter();
    let outputs = given.into_iter();
    outputs.map(|output| output_rows(output, described.next())).collect()
}

fn output_rows(given: types::OutputRows, described: Option<&OutputSpec>) -> Result<OutputRows, String> {
    let mut fields = described.into_iter().flat_map(|output| &output.computed);
    let mut computed = Vec::with_capacity(given.computed.len());
    for column in given.computed {
        let field = fields.next();
        let of_column = |wrong| {
            let [output, column] = [described.map(|output| &*output.name), field.map(|field| &*field.name)];
            let [output, column] = [output, column].map(Option::unwrap_or_default);
            format!("in output \"{output}\": column \"{column}\": {wrong}")
        };
        computed.push(column_of(column, field.map(|field| field.column_type)).map_err(of_column)?);
    }
    Ok(OutputRows {
        rows: given.rows,
        computed,
    })
}

fn rejected(given: types::RejectedRow) -> RejectedRow {
    RejectedRow {
        row: given.row,
        reason: given.reason,
        failed: false,
    }
}

// ---- states ---------------------------------------------------------------------------------------------------------

/// States as the guest gave them, not checked.
pub(in crate::wasm) fn states_of(types::StatesResult { offsets, data }: types::StatesResult) -> TextValues {
    TextValues { offsets, data }
}

/// States on their way to the guest.
pub(in crate::wasm) fn states(TextValues { offsets, data }: &TextValues) -> types::StatesParam<'_> {
    types::StatesParam { offsets, data }
}

// ---- aggregates -----------------------------------------------------------------------------------------------------

/// What an aggregate says of itself, not checked but for its types.
///
/// # Errors
/// Which types there are not.
pub(in crate::wasm) fn aggregate_description(given: aggregate::Description) -> Result<AggregateDescription, String> {
    let result = column_type(given.result.column_type).and_then(|found| found.ok_or_else(of_any_digits));
    Ok(AggregateDescription {
        name: given.name,
        version: given.version,
        doc: given.doc,
        inputs: inputs(given.inputs)?,
        parameters: parameters(given.parameters),
        result: ResultColumn {
            column_type: result.map_err(|wrong| format!("its result is {wrong}"))?,
            nullable: given.result.nullable,
        },
        retracts: given.retracts,
        merges: given.merges,
        state: given.state,
    })
}

/// What a keyed function says of itself, not checked but for its types.
///
/// # Errors
/// Which types there are not.
pub(in crate::wasm) fn keyed_description(given: keyed::Description) -> Result<KeyedDescription, String> {
    Ok(KeyedDescription {
        name: given.name,
        version: given.version,
        doc: given.doc,
        inputs: inputs(given.inputs)?,
        reads_time: given.reads_time,
        reads_event_time: given.reads_event_time,
        timers: given.timers,
        outputs: outputs(given.outputs)?,
        parameters: parameters(given.parameters),
        state: given.state,
    })
}

/// The results of an aggregate, not checked but for decimals.
///
/// # Errors
/// Which of them break the contract.
pub(in crate::wasm) fn results(given: types::ColumnResult, described: ResultColumn) -> Result<Column, String> {
    column_of(given, Some(described.column_type)).map_err(|wrong| format!("in the results: {wrong}"))
}
