//! Quantiles of numbers, from counts of the numbers rounded: DDSketch, with a step that is the same on every machine.
//!
//! A number counts as itself cut to eight binary digits, towards zero. So a bucket is a range of numbers whose ends differ
//! by less than 0.8 %, a whole number up to 256 has a bucket to itself, and a bucket is told by its numbers' leading bits.
//! The usual step of a DDSketch, the power of a constant, takes a logarithm and an exponential, whose last bits differ
//! between machines: the same events would give results that `weir diff` tells apart. (And the library for it drops the
//! lowest buckets when there are many, so that what comes of it depends on what came first, and nothing can be taken away.)

use crate::{
    error::note_defect,
    model::row::{push_length, take_length},
};

/// The bits of a double below its eight leading digits, of which the first is not written.
const DROPPED_BITS: u32 = 52 - 7;

/// By how much of itself a quantile is off at most, and towards zero. (Of numbers below 2^-1022, which have fewer digits, by
/// more.)
pub const QUANTILE_ERROR_MAX: f64 = 1.0 / 128.0;

/// How many numbers there are of each size, about.
///
/// An entry is as large as the numbers are different in size: 3 to 6 bytes for each bucket that holds any. From 0.01 to a
/// million there are 3400 buckets; doubles of every size, the largest and the least of both signs, would fill half a
/// million of them, and 3 MiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// In ascending order, none of them empty.
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// The leading bits, with the number's sign: they ascend as the numbers do.
    index: i32,
    count: u64,
}

impl Quantiles {
    /// Adds a number, or takes one away that was added before.
    pub fn apply(&mut self, value: f64, retracts: bool) {
        if retracts {
            self.subtract(value);
        } else {
            self.add(value);
        }
    }

    /// Adds a number.
    pub fn add(&mut self, value: f64) {
        let index = index_of(value);
        match self.place_of(index) {
            Ok(at) => {
                if let Some(bucket) = self.buckets.get_mut(at) {
                    bucket.count += 1;
                }
            }
            Err(at) => self.buckets.insert(at, Bucket { index, count: 1 }),
        }
    }

    /// Takes a number away that was added before.
    pub fn subtract(&mut self, value: f64) {
        let place = self.place_of(index_of(value));
        if place.is_err() {
            note_defect("a number is taken away that was never added");
        }
        let Ok(at) = place else { return };
        match self.buckets.get_mut(at) {
            Some(bucket) if bucket.count > 1 => bucket.count -= 1,
            _ => drop(self.buckets.remove(at)),
        }
    }

    fn place_of(&self, index: i32) -> Result<usize, usize> {
        self.buckets.binary_search_by_key(&index, |bucket| bucket.index)
    }

    /// Adds all numbers of another sketch.
    pub fn merge(&mut self, other: Self) {
        let mut all = Vec::with_capacity(self.buckets.len() + other.buckets.len());
        let mut others = other.buckets.into_iter().peekable();
        for mut bucket in self.buckets.drain(..) {
            while let Some(other) = others.next_if(|other| other.index < bucket.index) {
                all.push(other);
            }
            if let Some(same) = others.next_if(|other| other.index == bucket.index) {
                bucket.count += same.count;
            }
            all.push(bucket);
        }
        all.extend(others);
        self.buckets = all;
    }

    /// The least number that is, with those below it, at least the share `q` of all; nothing where there are none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count: u64 = self.buckets.iter().map(|bucket| bucket.count).sum();
        // 0.07 of 100 is the 7th, though the double is a little more than 0.07, and the product may be once more: up to two
        // bits in the last place, which are taken off.
        let rank = (q * count as f64 * (1.0 - 2.0 * f64::EPSILON)).ceil() as u64;
        let mut below = 0;
        let found = self.buckets.iter().find(|bucket| {
            below += bucket.count;
            below >= rank
        });
        Some(value_of(found?.index))
    }

    /// Appends the sketch as bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.buckets.len());
        let mut before = i32::MIN;
        for bucket in &self.buckets {
            push_length(bytes, before.abs_diff(bucket.index) as usize);
            push_length(bytes, bucket.count as usize);
            before = bucket.index;
        }
    }

    /// Takes a sketch off the front of `bytes`; nothing when they are none.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        let mut buckets = Vec::new();
        let mut before = i32::MIN;
        for _ in 0..length {
            let step = u32::try_from(take_length(bytes)?).ok().filter(|&step| step > 0)?;
            let index = before.checked_add_unsigned(step)?;
            let count = take_length(bytes)? as u64;
            buckets.push(Bucket { index, count });
            before = index;
        }
        Some(Self { buckets })
    }
}

fn index_of(value: f64) -> i32 {
    let leading = (value.abs().to_bits() >> DROPPED_BITS) as i32;
    if value < 0.0 { -leading } else { leading }
}

fn value_of(index: i32) -> f64 {
    let value = f64::from_bits(u64::from(index.unsigned_abs()) << DROPPED_BITS);
    if index < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Quantiles {
        let mut quantiles = Quantiles::default();
        values.iter().for_each(|&value| quantiles.add(value));
        quantiles
    }

    fn read_back(quantiles: &Quantiles) -> Quantiles {
        let mut bytes = Vec::new();
        quantiles.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        let read = Quantiles::take(&mut rest).expect("what was written is read");
        assert!(rest.is_empty());
        assert!(
            (0..bytes.len()).all(|cut| Quantiles::take(&mut &bytes[..cut]).is_none()),
            "bytes that end early are no sketch"
        );
        read
    }

    #[test]
    fn numbers_are_near_what_they_count_as() {
        let edges = [f64::MIN_POSITIVE, 0.01, 0.1, 1.0, 100.0, 256.0, 1e6, 1e18, f64::MAX];
        let steps = (0..20_000).map(|step| 1e-3 * 1.0013_f64.powi(step));
        for value in edges.into_iter().chain(steps) {
            for value in [value, -value] {
                let counted = value_of(index_of(value));
                let error = (value - counted) / value;
                assert!(
                    (0.0..QUANTILE_ERROR_MAX).contains(&error),
                    "{value} counts as {counted}"
                );
            }
        }
        for whole in -256..=256 {
            assert_eq!(value_of(index_of(f64::from(whole))), f64::from(whole));
        }
        assert_eq!(index_of(-0.0), index_of(0.0));
    }

    #[test]
    fn quantiles_are_the_least_with_their_share() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let quantiles = of(&hundred);
        for percent in 1..=100 {
            let q = f64::from(percent) / 100.0;
            assert_eq!(quantiles.quantile(q), Some(f64::from(percent)), "{q}");
        }
        assert_eq!(quantiles.quantile(0.001), Some(1.0));
        assert_eq!(quantiles.quantile(0.501), Some(51.0));
        assert_eq!(of(&[3.0, -1.0, 0.0, -2.0]).quantile(0.5), Some(-1.0));
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    #[test]
    fn order_merging_and_reading_back_change_nothing() {
        let values: Vec<f64> = (0..500).map(|at| f64::from(at * 7919 % 1000 - 300) / 7.0).collect();
        let whole = of(&values);
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        assert_eq!(of(&reversed), whole);
        for cut in [0, 1, 100, 499, 500] {
            let mut merged = read_back(&of(&values[..cut]));
            merged.merge(of(&values[cut..]));
            assert_eq!(merged, whole);
        }
        let mut less = whole.clone();
        values[100..].iter().for_each(|&value| less.subtract(value));
        assert_eq!(less, of(&values[..100]));
        values[..100].iter().for_each(|&value| less.subtract(value));
        assert_eq!(less, Quantiles::default());
    }
}
