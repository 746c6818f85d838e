//! Keys on their way to a table of the memory, several at a time.
//!
//! State is looked up all over the memory, and what a look-up costs is the wait for it. Look-ups that do not depend on
//! each other wait together: so the keys of some hundred rows are made and hashed first, all of them are looked for once
//! with nothing done about it, and only then comes the first row.

use crate::limits::STATE_BUCKETS;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys that are looked ahead at once: enough to wait for together, and few enough for all that they bring in to stay in
/// the cache.
pub const LOOK_AHEAD_KEYS: usize = 256;

/// Bytes of such keys.
const LOOK_AHEAD_BYTES: usize = 64 << 10;

/// Where a key is to be found: its hash. Different keys may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// The place of `key`. `seed` keeps hostile keys from colliding on purpose.
    #[inline]
    pub fn of(seed: u64, key: &[u8]) -> Self {
        Self(xxh3_64_with_seed(key, seed))
    }

    /// The bucket, where there are [`STATE_BUCKETS`] of them.
    #[inline]
    pub fn bucket(self) -> usize {
        (self.0 >> 32) as usize % STATE_BUCKETS
    }

    /// What an entry keeps of its hash.
    #[inline]
    pub fn short(self) -> u32 {
        self.0 as u32
    }

    /// The hash for a table, also within a bucket.
    #[inline]
    pub fn in_bucket(self) -> u64 {
        Self::spread(self.short())
    }

    /// The same, of what an entry kept. Tables use the lowest and the topmost bits.
    #[inline]
    pub fn spread(short: u32) -> u64 {
        u64::from(short) << 32 | u64::from(short)
    }
}

/// Keys of look-ups that come next, in their order.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    places: Vec<Place>,
    next: usize,
    start: usize,
}

impl Keys {
    /// Removes all keys.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.places.clear();
        (self.next, self.start) = (0, 0);
    }

    /// Whether these are enough to be looked ahead.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= LOOK_AHEAD_KEYS || self.bytes.len() >= LOOK_AHEAD_BYTES
    }

    /// Adds the key that `write` appends.
    #[inline]
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The places of all keys. [`Keys::take_next`] gives those that were made here.
    pub fn places(&mut self, seed: u64) -> &[Place] {
        let mut start = 0;
        self.places.clear();
        for &end in &self.ends {
            let key = self.bytes.get(start..end).unwrap_or_default();
            self.places.push(Place::of(seed, key));
            start = end;
        }
        &self.places
    }

    /// The next key, in the order in which they were added.
    #[inline]
    pub fn take_next(&mut self) -> Option<(Place, &[u8])> {
        let (place, end) = (*self.places.get(self.next)?, *self.ends.get(self.next)?);
        let key = self.bytes.get(self.start..end)?;
        self.next += 1;
        self.start = end;
        Some((place, key))
    }
}
