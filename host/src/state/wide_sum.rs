//! Sums of decimals: exact, however many there are, whatever comes and goes.

/// A sum of numbers of 128 bits: of as many as there can be, it has 64 bits more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WideSum {
    high: i64,
    low: u128,
}

impl WideSum {
    /// Adds a number.
    pub fn add(&mut self, value: i128) {
        let (low, carries) = self.low.overflowing_add(value as u128);
        self.low = low;
        // A negative number has ones in front of it.
        self.high = self.high.wrapping_add((value >> 127) as i64 + i64::from(carries));
    }

    /// Takes a number away.
    pub fn subtract(&mut self, value: i128) {
        let (low, borrows) = self.low.overflowing_sub(value as u128);
        self.low = low;
        self.high = self.high.wrapping_sub((value >> 127) as i64 + i64::from(borrows));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        let (low, carries) = self.low.overflowing_add(other.low);
        self.low = low;
        self.high = self.high.wrapping_add(other.high).wrapping_add(i64::from(carries));
    }

    /// The sum, where it fits into 128 bits.
    pub fn value(self) -> Option<i128> {
        let value = self.low as i128;
        (i64::from(value < 0) == -self.high).then_some(value)
    }

    /// The mean of `count` numbers with `places` digits more behind the point, rounded to the nearest, halves away from zero. Nothing
    /// where that does not fit into 128 bits.
    pub fn mean(self, count: u64, places: u8) -> Option<i128> {
        let is_negative = self.high < 0;
        // By long division in pieces of 64 bits, the highest first.
        let magnitude = if is_negative { self.negated() } else { self };
        let count = u128::from(count.max(1));
        let pieces = [
            magnitude.high as u64,
            (magnitude.low >> 64) as u64,
            magnitude.low as u64,
        ];
        let (mut quotient, mut rest) = (0u128, 0u128);
        for piece in pieces {
            let part = rest << 64 | u128::from(piece);
            quotient = quotient.checked_mul(1 << 64)?.checked_add(part / count)?;
            rest = part % count;
        }
        for _ in 0..places {
            let part = rest * 10;
            quotient = quotient.checked_mul(10)?.checked_add(part / count)?;
            rest = part % count;
        }
        let rounded = quotient.checked_add(u128::from(rest * 2 >= count))?;
        let rounded = i128::try_from(rounded).ok()?;
        Some(if is_negative { -rounded } else { rounded })
    }

    fn negated(self) -> Self {
        let mut negated = Self::default();
        let (low, borrows) = negated.low.overflowing_sub(self.low);
        negated.low = low;
        negated.high = negated.high.wrapping_sub(self.high).wrapping_sub(i64::from(borrows));
        negated
    }

    /// Appends it to an entry of a state.
    pub fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.high.to_le_bytes());
        bytes.extend_from_slice(&self.low.to_le_bytes());
    }

    /// Takes it off the front of `bytes`; nothing where they end too early.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (high, rest) = bytes.split_first_chunk::<8>()?;
        let (low, rest) = rest.split_first_chunk::<16>()?;
        *bytes = rest;
        Some(Self {
            high: i64::from_le_bytes(*high),
            low: u128::from_le_bytes(*low),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: i128 = 10i128.pow(38) - 1;

    #[test]
    fn a_sum_is_exact_beyond_128_bits_and_comes_back() {
        let mut sum = WideSum::default();
        for _ in 0..1000 {
            sum.add(MOST);
        }
        assert_eq!(sum.value(), None);
        assert_eq!(sum.mean(1000, 0), Some(MOST));
        let nearest = MOST + MOST / 999 + i128::from(MOST % 999 * 2 >= 999);
        assert_eq!(sum.mean(999, 0), Some(nearest));
        for _ in 0..2000 {
            sum.subtract(MOST);
        }
        assert_eq!((sum.value(), sum.mean(1000, 0)), (None, Some(-MOST)));
        for _ in 0..1001 {
            sum.add(MOST);
        }
        assert_eq!(sum.value(), Some(MOST));
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        assert_eq!(WideSum::take(&mut bytes.as_slice()), Some(sum));
        assert_eq!(WideSum::take(&mut &bytes[1..]), None);
    }

    #[test]
    fn sums_are_those_of_a_plain_model() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            let (mut sum, mut other, mut model) = (WideSum::default(), WideSum::default(), 0i128);
            for _ in 0..50 {
                let value = random.i128(-MOST / 1_000_000..=MOST / 1_000_000) >> random.u32(0..110);
                match random.u8(0..3) {
                    0 => sum.add(value),
                    1 => other.add(value),
                    _ => {
                        sum.subtract(value);
                        model -= 2 * value;
                    }
                }
                model += value;
            }
            sum.merge(other);
            assert_eq!(sum.value(), Some(model), "seed {seed}");
            let count = random.u64(1..1000);
            let (scaled, count) = (model * 100, i128::from(count));
            let nearest = (scaled.abs() * 2 + count) / (count * 2) * scaled.signum();
            assert_eq!(
                sum.mean(count as u64, 2),
                Some(nearest),
                "seed {seed}: {model} / {count}"
            );
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let of = |value: i128| {
            let mut sum = WideSum::default();
            sum.add(value);
            sum
        };
        for (value, count, places, mean) in [
            (5, 2, 0, 3),
            (-5, 2, 0, -3),
            (1, 3, 2, 33),
            (2, 3, 2, 67),
            (1, 8, 2, 13),
            (0, 7, 9, 0),
        ] {
            assert_eq!(of(value).mean(count, places), Some(mean), "{value} / {count}");
        }
        assert_eq!(of(MOST).mean(1, 3), None);
    }
}
