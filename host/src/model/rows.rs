//! Rows by key, the latest of each, in one piece of memory: a turn has as many as a hundred thousand, and to give back
//! each of them alone, on another thread than it was taken on, costs more than to write it.

use crate::model::{
    ids::SinkId,
    keys::{Keys, Place},
};
use hashbrown::HashTable;
use std::{hint::black_box, mem, ops::Range};

/// Bytes of replaced rows beyond which the others are moved together, if they are fewer.
const DEAD_BYTES_MAX: usize = 1 << 20;

/// What is added to the sequence of an event where not it, but a swap right behind it changed a row.
pub const OF_SWAP: u64 = 1 << 62;

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The stream sequence of the event that caused it.
    pub sequence: u64,
    /// The sink.
    pub sink: SinkId,
    /// Which of several messages of that event and sink it is, from 0.
    pub ordinal: u32,
    /// Whether a swap behind that event caused it, and not the event.
    pub of_swap: bool,
    /// The row as a JSON object.
    pub payload: String,
}

/// What a turn does to a table: for each key that changed the row that it has now.
#[derive(Clone, Debug, Default)]
pub struct KeyedRows {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// Which events changed rows: the row, and the stream sequence, in order of arrival.
    lineage: Vec<(u32, u64)>,
}

/// Where a key and its row are.
#[derive(Clone, Debug)]
struct Row {
    /// [`Place::short`].
    hash: u32,
    key: Range<usize>,
    /// Absent: the key has none any more.
    row: Option<Range<usize>>,
}

impl KeyedRows {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes that say which events changed rows: they grow also where keys do not.
    pub(crate) fn cause_bytes(&self) -> usize {
        self.lineage.len() * size_of::<(u32, u64)>()
    }

    /// Adds a key that is not there yet, and the cells of its row, or nothing if it has none any more.
    pub fn push(&mut self, key: &[u8], row: Option<&[u8]>) {
        self.push_at(0, key, row);
    }

    fn push_at(&mut self, hash: u32, key: &[u8], row: Option<&[u8]>) {
        let key = self.append(key);
        let row = row.map(|row| self.append(row));
        self.rows.push(Row { hash, key, row });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// For each key the stream sequences of the events that changed its row, ascending.
    pub fn lineage(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = u64>)> {
        let mut lineage = self.lineage.clone();
        lineage.sort_unstable();
        lineage.dedup();
        let mut start = 0;
        std::iter::from_fn(move || {
            let &(at, _) = lineage.get(start)?;
            let end = start + lineage.get(start..)?.partition_point(|(row, _)| *row == at);
            let sequences: Vec<u64> = lineage.get(start..end)?.iter().map(|(_, sequence)| *sequence).collect();
            start = end;
            let row = self.rows.get(at as usize)?;
            Some((self.get(&row.key), sequences.into_iter()))
        })
    }

    /// The keys in order, each with its row.
    pub fn sorted(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        // By their first bytes, which are at hand; the others are looked at only where those are the same.
        let mut order: Vec<(u64, &Row)> = self.rows.iter().map(|row| (head(self.get(&row.key)), row)).collect();
        order.sort_unstable_by(|(a_head, a), (b_head, b)| {
            a_head.cmp(b_head).then_with(|| self.get(&a.key).cmp(self.get(&b.key)))
        });
        order
            .into_iter()
            .map(|(_, row)| (self.get(&row.key), row.row.as_ref().map(|row| self.get(row))))
    }
}

/// The first bytes of a key, as a number that orders keys as they do.
fn head(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    head.iter_mut().zip(key).for_each(|(head, byte)| *head = *byte);
    u64::from_be_bytes(head)
}

/// Rows that collect until a turn takes them.
#[derive(Debug)]
pub(crate) struct PendingRows {
    rows: KeyedRows,
    index: HashTable<u32>,
    seed: u64,
    dead_bytes: usize,
}

impl PendingRows {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rows: KeyedRows::default(),
            index: HashTable::new(),
            seed,
            dead_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// As [`KeyedRows::cause_bytes`].
    pub(crate) fn cause_bytes(&self) -> usize {
        self.rows.cause_bytes()
    }

    /// Makes ready for setting the rows of all of `keys`.
    pub(crate) fn look_ahead(&self, keys: &mut Keys) {
        for place in keys.places(self.seed) {
            let found = self.index.find(place.in_bucket(), |&at| {
                self.at(at).is_some_and(|row| row.hash == place.short())
            });
            let row = found.and_then(|&at| self.rows.bytes.get(self.at(at)?.key.start));
            black_box(row);
        }
    }

    /// Sets or deletes the row of the next of the keys that were looked ahead.
    pub(crate) fn set_next(&mut self, keys: &mut Keys, row: Option<&[u8]>, lineage: impl Iterator<Item = u64>) {
        if let Some((place, key)) = keys.take_next() {
            let at = self.set_at(place, key, row);
            self.rows.lineage.extend(lineage.map(|sequence| (at, sequence)));
        }
    }

    /// Sets or deletes the row of `key`.
    pub(crate) fn set(&mut self, key: &[u8], row: Option<&[u8]>, lineage: impl Iterator<Item = u64>) {
        let at = self.set_at(Place::of(self.seed, key), key, row);
        self.rows.lineage.extend(lineage.map(|sequence| (at, sequence)));
    }

    /// Gives the place of the row.
    fn set_at(&mut self, place: Place, key: &[u8], row: Option<&[u8]>) -> u32 {
        let Self {
            rows: pending, index, ..
        } = self;
        let is = |at: u32| {
            let known = pending.rows.get(at as usize);
            known.is_some_and(|known| known.hash == place.short() && pending.get(&known.key) == key)
        };
        let Some(&at) = index.find(place.in_bucket(), |&at| is(at)) else {
            let hash_of = |&at: &u32| pending.rows.get(at as usize).map_or(0, |row| Place::spread(row.hash));
            let at = pending.rows.len() as u32;
            index.insert_unique(place.in_bucket(), at, hash_of);
            pending.push_at(place.short(), key, row);
            return at;
        };
        let Some(known) = pending.rows.get_mut(at as usize) else {
            return at;
        };
        match (&known.row, row) {
            (Some(range), Some(row)) if range.len() == row.len() => {
                if let Some(bytes) = pending.bytes.get_mut(range.clone()) {
                    bytes.copy_from_slice(row);
                }
            }
            (before, row) => {
                self.dead_bytes += before.as_ref().map_or(0, Range::len);
                known.row = row.map(|row| {
                    let start = pending.bytes.len();
                    pending.bytes.extend_from_slice(row);
                    start..pending.bytes.len()
                });
                if self.dead_bytes > DEAD_BYTES_MAX.max(pending.bytes.len() / 2) {
                    self.compact();
                }
            }
        }
        at
    }

    fn at(&self, at: u32) -> Option<&Row> {
        self.rows.rows.get(at as usize)
    }

    /// Leaves out rows that were replaced. Places in `rows` stay.
    #[cold]
    fn compact(&mut self) {
        let mut compact = KeyedRows::default();
        for row in &self.rows.rows {
            let cells = row.row.as_ref().map(|row| self.rows.get(row));
            compact.push_at(row.hash, self.rows.get(&row.key), cells);
        }
        compact.lineage = mem::take(&mut self.rows.lineage);
        self.rows = compact;
        self.dead_bytes = 0;
    }

    /// Hands over all rows. There is room for as many in the next turn, which changes as many keys or so.
    pub(crate) fn take(&mut self) -> KeyedRows {
        self.index.clear();
        self.dead_bytes = 0;
        let next = KeyedRows {
            bytes: Vec::with_capacity(self.rows.bytes.len()),
            rows: Vec::with_capacity(self.rows.len()),
            lineage: Vec::with_capacity(self.rows.lineage.len()),
        };
        mem::replace(&mut self.rows, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_last_row_of_each_key_comes_out_in_order() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut pending = PendingRows::new(7);
        for turn in 0..3 {
            let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for _ in 0..20_000 {
                let mut key = vec![0; random.usize(0..12)];
                key.iter_mut().for_each(|byte| *byte = random.u8(0..2));
                let row = (random.u8(..) > 50).then(|| vec![random.u8(..); random.usize(0..2_000)]);
                pending.set(&key, row.as_deref(), std::iter::empty());
                model.insert(key, row);
            }
            assert_eq!(pending.len(), model.len());
            let bytes: usize = model
                .iter()
                .map(|(key, row)| key.len() + row.as_ref().map_or(0, Vec::len))
                .sum();
            assert!(
                pending.rows.bytes.len() < 2 * bytes + 2 * DEAD_BYTES_MAX,
                "replaced rows are left out"
            );
            let taken = pending.take();
            let found: Vec<_> = taken
                .sorted()
                .map(|(key, row)| (key.to_vec(), row.map(<[u8]>::to_vec)))
                .collect();
            assert_eq!(found, model.into_iter().collect::<Vec<_>>(), "turn {turn}");
            assert_eq!(pending.len(), 0);
        }
    }
}
