//! Resolves names and types: from what was parsed to what is evaluated.

use super::{
    KnowsZone, literals, suggest,
    syntax::span_of,
    typed::{Typed, What, common},
};
use crate::{
    evaluate::shortened,
    function::Function as F,
    program::{DEPTH_MAX, Input, Parameter},
    types::Type,
};
use sqlparser::{
    ast::{AccessExpr, Array, BinaryOperator, Expr, Ident, InTarget, Subscript, TrimWhereField, UnaryOperator, Value},
    tokenizer::Span,
};

/// What is wrong with an expression, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
}

pub(super) type Resolved = Result<Typed, Fault>;

/// Resolves expressions over the columns of a scope.
pub(super) struct Resolver<'a> {
    pub(super) scope: &'a [Input],
    pub(super) parameters: &'a [Parameter],
    pub(super) knows_zone: KnowsZone<'a>,
}

/// An error about an expression.
pub(super) fn fault(expression: &Expr, message: impl Into<String>) -> Fault {
    Fault {
        span: span_of(expression),
        message: message.into(),
    }
}

/// An expression as messages show it.
pub(super) fn shown(expression: &Expr) -> String {
    shortened(&expression.to_string(), 60)
}

/// How much shallower expressions are than programs: what an author writes as one may become a few nodes.
const DEPTH_SPARE: usize = 24;

impl Resolver<'_> {
    /// Resolves a whole expression, which has to be of a type.
    pub(super) fn root(&self, expression: &Expr, wanted: Option<Type>) -> Resolved {
        let typed = self.resolve(expression, 0)?;
        let Some(wanted) = wanted else { return Ok(typed) };
        self.wanted(expression, typed, wanted)
    }

    /// An expression that has to be of a type.
    pub(super) fn wanted(&self, expression: &Expr, typed: Typed, wanted: Type) -> Resolved {
        typed.coerced(wanted).map_err(|typed| {
            fault(
                expression,
                format!(
                    "{:?} is {}, and {} is needed here",
                    shown(expression),
                    article(typed.of),
                    article(wanted)
                ),
            )
        })
    }

    fn resolve_as(&self, expression: &Expr, wanted: Type, depth: usize) -> Resolved {
        let typed = self.resolve(expression, depth)?;
        self.wanted(expression, typed, wanted)
    }

    /// Resolves an expression.
    pub(super) fn resolve(&self, expression: &Expr, depth: usize) -> Resolved {
        if depth > DEPTH_MAX as usize - DEPTH_SPARE {
            return Err(fault(
                expression,
                format!(
                    "the expression is nested deeper than {}: split it",
                    DEPTH_MAX as usize - DEPTH_SPARE
                ),
            ));
        }
        let mut typed = self.any(expression, depth + 1)?;
        if typed.text.is_empty() && matches!(typed.what, What::Call(..)) {
            typed.text = shown(expression);
        }
        Ok(typed)
    }

    fn any(&self, expression: &Expr, depth: usize) -> Resolved {
        match expression {
            Expr::Identifier(name) => self.column(expression, name),
            Expr::CompoundIdentifier(names) => {
                let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                Err(fault(
                    expression,
                    format!(
                        "{:?} names a table: columns are named alone, and a value in JSON is {} -> 'name'",
                        names.join("."),
                        names.first().unwrap_or(&"column")
                    ),
                ))
            }
            Expr::Nested(inner) => self.resolve(inner, depth),
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => self.parameter(expression, name),
                value => literals::value(value).map_err(|message| fault(expression, message)),
            },
            Expr::TypedString(typed) => {
                let text = typed.value.clone().into_string().unwrap_or_default();
                literals::of_type(&typed.data_type, &text).map_err(|message| fault(expression, message))
            }
            Expr::UnaryOp { op, expr } => self.unary(expression, *op, expr, depth),
            Expr::BinaryOp { left, op, right } => self.binary(expression, left, op, right, depth),
            Expr::IsNull(inner) => Ok(Typed::call(F::IsNull, vec![self.resolve(inner, depth)?], Type::Boolean)),
            Expr::IsNotNull(inner) => Ok(Typed::call(
                F::IsNotNull,
                vec![self.resolve(inner, depth)?],
                Type::Boolean,
            )),
            Expr::IsTrue(inner) => self.is(F::IsTrue, inner, false, depth),
            Expr::IsNotTrue(inner) => self.is(F::IsTrue, inner, true, depth),
            Expr::IsFalse(inner) => self.is(F::IsFalse, inner, false, depth),
            Expr::IsNotFalse(inner) => self.is(F::IsFalse, inner, true, depth),
            Expr::IsUnknown(inner) => self.is(F::IsNull, inner, false, depth),
            Expr::IsNotUnknown(inner) => self.is(F::IsNotNull, inner, false, depth),
            Expr::IsDistinctFrom(a, b) => self.compared(expression, F::Distinct, a, b, depth),
            Expr::IsNotDistinctFrom(a, b) => self.compared(expression, F::NotDistinct, a, b, depth),
            Expr::In {
                expr, target, negated, ..
            } => self.is_in(expression, expr, target, *negated, depth),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let from = self.compared(expression, F::GreaterEqual, expr, low, depth)?;
                let to = self.compared(expression, F::LessEqual, expr, high, depth)?;
                Ok(not_if(*negated, Typed::call(F::And, vec![from, to], Type::Boolean)))
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => self.like(F::Like, *negated, expr, pattern, escape_char.as_deref(), depth),
            Expr::ILike {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => self.like(F::ILike, *negated, expr, pattern, escape_char.as_deref(), depth),
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } => {
                let list = self.resolve(right, depth)?;
                let value = self.resolve(left, depth)?;
                self.list_contains(expression, value, list)
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                let mut branches = Vec::new();
                for when in conditions {
                    let condition = match operand {
                        Some(operand) => self.compared(&when.condition, F::Equal, operand, &when.condition, depth)?,
                        None => self.resolve_as(&when.condition, Type::Boolean, depth)?,
                    };
                    branches.push((condition, self.resolve(&when.result, depth)?));
                }
                let rest = else_result.as_ref().map(|rest| self.resolve(rest, depth)).transpose()?;
                self.case(expression, branches, rest)
            }
            Expr::Cast {
                kind,
                expr,
                data_type,
                format: None,
            } => self.cast(expression, kind, expr, data_type, depth),
            Expr::Extract { field, expr, .. } => {
                let unit = Typed::text(&literals::field_name(field));
                let arguments = match expr.as_ref() {
                    Expr::AtTimeZone { timestamp, time_zone } => {
                        vec![unit, self.resolve(timestamp, depth)?, self.resolve(time_zone, depth)?]
                    }
                    expr => vec![unit, self.resolve(expr, depth)?],
                };
                self.named_call(expression, "date_part", arguments)
            }
            Expr::Ceil { expr, .. } => self.named_call(expression, "ceil", vec![self.resolve(expr, depth)?]),
            Expr::Floor { expr, .. } => self.named_call(expression, "floor", vec![self.resolve(expr, depth)?]),
            Expr::Position { expr, r#in } => self.named_call(
                expression,
                "strpos",
                vec![self.resolve(r#in, depth)?, self.resolve(expr, depth)?],
            ),
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                let mut arguments = vec![self.resolve(expr, depth)?];
                arguments.push(
                    substring_from
                        .as_ref()
                        .map_or_else(|| Ok(Typed::int(1)), |from| self.resolve(from, depth))?,
                );
                if let Some(len) = substring_for {
                    arguments.push(self.resolve(len, depth)?);
                }
                self.named_call(expression, "substring", arguments)
            }
            Expr::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters,
            } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "trim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let mut arguments = vec![self.resolve(expr, depth)?];
                let characters = trim_what.as_deref().or_else(|| trim_characters.as_ref()?.first());
                if let Some(characters) = characters {
                    arguments.push(self.resolve(characters, depth)?);
                }
                self.named_call(expression, name, arguments)
            }
            Expr::Function(call) => self.call(expression, call, depth),
            Expr::Array(Array { elem, .. }) => self.list(expression, elem, depth),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut typed = self.resolve(root, depth)?;
                for access in access_chain {
                    let AccessExpr::Subscript(Subscript::Index { index }) = access else {
                        return Err(fault(
                            expression,
                            format!(
                                "{:?} is not accepted: an element of a list is tags[1], a value in JSON j -> 'name'",
                                shown(expression)
                            ),
                        ));
                    };
                    let index = self.resolve(index, depth)?;
                    typed = self.named_call(expression, "element_at", vec![typed, index])?;
                }
                Ok(typed)
            }
            Expr::AtTimeZone { .. } => Err(fault(
                expression,
                "\"at time zone\" stands only inside extract(… from …) and cast(… as date): functions of time take the zone as an argument, as date_trunc('day', t, 'Europe/Berlin')",
            )),
            Expr::Interval(_) => Err(fault(
                expression,
                "an interval stands only beside + and - of a timestamp or date",
            )),
            Expr::Exists { .. } | Expr::Subquery(_) => Err(fault(
                expression,
                "a subquery is no part of an expression: use the step lookup or a join, and a rule behind it",
            )),
            Expr::RLike { .. } | Expr::SimilarTo { .. } => Err(fault(expression, "use regexp_like(text, 'pattern')")),
            Expr::Tuple(_) => Err(fault(
                expression,
                "rows in parentheses are not accepted: compare column by column",
            )),
            Expr::AnyOp { .. } | Expr::AllOp { .. } => {
                Err(fault(expression, "of any and all there is only `value = any(list)`"))
            }
            other => Err(fault(
                other,
                format!("{:?} is no part of Weir's expressions", shown(other)),
            )),
        }
    }

    fn column(&self, expression: &Expr, name: &Ident) -> Resolved {
        let mut all = self.scope.iter().enumerate();
        let exact = all.clone().find(|(_, input)| input.name == name.value);
        if let Some((at, input)) = exact {
            return Ok(Typed::input(at, input));
        }
        // As in SQL: what stands in no quotes may be written in capitals.
        if name.quote_style.is_none() {
            let mut same = all
                .clone()
                .filter(|(_, input)| input.name.eq_ignore_ascii_case(&name.value));
            if let (Some((at, input)), None) = (same.next(), same.next()) {
                return Ok(Typed::input(at, input));
            }
        }
        if matches!(
            name.value.to_ascii_lowercase().as_str(),
            "current_timestamp" | "current_date" | "current_time" | "localtimestamp"
        ) {
            return Err(fault(
                expression,
                format!(
                    "{:?} is not known: an expression has no clock, use a column of time",
                    name.value
                ),
            ));
        }
        let names: Vec<String> = all
            .by_ref()
            .map(|(_, input)| format!("{} {}", input.name, input.of))
            .collect();
        let hint = suggest::hint(&name.value, self.scope.iter().map(|input| input.name.as_str()));
        let quotes = if name.quote_style == Some('"') {
            " (a text stands in single quotes)"
        } else {
            ""
        };
        Err(fault(
            expression,
            format!(
                "there is no column {:?}{hint}{quotes}; there are {}",
                name.value,
                listed(&names)
            ),
        ))
    }

    fn parameter(&self, expression: &Expr, name: &str) -> Resolved {
        let name = name.trim_start_matches('$');
        if let Some((at, parameter)) = self
            .parameters
            .iter()
            .enumerate()
            .find(|(_, parameter)| parameter.name == name)
        {
            return Ok(Typed {
                what: What::Parameter(at),
                of: parameter.of,
                text: String::new(),
            });
        }
        let names: Vec<String> = self
            .parameters
            .iter()
            .map(|parameter| format!("${} {}", parameter.name, parameter.of))
            .collect();
        let hint = suggest::hint(name, self.parameters.iter().map(|parameter| parameter.name.as_str()));
        Err(fault(
            expression,
            format!("there is no parameter \"${name}\"{hint}; there are {}", listed(&names)),
        ))
    }

    fn unary(&self, expression: &Expr, op: UnaryOperator, inner: &Expr, depth: usize) -> Resolved {
        match op {
            UnaryOperator::Not => Ok(Typed::call(
                F::Not,
                vec![self.resolve_as(inner, Type::Boolean, depth)?],
                Type::Boolean,
            )),
            UnaryOperator::Minus => {
                if let Expr::Value(value) = inner
                    && let Value::Number(text, _) = &value.value
                {
                    return literals::number(&format!("-{text}")).map_err(|message| fault(expression, message));
                }
                let typed = self.number(inner, depth)?;
                let of = typed.of;
                Ok(Typed::call(F::Negate, vec![typed], of))
            }
            UnaryOperator::Plus => self.number(inner, depth),
            other => Err(fault(
                expression,
                format!("the operator \"{other}\" is no part of Weir's expressions"),
            )),
        }
    }

    fn number(&self, expression: &Expr, depth: usize) -> Resolved {
        let typed = self.resolve(expression, depth)?;
        match typed.of.is_number() || typed.is_null() {
            true if typed.is_null() => Ok(Typed { of: Type::Int, ..typed }),
            true => Ok(typed),
            false => Err(fault(
                expression,
                format!(
                    "{:?} is {}, and a number is needed here",
                    shown(expression),
                    article(typed.of)
                ),
            )),
        }
    }

    fn is(&self, function: F, inner: &Expr, negated: bool, depth: usize) -> Resolved {
        let typed = self.resolve_as(inner, Type::Boolean, depth)?;
        Ok(not_if(negated, Typed::call(function, vec![typed], Type::Boolean)))
    }

    fn is_in(&self, expression: &Expr, of: &Expr, target: &InTarget, negated: bool, depth: usize) -> Resolved {
        let InTarget::List(list) = target else {
            return Err(fault(
                expression,
                "in takes a list of values, (1, 2, 3): a subquery is no part of an expression, use the step lookup; a list is asked with `= any(list)`",
            ));
        };
        if list.is_empty() {
            return Err(fault(expression, "the list behind in is empty"));
        }
        let mut all = vec![self.resolve(of, depth)?];
        for item in list {
            all.push(self.resolve(item, depth)?);
        }
        let shared = common(&all).ok_or_else(|| {
            fault(
                expression,
                format!(
                    "the values behind in have other types than {:?}: {}",
                    shown(of),
                    types_of(&all)
                ),
            )
        })?;
        let mut arguments = Vec::new();
        for (at, typed) in all.into_iter().enumerate() {
            arguments.push(self.wanted(
                at.checked_sub(1).and_then(|at| list.get(at)).unwrap_or(of),
                typed,
                shared,
            )?);
        }
        Ok(not_if(negated, Typed::call(F::In, arguments, Type::Boolean)))
    }

    fn like(
        &self,
        function: F,
        negated: bool,
        of: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        depth: usize,
    ) -> Resolved {
        let mut arguments = vec![
            self.resolve_as(of, Type::Text, depth)?,
            self.resolve_as(pattern, Type::Text, depth)?,
        ];
        if let Some(escape) = escape {
            let typed = self.resolve_as(escape, Type::Text, depth)?;
            if typed.literal().is_none_or(|text| text.chars().count() != 1) {
                return Err(fault(escape, "the escape has to be one character, as a literal"));
            }
            arguments.push(typed);
        }
        Ok(not_if(negated, Typed::call(function, arguments, Type::Boolean)))
    }

    /// `case`, and what is short for it.
    pub(super) fn case(&self, expression: &Expr, branches: Vec<(Typed, Typed)>, rest: Option<Typed>) -> Resolved {
        let (conditions, mut values): (Vec<Typed>, Vec<Typed>) = branches.into_iter().unzip();
        let count = values.len();
        values.extend(rest);
        let mut values = self.of_one_type(expression, values, "the branches")?.into_iter();
        let of = values.as_slice().first().map_or(Type::Text, |value| value.of);
        let mut arguments = Vec::new();
        for (condition, value) in conditions.into_iter().zip(values.by_ref().take(count)) {
            arguments.extend([condition, value]);
        }
        arguments.extend(values);
        Ok(Typed::call(F::Case, arguments, of))
    }

    /// Expressions that have to be of one type.
    pub(super) fn of_one_type(&self, expression: &Expr, all: Vec<Typed>, what: &str) -> Result<Vec<Typed>, Fault> {
        let types = types_of(&all);
        let failed = || {
            fault(
                expression,
                format!(
                    "{what} of {:?} have types that do not go together: {types}; cast them",
                    shown(expression)
                ),
            )
        };
        let of = common(&all).ok_or_else(failed)?;
        all.into_iter()
            .map(|typed| typed.coerced(of).map_err(|_| failed()))
            .collect()
    }

    fn list(&self, expression: &Expr, elements: &[Expr], depth: usize) -> Resolved {
        let all: Result<Vec<Typed>, Fault> = elements.iter().map(|element| self.resolve(element, depth)).collect();
        let all = self.of_one_type(expression, all?, "the elements")?;
        let of = all.first().map_or(Type::Text, |first| first.of);
        let element = of.as_element().ok_or_else(|| {
            fault(
                expression,
                format!("a list cannot hold {of}: a list holds values of a scalar type"),
            )
        })?;
        Ok(Typed::call(F::MakeList, all, Type::List(element)))
    }

    fn list_contains(&self, expression: &Expr, value: Typed, list: Typed) -> Resolved {
        let Type::List(element) = list.of else {
            return Err(fault(
                expression,
                format!("any takes a list, and {} is {}", shown(expression), article(list.of)),
            ));
        };
        let value = self.wanted(expression, value, element.as_type())?;
        Ok(Typed::call(F::AnyEqual, vec![value, list], Type::Boolean))
    }
}

pub(super) fn not_if(negated: bool, typed: Typed) -> Typed {
    if negated {
        Typed::call(F::Not, vec![typed], Type::Boolean)
    } else {
        typed
    }
}

/// Types for a message: `int, text`.
pub(super) fn types_of(all: &[Typed]) -> String {
    let names: Vec<String> = all
        .iter()
        .map(|typed| {
            if typed.is_null() {
                "null".to_owned()
            } else {
                typed.of.to_string()
            }
        })
        .collect();
    names.join(", ")
}

fn article(of: Type) -> String {
    match of {
        Type::Int => "an int".to_owned(),
        Type::Text | Type::Json | Type::Bytes => of.to_string(),
        of => format!("a {of}"),
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => {
            let shown: Vec<&str> = names.iter().take(40).map(String::as_str).collect();
            let more = if names.len() > shown.len() { ", …" } else { "" };
            shown.join(", ") + more
        }
    }
}
