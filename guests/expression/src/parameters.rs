//! Parameters between the contract and the evaluator.

use weir_expression::{
    Element, Scalar, Type, decimal,
    forms::{Read, Value, parse_json, push_json},
    json, program,
};
use weir_guest::abi::{Parameter, ParameterSpec, ParameterType, ParameterValue};

/// How the contract knows a parameter.
pub(crate) fn spec(parameter: &program::Parameter) -> ParameterSpec {
    ParameterSpec {
        name: parameter.name.clone(),
        parameter_type: parameter_type(parameter.of),
        default: parameter.default.as_ref().map(|default| value(parameter.of, default)),
        doc: parameter.doc.clone(),
    }
}

fn parameter_type(of: Type) -> ParameterType {
    match of {
        Type::Int => ParameterType::Int,
        Type::Double => ParameterType::Double,
        Type::Boolean => ParameterType::Boolean,
        Type::Decimal { .. } => ParameterType::Decimal,
        Type::Timestamp => ParameterType::Timestamp,
        Type::Date => ParameterType::Date,
        Type::List(Element::Int) => ParameterType::IntList,
        Type::List(Element::Double) => ParameterType::DoubleList,
        Type::List(Element::Text) => ParameterType::TextList,
        Type::Text | Type::Bytes | Type::Json | Type::List(_) => ParameterType::Text,
    }
}

/// A default.
fn value(of: Type, default: &Scalar) -> ParameterValue {
    match (of, default) {
        (Type::Timestamp, Scalar::Int(us)) => ParameterValue::Timestamp(*us),
        (Type::Date, Scalar::Int(days)) => ParameterValue::Date(*days),
        (_, Scalar::Int(value)) => ParameterValue::Int(*value),
        (_, Scalar::Double(value)) => ParameterValue::Double(*value),
        (_, Scalar::Boolean(value)) => ParameterValue::Boolean(*value),
        (Type::Decimal { scale, .. }, Scalar::Decimal(unscaled)) => {
            let mut text = Vec::new();
            decimal::push(&mut text, *unscaled, scale);
            ParameterValue::Decimal(String::from_utf8_lossy(&text).into_owned())
        }
        (Type::List(of @ (Element::Int | Element::Double | Element::Text)), Scalar::Text(list)) => list_value(of, list),
        (_, Scalar::Text(text)) => ParameterValue::Text(String::from_utf8_lossy(text).into_owned()),
        (_, Scalar::Decimal(_) | Scalar::Null) => ParameterValue::Text(String::new()),
    }
}

/// A list of these, which lies as JSON here.
fn list_value(of: Element, list: &[u8]) -> ParameterValue {
    let (mut ints, mut doubles, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    json::elements(list, |element| match (of, parse_json(of.as_type(), element)) {
        (Element::Int, Some(Read::Int(value))) => ints.push(value),
        (Element::Double, Some(Read::Double(value))) => doubles.push(value),
        (_, Some(Read::Text(text))) => texts.push(String::from_utf8_lossy(&text).into_owned()),
        _ => {}
    });
    match of {
        Element::Int => ParameterValue::IntList(ints),
        Element::Double => ParameterValue::DoubleList(doubles),
        _ => ParameterValue::TextList(texts),
    }
}

/// A value that the host gives, as one of the parameter's type.
///
/// # Errors
///
/// The parameter, what it is, and what is accepted.
pub(crate) fn scalar(parameter: &program::Parameter, given: Parameter) -> Result<Scalar, String> {
    let Type::Decimal { precision, scale } = parameter.of else {
        return Ok(of_value(given.value));
    };
    let ParameterValue::Decimal(text) = given.value else {
        return Ok(of_value(given.value));
    };
    let parsed = decimal::parse(text.as_bytes(), precision, scale).map(Scalar::Decimal);
    parsed.ok_or_else(|| {
        format!(
            "parameter `{}` is {text}; accepted are numbers of type {}",
            given.name, parameter.of
        )
    })
}

fn of_value(value: ParameterValue) -> Scalar {
    let list = |of: Element, values: &mut dyn Iterator<Item = Value<'_>>| {
        let mut json = vec![b'['];
        for value in values {
            if json.len() > 1 {
                json.push(b',');
            }
            push_json(&mut json, of.as_type(), value);
        }
        json.push(b']');
        Scalar::Text(json)
    };
    match value {
        ParameterValue::Int(value) | ParameterValue::Timestamp(value) | ParameterValue::Date(value) => {
            Scalar::Int(value)
        }
        ParameterValue::Double(value) => Scalar::Double(value),
        ParameterValue::Boolean(value) => Scalar::Boolean(value),
        ParameterValue::Text(text) | ParameterValue::Decimal(text) => Scalar::Text(text.into_bytes()),
        ParameterValue::IntList(values) => list(Element::Int, &mut values.into_iter().map(Value::Int)),
        ParameterValue::DoubleList(values) => list(Element::Double, &mut values.into_iter().map(Value::Double)),
        ParameterValue::TextList(values) | ParameterValue::DecimalList(values) => list(
            Element::Text,
            &mut values.iter().map(|text| Value::Text(text.as_bytes())),
        ),
        ParameterValue::TimestampList(values) => list(Element::Timestamp, &mut values.into_iter().map(Value::Int)),
        ParameterValue::DateList(values) => list(Element::Date, &mut values.into_iter().map(Value::Int)),
    }
}
