//! How fields of Protobuf are written.

use crate::format::cursor::{Cursor, Rejected, broken, deeper};

/// What stands in front of a field: its number, and how its value is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) number: u32,
    wire: u8,
    at: usize,
}

/// Where a value is, and a number itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    /// Nowhere: it is the default of its kind.
    Default,
    Varint {
        bits: u64,
        at: usize,
    },
    Fixed64 {
        bits: u64,
        at: usize,
    },
    Fixed32 {
        bits: u32,
        at: usize,
    },
    Bytes {
        start: usize,
        end: usize,
    },
    Group {
        at: usize,
    },
}

impl Slot {
    pub(super) const DEFAULT: Self = Self::Default;

    pub(super) fn start(self) -> usize {
        match self {
            Self::Default => 0,
            Self::Varint { at, .. } | Self::Fixed64 { at, .. } | Self::Fixed32 { at, .. } | Self::Group { at } => at,
            Self::Bytes { start, .. } => start,
        }
    }

    /// How it is written, in words.
    pub(super) fn written(self) -> &'static str {
        match self {
            Self::Default => "nothing",
            Self::Varint { .. } => "a varint",
            Self::Fixed64 { .. } => "eight bytes",
            Self::Fixed32 { .. } => "four bytes",
            Self::Bytes { .. } => "bytes with a length",
            Self::Group { .. } => "a group",
        }
    }
}

const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;

impl Key {
    #[inline]
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Rejected> {
        let at = cursor.at();
        let key = cursor.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        match number {
            Some(number) => Ok(Self {
                number,
                wire: (key & 7) as u8,
                at,
            }),
            None => Err(broken(format!(
                "found the field number {} at byte {at}; accepted is a message",
                key >> 3
            ))),
        }
    }

    /// Reads its value, as far as it can be known without the field.
    #[inline]
    pub(super) fn value(self, cursor: &mut Cursor<'_>) -> Result<Slot, Rejected> {
        let at = cursor.at();
        Ok(match self.wire {
            0 => Slot::Varint {
                bits: cursor.varint()?,
                at,
            },
            1 => Slot::Fixed64 {
                bits: u64::from_le_bytes(cursor.array()?),
                at,
            },
            2 => {
                let length = cursor.varint()?;
                let start = cursor.at();
                cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                Slot::Bytes {
                    start,
                    end: cursor.at(),
                }
            }
            5 => Slot::Fixed32 {
                bits: u32::from_le_bytes(cursor.array()?),
                at,
            },
            START_GROUP => {
                self.skip_group(cursor)?;
                Slot::Group { at }
            }
            _ => return Err(self.mismatch("a field")),
        })
    }

    /// Passes over its value.
    #[inline]
    pub(super) fn skip(self, cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
        self.value(cursor).map(|_| ())
    }

    /// Passes over all fields up to the end of a group, and groups within it.
    fn skip_group(self, cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
        let mut open = vec![self.number];
        while let Some(&number) = open.last() {
            let key = Self::read(cursor)?;
            match key.wire {
                START_GROUP => {
                    deeper(open.len(), key.at)?;
                    open.push(key.number);
                }
                END_GROUP if key.number == number => {
                    open.pop();
                }
                END_GROUP => return Err(key.mismatch("the end of the group that is open")),
                _ => key.skip(cursor)?,
            }
        }
        Ok(())
    }

    /// It is written as it cannot be.
    #[cold]
    pub(super) fn mismatch(self, accepted: &str) -> Rejected {
        broken(format!(
            "found the field {} with wire type {} at byte {}; accepted is {accepted}",
            self.number, self.wire, self.at
        ))
    }
}
