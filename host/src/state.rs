//! Keyed state: in memory, with what changed handed to the turn.
//!
//! Operators keep one entry per smallest thing that changes. Each turn takes the entries that changed since the one
//! before and appends them to the state log; a share of the keys, one *bucket* after the other, is written whole as a
//! snapshot, so that older log rows can go. Reading the snapshots and then the log gives the state back.
//!
//! A batch that has to be undone (a later stage rejected one of its events) is rolled back here: between
//! [`KeyedState::savepoint`] and [`KeyedState::rollback`] the old values are kept.

pub mod exact_sum;
pub mod sketch;
pub mod wide_sum;

use crate::{
    limits::STATE_BUCKETS,
    model::keys::{Keys, LOOK_AHEAD_KEYS, Place},
    model::row::{push_length, take_bytes, take_length},
};
use hashbrown::{HashTable, hash_table::OccupiedEntry};
use std::{hint::black_box, num::NonZeroU64, ops::Range};

/// What an operator keeps per key.
pub trait StateValue: Clone + Sized {
    /// Appends the value's bytes; the same value always gives the same bytes.
    fn encode(&self, bytes: &mut Vec<u8>);
    /// Reads what [`StateValue::encode`] wrote; nothing when the bytes are none of it.
    fn decode(bytes: &[u8]) -> Option<Self>;
    /// Reads of the memory behind the value, if it has any.
    fn touch(&self) -> u8 {
        0
    }
}

impl StateValue for Box<[u8]> {
    fn touch(&self) -> u8 {
        self.first().copied().unwrap_or(0)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.into())
    }
}

/// How many rows hold a value.
impl StateValue for NonZeroU64 {
    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.get() as usize);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = take_length(&mut bytes)?;
        if bytes.is_empty() {
            Self::new(value as u64)
        } else {
            None
        }
    }
}

/// Bytes of a key that are held in place. With the rest of an entry they fill a line of the processor's cache.
const SHORT_BYTES: usize = 38;

/// A key. State is looked up all over memory, and what a lookup costs is the number of places that it has to read: a
/// short key is in the entry itself.
#[derive(Clone, Debug)]
enum Key {
    Short(u8, [u8; SHORT_BYTES]),
    Long(Box<[u8]>),
}

impl Key {
    const EMPTY: Self = Self::Short(0, [0; SHORT_BYTES]);

    /// Fills an empty key, where it is: moving one that was just written stalls the processor.
    #[inline]
    fn fill(&mut self, key: &[u8]) {
        if let Self::Short(length, bytes) = self
            && let Some(bytes) = bytes.get_mut(..key.len())
        {
            *length = key.len() as u8;
            bytes.copy_from_slice(key);
        } else {
            *self = Self::Long(key.into());
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Entry<V> {
    /// [`Place::short`], which a growing table asks for again.
    hash: u32,
    changed: bool,
    /// Whether `value` is already in the journal of the running batch.
    journaled: bool,
    /// Absent: deleted in this turn, and gone with its end.
    value: Option<V>,
    key: Key,
}

/// A map from keys to values that knows what changed.
#[derive(Debug)]
pub struct KeyedState<V> {
    buckets: Vec<HashTable<Entry<V>>>,
    seed: u64,
    live: usize,
    /// Whether changes are wanted. If not, only entries that are gone are marked, to be removed.
    logged: bool,
    /// One for each entry that is marked as changed.
    changed: Vec<Place>,
    journal: Option<Vec<(Place, Key, Option<V>)>>,
}

impl<V: StateValue> KeyedState<V> {
    /// An empty state. `seed` keeps hostile keys from colliding on purpose; it belongs to the database, because the
    /// buckets of snapshots depend on it.
    pub fn new(seed: u64) -> Self {
        Self {
            buckets: (0..STATE_BUCKETS).map(|_| HashTable::new()).collect(),
            seed,
            live: 0,
            logged: true,
            changed: Vec::new(),
            journal: None,
        }
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Memory that the hash tables take; what long keys and values have outside of them comes on top.
    pub fn table_bytes(&self) -> usize {
        self.buckets.iter().map(HashTable::allocation_size).sum()
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// How many entries the next [`KeyedState::take_changes`] will hand over.
    pub fn changed_len(&self) -> usize {
        self.changed.len()
    }

    /// The bucket that `key` belongs to.
    pub fn bucket_of(&self, key: &[u8]) -> usize {
        Place::of(self.seed, key).bucket()
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let place = Place::of(self.seed, key);
        let bucket = self.buckets.get(place.bucket())?;
        bucket
            .find(place.in_bucket(), |entry| entry.is(place, key))?
            .value
            .as_ref()
    }

    /// Lets `change` look at the value of `key` and alter, set or clear it. It returns whether it did.
    ///
    /// A closure that altered the value and returns `false` would leave the change out of the log.
    #[inline]
    pub fn modify(&mut self, key: &[u8], change: impl FnOnce(&mut Option<V>) -> bool) {
        self.modify_at(Place::of(self.seed, key), key, change);
    }

    /// The next rows of a batch of `rows`, with their keys in `keys` and looked ahead. `push` appends the key of a row. Each
    /// row then takes its own, by [`KeyedState::modify_next`].
    #[inline]
    pub fn next_rows(
        &self,
        keys: &mut Keys,
        rows: usize,
        mut push: impl FnMut(&mut Vec<u8>, usize),
    ) -> Option<Range<usize>> {
        self.next_rows_of(keys, rows, |keys, row| {
            keys.push(|key| push(key, row));
            1
        })
    }

    /// The same where a row has any number of keys: `push` adds them, see [`Keys::next_rows`].
    #[inline]
    pub fn next_rows_of(
        &self,
        keys: &mut Keys,
        rows: usize,
        push: impl FnMut(&mut Keys, usize) -> usize,
    ) -> Option<Range<usize>> {
        let rows = keys.next_rows(rows, push)?;
        self.look_ahead(keys);
        Some(rows)
    }

    /// Makes ready for look-ups of all of `keys`.
    pub fn look_ahead(&self, keys: &mut Keys) {
        self.warm(keys.places(self.seed));
    }

    /// As [`KeyedState::modify`], for the next of the keys that were looked ahead.
    #[inline]
    pub fn modify_next(&mut self, keys: &mut Keys, change: impl FnOnce(&[u8], &mut Option<V>) -> bool) {
        if let Some((place, key)) = keys.take_next() {
            self.modify_at(place, key, |value| change(key, value));
        }
    }

    /// The next of the keys that were looked ahead, and its value.
    #[inline]
    pub fn get_next<'k>(&self, keys: &'k mut Keys) -> Option<(&'k [u8], Option<&V>)> {
        let (place, key) = keys.take_next()?;
        let bucket = self.buckets.get(place.bucket())?;
        let entry = bucket.find(place.in_bucket(), |entry| entry.is(place, key));
        Some((key, entry.and_then(|entry| entry.value.as_ref())))
    }

    /// Brings entries into the cache.
    fn warm(&self, places: &[Place]) {
        for place in places {
            let Some(bucket) = self.buckets.get(place.bucket()) else {
                continue;
            };
            let found = bucket.find(place.in_bucket(), |entry| entry.hash == place.short());
            black_box(found.and_then(|entry| entry.value.as_ref()).map(V::touch));
        }
    }

    #[inline]
    fn modify_at(&mut self, place: Place, key: &[u8], change: impl FnOnce(&mut Option<V>) -> bool) {
        let Some(bucket) = self.buckets.get_mut(place.bucket()) else {
            return;
        };
        let Some(entry) = bucket.find_mut(place.in_bucket(), |entry| entry.is(place, key)) else {
            let mut value = None;
            if change(&mut value) && value.is_some() {
                let journaled = self.journal.is_some();
                let hash = place.short();
                let entry = Entry {
                    hash,
                    changed: self.logged,
                    journaled,
                    value,
                    key: Key::EMPTY,
                };
                let mut entry = bucket.insert_unique(place.in_bucket(), entry, |entry| Place::spread(entry.hash));
                entry.get_mut().key.fill(key);
                if let Some(journal) = &mut self.journal {
                    journal.push((place, entry.get().key.clone(), None));
                }
                self.live += 1;
                if self.logged {
                    self.changed.push(place);
                }
            }
            return;
        };
        let had = entry.value.is_some();
        let before = match &self.journal {
            Some(_) if !entry.journaled => Some(entry.value.clone()),
            _ => None,
        };
        if !change(&mut entry.value) {
            return;
        }
        match (had, entry.value.is_some()) {
            (false, true) => self.live += 1,
            (true, false) => self.live -= 1,
            _ => {}
        }
        if !entry.changed && (self.logged || entry.value.is_none()) {
            entry.changed = true;
            self.changed.push(place);
        }
        if let (Some(journal), Some(before)) = (&mut self.journal, before) {
            entry.journaled = true;
            journal.push((place, entry.key.clone(), before));
        }
    }

    /// Starts to keep old values, until [`KeyedState::rollback`] or [`KeyedState::release`].
    pub fn savepoint(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// Forgets the old values: what happened since the savepoint stays.
    pub fn release(&mut self) {
        self.end_journal(|_, _| {});
    }

    /// Puts everything back to what it was at the savepoint, and calls `restored` with each key that was touched and
    /// whether it has a value now.
    pub fn rollback(&mut self, mut restored: impl FnMut(&[u8], bool)) {
        let mut live = self.live as isize;
        self.end_journal(|entry, before| {
            live += before.is_some() as isize - entry.value.is_some() as isize;
            entry.value = before;
            restored(entry.key.bytes(), entry.value.is_some());
        });
        self.live = live as usize;
    }

    fn end_journal(&mut self, mut each: impl FnMut(&mut Entry<V>, Option<V>)) {
        for (place, key, before) in self.journal.take().unwrap_or_default() {
            let Some(bucket) = self.buckets.get_mut(place.bucket()) else {
                continue;
            };
            if let Some(entry) = bucket.find_mut(place.in_bucket(), |entry| entry.is(place, key.bytes())) {
                entry.journaled = false;
                each(entry, before);
            }
        }
    }

    /// From now on nobody asks what changed: [`KeyedState::take_changes`] hands over nothing.
    pub fn leave_unlogged(&mut self) {
        self.logged = false;
    }

    /// Hands every entry that changed since the last call to `each`, `None` for those that are gone.
    pub fn take_changes(&mut self, mut each: impl FnMut(&[u8], Option<&V>)) {
        let changed = std::mem::take(&mut self.changed);
        for (at, &place) in changed.iter().enumerate() {
            if at.is_multiple_of(LOOK_AHEAD_KEYS) {
                self.warm(
                    changed
                        .get(at..changed.len().min(at + LOOK_AHEAD_KEYS))
                        .unwrap_or_default(),
                );
            }
            let Some(bucket) = self.buckets.get_mut(place.bucket()) else {
                continue;
            };
            // Each entry that is marked is in the list once: where two share a hash, both have their turn.
            let hash = place.short();
            let found = bucket.find_entry(place.in_bucket(), |entry| entry.changed && entry.hash == hash);
            let Ok(mut found) = found else { continue };
            let entry = found.get_mut();
            entry.changed = false;
            if self.logged {
                each(entry.key.bytes(), entry.value.as_ref());
            }
            if entry.value.is_none() {
                OccupiedEntry::remove(found);
            }
        }
    }

    /// Every entry of one bucket that has a value.
    pub fn bucket(&self, number: usize) -> impl Iterator<Item = (&[u8], &V)> {
        let entries = self.buckets.get(number).into_iter().flatten();
        entries.filter_map(|entry| Some((entry.key.bytes(), entry.value.as_ref()?)))
    }

    /// Every entry that has a value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        (0..self.buckets.len()).flat_map(|number| self.bucket(number))
    }

    /// Sets `key` while state is read back: nothing counts as changed.
    pub fn restore(&mut self, key: &[u8], value: Option<V>) {
        self.modify(key, |current| {
            *current = value;
            true
        });
        self.take_changes(|_, _| {});
    }
}

impl<V> Entry<V> {
    #[inline]
    fn is(&self, place: Place, key: &[u8]) -> bool {
        self.hash == place.short() && self.key.bytes() == key
    }
}

// ---- the bytes of the log ---------------------------------------------------------------------------------------------

/// Appends one entry to a log row or snapshot.
pub fn push_entry<V: StateValue>(bytes: &mut Vec<u8>, scratch: &mut Vec<u8>, key: &[u8], value: Option<&V>) {
    push_length(bytes, key.len());
    bytes.extend_from_slice(key);
    match value {
        None => push_length(bytes, 0),
        Some(value) => {
            scratch.clear();
            value.encode(scratch);
            push_length(bytes, scratch.len() + 1);
            bytes.extend_from_slice(scratch);
        }
    }
}

/// Reads entries off the front of `bytes`; `None` within when they are broken.
pub fn take_entry<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let length = take_length(bytes)?;
    let key = take_bytes(bytes, length)?;
    let value = match take_length(bytes)? {
        0 => None,
        length => Some(take_bytes(bytes, length - 1)?),
    };
    Some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(state: &mut KeyedState<NonZeroU64>, key: &[u8], value: Option<u64>) {
        let value = value.and_then(NonZeroU64::new);
        state.modify(key, |current| std::mem::replace(current, value) != value);
    }

    fn get(state: &KeyedState<NonZeroU64>, key: &[u8]) -> Option<u64> {
        state.get(key).map(|value| value.get())
    }

    fn changes(state: &mut KeyedState<NonZeroU64>) -> Vec<(Vec<u8>, Option<u64>)> {
        let mut all = Vec::new();
        state.take_changes(|key, value| all.push((key.to_vec(), value.map(|value| value.get()))));
        all
    }

    #[test]
    fn changes_are_handed_over_once_and_net() {
        let mut state = KeyedState::new(7);
        set(&mut state, b"a", Some(1));
        set(&mut state, b"b", Some(2));
        set(&mut state, b"a", Some(3));
        assert_eq!(
            changes(&mut state),
            [(b"a".to_vec(), Some(3)), (b"b".to_vec(), Some(2))]
        );
        assert_eq!(changes(&mut state), []);
        set(&mut state, b"a", Some(3));
        assert_eq!(changes(&mut state), [], "the same value is no change");
        set(&mut state, b"a", None);
        assert_eq!((get(&state, b"a"), state.len()), (None, 1));
        assert_eq!(changes(&mut state), [(b"a".to_vec(), None)]);
        set(&mut state, b"a", Some(5));
        assert_eq!((get(&state, b"a"), state.len()), (Some(5), 2));
    }

    #[test]
    fn rollback_restores_values_and_counts() {
        let mut state = KeyedState::new(7);
        set(&mut state, b"kept", Some(1));
        set(&mut state, b"gone", Some(2));
        changes(&mut state);
        state.savepoint();
        set(&mut state, b"kept", Some(10));
        set(&mut state, b"kept", Some(11));
        set(&mut state, b"gone", None);
        set(&mut state, b"new", Some(3));
        set(&mut state, b"new", Some(4));
        let mut restored = Vec::new();
        state.rollback(|key, live| restored.push((key.to_vec(), live)));
        assert_eq!(
            (get(&state, b"kept"), get(&state, b"gone"), get(&state, b"new")),
            (Some(1), Some(2), None)
        );
        assert_eq!(state.len(), 2);
        assert_eq!(
            restored,
            [
                (b"kept".to_vec(), true),
                (b"gone".to_vec(), true),
                (b"new".to_vec(), false)
            ]
        );
        changes(&mut state);
        set(&mut state, b"new", Some(5));
        assert_eq!(get(&state, b"new"), Some(5));
    }

    #[test]
    fn long_keys_are_keys_too() {
        let mut state = KeyedState::new(7);
        for length in 0..200 {
            set(&mut state, &vec![b'k'; length], Some(length as u64 + 1));
        }
        for length in 0..200 {
            assert_eq!(get(&state, &vec![b'k'; length]), Some(length as u64 + 1));
        }
        assert_eq!(changes(&mut state).len(), 200);
        assert_eq!(size_of::<Entry<Box<[u8]>>>(), 64, "an entry is a line of the cache");
    }

    #[test]
    fn entries_read_back_as_written() {
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        push_entry(&mut bytes, &mut scratch, b"key", NonZeroU64::new(300).as_ref());
        push_entry::<NonZeroU64>(&mut bytes, &mut scratch, b"", None);
        let mut rest = bytes.as_slice();
        let (key, value) = take_entry(&mut rest).unwrap();
        assert_eq!(
            (key, value.and_then(NonZeroU64::decode)),
            (b"key".as_slice(), NonZeroU64::new(300))
        );
        assert_eq!(take_entry(&mut rest), Some((b"".as_slice(), None)));
        assert!(rest.is_empty());
    }
}
