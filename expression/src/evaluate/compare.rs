//! Comparison: `=`, `<`, `is distinct from`, `in`. Texts compare by their bytes, false comes before true.

use super::{
    datum::{Datum, Held, errors_of, validity_of},
    logic::folded,
    prepare::Set,
};
use crate::{decimal, function::Function, types::Layout};
use std::cmp::Ordering;

#[derive(Clone, Copy)]
enum Test {
    Equal,
    Less,
    LessEqual,
}

/// Compares two; `scales` are those of decimals.
pub(super) fn compare<'a>(function: Function, a: &Datum<'_>, b: &Datum<'_>, scales: [u8; 2], n: usize) -> Datum<'a> {
    use Function as F;
    let swapped = [scales[1], scales[0]];
    let mut values = match function {
        F::Less => test(Test::Less, a, b, scales, n),
        F::LessEqual => test(Test::LessEqual, a, b, scales, n),
        F::Greater => test(Test::Less, b, a, swapped, n),
        F::GreaterEqual => test(Test::LessEqual, b, a, swapped, n),
        _ => test(Test::Equal, a, b, scales, n),
    };
    if matches!(function, F::NotEqual | F::Distinct) {
        values.iter_mut().for_each(|value| *value ^= 1);
    }
    let both = [a.clone_head(), b.clone_head()];
    let mut validity = validity_of(&both, n);
    if matches!(function, F::Distinct | F::NotDistinct) && validity.take().is_some() {
        let differs = u8::from(function == F::Distinct);
        for (row, value) in values.iter_mut().enumerate() {
            match (a.is_null(row), b.is_null(row)) {
                (true, true) => *value = 1 - differs,
                (false, false) => (),
                _ => *value = differs,
            }
        }
    }
    Datum {
        validity: validity.map(Into::into),
        errors: errors_of(&both, n),
        ..Datum::owned(Held::Boolean(values.into()))
    }
}

/// Whether the first is one of the others.
pub(super) fn is_in<'a>(data: &[Datum<'_>], scales: &[u8], set: Option<&Set>, n: usize) -> Datum<'a> {
    let Some((first, others)) = data.split_first() else {
        return Datum::nulls(Layout::Boolean, n);
    };
    if let Some(set) = set {
        let values: Vec<u8> = match set {
            Set::Ints(set) => (0..n)
                .map(|row| u8::from(set.binary_search(&first.int(row)).is_ok()))
                .collect(),
            Set::Short(keys) => short_texts(first, keys, n),
            Set::Texts(set) => (0..n).map(|row| u8::from(is_among(set, first.text(row)))).collect(),
        };
        let validity = validity_of(std::slice::from_ref(first), n).map(Into::into);
        return Datum {
            validity,
            errors: errors_of(std::slice::from_ref(first), n),
            ..Datum::owned(Held::Boolean(values.into()))
        };
    }
    let scale = |at: usize| scales.get(at).copied().unwrap_or(0);
    let mut all: Option<Datum<'a>> = None;
    for (at, other) in others.iter().enumerate() {
        let equal = compare(Function::Equal, first, other, [scale(0), scale(at + 1)], n);
        // All of them are looked at: an error in one is never left out because another is equal.
        let errors = equal.errors.clone();
        let mut folded = match all.take() {
            None => equal,
            Some(before) => {
                let errors = [before.errors.as_ref(), errors.as_ref()];
                let errors = match errors {
                    [Some(a), Some(b)] => Some(a.iter().zip(b).map(|(a, b)| a | b).collect()),
                    [a, b] => a.or(b).cloned(),
                };
                Datum {
                    errors,
                    ..folded(before, equal, n, true)
                }
            }
        };
        folded.constant = false;
        all = Some(folded);
    }
    all.unwrap_or_else(|| Datum::nulls(Layout::Boolean, n))
}

/// A text of at most eight bytes as a number and its length.
pub(super) fn short_key(text: &[u8]) -> Option<(u64, usize)> {
    let mut bytes = [0; 8];
    bytes.get_mut(..text.len())?.copy_from_slice(text);
    Some((u64::from_le_bytes(bytes), text.len()))
}

/// Whether each text is one of a few short ones, which are compared as numbers.
fn short_texts(of: &Datum<'_>, keys: &[(u64, usize)], n: usize) -> Vec<u8> {
    let Held::Text(offsets, data) = &of.values else {
        return vec![0; n];
    };
    let is_one = |pair: &[u32]| {
        let (start, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
        if len > 8 {
            return 0;
        }
        let key = match data.get(start..).and_then(|left| left.first_chunk::<8>()) {
            Some(bytes) if len == 8 => u64::from_le_bytes(*bytes),
            Some(bytes) => u64::from_le_bytes(*bytes) & ((1 << (8 * len)) - 1),
            None => short_key(&data[start..start + len]).map_or(0, |(key, _)| key),
        };
        keys.iter()
            .fold(0, |any, other| any | u8::from(key == other.0 && len == other.1))
    };
    let mut values: Vec<u8> = offsets.windows(2).map(is_one).collect();
    values.resize(if of.constant { 1 } else { n }, 0);
    values
}

fn is_among(set: &[Vec<u8>], text: &[u8]) -> bool {
    match set.len() {
        0..=8 => set.iter().any(|of| of.as_slice() == text),
        _ => set.binary_search_by(|of| of.as_slice().cmp(text)).is_ok(),
    }
}

fn test(test: Test, a: &Datum<'_>, b: &Datum<'_>, scales: [u8; 2], n: usize) -> Vec<u8> {
    match a.layout() {
        Layout::Int => pairs(test, (a.ints(), a.constant), (b.ints(), b.constant), n),
        Layout::Double => pairs(test, (a.doubles(), a.constant), (b.doubles(), b.constant), n),
        Layout::Boolean => pairs(test, (a.booleans(), a.constant), (b.booleans(), b.constant), n),
        Layout::Decimal => decimals(test, a, b, scales, n),
        Layout::Text => texts(test, a, b, n),
    }
}

/// Compares two columns, or one with a value that stands for all rows.
fn pairs<T: Copy + PartialOrd>(test: Test, (a, one_a): (&[T], bool), (b, one_b): (&[T], bool), n: usize) -> Vec<u8> {
    match test {
        Test::Equal => mapped((a, one_a), (b, one_b), n, |a, b| u8::from(a == b)),
        Test::Less => mapped((a, one_a), (b, one_b), n, |a, b| u8::from(a < b)),
        Test::LessEqual => mapped((a, one_a), (b, one_b), n, |a, b| u8::from(a <= b)),
    }
}

/// A function of two columns, or of one and a value that stands for all rows.
#[inline(always)]
pub(super) fn mapped<A: Copy, B: Copy, R>(
    (a, one_a): (&[A], bool),
    (b, one_b): (&[B], bool),
    n: usize,
    mut f: impl FnMut(A, B) -> R,
) -> Vec<R> {
    match (one_a, one_b, a, b) {
        (false, true, a, [b, ..]) => a.iter().map(|a| f(*a, *b)).collect(),
        (true, false, [a, ..], b) => b.iter().map(|b| f(*a, *b)).collect(),
        (true, true, [a, ..], [b, ..]) => (0..n).map(|_| f(*a, *b)).collect(),
        _ => a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect(),
    }
}

fn decimals(test: Test, a: &Datum<'_>, b: &Datum<'_>, [sa, sb]: [u8; 2], n: usize) -> Vec<u8> {
    let exact = |value: i128, from: u8, to: u8| match from <= to {
        true => decimal::rescaled(value, from, to),
        false => decimal::rescaled(value, from, to).filter(|less| decimal::rescaled(*less, to, from) == Some(value)),
    };
    if sa == sb {
        return pairs(test, (a.decimals(), a.constant), (b.decimals(), b.constant), n);
    }
    // A value that stands for all rows is brought to the places of the column, once.
    if let ([value, ..], true) = (b.decimals(), b.constant)
        && let Some(value) = exact(*value, sb, sa)
    {
        return pairs(test, (a.decimals(), a.constant), (&[value], true), n);
    }
    if let ([value, ..], true) = (a.decimals(), a.constant)
        && let Some(value) = exact(*value, sa, sb)
    {
        return pairs(test, (&[value], true), (b.decimals(), b.constant), n);
    }
    mapped((a.decimals(), a.constant), (b.decimals(), b.constant), n, |a, b| {
        let order = order(a, sa, b, sb);
        u8::from(match test {
            Test::Equal => order == Ordering::Equal,
            Test::Less => order == Ordering::Less,
            Test::LessEqual => order != Ordering::Greater,
        })
    })
}

/// Which of two decimals comes first, exactly.
pub(super) fn order(a: i128, sa: u8, b: i128, sb: u8) -> Ordering {
    let scale = sa.max(sb);
    match (decimal::rescaled(a, sa, scale), decimal::rescaled(b, sb, scale)) {
        (Some(a), Some(b)) => a.cmp(&b),
        // What 128 bits do not hold is further from zero than anything that they hold.
        (None, _) => a.cmp(&0),
        (_, None) => 0.cmp(&b),
    }
}

fn texts(test: Test, a: &Datum<'_>, b: &Datum<'_>, n: usize) -> Vec<u8> {
    if let (Test::Equal, false, true, Held::Text(offsets, data)) = (test, a.constant, b.constant, &a.values) {
        let other = b.text(0);
        if let Some(key) = short_key(other) {
            return short_texts(a, &[key], n);
        }
        let is_equal = |pair: &[u32]| {
            let (start, end) = (pair[0] as usize, pair[1] as usize);
            u8::from(end - start == other.len() && &data[start..end] == other)
        };
        return offsets.windows(2).map(is_equal).collect();
    }
    if let (Test::Equal, true, false) = (test, a.constant, b.constant) {
        return texts(test, b, a, n);
    }
    (0..n)
        .map(|row| {
            let (a, b) = (a.text(row), b.text(row));
            u8::from(match test {
                Test::Equal => a == b,
                Test::Less => a < b,
                Test::LessEqual => a <= b,
            })
        })
        .collect()
}

impl Datum<'_> {
    /// Its nulls and errors without its values.
    pub(super) fn clone_head(&self) -> Datum<'_> {
        let validity = self.validity.as_deref().map(Into::into);
        Datum {
            validity,
            errors: self.errors.clone(),
            constant: self.constant,
            ..Datum::owned(Held::Int(Vec::new().into()))
        }
    }
}
