//! Rows and keys as bytes: what operators keep in memory, and what the state log and the sinks write.
//!
//! A *row* is its cells one after the other, each with a tag, so that it can be read back without its schema. A *key*
//! is written so that comparing bytes compares cells in order: sorting keys gives the order of SQLite's B-tree, and all
//! keys of one prefix lie together. Nulls are equal to each other and come first; -0.0 is 0.0.

use crate::model::column::{Column, Unscaled, Value};
use xxhash_rust::xxh3::xxh3_64;

const NULL: u8 = 0;
const INT: u8 = 1;
const DOUBLE: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;
const TEXT: u8 = 5;
const DECIMAL: u8 = 6;

/// Appends one cell to a row.
#[inline]
pub fn push_cell(row: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => row.push(NULL),
        Value::Int(value) => {
            row.push(INT);
            row.extend_from_slice(&value.to_le_bytes());
        }
        Value::Double(value) => {
            row.push(DOUBLE);
            row.extend_from_slice(&value.to_le_bytes());
        }
        Value::Boolean(value) => row.push(if value { TRUE } else { FALSE }),
        Value::Text(text) => {
            row.push(TEXT);
            push_length(row, text.len());
            row.extend_from_slice(text);
        }
        Value::Decimal(unscaled) => {
            row.push(DECIMAL);
            row.extend_from_slice(&unscaled.get().to_le_bytes());
        }
    }
}

/// Appends a length in 7-bit groups, lowest first.
#[inline]
pub fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Takes a length off the front of `bytes`; nothing when they end too early.
#[inline]
pub fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= ((byte & 0x7f) as usize).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Takes `length` bytes off the front of `bytes`; nothing when there are fewer.
#[inline]
pub fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes one cell off the front of a row; nothing when the bytes are no row.
#[inline]
pub fn take_cell<'a>(row: &mut &'a [u8]) -> Option<Value<'a>> {
    let (&tag, rest) = row.split_first()?;
    *row = rest;
    Some(match tag {
        NULL => Value::Null,
        INT => Value::Int(i64::from_le_bytes(*take_array(row)?)),
        DOUBLE => Value::Double(f64::from_le_bytes(*take_array(row)?)),
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        TEXT => {
            let length = take_length(row)?;
            Value::Text(take_bytes(row, length)?)
        }
        DECIMAL => Value::Decimal(Unscaled::new(i128::from_le_bytes(*take_array(row)?))),
        _ => return None,
    })
}

fn take_array<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(array)
}

/// The cells of a row, up to the first byte that is none.
pub fn cells(mut row: &[u8]) -> impl Iterator<Item = Value<'_>> {
    std::iter::from_fn(move || take_cell(&mut row))
}

/// Appends one cell to a key.
#[inline]
pub fn push_key_cell(key: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => key.push(NULL),
        Value::Int(value) => {
            key.push(INT);
            key.extend_from_slice(&(value as u64 ^ (1 << 63)).to_be_bytes());
        }
        Value::Double(value) => {
            // Adding 0.0 turns -0.0 into 0.0 and leaves all others alone.
            let bits = (value + 0.0).to_bits();
            let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
            key.push(DOUBLE);
            key.extend_from_slice(&ordered.to_be_bytes());
        }
        Value::Boolean(value) => key.push(if value { TRUE } else { FALSE }),
        Value::Text(text) => {
            key.push(TEXT);
            // A zero byte within a text is followed by 0xff, so that 00 00 ends it and shorter texts come first.
            let mut parts = text.split(|&byte| byte == 0);
            key.extend_from_slice(parts.next().unwrap_or_default());
            for part in parts {
                key.extend_from_slice(&[0, 0xff]);
                key.extend_from_slice(part);
            }
            key.extend_from_slice(&[0, 0]);
        }
        Value::Decimal(unscaled) => {
            key.push(DECIMAL);
            key.extend_from_slice(&(unscaled.get() as u128 ^ (1 << 127)).to_be_bytes());
        }
    }
}

/// Appends the cells of one row to a key.
#[inline]
pub fn push_key(key: &mut Vec<u8>, columns: &[&Column], row: usize) {
    for column in columns {
        push_key_cell(key, column.get(row));
    }
}

/// What stands for a key in a trace. That two keys of a table share one is possible and does not happen (one pair in 10^13
/// with a million keys).
pub fn hash_of_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Takes one cell off the front of a key; a text is put into `text` and returned from there.
pub fn take_key_cell<'a>(key: &mut &[u8], text: &'a mut Vec<u8>) -> Option<Value<'a>> {
    let (&tag, rest) = key.split_first()?;
    *key = rest;
    Some(match tag {
        NULL => Value::Null,
        INT => Value::Int((u64::from_be_bytes(*take_array(key)?) ^ (1 << 63)) as i64),
        DOUBLE => {
            let ordered = u64::from_be_bytes(*take_array(key)?);
            Value::Double(f64::from_bits(if ordered >> 63 == 1 {
                ordered & !(1 << 63)
            } else {
                !ordered
            }))
        }
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        TEXT => {
            text.clear();
            loop {
                let zero = key.iter().position(|&byte| byte == 0)?;
                text.extend_from_slice(key.get(..zero)?);
                let mark = *key.get(zero + 1)?;
                *key = key.get(zero + 2..)?;
                match mark {
                    0 => break,
                    _ => text.push(0),
                }
            }
            Value::Text(text)
        }
        DECIMAL => {
            let ordered = u128::from_be_bytes(*take_array(key)?);
            Value::Decimal(Unscaled::new((ordered ^ (1 << 127)) as i128))
        }
        _ => return None,
    })
}

/// A key as a row: the same cells, but for zeros, of which a key has one.
pub fn row_of_key(key: &[u8]) -> Vec<u8> {
    let (mut row, mut text, mut rest) = (Vec::new(), Vec::new(), key);
    while let Some(cell) = take_key_cell(&mut rest, &mut text) {
        push_cell(&mut row, cell);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[Value<'_>]) -> Vec<u8> {
        let mut key = Vec::new();
        values.iter().for_each(|&value| push_key_cell(&mut key, value));
        key
    }

    #[test]
    fn rows_read_back_as_written() {
        let written = [
            Value::Null,
            Value::Int(i64::MIN),
            Value::Double(-0.5),
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Text("保单\0".as_bytes()),
            Value::Text(&[b'x'; 300]),
            Value::Decimal(Unscaled::new(i128::MIN)),
            Value::Decimal(Unscaled::new(-1)),
        ];
        let mut row = Vec::new();
        written.iter().for_each(|&value| push_cell(&mut row, value));
        assert_eq!(cells(&row).collect::<Vec<_>>(), written);
        for cut in 0..row.len() {
            assert!(
                cells(&row[..cut]).count() < written.len(),
                "a row cut at {cut} is no whole row"
            );
        }
    }

    #[test]
    fn keys_order_as_their_cells_do() {
        let ordered = [
            key(&[Value::Null]),
            key(&[Value::Int(i64::MIN)]),
            key(&[Value::Int(-1)]),
            key(&[Value::Int(0)]),
            key(&[Value::Int(i64::MAX)]),
            key(&[Value::Double(f64::NEG_INFINITY)]),
            key(&[Value::Double(-1.5)]),
            key(&[Value::Double(0.0)]),
            key(&[Value::Double(5e-324)]),
            key(&[Value::Double(2.0)]),
            key(&[Value::Text(b"")]),
            key(&[Value::Text(b"\0")]),
            key(&[Value::Text(b"\0a")]),
            key(&[Value::Text(b"a"), Value::Int(9)]),
            key(&[Value::Text(b"a\0"), Value::Int(1)]),
            key(&[Value::Text(b"ab")]),
            key(&[Value::Decimal(Unscaled::new(i128::MIN))]),
            key(&[Value::Decimal(Unscaled::new(-(1 << 64)))]),
            key(&[Value::Decimal(Unscaled::new(-1))]),
            key(&[Value::Decimal(Unscaled::new(0))]),
            key(&[Value::Decimal(Unscaled::new(1 << 64))]),
            key(&[Value::Decimal(Unscaled::new(i128::MAX))]),
        ];
        assert!(ordered.is_sorted(), "{ordered:?}");
        assert_eq!(key(&[Value::Double(-0.0)]), key(&[Value::Double(0.0)]));
    }

    #[test]
    fn keys_read_back_as_written() {
        let written = [
            Value::Text(b"a\0\0b"),
            Value::Null,
            Value::Int(-7),
            Value::Double(-2.5),
            Value::Boolean(true),
            Value::Decimal(Unscaled::new(-(10i128.pow(38) - 1))),
        ];
        let bytes = key(&written);
        let (mut rest, mut text) = (bytes.as_slice(), Vec::new());
        for value in written {
            assert_eq!(take_key_cell(&mut rest, &mut text), Some(value));
        }
        assert!(rest.is_empty());
    }
}
