//! How much memory an instance may have: all of its linear memories and tables together.

use crate::limits::{GUEST_CORE_INSTANCES_MAX, GUEST_MEMORIES_MAX, GUEST_TABLES_MAX};
use std::fmt;
use wasmtime::{ResourceLimiter, Result};

/// Bytes of an entry of a table.
const ENTRY_BYTES: usize = size_of::<usize>();

/// The memory of an instance, as far as it is taken.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes that may be taken.
    most: usize,
    taken: usize,
}

/// Why a memory or table did not grow. The call ends with it: a rule cannot do without what it asked for.
#[derive(Debug)]
pub(super) enum Full {
    /// There is no room for it.
    Limit,
    /// The component itself declares that it grows no further.
    Declared,
    /// The system has no memory for it.
    System(String),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => f.write_str("it needs more memory than it may have"),
            Self::Declared => f.write_str("it needs more memory than it declares itself"),
            Self::System(cause) => write!(f, "the system has no memory for it: {cause}"),
        }
    }
}

impl std::error::Error for Full {}

impl Room {
    /// Room for `most` bytes, of which `taken` are what the host itself keeps of the instance.
    pub(super) fn new(most: usize, taken: usize) -> Self {
        Self { most, taken }
    }

    /// Bytes that are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether more of it was taken since `before` bytes were than what is left then by half.
    pub(super) fn is_short_since(&self, before: usize) -> bool {
        self.taken.saturating_sub(before) > self.most.saturating_sub(before) / 2
    }

    fn take(&mut self, bytes: usize, is_declared: bool) -> Result<bool> {
        let taken = self.taken.saturating_add(bytes);
        if taken > self.most {
            return Err(Full::Limit.into());
        }
        if !is_declared {
            return Err(Full::Declared.into());
        }
        self.taken = taken;
        Ok(true)
    }
}

/// Whether what is asked for is no more than the component declares.
fn is_within(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}

impl ResourceLimiter for Room {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.take(desired.saturating_sub(current), is_within(desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        Err(Full::System(format!("{error:#}")).into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // One that grows is moved to where there is room for as much again.
        let entry_bytes = if current == 0 { ENTRY_BYTES } else { 2 * ENTRY_BYTES };
        let bytes = desired.saturating_sub(current).saturating_mul(entry_bytes);
        self.take(bytes, is_within(desired, maximum))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        Err(Full::System(format!("{error:#}")).into())
    }

    fn instances(&self) -> usize {
        GUEST_CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        GUEST_TABLES_MAX
    }

    fn memories(&self) -> usize {
        GUEST_MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, Room};
    use wasmtime::ResourceLimiter;

    #[test]
    fn memories_and_tables_share_one_room() {
        let mut room = Room::new(1000, 100);
        assert!(room.memory_growing(0, 300, None).unwrap());
        assert!(room.memory_growing(0, 200, None).unwrap());
        assert!(room.table_growing(0, 20, None).unwrap());
        assert_eq!(room.taken(), 760);
        assert!(room.memory_growing(300, 540, None).unwrap());
        let full = room.memory_growing(200, 201, None).unwrap_err();
        assert!(matches!(full.downcast_ref(), Some(Full::Limit)));
        let full = room.table_growing(20, 21, None).unwrap_err();
        assert!(matches!(full.downcast_ref(), Some(Full::Limit)));
        assert_eq!(room.taken(), 1000, "what was refused is not taken");
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        for most in [0, 1000, usize::MAX - 1] {
            let mut room = Room::new(most, 0);
            assert!(room.memory_growing(0, usize::MAX, None).is_err());
            assert!(room.table_growing(1, usize::MAX, None).is_err());
        }
    }

    #[test]
    fn what_a_component_declares_is_another_reason() {
        let mut room = Room::new(1000, 0);
        let full = room.memory_growing(100, 200, Some(150)).unwrap_err();
        assert!(matches!(full.downcast_ref(), Some(Full::Declared)));
        assert!(room.memory_growing(100, 150, Some(150)).unwrap());
    }

    #[test]
    fn room_is_short_when_half_of_what_was_left_is_taken() {
        let mut room = Room::new(1000, 200);
        assert!(!room.is_short_since(200));
        room.memory_growing(0, 400, None).unwrap();
        assert!(!room.is_short_since(200));
        room.memory_growing(400, 401, None).unwrap();
        assert!(room.is_short_since(200));
        assert!(!room.is_short_since(601));
    }
}
