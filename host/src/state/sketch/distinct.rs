//! How many different values there are, about: HyperLogLog, as Apache DataSketches has it.
//!
//! The library holds the hashes of the first values, one each, and of more than 384 only registers: for each of 4096 shares
//! of all hashes the most zeros that one of them began with. Both are sets, whatever the order of the values. Its usual
//! estimate is not: it goes by how the registers came to be, which after a merge nobody knows, and which follows the order
//! of the hashes in memory, another one once they were read back. So the estimate that is made here is the library's other
//! one, of the registers alone. (The sums behind that are of few enough bits to be exact, in whatever order.)

use crate::model::{
    column::Value,
    row::{push_key_cell, push_length, take_bytes, take_length},
};
use datasketches::{
    hash::value::raw_bytes,
    hll::{HllSketch, HllType, HllUnion},
};

/// The binary logarithm of the number of registers. Of 4096 the estimate is off by 1.6 % (the standard deviation), and they
/// are as many bytes; each further halving of the error would cost four times the bytes.
const REGISTERS_LOG2: u8 = 12;

/// The different values that were added, about. At most some 4150 bytes in a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distinct {
    /// Absent before the first value.
    sketch: Option<HllSketch>,
}

impl Distinct {
    /// Adds a value. Both zeros are one.
    pub fn add(&mut self, value: Value<'_>) {
        if self.sketch.is_none() {
            self.sketch = HllSketch::new(REGISTERS_LOG2, HllType::Hll8).ok();
        }
        if let Some(sketch) = &mut self.sketch {
            let mut bytes = Vec::with_capacity(16);
            push_key_cell(&mut bytes, value);
            // The library's hash has a seed of its own, which is always the same.
            sketch.update(raw_bytes::from_slice(&bytes));
        }
    }

    /// Adds all values of another sketch.
    pub fn merge(&mut self, other: Self) {
        let (Some(into), Some(from)) = (&self.sketch, &other.sketch) else {
            self.sketch = self.sketch.take().or(other.sketch);
            return;
        };
        if let Ok(mut union) = HllUnion::new(REGISTERS_LOG2) {
            union.update(into);
            union.update(from);
            self.sketch = Some(union.to_sketch(HllType::Hll8));
        }
    }

    /// How many different values there are, about.
    pub fn estimate(&self) -> i64 {
        // A float becomes the nearest integer that there is.
        let estimate = self.sketch.as_ref().map(HllSketch::composite_estimate);
        estimate.map_or(0, |estimate| estimate.round() as i64)
    }

    /// Appends the sketch as bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let sketch = self.sketch.as_ref().map(HllSketch::serialize).unwrap_or_default();
        push_length(bytes, sketch.len());
        bytes.extend_from_slice(&sketch);
    }

    /// Takes a sketch off the front of `bytes`; nothing when they are none.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let sketch = match take_length(bytes)? {
            0 => None,
            length => {
                let sketch = HllSketch::deserialize(take_bytes(bytes, length)?).ok()?;
                let is_ours = sketch.lg_config_k() == REGISTERS_LOG2 && sketch.target_type() == HllType::Hll8;
                Some(is_ours.then_some(sketch)?)
            }
        };
        Some(Self { sketch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl Iterator<Item = i64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.for_each(|value| distinct.add(Value::Int(value)));
        distinct
    }

    fn read_back(distinct: &Distinct) -> Distinct {
        let mut bytes = Vec::new();
        distinct.encode(&mut bytes);
        assert!(bytes.len() <= 4150, "{} bytes", bytes.len());
        let mut rest = bytes.as_slice();
        let read = Distinct::take(&mut rest).expect("what was written is read");
        assert!(rest.is_empty());
        assert!(
            (0..bytes.len()).all(|cut| Distinct::take(&mut &bytes[..cut]).is_none()),
            "bytes that end early are no sketch"
        );
        read
    }

    /// A number that has nothing to do with its neighbours'.
    fn mixed(value: i64) -> i64 {
        value.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)
    }

    #[test]
    fn estimates_are_near() {
        for count in [0, 1, 7, 8, 100, 384, 385, 1_000, 5_000, 10_000, 100_000, 1_000_000] {
            let estimate = of((0..count).map(mixed)).estimate();
            let error = (estimate - count).abs() as f64 / count.max(1) as f64;
            assert!(error <= 0.05, "{estimate} of {count}");
            assert!(count > 384 || estimate == count, "{estimate} of {count}");
        }
    }

    #[test]
    fn what_is_read_back_goes_on_as_before() {
        let (mut never, mut often) = (Distinct::default(), Distinct::default());
        for value in 0..6_000 {
            never.add(Value::Int(mixed(value)));
            often.add(Value::Int(mixed(value)));
            // Closely where the library goes from one form to another.
            if value < 50 || (350..420).contains(&value) || value % 500 == 0 {
                often = read_back(&often);
            }
            assert_eq!(often.estimate(), never.estimate(), "after {value}");
        }
    }

    #[test]
    fn order_and_merging_change_nothing() {
        for (first, second) in [
            (5, 3),
            (20, 390),
            (390, 20),
            (200, 300),
            (400, 5_000),
            (5_000, 400),
            (0, 9),
            (9, 0),
        ] {
            let whole = of((0..first + second).map(mixed)).estimate();
            assert_eq!(of((0..first + second).rev().map(mixed)).estimate(), whole);
            let mut merged = of((0..first).map(mixed));
            merged.merge(of((first / 2..first + second).map(mixed)));
            assert_eq!(merged.estimate(), whole, "{first} and {second}");
            assert_eq!(read_back(&merged).estimate(), whole);
        }
    }

    #[test]
    fn zeros_are_one_and_types_are_not() {
        let mut distinct = Distinct::default();
        let values = [
            Value::Double(0.0),
            Value::Double(-0.0),
            Value::Text(b""),
            Value::Text(b"a"),
            Value::Boolean(true),
            Value::Boolean(false),
        ];
        values.into_iter().for_each(|value| distinct.add(value));
        assert_eq!(distinct.estimate(), 5);
    }
}
