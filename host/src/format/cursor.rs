//! A place in the bytes of a payload that is no text. Nothing is read beyond its end, and no length that it claims is believed.

use super::{columns::RejectedPayload, scalar::malformed};
use crate::limits::PAYLOAD_NESTING_MAX;

/// What is wrong with a payload: small where nothing is.
pub(super) type Rejected = Box<RejectedPayload>;

/// Bytes, of which those up to a place are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'p> {
    bytes: &'p [u8],
    at: usize,
    end: usize,
}

impl<'p> Cursor<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// Those of `bytes` from one place to another.
    #[inline]
    pub(super) fn over(bytes: &'p [u8], start: usize, end: usize) -> Self {
        let end = end.min(bytes.len());
        Self { bytes, at: start, end }
    }

    /// How many bytes are read.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// The bytes that are left.
    #[inline]
    pub(super) fn rest(&self) -> &'p [u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    /// Goes back to where it was.
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = self.at.min(at);
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Rejected> {
        match self.bytes.get(self.at) {
            Some(&byte) if self.at < self.end => {
                self.at = self.at.saturating_add(1);
                Ok(byte)
            }
            _ => Err(self.cut()),
        }
    }

    /// So many bytes.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'p [u8], Rejected> {
        let end = self.at.saturating_add(length);
        match self.bytes.get(self.at..end) {
            Some(taken) if end <= self.end => {
                self.at = end;
                Ok(taken)
            }
            _ => Err(self.too_long(length)),
        }
    }

    /// The next bytes, of a number that has as many.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Rejected> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.cut())
    }

    /// So many bytes, to be read by themselves; places stay those of the payload.
    #[inline]
    pub(super) fn within(&mut self, length: usize) -> Result<Self, Rejected> {
        let start = self.at;
        self.take(length)?;
        Ok(Self {
            bytes: self.bytes,
            at: start,
            end: self.at,
        })
    }

    /// A number in groups of seven bits, the lowest first.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Rejected> {
        let first = self.byte()?;
        match first < 0x80 {
            true => Ok(first.into()),
            false => self.long_varint(first),
        }
    }

    fn long_varint(&mut self, first: u8) -> Result<u64, Rejected> {
        let start = self.at.saturating_sub(1);
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken(format!(
            "found a number of more than 64 bits at byte {start}; accepted is a whole payload of the schema"
        )))
    }

    /// A number with a sign, which its lowest bit says.
    #[inline]
    pub(super) fn zigzag(&mut self) -> Result<i64, Rejected> {
        Ok(unzigzag(self.varint()?))
    }

    #[cold]
    fn cut(&self) -> Rejected {
        broken(format!(
            "found the end of the payload at byte {}, within a value; accepted is a whole payload of the schema",
            self.end
        ))
    }

    #[cold]
    fn too_long(&self, length: usize) -> Rejected {
        broken(format!(
            "found a value of {length} bytes at byte {}, and {} bytes are left; accepted is a whole payload of the schema",
            self.at,
            self.end.saturating_sub(self.at)
        ))
    }
}

/// One level deeper into values within values.
#[inline]
pub(super) fn deeper(depth: usize, at: usize) -> Result<usize, Rejected> {
    match depth < PAYLOAD_NESTING_MAX {
        true => Ok(depth.saturating_add(1)),
        false => Err(broken(format!(
            "found a value within more than {PAYLOAD_NESTING_MAX} others at byte {at}; accepted are as many"
        ))),
    }
}

/// The number with a sign that is written as this one.
#[inline]
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A payload that is none of its format.
#[cold]
pub(super) fn broken(reason: String) -> Rejected {
    Box::new(malformed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        for (bytes, expected) in [
            (&[0][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0x80, 0x00], Ok(0)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Ok(u64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                Err("more than 64 bits"),
            ),
            (&[0x80; 11], Err("more than 64 bits")),
            (&[0x80], Err("the end of the payload at byte 1")),
            (&[], Err("the end of the payload at byte 0")),
        ] {
            match (Cursor::new(bytes).varint(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{bytes:?}"),
                (Err(found), Err(expected)) => assert!(found.reason.contains(expected), "{}", found.reason),
                (found, _) => panic!("{bytes:?} is {found:?}"),
            }
        }
        for (number, expected) in [(0, 0), (1, -1), (2, 1), (u64::MAX, i64::MIN), (u64::MAX - 1, i64::MAX)] {
            assert_eq!(unzigzag(number), expected);
        }
    }

    #[test]
    fn no_length_is_believed() {
        let mut cursor = Cursor::new(b"abcdef");
        let mut within = cursor.within(3).unwrap();
        assert_eq!(within.take(3).unwrap(), b"abc");
        assert!(within.is_at_end() && within.byte().is_err() && within.take(1).is_err());
        assert_eq!((cursor.at(), cursor.rest()), (3, &b"def"[..]));
        assert!(cursor.take(usize::MAX).is_err() && cursor.within(4).is_err());
        assert_eq!(cursor.array().unwrap(), *b"def");
    }
}
