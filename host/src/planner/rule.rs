//! `rule`: a stage whose rule is written in the pipeline file, as expressions. It is compiled to a program here, which the guest for
//! expressions evaluates: so it is a module like any other, with a digest of its own.

use super::{Binder, BoundNode, StepAt, StepKeys, stage::ModuleOfStage};
use crate::{
    definition::{ColumnMap, Failures, Name, Spanned, StageLimits, Trial},
    error::{Error, OrDefect, Result},
    limits::DESCRIPTION_DOC_BYTES_MAX,
    model::{
        column::{ColumnType, Schema},
        deployment::Whose,
        guest::{ParameterType, ParameterValue},
        time_zone,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, ops::Range};
use weir_expression::{
    Attached, Program, Scalar, Type,
    compile::{self, Place, Reason, RejectText, Selected, compile, compile_sql},
    decimal, forms,
    program::{Input, Parameter},
};

/// Its keys in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// The rows that stay: those of which this is true.
    #[serde(rename = "where")]
    filter: Option<Name>,
    /// The columns that come out, each with its expression; `"*" = true` stands for all columns of the input.
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    select: Option<ColumnMap<Spanned<toml::Value>>>,
    /// What makes a dead letter of a row, each condition with the reason.
    reject: Option<ColumnMap<Name>>,
    /// All of these in one text: `select *, amount * 2 as twice where amount > 0`.
    sql: Option<Name>,
    /// The file of such a text, relative to the pipeline file.
    file: Option<Name>,
    /// What the rule can be told, as `$name`: a value, or `{ type = "…", default = …, doc = "…" }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    parameters: BTreeMap<String, Spanned<toml::Value>>,
    /// Bounds other than the defaults.
    #[serde(default)]
    limits: StageLimits,
    /// On how many rows the rule may fail, other than the default.
    failures: Option<Spanned<Failures>>,
    /// A trial other than the default, for versions that are deployed.
    #[serde(default)]
    trial: Trial,
}

/// The most bytes of a file with an expression.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The version that a rule says that it has: its digest tells it from others.
const VERSION: &str = "1";

impl StepKeys for Rule {
    fn bind(&self, step: &StepAt<'_>, binder: &Binder<'_>) -> Result<BoundNode> {
        let input = step.input(binder)?;
        let schema = &binder.output(input)?.schema;
        let load = || {
            let program = self.program(step, binder, schema)?;
            let attached = Attached {
                name: step.name().to_owned(),
                version: VERSION.to_owned(),
                doc: cut(self.text(step, binder)?),
                program,
            };
            let at_step = |message: String| binder.error(step.span(), format!("step \"{}\": {message}", step.name()));
            let bytes = attached.to_bytes().map_err(|broken| at_step(broken.to_string()))?;
            step.host
                .load_expression(&bytes, Whose::of_file(step.name()))
                .map_err(|cause| at_step(cause.to_string()).like(&cause))
        };
        let nothing = BTreeMap::new();
        let module = ModuleOfStage {
            load: &load,
            span: step.span(),
            parameters: &nothing,
            limits: &self.limits,
            failures: self.failures.as_ref(),
            trial: &self.trial,
        };
        binder.stage(step.name(), input, &module, step.span(), step.host)
    }
}

impl Rule {
    /// The rule, compiled against the columns of its input.
    fn program(&self, step: &StepAt<'_>, binder: &Binder<'_>, schema: &Schema) -> Result<Program> {
        let at =
            |span: Range<usize>, message: String| binder.error(span, format!("step \"{}\": {message}", step.name()));
        let scope: Result<Vec<Input>> = schema
            .iter()
            .map(|field| {
                Ok(Input {
                    name: field.name.clone(),
                    of: type_of(field.column_type)?,
                    nullable: field.nullable,
                })
            })
            .collect();
        let scope = scope?;
        let mut parameters = Vec::new();
        for (name, given) in &self.parameters {
            let parameter = parameter(name, given.get_ref());
            parameters.push(parameter.map_err(|wrong| at(given.span(), format!("parameter \"{name}\" {wrong}")))?);
        }
        let knows_zone = |zone: &str| time_zone::offset_at(zone, 0).map(drop);
        let whole = match (&self.sql, &self.file) {
            (Some(_), Some(file)) => {
                let message = "keys `sql` and `file` both say what the rule is; accepted is one of them".to_owned();
                return Err(at(file.span(), message));
            }
            (sql, file) => sql.as_ref().or(file.as_ref()),
        };
        let Some(whole) = whole else {
            let rule = self.parts(&at, step.span(), parameters)?;
            return compile(&rule, &scope, &knows_zone).map_err(|errors| self.error(errors, step, binder));
        };
        if self.filter.is_some() || self.select.is_some() || self.reject.is_some() {
            let message =
                "keys `where`, `select` and `reject` go without `sql` and `file`, which say all of that in one text";
            return Err(at(whole.span(), message.to_owned()));
        }
        let text = self.whole(binder)?.unwrap_or_default();
        compile_sql(&text, &parameters, &scope, &knows_zone).map_err(|errors| self.error(errors, step, binder))
    }

    /// The one text, if the rule is one.
    fn whole(&self, binder: &Binder<'_>) -> Result<Option<String>> {
        let Some(file) = &self.file else {
            return Ok(self.sql.as_ref().map(|sql| sql.get_ref().clone()));
        };
        let bytes = binder.file.named(file, "the file of an expression", FILE_BYTES_MAX);
        let bytes = bytes.map_err(|cause| binder.error(file.span(), cause.to_string()))?;
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| binder.error(file.span(), format!("{} is not UTF-8", file.get_ref())))
    }

    /// The rule in parts, as the file has it.
    fn parts(
        &self,
        at: &dyn Fn(Range<usize>, String) -> Error,
        span: Range<usize>,
        parameters: Vec<Parameter>,
    ) -> Result<compile::Rule> {
        if self.filter.is_none() && self.select.is_none() && self.reject.is_none() {
            let message =
                "it says nothing of the rule; accepted are `where`, `select`, `reject`, or one of `sql` and `file`";
            return Err(at(span, message.to_owned()));
        }
        let select =
            self.select.as_ref().map(|select| {
                let columns = select.0.iter().map(|(name, given)| match (name.get_ref().as_str(), given.get_ref()) {
                ("*", toml::Value::Boolean(true)) => Ok(Selected::All),
                (name, toml::Value::String(text)) if name != "*" => Ok(Selected::Column {
                    name: name.to_owned(),
                    text: text.clone(),
                }),
                ("*", other) => Err(at(given.span(), format!("`*` is {other}; accepted is true, for all columns"))),
                (name, other) => Err(at(
                    given.span(),
                    format!("column \"{name}\" is {other}; accepted is an expression as text, such as \"amount * 2\""),
                )),
            });
                columns.collect::<Result<Vec<_>>>()
            });
        let rejects = self.reject.iter().flat_map(|rejects| &rejects.0);
        let rejects = rejects.map(|(condition, reason)| RejectText {
            condition: condition.get_ref().clone(),
            reason: Reason::Text(reason.get_ref().clone()),
        });
        Ok(compile::Rule {
            filter: self.filter.as_ref().map(|filter| filter.get_ref().clone()),
            select: select.transpose()?,
            rejects: rejects.collect(),
            parameters,
        })
    }

    /// The first thing that is wrong, where it stands in the file, and how many more there are.
    fn error(&self, errors: Vec<compile::Error>, step: &StepAt<'_>, binder: &Binder<'_>) -> Error {
        let more = errors.len().saturating_sub(1);
        let Some(first) = errors.into_iter().next() else {
            return Error::defect("a rule is refused for nothing");
        };
        let rejects = |number: usize| self.reject.as_ref()?.0.get(number.checked_sub(1)?);
        let whole = match &first.place {
            Place::Where => self.filter.as_ref().map(Spanned::span),
            Place::Select(column) => self.select.as_ref().and_then(|select| {
                let mut named = select.0.iter().filter(|(name, _)| name.get_ref() == column);
                named.next().map(|(_, text)| text.span())
            }),
            Place::Reject(number) => rejects(*number).map(|(condition, _)| condition.span()),
            Place::Reason(number) => rejects(*number).map(|(_, reason)| reason.span()),
            Place::Sql => self.sql.as_ref().or(self.file.as_ref()).map(Spanned::span),
            Place::Rule => None,
        };
        let span = whole.map_or(step.span(), |whole| match self.file {
            // Behind the quote; what is escaped in a text lies a little further on.
            None => (whole.start + 1 + first.span.start).min(whole.end)..whole.end,
            Some(_) => whole,
        });
        let of_file = match (&first.place, &self.file) {
            (Place::Sql, Some(file)) => format!("{}, byte {}: ", file.get_ref(), first.span.start),
            _ => String::new(),
        };
        let more = match more {
            0 => String::new(),
            1 => "; one more thing is wrong with the rule".to_owned(),
            more => format!("; {more} more things are wrong with the rule"),
        };
        binder.error(
            span,
            format!("step \"{}\": {of_file}{}{more}", step.name(), first.message),
        )
    }

    /// The rule for people.
    fn text(&self, _: &StepAt<'_>, binder: &Binder<'_>) -> Result<String> {
        if let Some(whole) = self.whole(binder)? {
            return Ok(whole);
        }
        let mut parts = Vec::new();
        parts.extend(self.filter.iter().map(|filter| format!("where {}", filter.get_ref())));
        for (name, text) in self.select.iter().flat_map(|select| &select.0) {
            parts.push(match text.get_ref() {
                toml::Value::String(text) => format!("{} = {text}", name.get_ref()),
                _ => name.get_ref().clone(),
            });
        }
        for (condition, reason) in self.reject.iter().flat_map(|rejects| &rejects.0) {
            parts.push(format!("reject {} ({})", condition.get_ref(), reason.get_ref()));
        }
        Ok(parts.join("; "))
    }
}

/// A text that is no longer than what a module may say of itself.
fn cut(mut text: String) -> String {
    if text.len() > DESCRIPTION_DOC_BYTES_MAX {
        let most = DESCRIPTION_DOC_BYTES_MAX - "…".len();
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// A type as expressions know it: they write each as the host does.
fn type_of(column_type: ColumnType) -> Result<Type> {
    Type::named(&column_type.to_string()).or_defect(|| format!("expressions do not know the type {column_type}"))
}

/// A parameter as the file has it.
///
/// # Errors
/// What is wrong with it, and what is accepted.
fn parameter(name: &str, given: &toml::Value) -> Result<Parameter, String> {
    let mut parameter = Parameter {
        name: name.to_owned(),
        of: Type::Text,
        default: None,
        doc: String::new(),
    };
    let toml::Value::Table(table) = given else {
        let of = type_of_value(given).ok_or_else(|| format!("is {given}; accepted are {PARAMETER}"))?;
        return Ok(Parameter {
            of,
            default: Some(scalar(of, given)?),
            ..parameter
        });
    };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("type", toml::Value::String(text)) => {
                parameter.of = Type::named(text).filter(|of| parameter_type(*of).is_some()).ok_or_else(|| {
                    format!(
                        "is of type \"{text}\"; accepted are int, double, boolean, text, decimal(P, S), timestamp, date, and \
                         lists of int, double and text"
                    )
                })?;
            }
            ("doc", toml::Value::String(text)) => parameter.doc.clone_from(text),
            ("default", _) => {}
            (key, value) => return Err(format!("has `{key} = {value}`; accepted are {PARAMETER}")),
        }
    }
    match (table.get("type"), table.get("default")) {
        (None, None) => return Err(format!("has neither type nor default; accepted are {PARAMETER}")),
        (None, Some(default)) => {
            parameter.of = type_of_value(default).ok_or_else(|| format!("is {default}; accepted are {PARAMETER}"))?;
        }
        (Some(_), _) => {}
    }
    if let Some(default) = table.get("default") {
        parameter.default = Some(scalar(parameter.of, default)?);
    }
    Ok(parameter)
}

/// What a parameter can be.
const PARAMETER: &str = "a value, or { type = \"decimal(12, 2)\", default = 500, doc = \"…\" }";

/// The type of a parameter of which the file has the value alone.
fn type_of_value(given: &toml::Value) -> Option<Type> {
    Some(match given {
        toml::Value::Integer(_) => Type::Int,
        toml::Value::Float(_) => Type::Double,
        toml::Value::Boolean(_) => Type::Boolean,
        toml::Value::String(_) => Type::Text,
        toml::Value::Datetime(time) if time.time.is_some() => Type::Timestamp,
        toml::Value::Datetime(_) => Type::Date,
        toml::Value::Array(elements) => Type::List(type_of_value(elements.first()?)?.as_element()?),
        toml::Value::Table(_) => return None,
    })
}

/// The contract's type for parameters of this one, if there is one.
fn parameter_type(of: Type) -> Option<ParameterType> {
    Some(match of {
        Type::Int => ParameterType::Int,
        Type::Double => ParameterType::Double,
        Type::Boolean => ParameterType::Boolean,
        Type::Text => ParameterType::Text,
        Type::Decimal { .. } => ParameterType::Decimal,
        Type::Timestamp => ParameterType::Timestamp,
        Type::Date => ParameterType::Date,
        Type::List(of) => match of.as_type() {
            Type::Int => ParameterType::IntList,
            Type::Double => ParameterType::DoubleList,
            Type::Text => ParameterType::TextList,
            _ => return None,
        },
        Type::Bytes | Type::Json => return None,
    })
}

/// A value of a parameter of this type.
///
/// # Errors
/// What is accepted.
fn scalar(of: Type, given: &toml::Value) -> Result<Scalar, String> {
    let wrong = || format!("is {given}; accepted is a value of type {of}");
    let value = parameter_type(of)
        .and_then(|wanted| wanted.value(given))
        .ok_or_else(wrong)?;
    let list = |of: Type, values: &mut dyn Iterator<Item = forms::Value<'_>>| {
        let mut json = vec![b'['];
        for value in values {
            if json.len() > 1 {
                json.push(b',');
            }
            forms::push_json(&mut json, of, value);
        }
        json.push(b']');
        Scalar::Text(json)
    };
    Ok(match (value, of) {
        (ParameterValue::Decimal(text), Type::Decimal { precision, scale }) => {
            Scalar::Decimal(decimal::parse(text.as_bytes(), precision, scale).ok_or_else(wrong)?)
        }
        (ParameterValue::Int(value) | ParameterValue::Timestamp(value) | ParameterValue::Date(value), _) => {
            Scalar::Int(value)
        }
        (ParameterValue::Double(value), _) => Scalar::Double(value),
        (ParameterValue::Boolean(value), _) => Scalar::Boolean(value),
        (ParameterValue::Text(text), _) => Scalar::Text(text.into_bytes()),
        (ParameterValue::IntList(values), _) => list(Type::Int, &mut values.into_iter().map(forms::Value::Int)),
        (ParameterValue::DoubleList(values), _) => {
            list(Type::Double, &mut values.into_iter().map(forms::Value::Double))
        }
        (ParameterValue::TextList(values), _) => list(
            Type::Text,
            &mut values.iter().map(|text| forms::Value::Text(text.as_bytes())),
        ),
        _ => return Err(wrong()),
    })
}
