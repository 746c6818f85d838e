//! What is made once for a program and its parameters: constants as columns, patterns, formats, sets.

use super::{compare::short_key, formats::Format, like::Like, time::Unit};
use crate::{
    column::{Column, Values},
    function::{Arg, FUNCTIONS, Function},
    program::{Kind, Program, Scalar},
    types::{Layout, Type},
};
use regex_lite::{Regex, RegexBuilder};

/// The most bytes that a compiled regular expression takes.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of a regular expression as it is written.
const PATTERN_BYTES_MAX: usize = 1024;

/// What is made of a node.
#[derive(Debug)]
pub(super) enum Prepared {
    Nothing,
    /// A value as a column of one row.
    Constant(Column),
    Regex(Regex),
    Like(Like),
    Format(Format),
    Unit(Unit),
    Set(Set),
}

/// Values among which one is looked for, sorted.
#[derive(Debug)]
pub(super) enum Set {
    Ints(Vec<i64>),
    Texts(Vec<Vec<u8>>),
    /// Texts of at most eight bytes, as numbers with their lengths.
    Short(Vec<(u64, usize)>),
}

/// How many ints are compared one after the other rather than looked for.
const INTS_COMPARED_MAX: usize = 8;

/// Prepares every node.
pub(super) fn all(program: &Program, parameters: &[Scalar]) -> Result<Vec<Prepared>, String> {
    let value = |at: u32| match &program.nodes.get(at as usize)?.kind {
        Kind::Constant(value) => Some(value),
        Kind::Parameter(at) => parameters.get(*at as usize),
        _ => None,
    };
    let mut prepared = Vec::with_capacity(program.nodes.len());
    for (at, node) in program.nodes.iter().enumerate() {
        prepared.push(match &node.kind {
            Kind::Input(_) => Prepared::Nothing,
            Kind::Constant(_) | Kind::Parameter(_) => {
                Prepared::Constant(column_of(value(at as u32).unwrap_or(&Scalar::Null), node.of))
            }
            Kind::Call(function, arguments) => {
                let types: Vec<Type> = arguments
                    .iter()
                    .filter_map(|at| Some(program.nodes.get(*at as usize)?.of))
                    .collect();
                call(*function, arguments, &types, value).map_err(|error| {
                    match arguments.iter().find_map(|at| parameter_of(program, *at)) {
                        Some(name) => format!("parameter {name:?}: {error}"),
                        None => error,
                    }
                })?
            }
        });
    }
    Ok(prepared)
}

fn parameter_of(program: &Program, at: u32) -> Option<&str> {
    match program.nodes.get(at as usize)?.kind {
        Kind::Parameter(at) => Some(&program.parameters.get(at as usize)?.name),
        _ => None,
    }
}

fn call<'v>(
    function: Function,
    arguments: &[u32],
    types: &[Type],
    value: impl Fn(u32) -> Option<&'v Scalar>,
) -> Result<Prepared, String> {
    let text = |at: usize| match value(*arguments.get(at)?)? {
        Scalar::Text(text) => Some(text.as_slice()),
        _ => None,
    };
    if let Function::Like | Function::ILike = function {
        let escape = text(2);
        // A pattern that is broken is an error of the rows that are compared with it.
        let like = text(1)
            .filter(|_| arguments.len() < 3 || escape.is_some())
            .and_then(|pattern| Like::new(pattern, escape, function == Function::ILike));
        return Ok(like.map_or(Prepared::Nothing, Prepared::Like));
    }
    if function == Function::In {
        return Ok(
            set(arguments.get(1..).unwrap_or_default(), types.first().copied(), value)
                .map_or(Prepared::Nothing, Prepared::Set),
        );
    }
    let Some(row) = FUNCTIONS
        .iter()
        .find(|row| row.function == function && row.is_exactly(types))
    else {
        return Ok(Prepared::Nothing);
    };
    for at in 0..arguments.len() {
        let (Some(argument), Some(text)) = (row.argument(at).filter(|argument| argument.is_prepared()), text(at))
        else {
            continue;
        };
        return Ok(match argument {
            Arg::Pattern => Prepared::Regex(regex(text)?),
            Arg::Format => {
                let has_zone = function != Function::ToTimestamp || arguments.len() > 2;
                Prepared::Format(format(text, function, has_zone)?)
            }
            _ => Prepared::Unit(Unit::named(
                &String::from_utf8_lossy(text),
                function,
                types.contains(&Type::Date),
            )?),
        });
    }
    Ok(Prepared::Nothing)
}

fn regex(pattern: &[u8]) -> Result<Regex, String> {
    let pattern = String::from_utf8_lossy(pattern);
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!(
            "the regular expression has {} bytes, and at most {PATTERN_BYTES_MAX} are accepted",
            pattern.len()
        ));
    }
    let regex = RegexBuilder::new(&pattern).size_limit(REGEX_BYTES_MAX).build();
    regex.map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
}

fn format(text: &[u8], function: Function, has_zone: bool) -> Result<Format, String> {
    let format = Format::new(text)?;
    let reads = matches!(function, Function::ToTimestamp | Function::ToDate);
    let shown = String::from_utf8_lossy(text);
    if reads && !format.has_date() {
        return Err(format!(
            "the format {shown:?} does not say which day it is: it needs %Y, %m and %d, or %F"
        ));
    }
    if !has_zone && !format.has_offset() {
        return Err(format!(
            "the format {shown:?} has no offset: add %z to it, or a time zone as third argument"
        ));
    }
    Ok(format)
}

/// Whether a regular expression, a format or a unit is one, as a literal of a call of these types.
///
/// # Errors
///
/// A sentence: what is wrong with it, and what is accepted.
pub fn check_format(function: Function, types: &[Type], texts: &[Option<&str>]) -> Result<(), String> {
    let scalars: Vec<Option<Scalar>> = texts
        .iter()
        .map(|text| text.map(|text| Scalar::Text(text.as_bytes().to_vec())))
        .collect();
    let arguments: Vec<u32> = (0..types.len() as u32).collect();
    call(function, &arguments, types, |at| scalars.get(at as usize)?.as_ref()).map(|_| ())
}

fn set<'v>(items: &[u32], of: Option<Type>, value: impl Fn(u32) -> Option<&'v Scalar>) -> Option<Set> {
    let values: Option<Vec<&Scalar>> = items.iter().map(|at| value(*at)).collect();
    let values = values?;
    match of?.layout() {
        Layout::Int if values.len() > INTS_COMPARED_MAX => {
            let ints: Option<Vec<i64>> = values
                .iter()
                .map(|value| {
                    if let Scalar::Int(value) = value {
                        Some(*value)
                    } else {
                        None
                    }
                })
                .collect();
            let mut ints = ints?;
            ints.sort_unstable();
            Some(Set::Ints(ints))
        }
        Layout::Text => {
            let texts: Option<Vec<Vec<u8>>> = values
                .iter()
                .map(|value| {
                    if let Scalar::Text(value) = value {
                        Some(value.clone())
                    } else {
                        None
                    }
                })
                .collect();
            let mut texts = texts?;
            let short: Option<Vec<(u64, usize)>> = texts.iter().map(|text| short_key(text)).collect();
            if let Some(short) = short.filter(|short| short.len() <= INTS_COMPARED_MAX) {
                return Some(Set::Short(short));
            }
            texts.sort_unstable();
            Some(Set::Texts(texts))
        }
        _ => None,
    }
}

/// A value as a column of one row.
fn column_of(value: &Scalar, of: Type) -> Column {
    let values = match (value, of.layout()) {
        (Scalar::Int(value), _) => Values::Int(vec![*value]),
        (Scalar::Double(value), _) => Values::Double(vec![*value]),
        (Scalar::Boolean(value), _) => Values::Boolean(vec![(*value).into()]),
        (Scalar::Decimal(value), _) => Values::Decimal(vec![*value]),
        (Scalar::Text(value), _) => Values::Text {
            offsets: vec![0, value.len() as u32],
            data: value.clone(),
        },
        (Scalar::Null, Layout::Int) => Values::Int(vec![0]),
        (Scalar::Null, Layout::Double) => Values::Double(vec![0.0]),
        (Scalar::Null, Layout::Boolean) => Values::Boolean(vec![0]),
        (Scalar::Null, Layout::Decimal) => Values::Decimal(vec![0]),
        (Scalar::Null, Layout::Text) => Values::Text {
            offsets: vec![0, 0],
            data: Vec::new(),
        },
    };
    Column {
        validity: (*value == Scalar::Null).then(|| vec![0]),
        values,
    }
}
