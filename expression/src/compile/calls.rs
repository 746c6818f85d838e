//! Functions that are called by name.

use super::{
    resolve::{Fault, Resolved, Resolver, fault, shown, types_of},
    suggest,
    typed::{Typed, What, common},
};
use crate::{
    evaluate::check_format,
    function::{Arg, FUNCTIONS, Function as F, Gives, Signature},
    types::Type,
};
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

/// Other names of functions.
const ALIASES: [(&str, &str); 16] = [
    ("char_length", "length"),
    ("character_length", "length"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("substr", "substring"),
    ("btrim", "trim"),
    ("instr", "strpos"),
    ("ceiling", "ceil"),
    ("pow", "power"),
    ("truncate", "trunc"),
    ("array_length", "cardinality"),
    ("array_contains", "list_contains"),
    ("array_to_string", "array_join"),
    ("regexp_matches", "regexp_like"),
    ("log", "log10"),
    ("format_timestamp", "strftime"),
];

/// What is a function elsewhere, and what it is here.
const ELSEWHERE: [(&[&str], &str); 6] = [
    (
        &[
            "sum",
            "count",
            "avg",
            "min",
            "max",
            "array_agg",
            "string_agg",
            "listagg",
            "stddev",
            "variance",
            "first",
            "last",
            "median",
            "count_distinct",
        ],
        "it is an aggregate, over many rows: use the step aggregate or window (of values in one row, least and greatest)",
    ),
    (
        &[
            "row_number",
            "rank",
            "dense_rank",
            "ntile",
            "lead",
            "lag",
            "first_value",
            "last_value",
        ],
        "it looks at other rows: use the step top, lag, last_value or an over window",
    ),
    (&["tumble", "hop", "session", "cumulate"], "use the step window"),
    (
        &["unnest", "json_each", "generate_series", "explode"],
        "it makes many rows of one: use the step unnest",
    ),
    (
        &[
            "now",
            "current_timestamp",
            "current_date",
            "random",
            "rand",
            "uuid",
            "gen_random_uuid",
        ],
        "an expression has no clock and no chance, so that a replay gives the same rows: use a column",
    ),
    (&["ifnull", "nvl", "isnull"], "use coalesce"),
];

impl Resolver<'_> {
    /// A call as it is written.
    pub(super) fn call(&self, expression: &Expr, call: &Function, depth: usize) -> Resolved {
        let name = call.name.to_string().to_lowercase();
        if call.over.is_some() {
            return Err(fault(
                expression,
                format!("{name:?} has an over: use the step top, lag or an over window"),
            ));
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str())) {
            return Err(fault(
                expression,
                format!("{name:?} is no function of an expression: {instead}"),
            ));
        }
        let mut arguments = Vec::new();
        match &call.args {
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
                for argument in &list.args {
                    let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                        return Err(fault(
                            expression,
                            format!(
                                "{:?} has an argument that is not accepted: name values one after the other",
                                shown(expression)
                            ),
                        ));
                    };
                    arguments.push(self.resolve(argument, depth)?);
                }
            }
            FunctionArguments::None => (),
            _ => {
                return Err(fault(
                    expression,
                    format!(
                        "{:?} has arguments that are not accepted: name values one after the other",
                        shown(expression)
                    ),
                ));
            }
        }
        if call.filter.is_some()
            || !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || !matches!(call.parameters, FunctionArguments::None)
        {
            return Err(fault(
                expression,
                format!("{name:?} has more than arguments: write {name}(…)"),
            ));
        }
        self.named_call(expression, &name, arguments)
    }

    /// A call of a function of this name.
    pub(super) fn named_call(&self, expression: &Expr, name: &str, arguments: Vec<Typed>) -> Resolved {
        let name = ALIASES
            .iter()
            .find(|(alias, _)| *alias == name)
            .map_or(name, |(_, name)| *name);
        match (name, arguments.len()) {
            ("coalesce", 1..) | ("nullif", 2) if arguments.iter().all(Typed::is_null) => return Ok(Typed::null()),
            ("coalesce", 1..) => {
                let all = self.of_one_type(expression, arguments, "the arguments")?;
                let of = all.first().map_or(Type::Text, |first| first.of);
                return Ok(Typed::call(F::Coalesce, all, of));
            }
            ("nullif", 2) => {
                let all = self.of_one_type(expression, arguments, "the arguments")?;
                let of = all.first().map_or(Type::Text, |first| first.of);
                return Ok(Typed::call(F::NullIf, all, of));
            }
            ("if" | "iif", 2 | 3) => {
                let mut arguments = arguments.into_iter();
                let (Some(condition), Some(value)) = (arguments.next(), arguments.next()) else {
                    return Err(fault(expression, "if takes a condition and two values"));
                };
                let condition = self.wanted(expression, condition, Type::Boolean)?;
                return self.case(expression, vec![(condition, value)], arguments.next());
            }
            ("reject", 2) => {
                let mut wanted = [Type::Boolean, Type::Text].into_iter();
                let all: Result<Vec<Typed>, Fault> = arguments
                    .into_iter()
                    .map(|argument| self.wanted(expression, argument, wanted.next().unwrap_or(Type::Text)))
                    .collect();
                return Ok(Typed::call(F::Reject, all?, Type::Boolean));
            }
            ("mod", 2) => return self.modulo(expression, arguments),
            _ => (),
        }
        let rows: Vec<&Signature> = FUNCTIONS.iter().filter(|row| row.name == name).collect();
        if rows.is_empty() {
            return Err(fault(expression, unknown(name)));
        }
        let types: Vec<Type> = arguments.iter().map(|argument| argument.of).collect();
        let has_null = arguments.iter().any(Typed::is_null);
        let exact = rows.iter().find(|row| !has_null && row.is_exactly(&types));
        let fitted = match exact {
            Some(row) => Some((**row, arguments.clone())),
            None => rows.iter().find_map(|row| Some((**row, fitted(row, &arguments)?))),
        };
        let Some((row, arguments)) = fitted else {
            let signatures: Vec<String> = rows.iter().map(ToString::to_string).collect();
            return Err(fault(
                expression,
                format!(
                    "{name}({}) is no call that there is: there are {}",
                    types_of(&arguments),
                    signatures.join(", ")
                ),
            ));
        };
        self.checked(expression, row, arguments)
    }

    /// A call whose arguments fit: what has to be a literal is one, and is right.
    fn checked(&self, expression: &Expr, row: Signature, arguments: Vec<Typed>) -> Resolved {
        for (at, argument) in arguments.iter().enumerate() {
            let is_known = matches!(argument.what, What::Constant(_) | What::Parameter(_));
            match row.argument(at) {
                Some(Arg::Unit) if argument.literal().is_none() => {
                    return Err(fault(
                        expression,
                        format!(
                            "{} takes a unit in quotes, such as 'day', as argument {}",
                            row.name,
                            at + 1
                        ),
                    ));
                }
                Some(Arg::Pattern | Arg::Format) if !is_known => {
                    return Err(fault(
                        expression,
                        format!(
                            "argument {} of {} has to be a literal or a parameter: it is read once, not row by row",
                            at + 1,
                            row.name
                        ),
                    ));
                }
                Some(Arg::Zone) => {
                    if let Some(zone) = argument.literal() {
                        (self.knows_zone)(zone)
                            .map_err(|error| fault(expression, format!("{zone:?} is no time zone: {error}")))?;
                    }
                }
                _ => (),
            }
        }
        let types: Vec<Type> = arguments.iter().map(|argument| argument.of).collect();
        let literals: Vec<Option<&str>> = arguments.iter().map(Typed::literal).collect();
        check_format(row.function, &types, &literals).map_err(|message| fault(expression, message))?;
        let first = types.first().copied().unwrap_or(Type::Text);
        let of = match row.gives {
            Gives::Is(of) => of,
            Gives::First => rounded(row.function, first, arguments.get(1)),
            Gives::Element => match first {
                Type::List(of) => of.as_type(),
                of => of,
            },
        };
        Ok(Typed {
            text: shown(expression),
            ..Typed::call(row.function, arguments, of)
        })
    }

    fn modulo(&self, expression: &Expr, arguments: Vec<Typed>) -> Resolved {
        let all = self.of_one_type(expression, arguments, "the arguments")?;
        match all.first().map(|first| first.of).filter(|of| of.is_number()) {
            Some(of) => Ok(Typed::call(F::Remainder, all, of)),
            None => Err(fault(expression, "mod takes two numbers")),
        }
    }
}

/// The arguments as a row takes them; nothing where they do not become such.
fn fitted(row: &Signature, arguments: &[Typed]) -> Option<Vec<Typed>> {
    if !row.takes(arguments.len()) {
        return None;
    }
    let shared = match row.arguments {
        [Arg::Any, Arg::Same, ..] => Some(common(arguments).filter(|of| of.has_order())?),
        _ => None,
    };
    let first = arguments.first().map(|first| first.of);
    let all = arguments.iter().cloned().enumerate();
    all.map(|(at, argument)| {
        let to = match row.argument(at)? {
            _ if shared.is_some() => shared?,
            Arg::Int => Type::Int,
            Arg::Double => Type::Double,
            Arg::Boolean => Type::Boolean,
            Arg::Text | Arg::Unit | Arg::Zone | Arg::Pattern | Arg::Format => Type::Text,
            Arg::Decimal => argument.as_decimal(),
            Arg::Timestamp => Type::Timestamp,
            Arg::Date => Type::Date,
            Arg::Bytes => Type::Bytes,
            Arg::Json => Type::Json,
            Arg::Element => match first? {
                Type::List(of) => of.as_type(),
                _ => return None,
            },
            Arg::Any | Arg::Same | Arg::List => argument.of,
        };
        let is_right = |typed: &Typed| {
            row.argument(at)
                .is_some_and(|wanted| wanted.is(typed.of, shared.or(first).unwrap_or(to)))
        };
        argument.coerced(to).ok().filter(is_right)
    })
    .collect()
}

/// The type of a decimal that is rounded: as many places as a literal says.
fn rounded(function: F, of: Type, places: Option<&Typed>) -> Type {
    let Type::Decimal { precision, scale } = of else {
        return of;
    };
    let (places, is_known) = match (function, places) {
        (F::Ceil | F::Floor, _) | (F::Round | F::Truncate, None) => (0, true),
        (F::Round | F::Truncate, Some(places)) => (
            places.literal_int().unwrap_or(scale.into()),
            places.literal_int().is_some(),
        ),
        _ => return of,
    };
    let kept = if is_known {
        places.clamp(0, scale.into()) as u8
    } else {
        scale
    };
    // 9.9 becomes 10.
    let more = u8::from(function != F::Truncate && (kept < scale || !is_known || places < 0));
    let precision = (precision - scale + kept + more).clamp(kept.max(1), Type::PRECISION_MAX);
    Type::Decimal { precision, scale: kept }
}

fn unknown(name: &str) -> String {
    let known = FUNCTIONS
        .iter()
        .map(|row| row.name)
        .chain(["coalesce", "nullif", "if", "reject", "mod"]);
    match suggest::nearest(name, known) {
        Some(near) => {
            let rows: Vec<String> = FUNCTIONS
                .iter()
                .filter(|row| row.name == near)
                .map(ToString::to_string)
                .collect();
            let signatures = if rows.is_empty() {
                near.to_owned()
            } else {
                rows.join(", ")
            };
            format!("there is no function {name:?}: did you mean {signatures}?")
        }
        None => format!("there is no function {name:?}: docs/reference/expressions.md lists those that there are"),
    }
}
