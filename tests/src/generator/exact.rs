//! Sums of doubles in whole numbers, rounded by the standard library's own parser of decimals.

use num_bigint::{BigInt, Sign};

/// The exact sum of finite doubles, rounded once, to nearest, ties to even; infinite beyond the largest double.
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let units: BigInt = values.map(units).sum();
    // n · 2^-1074 is n · 5^1074 · 10^-1074.
    let decimal = format!("{}e-1074", units * BigInt::from(5).pow(1074));
    decimal.parse().expect("a decimal number")
}

/// The mean of finite doubles: the exact quotient of their exact sum, rounded once. It is finite, also where the sum is not.
pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    quotient(values.clone().map(units).sum::<BigInt>(), values.count())
}

/// The same of integers.
pub(super) fn mean_of_ints(sum: i128, count: usize) -> f64 {
    quotient(BigInt::from(sum) << 1074u32, count)
}

/// So many units of 2^-1074, divided by a count. Zero has no sign.
fn quotient(units: BigInt, count: usize) -> f64 {
    // 200 bits more than a unit, and one that says whether anything is left below: no tie is decided by less.
    let scaled: BigInt = units << 200u32;
    let count = BigInt::from(count);
    let whole: BigInt = &scaled / &count;
    let rest: BigInt = &scaled % &count;
    let sticky = BigInt::from(match (rest.sign(), scaled.sign()) {
        (Sign::NoSign, _) => 0,
        (_, Sign::Minus) => -1,
        _ => 1,
    });
    let decimal = format!("{}e-1275", ((whole << 1) + sticky) * BigInt::from(5).pow(1275));
    decimal
        .parse::<f64>()
        .expect("a decimal number")
        .clamp(f64::MIN, f64::MAX)
        + 0.0
}

/// A finite double in units of 2^-1074, of which every one is a whole number.
fn units(value: f64) -> BigInt {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
    let magnitude = match exponent {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (exponent - 1),
    };
    let sign = if value.is_sign_negative() {
        Sign::Minus
    } else {
        Sign::Plus
    };
    magnitude * BigInt::from_biguint(sign, 1u8.into())
}

#[test]
fn doubles_are_whole_numbers_of_units() {
    for value in [0.0, 0.1, -2.5, 1e16, 5e-324, -f64::MIN_POSITIVE, f64::MAX, f64::MIN] {
        assert_eq!(sum([value].into_iter()), value);
    }
    assert_eq!(sum([0.1, 0.2, -0.1].into_iter()), 0.2);
    assert_eq!(sum([f64::MAX, f64::MAX].into_iter()), f64::INFINITY);
    assert_eq!(sum([f64::MAX, f64::MAX, -f64::MAX].into_iter()), f64::MAX);
}
