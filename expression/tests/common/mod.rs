//! What the tests share: zones as the host has them, and one expression over one row.

#![allow(dead_code, reason = "each test uses some of it")]

use jiff::{Timestamp, tz::TimeZone};
use weir_expression::{
    Column, Evaluator, Program, Values, Zones,
    compile::{Error, compile_expression},
    forms,
    program::{Input, Output},
};

/// The zones of the `jiff` crate, as the host answers them.
pub(crate) struct Jiff;

impl Zones for Jiff {
    fn offset_at(&self, zone: &str, instant_ms: i64) -> Result<(i32, i64, i64), String> {
        let zone = TimeZone::get(zone).map_err(|error| error.to_string())?;
        let at = Timestamp::from_millisecond(instant_ms.clamp(-377_705_000_000_000, 253_402_207_000_000)).unwrap();
        let until = zone
            .following(at)
            .next()
            .map_or(i64::MAX, |next| next.timestamp().as_millisecond());
        // `preceding` looks before an instant: the one after this includes a transition at it.
        let after = at + jiff::SignedDuration::from_nanos(1);
        let from = zone
            .preceding(after)
            .next()
            .map_or(i64::MIN, |before| before.timestamp().as_millisecond());
        Ok((zone.to_offset(at).seconds(), from, until))
    }
}

pub(crate) fn knows(zone: &str) -> Result<(), String> {
    TimeZone::get(zone).map(|_| ()).map_err(|error| error.to_string())
}

pub(crate) fn program(text: &str, scope: &[Input]) -> Result<Program, String> {
    compile_expression(text, scope, &knows)
        .map_err(|errors| errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n"))
}

/// What an expression without columns comes to, as text; `null`, or why the row is rejected.
pub(crate) fn evaluated(text: &str) -> Result<String, String> {
    let program = program(text, &[])?;
    let bytes = program.to_bytes().map_err(|error| error.to_string())?;
    let program = Program::from_bytes(&bytes).map_err(|error| error.to_string())?;
    let of = match &program.outputs[0] {
        Output::Computed { of, .. } => *of,
        Output::Passed { .. } => unreachable!("there are no columns"),
    };
    let answer = Evaluator::new(program, &[])?.evaluate(&[], 1, &Jiff)?;
    if let Some((_, why)) = answer.rejected.first() {
        return Err(why.clone());
    }
    Ok(shown(&answer.computed[0], of, 0))
}

/// A value of a column as text.
pub(crate) fn shown(column: &Column, of: weir_expression::Type, row: usize) -> String {
    if column.validity.as_ref().is_some_and(|validity| validity[row] == 0) {
        return "null".to_owned();
    }
    let value = match &column.values {
        Values::Int(values) => forms::Value::Int(values[row]),
        Values::Double(values) => forms::Value::Double(values[row]),
        Values::Boolean(values) => forms::Value::Boolean(values[row] != 0),
        Values::Decimal(values) => forms::Value::Decimal(values[row]),
        Values::Text { offsets, data } => forms::Value::Text(&data[offsets[row] as usize..offsets[row + 1] as usize]),
    };
    let mut out = Vec::new();
    forms::push_text(&mut out, of, value);
    String::from_utf8(out).unwrap()
}
