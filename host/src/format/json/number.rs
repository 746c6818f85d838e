//! Numbers: an integer and a double read from one window, and the long way round for what does not fit one.

use super::window::{WIDTH, byte, first, non_digits, window};
use super::{Fault, Found};
use crate::model::decimal::DecimalType;

/// Powers of ten that a double holds exactly and that one window can call for.
const TENS: [f64; WIDTH] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The eight digits of a word, the first digit lowest; a zero byte counts as the digit zero.
#[inline(always)]
fn eight_digits(word: u64) -> u64 {
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// The value of the first `count` digits of a window, 1 to 15 of them.
#[inline(always)]
fn digits(both: u128, count: usize) -> u64 {
    // Moved up so that the last digit is the last byte; what comes in below are leading zeros.
    let both = both << (8 * (WIDTH.wrapping_sub(count) & 15));
    eight_digits(both as u64)
        .wrapping_mul(100_000_000)
        .wrapping_add(eight_digits((both >> 64) as u64))
}

/// The byte at `place` of a window, or zero.
#[inline(always)]
fn at_place(both: u128, place: usize) -> u8 {
    (both >> (8 * (place & 15))) as u8
}

/// A declared integer that starts at `at`, and where it ends. What follows it is for the caller to check: a point or an
/// exponent there is no separator, so `1.0` and `1e3` do not pass.
#[inline(always)]
pub(super) fn integer(payload: &[u8], at: usize) -> Result<(Option<i64>, usize), Fault> {
    let bytes = window(payload, at);
    let both = u128::from_le_bytes(bytes);
    let negative = both as u8 == b'-';
    let sign = usize::from(negative);
    let both = both >> (8 * sign);
    // Digits up to the window's end may go on behind it: then no bit is set, with or without a sign, and the count is
    // that of a whole window.
    let count = first(non_digits(&bytes) >> sign);
    if count == 0 || count == WIDTH || (count > 1 && both as u8 == b'0') {
        return other_integer(payload, at);
    }
    let value = digits(both, count) as i64;
    let end = at.saturating_add(sign).saturating_add(count);
    Ok((Some(if negative { value.wrapping_neg() } else { value }), end))
}

/// An integer of sixteen digits or more, null, or a fault.
#[inline(never)]
fn other_integer(payload: &[u8], at: usize) -> Result<(Option<i64>, usize), Fault> {
    let wrong = Fault::new(Found::NotAccepted, at);
    if byte(payload, at) == b'n' {
        return literal(payload, at).map(|end| (None, end));
    }
    let end = skip_number(payload, at).map_err(|fault| if starts_value(payload, at) { wrong } else { fault })?;
    let text = payload.get(at..end).and_then(|text| std::str::from_utf8(text).ok());
    // `parse` also takes a leading plus sign, which `skip_number` does not let through.
    match text.map(str::parse::<i64>) {
        Some(Ok(value)) => Ok((Some(value), end)),
        _ => Err(wrong),
    }
}

/// A number that stands in one window: up to fifteen digits, and no exponent.
pub(super) struct Short {
    pub(super) negative: bool,
    /// Its digits, without the point.
    pub(super) digits: u64,
    /// How many of them stand behind the point.
    pub(super) decimals: usize,
    pub(super) end: usize,
}

/// The number that starts at `at`, where it is a short one.
#[inline(always)]
pub(super) fn short(payload: &[u8], at: usize) -> Option<Short> {
    let bytes = window(payload, at);
    let both = u128::from_le_bytes(bytes);
    let negative = both as u8 == b'-';
    let sign = usize::from(negative);
    let both = both >> (8 * sign);
    // As with an integer, a number that may go on behind the window counts as a whole window.
    let others = non_digits(&bytes) >> sign;
    let whole = first(others);
    if whole == 0 || whole == WIDTH || (whole > 1 && both as u8 == b'0') {
        return None;
    }
    let (count, decimals, length) = if at_place(both, whole) == b'.' {
        let length = first(others & others.wrapping_sub(1));
        let decimals = length.wrapping_sub(whole).wrapping_sub(1);
        if decimals == 0 || length == WIDTH {
            return None;
        }
        (length.wrapping_sub(1), decimals, length)
    } else {
        (whole, 0, whole)
    };
    if at_place(both, length) | 0x20 == b'e' {
        return None;
    }
    // The decimals move down over the point; without a point this touches only bytes that `digits` drops.
    let before = (1u128 << (8 * (whole & 15))).wrapping_sub(1);
    let joined = (both & before) | ((both >> 8) & !before);
    Some(Short {
        negative,
        digits: digits(joined, count),
        decimals,
        end: at.saturating_add(sign).saturating_add(length),
    })
}

/// A declared double that starts at `at`, and where it ends.
///
/// Up to fifteen digits make an integer that a double holds exactly, and so does the power of ten that the point calls
/// for: their quotient is rounded once, so it is the nearest double.
#[inline(always)]
pub(super) fn double(payload: &[u8], at: usize) -> Result<(Option<f64>, usize), Fault> {
    let Some(short) = short(payload, at) else {
        return other_double(payload, at);
    };
    let value = short.digits as f64 / TENS.get(short.decimals).copied().unwrap_or(1.0);
    // Negative zero is zero.
    Ok((Some(if short.negative { 0.0 - value } else { value }), short.end))
}

/// The decimal that starts at `at`, and where it ends, where it is written as most are; nothing else is said of any other.
#[inline(always)]
pub(super) fn plain_decimal(payload: &[u8], at: usize, of: DecimalType) -> Option<(i128, usize)> {
    let short = short(payload, at)?;
    let unscaled = of.of_digits(short.digits, short.decimals)?;
    Some((if short.negative { -unscaled } else { unscaled }, short.end))
}

/// A longer double or one with an exponent, null, or a fault.
#[inline(never)]
fn other_double(payload: &[u8], at: usize) -> Result<(Option<f64>, usize), Fault> {
    let wrong = Fault::new(Found::NotAccepted, at);
    if byte(payload, at) == b'n' {
        return literal(payload, at).map(|end| (None, end));
    }
    let end = skip_number(payload, at).map_err(|fault| if starts_value(payload, at) { wrong } else { fault })?;
    let text = payload.get(at..end).and_then(|text| std::str::from_utf8(text).ok());
    match text.map(str::parse::<f64>) {
        // Negative zero is zero, and so is what is too small for a double.
        Some(Ok(value)) if value.is_finite() => Ok((Some(value + 0.0), end)),
        _ => Err(wrong),
    }
}

/// The end of the number of any size that starts at `at`.
#[inline]
pub(super) fn skip_number(payload: &[u8], at: usize) -> Result<usize, Fault> {
    let start = at.saturating_add(usize::from(byte(payload, at) == b'-'));
    let mut end = skip_digits(payload, start);
    let whole = end.saturating_sub(start);
    if whole == 0 || (whole > 1 && byte(payload, start) == b'0') {
        return Err(Fault::new(Found::NoValue, at));
    }
    if byte(payload, end) == b'.' {
        let decimals = end.saturating_add(1);
        end = skip_digits(payload, decimals);
        if end == decimals {
            return Err(Fault::new(Found::NoValue, at));
        }
    }
    if byte(payload, end) | 0x20 == b'e' {
        let sign = end.saturating_add(1);
        let exponent = sign.saturating_add(usize::from(matches!(byte(payload, sign), b'+' | b'-')));
        end = skip_digits(payload, exponent);
        if end == exponent {
            return Err(Fault::new(Found::NoValue, at));
        }
    }
    Ok(end)
}

#[inline(always)]
fn skip_digits(payload: &[u8], mut at: usize) -> usize {
    loop {
        let count = first(non_digits(&window(payload, at)));
        at = at.saturating_add(count);
        if count < WIDTH {
            return at;
        }
    }
}

/// The end of the `true`, `false` or `null` that starts at `at`.
#[inline]
pub(super) fn literal(payload: &[u8], at: usize) -> Result<usize, Fault> {
    let word = u128::from_le_bytes(window(payload, at)) as u64;
    let four = word as u32;
    if four == u32::from_le_bytes(*b"null") || four == u32::from_le_bytes(*b"true") {
        Ok(at.saturating_add(4))
    } else if word & 0xff_ffff_ffff == u64::from_le_bytes(*b"false\0\0\0") {
        Ok(at.saturating_add(5))
    } else {
        Err(Fault::new(Found::NoValue, at))
    }
}

/// A declared boolean that starts at `at`, and where it ends.
pub(super) fn boolean(payload: &[u8], at: usize) -> Result<(Option<u8>, usize), Fault> {
    let end = match byte(payload, at) {
        b'"' | b'{' | b'[' | b'-' | b'0'..=b'9' => return Err(Fault::new(Found::NotAccepted, at)),
        _ => literal(payload, at)?,
    };
    let value = match byte(payload, at) {
        b't' => Some(1),
        b'f' => Some(0),
        _ => None,
    };
    Ok((value, end))
}

/// Whether a value of another type starts at `at`: then the column is at fault and not the JSON.
fn starts_value(payload: &[u8], at: usize) -> bool {
    matches!(byte(payload, at), b'"' | b'{' | b'[' | b't' | b'f')
}
