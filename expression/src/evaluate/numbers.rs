//! Functions of numbers.

use super::{
    compare,
    datum::{BEYOND_DECIMAL, BEYOND_INT, Datum, Fault, NOT_FINITE, Rows},
};
use crate::{
    decimal,
    function::Function as F,
    types::{Layout, Type},
};
use std::cmp::Ordering;

const NO_NUMBER: Fault = "there is no such number";

/// A function of one number that keeps its type, or gives its sign.
pub(super) fn one<'a>(function: F, data: &[Datum<'_>], from: Type, to: Type, n: usize) -> Datum<'a> {
    let (Some(a), rows) = (data.first(), Rows::strict(data, n)) else {
        return Datum::nulls(to.layout(), n);
    };
    let places = |row: usize| data.get(1).map_or(0, |places| places.int(row));
    match (from, function) {
        (Type::Int, F::Abs) => rows.ints(&mut |row| a.int(row).checked_abs().map(Some).ok_or(BEYOND_INT)),
        (Type::Int, F::Sign) => rows.ints(&mut |row| Ok(Some(a.int(row).signum()))),
        (Type::Int, F::Round | F::Truncate) => rows.ints(&mut |row| {
            let value = rounded_places(a.int(row).into(), 0, places(row), function == F::Round);
            value
                .and_then(|value| i64::try_from(value).ok())
                .map(Some)
                .ok_or(BEYOND_INT)
        }),
        (Type::Int, _) => rows.ints(&mut |row| Ok(Some(a.int(row)))),
        (Type::Double, F::Abs) => rows.doubles(&mut |row| Ok(Some(a.double(row).abs()))),
        (Type::Double, F::Sign) => rows.ints(&mut |row| {
            let value = a.double(row);
            Ok(Some(i64::from(value > 0.0) - i64::from(value < 0.0)))
        }),
        (Type::Double, F::Ceil) => rows.doubles(&mut |row| Ok(Some(libm::ceil(a.double(row))))),
        (Type::Double, F::Floor) => rows.doubles(&mut |row| Ok(Some(libm::floor(a.double(row))))),
        (Type::Double, _) => {
            rows.doubles(&mut |row| double_places(a.double(row), places(row), function == F::Round).map(Some))
        }
        (_, F::Sign) => rows.ints(&mut |row| Ok(Some(a.decimal(row).signum() as i64))),
        (_, F::Abs) => rows.decimals(&mut |row| Ok(Some(a.decimal(row).wrapping_abs()))),
        (_, F::Ceil | F::Floor) => rows.decimals(&mut |row| {
            let one = decimal::ten(from.scale().into()).unwrap_or(1);
            let floor = a.decimal(row).div_euclid(one);
            let is_whole = a.decimal(row).rem_euclid(one) == 0;
            fitting(floor + i128::from(function == F::Ceil && !is_whole), 0, to)
        }),
        _ => rows.decimals(&mut |row| {
            let value = rounded_places(a.decimal(row), from.scale(), places(row), function == F::Round)
                .ok_or(BEYOND_DECIMAL)?;
            fitting(value, from.scale(), to)
        }),
    }
}

fn fitting(value: i128, scale: u8, to: Type) -> Result<Option<i128>, Fault> {
    let value = decimal::rescaled(value, scale, to.scale()).filter(|value| decimal::holds(*value, to.precision()));
    value.map(Some).ok_or(BEYOND_DECIMAL)
}

/// A decimal of the same places, of which those beyond `places` are zeros.
fn rounded_places(value: i128, scale: u8, places: i64, rounds: bool) -> Option<i128> {
    let drop = i64::from(scale).saturating_sub(places);
    if drop <= 0 {
        return Some(value);
    }
    let Some(ten) = u32::try_from(drop).ok().and_then(decimal::ten) else {
        return Some(0);
    };
    let kept = if rounds {
        decimal::divided(value, ten)
    } else {
        value / ten
    };
    kept.checked_mul(ten)
}

/// A double of so many places behind its point, by the shortest digits that stand for it: 2.675 becomes 2.68, though the double is a
/// little less.
fn double_places(value: f64, places: i64, rounds: bool) -> Result<f64, Fault> {
    if places == 0 {
        return Ok(if rounds { libm::round(value) } else { libm::trunc(value) });
    }
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let kept = exponent.saturating_add(1).saturating_add(places);
    if kept >= digits.len() as i64 {
        return Ok(value);
    }
    if kept < 0 {
        return Ok(0.0);
    }
    let kept = kept as usize;
    let is_up = rounds && digits.get(kept).is_some_and(|digit| *digit >= b'5');
    digits.truncate(kept);
    digits.insert(0, b'0');
    if is_up {
        for digit in digits.iter_mut().rev() {
            *digit += 1;
            if *digit <= b'9' {
                break;
            }
            *digit = b'0';
        }
    }
    let digits = String::from_utf8_lossy(&digits).into_owned();
    let made: f64 = format!("{digits}e{}", -places).parse().map_err(|_| NO_NUMBER)?;
    Ok(if value < 0.0 { -made } else { made })
}

/// Functions of doubles. They are computed by the same code on every machine.
pub(super) fn transcendental<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Double, n);
    };
    let second = |row: usize| data.get(1).map_or(0.0, |b| b.double(row));
    Rows::strict(data, n).doubles(&mut |row| {
        let x = a.double(row);
        let value = match function {
            F::Power => libm::pow(x, second(row)),
            F::Sqrt if x < 0.0 => return Err("there is no square root of a negative number"),
            F::Sqrt => libm::sqrt(x),
            F::Exp => libm::exp(x),
            F::Ln | F::Log10 | F::Log2 if x <= 0.0 => return Err("there is a logarithm of positive numbers only"),
            F::Ln => libm::log(x),
            F::Log10 => libm::log10(x),
            F::Log2 => libm::log2(x),
            F::Sin => libm::sin(x),
            F::Cos => libm::cos(x),
            F::Tan => libm::tan(x),
            F::Atan => libm::atan(x),
            F::Atan2 => libm::atan2(x, second(row)),
            _ => return Err(NOT_FINITE),
        };
        Ok(Some(value))
    })
}

/// The smallest or the greatest of values of one type that are not null.
pub(super) fn extreme<'a>(function: F, data: &[Datum<'_>], of: Type, n: usize) -> Datum<'a> {
    let wanted = if function == F::Least {
        Ordering::Less
    } else {
        Ordering::Greater
    };
    let order = |a: &Datum<'_>, b: &Datum<'_>, row: usize| match of.layout() {
        Layout::Int => a.int(row).cmp(&b.int(row)),
        Layout::Double => a.double(row).total_cmp(&b.double(row)),
        Layout::Boolean => a.boolean(row).cmp(&b.boolean(row)),
        Layout::Decimal => compare::order(a.decimal(row), of.scale(), b.decimal(row), of.scale()),
        Layout::Text => a.text(row).cmp(b.text(row)),
    };
    let best = |row: usize| {
        let mut best: Option<&Datum<'_>> = None;
        for datum in data.iter().filter(|datum| !datum.is_null(row)) {
            if best.is_none_or(|best| order(datum, best, row) == wanted) {
                best = Some(datum);
            }
        }
        best
    };
    let rows = Rows::lenient(data, n);
    match of.layout() {
        Layout::Int => rows.ints(&mut |row| Ok(best(row).map(|best| best.int(row)))),
        Layout::Double => rows.doubles(&mut |row| Ok(best(row).map(|best| best.double(row)))),
        Layout::Boolean => rows.booleans(&mut |row| Ok(best(row).map(|best| best.boolean(row)))),
        Layout::Decimal => rows.decimals(&mut |row| Ok(best(row).map(|best| best.decimal(row)))),
        Layout::Text => rows.texts(&mut |row, out| {
            let best = best(row);
            out.extend_from_slice(best.map_or(&[], |best| best.text(row)));
            Ok(best.is_some())
        }),
    }
}
