//! Sums of doubles without rounding, from which values can also be taken away.
//!
//! Every finite double is a whole multiple of 2^-1074, so a sum of doubles is a whole number of such units. It is held
//! in digits of 32 bits, each in an `i64` that has room for carries, and only those digits that are in use: a group's
//! sum of money is four or five digits. The result is that number, rounded once, to nearest, ties to even.

use crate::{
    model::row::{push_length, take_length},
    state::StateValue,
};

const DIGIT_BITS: u32 = 32;

/// Additions after which carries are spread. Each puts less than 2^32 onto a digit, and 2^30 · 2^32 < 2^63.
const ADDITIONS_MAX: u32 = 1 << 30;

/// The exact sum of the doubles that were added and not taken away again.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// The number of the first digit held: it counts 2^(32 · first) units of 2^-1074.
    first: usize,
    digits: Vec<i64>,
    additions: u32,
}

impl ExactSum {
    /// Adds a finite double. Others are ignored: decode and the checks of guests' answers let none through.
    pub fn add(&mut self, value: f64) {
        self.apply(value, false);
    }

    /// Takes a finite double away that was added before.
    pub fn subtract(&mut self, value: f64) {
        self.apply(value, true);
    }

    fn apply(&mut self, value: f64, negate: bool) {
        if !value.is_finite() || value == 0.0 {
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        // A normal double is (2^52 + fraction) · 2^(exponent - 1) units, a subnormal one is fraction units.
        let (mantissa, shift) = if exponent == 0 {
            (fraction, 0)
        } else {
            (fraction | 1 << 52, exponent as u32 - 1)
        };
        let digit = (shift / DIGIT_BITS) as usize;
        let wide = u128::from(mantissa) << (shift % DIGIT_BITS);
        let negative = value.is_sign_negative() != negate;

        self.cover(digit, digit + 3);
        let start = digit - self.first;
        for (place, target) in self.digits.iter_mut().skip(start).take(3).enumerate() {
            let part = (wide >> (place as u32 * DIGIT_BITS)) as u32;
            *target += if negative { -i64::from(part) } else { i64::from(part) };
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_MAX {
            self.normalise();
        }
    }

    /// Adds all that another sum holds.
    pub fn merge(&mut self, other: &Self) {
        let mut more = other.clone();
        more.normalise();
        if more.digits.is_empty() {
            return;
        }
        self.normalise();
        self.cover(more.first, more.first + more.digits.len() + 1);
        let start = more.first - self.first;
        for (target, digit) in self.digits.iter_mut().skip(start).zip(&more.digits) {
            *target += digit;
        }
        self.normalise();
    }

    /// Makes room for the digits `start .. end`.
    fn cover(&mut self, start: usize, end: usize) {
        if self.digits.is_empty() {
            self.first = start;
        }
        if start < self.first {
            self.digits.splice(0..0, std::iter::repeat_n(0, self.first - start));
            self.first = start;
        }
        if end > self.first + self.digits.len() {
            self.digits.resize(end - self.first, 0);
        }
    }

    /// Spreads carries so that all digits but the last lie in 0 .. 2^32, the last carries the sign, and no digit at
    /// either end is superfluous. Two sums of one value then have the same digits.
    fn normalise(&mut self) {
        self.additions = 0;
        let mut carry = 0i64;
        for digit in &mut self.digits {
            let sum = *digit + carry;
            *digit = sum & 0xffff_ffff;
            carry = sum >> DIGIT_BITS;
        }
        // What is left is the sign's share: 0 or -1 at most times, more after very many additions.
        while carry != 0 && carry != -1 {
            self.digits.push(carry & 0xffff_ffff);
            carry >>= DIGIT_BITS;
        }
        if carry == -1 {
            self.digits.push(-1);
            // ffffffff in front of -1 says the same as -1 one digit lower.
            while let [.., below, -1] = self.digits.as_mut_slice()
                && *below == 0xffff_ffff
            {
                *below = -1;
                self.digits.pop();
            }
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|&&digit| digit == 0).count();
        self.digits.drain(..zeros);
        self.first = if self.digits.is_empty() { 0 } else { self.first + zeros };
    }

    /// The sum, rounded once to the nearest double. Beyond the largest double it is infinite; taking values away again
    /// brings it back.
    pub fn value(&self) -> f64 {
        let (negative, sum) = self.split();
        let (magnitude, _) = sum.magnitude();
        if negative { -magnitude } else { magnitude }
    }

    /// The sum divided by `count`, which is not 0: the exact quotient, rounded once. It is finite, also where the sum is
    /// beyond the largest double.
    pub fn mean(&self, count: u64) -> f64 {
        let (negative, sum) = self.split();
        let mean = match sum.magnitude() {
            // The processor rounds a quotient of two doubles once.
            (value, true) if count < 1 << f64::MANTISSA_DIGITS => value / count as f64,
            _ => sum.divided(count.max(1)),
        };
        // A quotient that is too small for a double is zero, which has no sign.
        (if negative { -mean } else { mean }) + 0.0
    }

    /// Whether the sum is negative, and its normalised digits without the sign.
    fn split(&self) -> (bool, Self) {
        let mut sum = self.clone();
        sum.normalise();
        let negative = sum.digits.last().is_some_and(|&last| last < 0);
        if negative {
            for digit in &mut sum.digits {
                *digit = -*digit;
            }
            sum.normalise();
        }
        (negative, sum)
    }

    /// Normalised digits, none of them negative, divided by `count` and rounded once, to nearest, ties to even.
    fn divided(&self, count: u64) -> f64 {
        // From the top digit down, three digits beyond the unit: what lies below those decides at most a tie.
        const BELOW: i64 = -3;
        let digit_at = |place: i64| {
            let held = usize::try_from(place)
                .ok()
                .and_then(|place| place.checked_sub(self.first));
            held.and_then(|at| self.digits.get(at)).copied().unwrap_or(0) as u64
        };
        let mut place = (self.first + self.digits.len()) as i64;
        let (mut quotient, mut rest) = (0u128, 0u64);
        // Four digits of a quotient are at least 97 bits.
        while place > BELOW && quotient >> (3 * DIGIT_BITS) == 0 {
            place -= 1;
            let digit;
            if count <= u64::from(u32::MAX) {
                let part = rest << DIGIT_BITS | digit_at(place);
                (digit, rest) = (u128::from(part / count), part % count);
            } else {
                let part = u128::from(rest) << DIGIT_BITS | u128::from(digit_at(place));
                (digit, rest) = (part / u128::from(count), (part % u128::from(count)) as u64);
            }
            quotient = quotient << DIGIT_BITS | digit;
        }
        if quotient == 0 {
            return 0.0;
        }
        let sticky = rest != 0 || (self.first as i64..place).any(|below| digit_at(below) != 0);
        // The quotient counts 2^(32 · place) units. 53 bits stay, and none that is below the unit.
        let lowest = place * i64::from(DIGIT_BITS);
        let length = i64::from(u128::BITS - quotient.leading_zeros());
        let drop = (length - i64::from(f64::MANTISSA_DIGITS)).max(-lowest).max(1) as u32;
        let kept = (quotient >> drop) as u64;
        let half = quotient >> (drop - 1) & 1 == 1;
        let below_half = sticky || quotient & ((1 << (drop - 1)) - 1) != 0;
        let up = half && (below_half || kept & 1 == 1);
        // The exponent field grows by one where the first of 53 bits is added to it, or rounding carries over.
        let exponent = (i64::from(drop) + lowest).max(0) as u64;
        let bits = (exponent << 52) + kept + u64::from(up);
        f64::from_bits(bits).min(f64::MAX)
    }

    /// The value of normalised digits, none of them negative, and whether it is exact.
    fn magnitude(&self) -> (f64, bool) {
        let Some(&top) = self.digits.last() else {
            return (0.0, true);
        };
        let length = (self.first + self.digits.len() - 1) * DIGIT_BITS as usize + (64 - top.leading_zeros()) as usize;
        // The 64 bits from the top one down, and whether anything below them is set.
        let mut window = 0u64;
        let mut sticky = false;
        for (place, &digit) in self.digits.iter().enumerate() {
            let lowest = ((self.first + place) * DIGIT_BITS as usize) as i64;
            let shift = lowest - (length as i64 - 64);
            let digit = digit as u64;
            match shift {
                0.. => window |= digit << shift,
                -31..0 => {
                    window |= digit >> -shift;
                    sticky |= digit & ((1 << -shift) - 1) != 0;
                }
                _ => sticky |= digit != 0,
            }
        }
        if length <= 52 {
            // Subnormal: the units themselves.
            return (f64::from_bits(window >> (64 - length)), true);
        }
        // 53 bits stay, 11 are rounded away. The exponent field grows by one if rounding carries over.
        let kept = window >> 11;
        let dropped = window & 0x7ff;
        let up = dropped > 0x400 || dropped == 0x400 && (sticky || kept & 1 == 1);
        let bits = (((length - 52) as u64) << 52) + (kept & ((1 << 52) - 1)) + u64::from(up);
        match bits >= f64::INFINITY.to_bits() {
            true => (f64::INFINITY, false),
            false => (f64::from_bits(bits), dropped == 0 && !sticky),
        }
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.clone(), other.clone());
        a.normalise();
        b.normalise();
        (a.first, a.digits) == (b.first, b.digits)
    }
}

impl StateValue for ExactSum {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut sum = self.clone();
        sum.normalise();
        push_length(bytes, sum.first);
        push_length(bytes, sum.digits.len());
        for (place, digit) in sum.digits.iter().enumerate() {
            // All digits but the last are 32 bits without a sign.
            if place + 1 == sum.digits.len() {
                bytes.extend_from_slice(&digit.to_le_bytes());
            } else {
                bytes.extend_from_slice(&(*digit as u32).to_le_bytes());
            }
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let sum = Self::take(&mut bytes)?;
        bytes.is_empty().then_some(sum)
    }
}

impl ExactSum {
    /// Takes an encoded sum off the front of `bytes`.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let first = take_length(bytes)?;
        let count = take_length(bytes)?;
        if count > 80 || first > 80 {
            return None;
        }
        let mut digits = Vec::with_capacity(count);
        for place in 0..count {
            if place + 1 == count {
                let (digit, rest) = bytes.split_first_chunk::<8>()?;
                digits.push(i64::from_le_bytes(*digit));
                *bytes = rest;
            } else {
                let (digit, rest) = bytes.split_first_chunk::<4>()?;
                digits.push(i64::from(u32::from_le_bytes(*digit)));
                *bytes = rest;
            }
        }
        Some(Self {
            first,
            digits,
            additions: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&value| sum.add(value));
        sum
    }

    #[test]
    fn what_the_reference_engine_gets_wrong() {
        let mut drift = sum(&[0.1, 0.2]);
        drift.subtract(0.1);
        assert_eq!(drift.value(), 0.2);
        let mut swallowed = sum(&[1e16, 1.0]);
        swallowed.subtract(1e16);
        assert_eq!(swallowed.value(), 1.0);
        let mut overflowed = sum(&[f64::MAX, f64::MAX]);
        assert_eq!(overflowed.value(), f64::INFINITY);
        overflowed.subtract(f64::MAX);
        assert_eq!(overflowed.value(), f64::MAX);
    }

    #[test]
    fn a_mean_is_finite_where_the_sum_is_not() {
        assert_eq!(sum(&[1.0, 2.0]).mean(2), 1.5);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).mean(2), f64::MAX);
        assert_eq!(sum(&[f64::MAX; 3]).mean(3), f64::MAX);
        assert_eq!(sum(&[f64::MIN, f64::MIN, 5e-324]).mean(3), f64::MIN / 3.0 * 2.0);
        assert_eq!(sum(&[1e308, 1e308, 0.0, 0.0]).mean(4), 5e307);
    }

    #[test]
    fn the_mean_of_equal_numbers_is_that_number() {
        let mut random = fastrand::Rng::with_seed(13);
        for count in [1, 2, 3, 7, 13, 1_000, 65_537] {
            for _ in 0..20 {
                let value = loop {
                    let value = f64::from_bits(random.u64(..));
                    if value.is_finite() {
                        break value + 0.0;
                    }
                };
                let mean = sum(&vec![value; count]).mean(count as u64);
                assert_eq!(mean.to_bits(), value.to_bits(), "{count} times {value:e}");
            }
        }
        for (values, mean) in [
            (&[3.1; 13][..], 3.1),
            (&[54.42; 3], 54.42),
            (&[0.1, 0.2, 0.3], 0.2),
            (&[-0.1, -0.2, -0.3], -0.2),
            (&[5e-324, 5e-324, 0.0], 5e-324),
            (&[5e-324, 0.0], 0.0),
            (&[5e-324, 1e-323], 1e-323),
            (&[f64::MIN_POSITIVE, 0.0], f64::MIN_POSITIVE / 2.0),
            (&[-5e-324, 0.0, 0.0], 0.0),
        ] {
            let found = sum(values).mean(values.len() as u64);
            assert_eq!(found.to_bits(), mean.to_bits(), "{values:?}: {found:e}");
        }
    }

    /// Of whole numbers, for which 128 bits tell how the quotient is rounded.
    #[test]
    fn a_mean_is_the_exact_quotient_rounded_once() {
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..100_000 {
            let units = random.u128(..) >> random.u32(8..120) | 1;
            let count = (random.u64(..) >> random.u32(12..63)).max(1);
            let mut exact = ExactSum::default();
            for place in 0..4 {
                exact.add(f64::from((units >> (32 * place)) as u32) * 2f64.powi(32 * place));
            }
            let (whole, rest) = (units / u128::from(count), units % u128::from(count));
            let expected = if whole < 1 << 56 {
                // Bits behind the point, of which the last one says whether anything is left below.
                let (part, left) = ((rest << 64) / u128::from(count), (rest << 64) % u128::from(count));
                ((whole << 64 | part) | u128::from(left != 0)) as f64 * 2f64.powi(-64)
            } else {
                (whole << 1 | u128::from(rest != 0)) as f64 / 2.0
            };
            // Below one, 64 bits behind the point may be too few.
            if whole > 0 {
                assert_eq!(exact.mean(count).to_bits(), expected.to_bits(), "{units} / {count}");
            }
        }
    }

    #[test]
    fn one_value_comes_back_as_it_was() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..100_000 {
            let value = f64::from_bits(random.u64(..));
            if value.is_finite() && value != 0.0 {
                assert_eq!(sum(&[value]).value().to_bits(), value.to_bits(), "{value:e}");
            }
        }
        for value in [
            5e-324,
            f64::MIN_POSITIVE,
            -f64::MIN_POSITIVE,
            f64::MAX,
            f64::MIN,
            f64::from_bits((1 << 52) - 1),
        ] {
            assert_eq!(sum(&[value]).value(), value);
        }
        assert_eq!(sum(&[]).value().to_bits(), 0.0f64.to_bits());
        assert_eq!(sum(&[-0.0]).value().to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn two_values_round_as_the_processor_does() {
        // A single addition in IEEE arithmetic is the exact sum, rounded once.
        let mut random = fastrand::Rng::with_seed(12);
        for _ in 0..200_000 {
            let scale = random.i32(-60..60);
            let a = (random.f64() - 0.5) * 1e6;
            let b = (random.f64() - 0.5) * 2f64.powi(scale);
            assert_eq!(sum(&[a, b]).value().to_bits(), (a + b + 0.0).to_bits(), "{a:e} + {b:e}");
            let (c, d) = (
                f64::from_bits(random.u64(..1 << 53)),
                -f64::from_bits(random.u64(..1 << 53)),
            );
            assert_eq!(sum(&[c, d]).value().to_bits(), (c + d + 0.0).to_bits(), "{c:e} + {d:e}");
        }
    }

    #[test]
    fn order_does_not_matter_and_bytes_are_canonical() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..2_000 {
            let values: Vec<f64> = (0..random.usize(1..40))
                .map(|_| (random.f64() - 0.5) * 10f64.powi(random.i32(-30..30)))
                .collect();
            let mut shuffled = values.clone();
            random.shuffle(&mut shuffled);
            let (mut a, mut b) = (sum(&values), sum(&shuffled));
            for extra in [1e300, 5e-324, -7.25] {
                b.add(extra);
                b.subtract(extra);
            }
            assert_eq!(a, b);
            let (left, right) = values.split_at(random.usize(0..=values.len()));
            let mut merged = sum(left);
            merged.merge(&sum(right));
            assert_eq!(merged, a);
            let (mut bytes_a, mut bytes_b) = (Vec::new(), Vec::new());
            a.encode(&mut bytes_a);
            b.encode(&mut bytes_b);
            assert_eq!(bytes_a, bytes_b);
            let back = ExactSum::decode(&bytes_a).unwrap();
            assert_eq!(back.value().to_bits(), a.value().to_bits());
            for value in &values {
                a.subtract(*value);
            }
            assert_eq!(a.value(), 0.0);
            assert_eq!(a, ExactSum::default());
        }
    }
}
