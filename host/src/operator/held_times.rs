//! Times within the entries of keyed state, and entries that an older Weir wrote: it compared times in milliseconds.
//!
//! Such entries are converted as they are read back, once: whoever reads them writes the state anew (`Database::restore`).

use crate::{
    model::{
        column::Value,
        row::{push_key_cell, take_key_cell},
    },
    plan::ms_in_us,
};
use std::ops::Range;

/// Where the entries of a state hold times.
#[derive(Clone, Debug)]
pub struct HeldTimes {
    /// Which cells of a key are times.
    key: Range<usize>,
    value: InValue,
}

/// Where a value holds times.
#[derive(Clone, Copy, Debug)]
enum InValue {
    Nowhere,
    /// In the first eight bytes.
    First,
    /// Wherever this finds them.
    Within(fn(&[u8]) -> Option<Vec<u8>>),
}

impl HeldTimes {
    /// Such cells of each key are times, and none in the values.
    pub(super) fn in_keys(key: Range<usize>) -> Self {
        Self {
            key,
            value: InValue::Nowhere,
        }
    }

    /// Each value begins with a time.
    pub(super) fn first_in_values() -> Self {
        Self {
            key: 0..0,
            value: InValue::First,
        }
    }

    /// Such cells of each key are times; and `convert` makes microseconds of those in a value.
    pub(super) fn within(key: Range<usize>, convert: fn(&[u8]) -> Option<Vec<u8>>) -> Self {
        Self {
            key,
            value: InValue::Within(convert),
        }
    }

    /// The key of an entry with milliseconds, in microseconds. Nothing when it is none of the state's.
    pub(crate) fn key_in_us(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (mut converted, mut rest, mut text) = (Vec::with_capacity(key.len()), key, Vec::new());
        for cell in 0..self.key.end {
            let before = rest;
            let value = take_key_cell(&mut rest, &mut text)?;
            match (value, self.key.contains(&cell)) {
                (Value::Int(time_ms), true) => push_key_cell(&mut converted, Value::Int(ms_in_us(time_ms))),
                _ => converted.extend_from_slice(before.get(..before.len() - rest.len())?),
            }
        }
        converted.extend_from_slice(rest);
        Some(converted)
    }

    /// The same of a value.
    pub(crate) fn value_in_us(&self, value: &[u8]) -> Option<Vec<u8>> {
        match self.value {
            InValue::Nowhere => Some(value.to_vec()),
            InValue::First => {
                let (time_ms, rest) = value.split_first_chunk::<8>()?;
                let time_us = ms_in_us(i64::from_le_bytes(*time_ms));
                Some([&time_us.to_le_bytes(), rest].concat())
            }
            InValue::Within(convert) => convert(value),
        }
    }
}
