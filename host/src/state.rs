//! Keyed state: in memory, with what changed handed to the turn.
//!
//! Operators keep one entry per smallest thing that changes. Each turn takes the entries that changed since the one
//! before and appends them to the state log; a share of the keys, one *bucket* after the other, is written whole as a
//! snapshot, so that older log rows can go. Reading the snapshots and then the log gives the state back.
//!
//! A batch that has to be undone (a later stage rejected one of its events) is rolled back here: between
//! [`KeyedState::checkpoint`] and [`KeyedState::rollback`] the old values are kept.

use crate::{
    limits::STATE_BUCKETS,
    row::{push_length, take_bytes, take_length},
};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What an operator keeps per key.
pub trait StateValue: Clone + Sized {
    /// Appends the value's bytes; the same value always gives the same bytes.
    fn encode(&self, bytes: &mut Vec<u8>);
    /// Reads what [`StateValue::encode`] wrote; nothing when the bytes are none of it.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl StateValue for Box<[u8]> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.into())
    }
}

/// How many rows hold a value.
impl StateValue for u64 {
    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, *self as usize);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = take_length(&mut bytes)?;
        bytes.is_empty().then_some(value as Self)
    }
}

#[derive(Debug)]
struct Entry<V> {
    key: Box<[u8]>,
    /// Absent: deleted in this turn, and gone with its end.
    value: Option<V>,
    changed: bool,
    /// Whether `value` is already in the journal of the running batch.
    journaled: bool,
}

#[derive(Debug)]
struct Bucket<V> {
    index: HashTable<u32>,
    entries: Vec<Option<Entry<V>>>,
    free: Vec<u32>,
}

impl<V> Default for Bucket<V> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

/// Where an entry lives: bucket, and place in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    bucket: u32,
    entry: u32,
}

/// A map from keys to values that knows what changed.
#[derive(Debug)]
pub struct KeyedState<V> {
    buckets: Vec<Bucket<V>>,
    seed: u64,
    live: usize,
    changed: Vec<Place>,
    journal: Option<Vec<(Place, Option<V>)>>,
}

impl<V: StateValue> KeyedState<V> {
    /// An empty state. `seed` keeps hostile keys from colliding on purpose; it belongs to the database, because the
    /// buckets of snapshots depend on it.
    pub fn new(seed: u64) -> Self {
        Self {
            buckets: (0..STATE_BUCKETS).map(|_| Bucket::default()).collect(),
            seed,
            live: 0,
            changed: Vec::new(),
            journal: None,
        }
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.live
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
        bucket_of(hash(self.seed, key))
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let hash = hash(self.seed, key);
        let bucket = self.buckets.get(bucket_of(hash))?;
        let entries = &bucket.entries;
        let at = bucket.index.find(hash, |&at| key_at(entries, at) == key)?;
        entries.get(*at as usize)?.as_ref()?.value.as_ref()
    }

    /// Lets `change` look at the value of `key` and alter, set or clear it. It returns whether it did.
    ///
    /// A closure that altered the value and returns `false` would leave the change out of the log.
    #[inline]
    pub fn modify(&mut self, key: &[u8], change: impl FnOnce(&mut Option<V>) -> bool) {
        let hash = hash(self.seed, key);
        let number = bucket_of(hash);
        let Some(bucket) = self.buckets.get_mut(number) else {
            return;
        };
        let entries = &bucket.entries;
        let found = bucket.index.find(hash, |&at| key_at(entries, at) == key).copied();

        let Some(at) = found else {
            let mut value = None;
            if change(&mut value) && value.is_some() {
                let place = Place {
                    bucket: number as u32,
                    entry: bucket.insert(self.seed, hash, key, value),
                };
                self.live += 1;
                self.changed.push(place);
                if let Some(journal) = &mut self.journal {
                    journal.push((place, None));
                }
            }
            return;
        };

        let Some(entry) = bucket.entries.get_mut(at as usize).and_then(Option::as_mut) else {
            return;
        };
        let place = Place {
            bucket: number as u32,
            entry: at,
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
        if !entry.changed {
            entry.changed = true;
            self.changed.push(place);
        }
        if let (Some(journal), Some(before)) = (&mut self.journal, before) {
            entry.journaled = true;
            journal.push((place, before));
        }
    }

    /// Starts to keep old values, until [`KeyedState::rollback`] or [`KeyedState::keep`].
    pub fn checkpoint(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// Forgets the old values: what happened since the checkpoint stays.
    pub fn keep(&mut self) {
        self.end_journal(|_, _| {});
    }

    /// Puts everything back to what it was at the checkpoint, and calls `restored` with each key that was touched and
    /// whether it has a value now.
    pub fn rollback(&mut self, mut restored: impl FnMut(&[u8], bool)) {
        let mut live = self.live as isize;
        self.end_journal(|entry, before| {
            live += before.is_some() as isize - entry.value.is_some() as isize;
            entry.value = before;
            restored(&entry.key, entry.value.is_some());
        });
        self.live = live as usize;
    }

    fn end_journal(&mut self, mut each: impl FnMut(&mut Entry<V>, Option<V>)) {
        for (place, before) in self.journal.take().unwrap_or_default() {
            let bucket = self.buckets.get_mut(place.bucket as usize);
            let entry = bucket
                .and_then(|bucket| bucket.entries.get_mut(place.entry as usize))
                .and_then(Option::as_mut);
            if let Some(entry) = entry {
                entry.journaled = false;
                each(entry, before);
            }
        }
    }

    /// Hands every entry that changed since the last call to `each`, `None` for those that are gone.
    pub fn take_changes(&mut self, mut each: impl FnMut(&[u8], Option<&V>)) {
        let seed = self.seed;
        for place in std::mem::take(&mut self.changed) {
            let Some(bucket) = self.buckets.get_mut(place.bucket as usize) else {
                continue;
            };
            let Some(Some(entry)) = bucket.entries.get_mut(place.entry as usize) else {
                continue;
            };
            entry.changed = false;
            each(&entry.key, entry.value.as_ref());
            if entry.value.is_none() {
                bucket.remove(seed, place.entry);
            }
        }
    }

    /// Every entry of one bucket that has a value.
    pub fn bucket(&self, number: usize) -> impl Iterator<Item = (&[u8], &V)> {
        let entries = self
            .buckets
            .get(number)
            .map(|bucket| bucket.entries.as_slice())
            .unwrap_or_default();
        entries
            .iter()
            .flatten()
            .filter_map(|entry| Some((&*entry.key, entry.value.as_ref()?)))
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

impl<V> Bucket<V> {
    fn insert(&mut self, seed: u64, hash_of_key: u64, key: &[u8], value: Option<V>) -> u32 {
        let entry = Some(Entry {
            key: key.into(),
            value,
            changed: true,
            journaled: false,
        });
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(slot) = self.entries.get_mut(at as usize) {
                    *slot = entry;
                }
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let entries = &self.entries;
        self.index
            .insert_unique(hash_of_key, at, |&at| hash(seed, key_at(entries, at)));
        at
    }

    fn remove(&mut self, seed: u64, at: u32) {
        let entries = &self.entries;
        if let Ok(found) = self
            .index
            .find_entry(hash(seed, key_at(entries, at)), |&other| other == at)
        {
            found.remove();
        }
        if let Some(slot) = self.entries.get_mut(at as usize) {
            *slot = None;
            self.free.push(at);
        }
    }
}

fn key_at<V>(entries: &[Option<Entry<V>>], at: u32) -> &[u8] {
    entries
        .get(at as usize)
        .and_then(Option::as_ref)
        .map(|entry| &*entry.key)
        .unwrap_or_default()
}

#[inline]
fn hash(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// The tables inside the buckets use the hash's low and top bits, so the bucket comes from its middle.
#[inline]
fn bucket_of(hash: u64) -> usize {
    (hash >> 32) as usize % STATE_BUCKETS
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

    fn set(state: &mut KeyedState<u64>, key: &[u8], value: Option<u64>) {
        state.modify(key, |current| std::mem::replace(current, value) != value);
    }

    fn changes(state: &mut KeyedState<u64>) -> Vec<(Vec<u8>, Option<u64>)> {
        let mut all = Vec::new();
        state.take_changes(|key, value| all.push((key.to_vec(), value.copied())));
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
        assert_eq!((state.get(b"a"), state.len()), (None, 1));
        assert_eq!(changes(&mut state), [(b"a".to_vec(), None)]);
        set(&mut state, b"a", Some(5));
        assert_eq!((state.get(b"a"), state.len()), (Some(&5), 2));
    }

    #[test]
    fn rollback_restores_values_and_counts() {
        let mut state = KeyedState::new(7);
        set(&mut state, b"kept", Some(1));
        set(&mut state, b"gone", Some(2));
        changes(&mut state);
        state.checkpoint();
        set(&mut state, b"kept", Some(10));
        set(&mut state, b"kept", Some(11));
        set(&mut state, b"gone", None);
        set(&mut state, b"new", Some(3));
        let mut restored = Vec::new();
        state.rollback(|key, live| restored.push((key.to_vec(), live)));
        assert_eq!(
            (state.get(b"kept"), state.get(b"gone"), state.get(b"new")),
            (Some(&1), Some(&2), None)
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
        set(&mut state, b"new", Some(4));
        assert_eq!(state.get(b"new"), Some(&4));
    }

    #[test]
    fn entries_read_back_as_written() {
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        push_entry(&mut bytes, &mut scratch, b"key", Some(&300u64));
        push_entry::<u64>(&mut bytes, &mut scratch, b"", None);
        let mut rest = bytes.as_slice();
        let (key, value) = take_entry(&mut rest).unwrap();
        assert_eq!((key, value.and_then(u64::decode)), (b"key".as_slice(), Some(300)));
        assert_eq!(take_entry(&mut rest), Some((b"".as_slice(), None)));
        assert!(rest.is_empty());
    }
}
