//! Sums of doubles in whole numbers, rounded by the standard library's own parser of decimals.

use num_bigint::{BigInt, Sign};

/// The exact sum of finite doubles, rounded once, to nearest, ties to even; infinite beyond the largest double.
pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let units: BigInt = values.map(units).sum();
    // n · 2^-1074 is n · 5^1074 · 10^-1074.
    let decimal = format!("{}e-1074", units * BigInt::from(5).pow(1074));
    decimal.parse().expect("a decimal number")
}

/// The mean of finite doubles: their sum, by how many they are. It is finite, also where the sum is not.
pub(crate) fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    match sum(values.clone()) {
        sum if sum.is_finite() => sum / count,
        _ => {
            let scale = 2f64.powi(64);
            (sum(values.map(|value| value / scale)) / count * scale).clamp(f64::MIN, f64::MAX)
        }
    }
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
