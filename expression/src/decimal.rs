//! Decimal numbers: an integer of 128 bits, of whose digits the last few stand behind the point. Results are rounded half away from
//! zero, and nothing has more than 38 digits.

/// Powers of ten, from 1 to 10^38.
pub const TENS: [i128; 39] = {
    let mut tens = [1i128; 39];
    let mut place = 1;
    while place < tens.len() {
        tens[place] = tens[place - 1] * 10;
        place += 1;
    }
    tens
};

/// A power of ten, where 128 bits hold it.
pub fn ten(places: u32) -> Option<i128> {
    TENS.get(places as usize).copied()
}

/// Whether a decimal has no more digits than these.
pub fn holds(unscaled: i128, precision: u8) -> bool {
    ten(precision.into()).is_some_and(|bound| unscaled > -bound && unscaled < bound)
}

/// A decimal of `from` places as one of `to` places.
pub fn rescaled(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    match to.checked_sub(from) {
        Some(0) => Some(unscaled),
        Some(more) => unscaled.checked_mul(ten(more.into())?),
        None => Some(ten((from - to).into()).map_or(0, |ten| divided(unscaled, ten))),
    }
}

/// `a / b`, rounded half away from zero. `b` is not zero.
pub fn divided(a: i128, b: i128) -> i128 {
    let (quotient, rest) = (a.wrapping_div(b), a.wrapping_rem(b));
    let is_more = rest.unsigned_abs() >= b.unsigned_abs() - rest.unsigned_abs();
    match is_more && rest != 0 {
        true if (a < 0) == (b < 0) => quotient + 1,
        true => quotient - 1,
        false => quotient,
    }
}

/// `a × b`, of which `drop` places are rounded away.
pub fn multiplied(a: i128, b: i128, drop: u32) -> Option<i128> {
    if drop == 0 {
        return a.checked_mul(b);
    }
    if let Some(product) = a.checked_mul(b) {
        return Some(ten(drop).map_or(0, |ten| divided(product, ten)));
    }
    let wide = Wide::product(a.unsigned_abs(), b.unsigned_abs());
    let quotient = wide.divided(ten(drop)?.unsigned_abs())?;
    signed(quotient, (a < 0) != (b < 0))
}

/// `a × 10^shift / b`, rounded half away from zero. `b` is not zero.
pub fn quotient(a: i128, b: i128, shift: u32) -> Option<i128> {
    if let Some(dividend) = ten(shift).and_then(|ten| a.checked_mul(ten)) {
        return Some(divided(dividend, b));
    }
    // Up to 10^76 by two factors: 38 places are the most of a scale, and of a divisor's.
    let is_negative = (a < 0) != (b < 0);
    let (first, second) = (shift.min(38), shift.saturating_sub(38));
    let a = a.unsigned_abs().checked_mul(ten(second)?.unsigned_abs())?;
    let wide = Wide::product(a, ten(first)?.unsigned_abs());
    signed(wide.divided(b.unsigned_abs())?, is_negative)
}

fn signed(value: u128, is_negative: bool) -> Option<i128> {
    let value = i128::try_from(value).ok()?;
    Some(if is_negative { -value } else { value })
}

/// An integer of 256 bits.
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    fn product(a: u128, b: u128) -> Wide {
        let mask = u128::from(u64::MAX);
        let (a1, a0, b1, b0) = (a >> 64, a & mask, b >> 64, b & mask);
        let (low, mid, cross, high) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
        let carry = (low >> 64) + (mid & mask) + (cross & mask);
        Wide {
            high: high + (mid >> 64) + (cross >> 64) + (carry >> 64),
            low: (carry << 64) | (low & mask),
        }
    }

    /// Divided and rounded half away from zero; nothing beyond 128 bits. The divisor is below 2^127.
    fn divided(&self, by: u128) -> Option<u128> {
        if by == 0 || self.high >= by {
            return None;
        }
        let (mut rest, mut quotient) = (self.high, 0u128);
        for bit in (0..128).rev() {
            rest = (rest << 1) | ((self.low >> bit) & 1);
            quotient <<= 1;
            if rest >= by {
                rest -= by;
                quotient |= 1;
            }
        }
        quotient.checked_add(u128::from(rest >= by - rest && rest != 0))
    }
}

/// Reads a number: a sign or none, digits with a point among them or none, and an exponent or none. What is beyond `scale` is rounded
/// half away from zero. Nothing where it is no number or has more digits than `precision`.
pub fn parse(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (digits, behind) = parts(text)?;
    let is_negative = text.first() == Some(&b'-');
    // How many of the digits are kept.
    let kept = i64::from(scale).checked_sub(behind)?.checked_add(digits.len() as i64)?;
    if kept < 0 || digits.is_empty() {
        return Some(0);
    }
    let mut value = 0i128;
    for at in 0..usize::try_from(kept).ok()?.min(64) {
        value = value
            .checked_mul(10)?
            .checked_add(digits.get(at).copied().unwrap_or(0).into())?;
    }
    if kept > 64 && value != 0 {
        return None;
    }
    let next = usize::try_from(kept).ok().and_then(|kept| digits.get(kept));
    value += i128::from(next.is_some_and(|next| *next >= 5));
    holds(value, precision).then_some(if is_negative { -value } else { value })
}

/// How many digits a number has that is written so, and how many behind the point: those of the type that holds it exactly. Nothing
/// where there is none.
pub fn digits_of(text: &[u8]) -> Option<(u8, u8)> {
    let (digits, behind) = parts(text)?;
    let scale = u8::try_from(behind.max(0)).ok()?;
    let precision = (digits.len() as i64 - behind.min(0)).max(i64::from(scale)).max(1);
    let precision = u8::try_from(precision).ok().filter(|precision| *precision <= 38)?;
    Some((precision, scale))
}

/// Whether a text is a number in digits.
pub fn is_number(text: &[u8]) -> bool {
    parts(text).is_some()
}

/// The digits of a number without zeros in front, and how many of them stand behind the point.
fn parts(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let (mut digits, mut behind, mut has_point, mut has_digit) = (Vec::new(), 0i64, false, false);
    for (at, byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                has_digit = true;
                behind += i64::from(has_point);
                if *byte != b'0' || !digits.is_empty() {
                    digits.push(byte - b'0');
                }
            }
            b'.' if !has_point => has_point = true,
            b'e' | b'E' if has_digit => {
                behind = behind.checked_sub(exponent(unsigned.get(at + 1..)?)?)?;
                return Some((digits, behind));
            }
            _ => return None,
        }
    }
    has_digit.then_some((digits, behind))
}

/// An exponent; one that is far beyond any decimal is cut.
fn exponent(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 40));
    Some(if text.first() == Some(&b'-') { -value } else { value })
}

/// Appends a decimal with a point and all places behind it, where there are any.
pub fn push(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    let scale = usize::from(scale);
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    if unscaled < 0 {
        out.push(b'-');
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

/// The nearest double.
pub fn to_double(unscaled: i128, scale: u8) -> f64 {
    // Both are doubles, so that their quotient is the nearest.
    if unscaled.unsigned_abs() < 1 << 53 && scale <= 22 {
        return unscaled as f64 / TENS[usize::from(scale)] as f64;
    }
    let mut text = Vec::new();
    push(&mut text, unscaled, scale);
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_rounded_half_away_from_zero() {
        for (text, precision, scale, expected) in [
            ("12.345", 6, 2, Some(1235)),
            ("-12.345", 6, 2, Some(-1235)),
            ("12.3449", 6, 2, Some(1234)),
            ("0.005", 3, 2, Some(1)),
            ("0.004", 3, 2, Some(0)),
            ("0.05", 3, 0, Some(0)),
            ("0.5", 3, 0, Some(1)),
            ("1e3", 6, 2, Some(100_000)),
            ("1e4", 6, 2, None),
            ("9999.995", 6, 2, None),
            ("1e-999999999999999", 6, 2, Some(0)),
            ("1e999999999999999", 6, 2, None),
            ("0e999", 6, 2, Some(0)),
            (".5", 6, 2, Some(50)),
            ("", 6, 2, None),
            ("1.2.3", 6, 2, None),
            ("abc", 6, 2, None),
        ] {
            assert_eq!(parse(text.as_bytes(), precision, scale), expected, "{text}");
        }
        assert_eq!(digits_of(b"0.015"), Some((3, 3)));
        assert_eq!(digits_of(b"500.00"), Some((5, 2)));
        assert_eq!(digits_of(b"0"), Some((1, 0)));
    }

    #[test]
    fn what_is_beyond_128_bits_on_the_way_is_exact() {
        let most = TENS[38] - 1;
        assert_eq!(multiplied(most, most, 38), Some(most - 1));
        assert_eq!(multiplied(-most, most, 38), Some(1 - most));
        assert_eq!(multiplied(most, most, 37), None);
        assert_eq!(quotient(most, most, 37), Some(TENS[37]));
        assert_eq!(quotient(-most, 3, 0), Some(-(most / 3)));
        assert_eq!(quotient(-2, 3 * TENS[37], 38), Some(-7));
        assert_eq!(quotient(1, most, 76), Some(TENS[38] + 1));
        for (a, b, expected) in [(5, 2, 3), (-5, 2, -3), (5, -2, -3), (4, 3, 1), (-4, 3, -1), (2, 3, 1)] {
            assert_eq!(divided(a, b), expected);
        }
        assert_eq!(to_double(12345, 2), 123.45);
        assert_eq!(to_double(TENS[37] / 3, 37), 0.333_333_333_333_333_3);
    }
}
