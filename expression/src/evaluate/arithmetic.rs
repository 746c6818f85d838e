//! Arithmetic. What is beyond a type is found with a flag over the whole column; which rows it was is asked only then.

use super::{
    compare::mapped,
    datum::{BEYOND_DECIMAL, BEYOND_INT, BY_ZERO, Datum, Fault, Held, NOT_FINITE, errors_of, is_asked, validity_of},
};
use crate::{decimal, function::Function, types::Type};

/// `a + b` and its like. `types` are those of the arguments and of the result.
pub(super) fn binary<'a>(function: Function, data: &[Datum<'_>], types: [Type; 3], n: usize) -> Datum<'a> {
    let [a, b] = data else {
        return Datum::nulls(types[2].layout(), n);
    };
    match types[2] {
        Type::Double => doubles(function, a, b, data, n),
        Type::Decimal { precision, .. } => decimals(function, a, b, data, types, precision, n),
        _ => ints(function, a, b, data, n),
    }
}

/// Puts nulls and errors to values. `fails` says of a row whether there is no value, and why; it is asked where `is_bad`.
fn finished<'a>(
    values: Held<'a>,
    data: &[Datum<'_>],
    n: usize,
    is_bad: bool,
    fails: impl Fn(usize) -> Option<Fault>,
) -> Datum<'a> {
    let (validity, mut errors, mut fault) = (validity_of(data, n), errors_of(data, n), None);
    if is_bad {
        for row in 0..n {
            if !is_asked(validity.as_deref(), errors.as_deref(), row) {
                continue;
            }
            if let Some(why) = fails(row) {
                errors.get_or_insert_with(|| vec![0; n])[row] = 1;
                fault.get_or_insert(why);
            }
        }
    }
    Datum {
        validity: validity.map(Into::into),
        errors,
        fault,
        ..Datum::owned(values)
    }
}

/// A function of two, which gives a flag beside each value: the values, and all flags at once.
#[inline(always)]
fn flagged<T: Copy + Default>(
    (a, one_a): (&[T], bool),
    (b, one_b): (&[T], bool),
    n: usize,
    f: impl Fn(T, T) -> (T, i64),
) -> (Vec<T>, i64) {
    let mut values = vec![T::default(); n];
    let mut flags = 0;
    match (one_a, one_b, a, b) {
        (false, true, a, [b, ..]) => {
            for (value, a) in values.iter_mut().zip(a) {
                let (made, flag) = f(*a, *b);
                *value = made;
                flags |= flag;
            }
        }
        (true, false, [a, ..], b) => {
            for (value, b) in values.iter_mut().zip(b) {
                let (made, flag) = f(*a, *b);
                *value = made;
                flags |= flag;
            }
        }
        _ => {
            for ((value, a), b) in values.iter_mut().zip(a).zip(b) {
                let (made, flag) = f(*a, *b);
                *value = made;
                flags |= flag;
            }
        }
    }
    (values, flags)
}

fn ints<'a>(function: Function, a: &Datum<'_>, b: &Datum<'_>, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let (left, right) = ((a.ints(), a.constant), (b.ints(), b.constant));
    let half = 1i64 << 31;
    let (values, flag) = match function {
        // The flag is negative where a sum has the sign of neither.
        Function::Add => flagged(left, right, n, |a, b| {
            let sum = a.wrapping_add(b);
            (sum, (a ^ sum) & (b ^ sum))
        }),
        Function::Subtract => flagged(left, right, n, |a, b| {
            let difference = a.wrapping_sub(b);
            (difference, (a ^ b) & (a ^ difference))
        }),
        // Not zero where one of them is no int of 32 bits: the product may be beyond.
        Function::Multiply => {
            let (values, wide) = flagged(left, right, n, |a, b| {
                let wide = (a.wrapping_add(half) | b.wrapping_add(half)) as u64 >> 32;
                (a.wrapping_mul(b), wide as i64)
            });
            (values, if wide != 0 { -1 } else { 0 })
        }
        Function::Divide => flagged(left, right, n, |a, b| match b {
            0 => (0, -1),
            b => (a.wrapping_div(b), if b == -1 { -1 } else { 0 }),
        }),
        _ => flagged(left, right, n, |a, b| match b {
            0 => (0, -1),
            b => (a.wrapping_rem(b), 0),
        }),
    };
    finished(Held::Int(values.into()), data, n, flag < 0, |row| {
        let (a, b) = (a.int(row), b.int(row));
        let fits = match function {
            Function::Add => a.checked_add(b).is_some(),
            Function::Subtract => a.checked_sub(b).is_some(),
            Function::Multiply => a.checked_mul(b).is_some(),
            _ if b == 0 => return Some(BY_ZERO),
            Function::Divide => a.checked_div(b).is_some(),
            _ => true,
        };
        (!fits).then_some(BEYOND_INT)
    })
}

fn doubles<'a>(function: Function, a: &Datum<'_>, b: &Datum<'_>, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let (left, right) = ((a.doubles(), a.constant), (b.doubles(), b.constant));
    // There is one zero: `+ 0.0` makes it of the other.
    let values = match function {
        Function::Add => mapped(left, right, n, |a, b| a + b + 0.0),
        Function::Subtract => mapped(left, right, n, |a, b| a - b + 0.0),
        Function::Multiply => mapped(left, right, n, |a, b| a * b + 0.0),
        Function::Divide => mapped(left, right, n, |a, b| a / b + 0.0),
        _ => mapped(left, right, n, |a, b| libm::fmod(a, b) + 0.0),
    };
    let finite = crate::column::all_finite(&values);
    let is_finite: Vec<bool> = if finite {
        Vec::new()
    } else {
        values.iter().map(|value| value.is_finite()).collect()
    };
    finished(Held::Double(values.into()), data, n, !finite, |row| {
        match is_finite.get(row) {
            Some(false) if b.double(row) == 0.0 && matches!(function, Function::Divide | Function::Remainder) => {
                Some(BY_ZERO)
            }
            Some(false) => Some(NOT_FINITE),
            _ => None,
        }
    })
}

fn decimals<'a>(
    function: Function,
    a: &Datum<'_>,
    b: &Datum<'_>,
    data: &[Datum<'_>],
    types: [Type; 3],
    precision: u8,
    n: usize,
) -> Datum<'a> {
    let (left, right) = ((a.decimals(), a.constant), (b.decimals(), b.constant));
    let [sa, sb, scale] = types.map(Type::scale);
    let bound = decimal::ten(precision.into()).unwrap_or(i128::MAX);
    // The flag is not zero where there is no value.
    let one = |value: Option<i128>| match value.filter(|value| *value > -bound && *value < bound) {
        Some(value) => (value, 0),
        None => (0, -1),
    };
    let apply = |a: i128, b: i128| -> Option<i128> {
        match function {
            Function::Add => decimal::rescaled(a, sa, scale)?.checked_add(decimal::rescaled(b, sb, scale)?),
            Function::Subtract => decimal::rescaled(a, sa, scale)?.checked_sub(decimal::rescaled(b, sb, scale)?),
            Function::Multiply => match (u32::from(sa) + u32::from(sb)).checked_sub(scale.into()) {
                Some(drop) => decimal::multiplied(a, b, drop),
                None => decimal::rescaled(a.checked_mul(b)?, sa + sb, scale),
            },
            _ if b == 0 => None,
            Function::Divide => match (i32::from(scale) + i32::from(sb)).checked_sub(sa.into()) {
                Some(shift @ 0..) => decimal::quotient(a, b, shift.unsigned_abs()),
                shift => decimal::quotient(a, b, 0)
                    .and_then(|value| Some(decimal::divided(value, decimal::ten(shift?.unsigned_abs())?))),
            },
            _ => {
                let most = sa.max(sb);
                let (a, b) = (decimal::rescaled(a, sa, most), decimal::rescaled(b, sb, most));
                decimal::rescaled(a?.checked_rem(b?)?, most, scale)
            }
        }
    };
    let is_aligned = sa == scale && sb == scale;
    let is_narrow = u32::from(types[0].precision()) + u32::from(types[1].precision()) <= 38;
    let (values, flag) = match function {
        Function::Add if is_aligned => flagged(left, right, n, |a, b| one(a.checked_add(b))),
        Function::Subtract if is_aligned => flagged(left, right, n, |a, b| one(a.checked_sub(b))),
        Function::Multiply if is_narrow && sa + sb == scale => {
            flagged(left, right, n, |a, b| one(Some(a.wrapping_mul(b))))
        }
        _ => flagged(left, right, n, |a, b| one(apply(a, b))),
    };
    finished(Held::Decimal(values.into()), data, n, flag != 0, |row| {
        let (a, b) = (a.decimal(row), b.decimal(row));
        let is_division = matches!(function, Function::Divide | Function::Remainder);
        match apply(a, b).filter(|value| *value > -bound && *value < bound) {
            Some(_) => None,
            None if is_division && b == 0 => Some(BY_ZERO),
            None => Some(BEYOND_DECIMAL),
        }
    })
}

/// `-a`.
pub(super) fn negated<'a>(a: &Datum<'_>, of: Type, n: usize) -> Datum<'a> {
    let data = std::slice::from_ref(a);
    match of {
        Type::Double => {
            let values: Vec<f64> = a.doubles().iter().map(|value| 0.0 - value).collect();
            finished(Held::Double(values.into()), data, n, false, |_| None)
        }
        Type::Decimal { .. } => {
            let values: Vec<i128> = a.decimals().iter().map(|value| value.wrapping_neg()).collect();
            finished(Held::Decimal(values.into()), data, n, false, |_| None)
        }
        _ => {
            let values: Vec<i64> = a.ints().iter().map(|value| value.wrapping_neg()).collect();
            let is_bad = values.contains(&i64::MIN);
            finished(Held::Int(values.into()), data, n, is_bad, |row| {
                (a.int(row) == i64::MIN).then_some(BEYOND_INT)
            })
        }
    }
}
