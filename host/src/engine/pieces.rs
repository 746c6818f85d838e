//! The changelog of rows that a swap makes others, made beforehand.
//!
//! To bring a quarter of a million rows into the columns of a changelog takes longer than events may wait. So a rehearsal
//! makes it in pieces, in the order of the rows, and makes those again in which rows have become others since. At the swap the
//! pieces only have to be put one behind the other.

use crate::{
    model::{
        column::Batch,
        moved::{Moved, MovedRows},
    },
    operator::ChangelogBuilder,
    plan::Output,
};
use std::{collections::BTreeMap, ops::Bound};

/// How many rows a piece has when it is made: so few that one row that is another makes little work.
const ROWS: usize = 64;

/// The rows that are others in an output, with their changelog where somebody reads that row by row.
#[derive(Debug, Default)]
pub(super) struct MovedOutput {
    pub(super) rows: MovedRows,
    pieces: Option<Pieces>,
}

/// By the key that each begins with; the first begins with the least.
type Pieces = BTreeMap<Box<[u8]>, Piece>;

#[derive(Debug, Default)]
struct Piece {
    changelog: Batch,
    /// Whether rows of it were others when it was made.
    is_stale: bool,
}

impl MovedOutput {
    /// No rows yet, of an output that is read row by row or not.
    pub(super) fn new(is_read_row_by_row: bool) -> Self {
        let all = Piece {
            is_stale: true,
            ..Piece::default()
        };
        Self {
            rows: MovedRows::default(),
            pieces: is_read_row_by_row.then(|| Pieces::from([(Box::default(), all)])),
        }
    }

    /// As [`MovedRows::insert`].
    pub(super) fn insert(&mut self, of: &[u8], moved: Moved) {
        self.touch(of);
        self.rows.insert(of, moved);
    }

    /// As [`MovedRows::remove`].
    pub(super) fn remove(&mut self, of: &[u8]) {
        if self.rows.remove(of) {
            self.touch(of);
        }
    }

    fn touch(&mut self, of: &[u8]) {
        let up_to = (Bound::Unbounded, Bound::Included(of));
        let pieces = self.pieces.iter_mut();
        let piece = pieces.flat_map(|pieces| pieces.range_mut::<[u8], _>(up_to).next_back());
        piece.for_each(|(_, piece)| piece.is_stale = true);
    }

    /// Makes the pieces again in which rows are others by now.
    pub(super) fn renew(&mut self, output: &Output) {
        let Some(pieces) = &mut self.pieces else { return };
        let stale: Vec<Box<[u8]>> = pieces
            .iter()
            .filter(|(_, piece)| piece.is_stale)
            .map(|(first, _)| first.clone())
            .collect();
        for first in stale {
            let behind = (Bound::Excluded(&*first), Bound::Unbounded);
            let end = pieces.range::<[u8], _>(behind).next().map(|(next, _)| next.clone());
            let mut rows = self.rows.from_to(&first, end.as_deref()).peekable();
            let mut first = first;
            loop {
                let piece = Piece {
                    changelog: changelog_of(output, rows.by_ref().take(ROWS)),
                    is_stale: false,
                };
                pieces.insert(first, piece);
                match rows.peek() {
                    Some((next, _)) => first = (*next).clone(),
                    None => break,
                }
            }
        }
    }

    /// The changelog of all rows, where it was made beforehand.
    pub(super) fn changelog(&self, output: &Output) -> Option<Batch> {
        let pieces = self.pieces.as_ref()?;
        let rows = self.rows.changes(output.readers.needs_update_before);
        let mut all = ChangelogBuilder::new(&output.schema, rows);
        pieces.values().for_each(|piece| all.append(&piece.changelog));
        Some(all.finish())
    }
}

/// The changelog of rows that are others in an output, as rows of the only delivery.
pub(super) fn changelog_of<'m>(output: &Output, rows: impl Iterator<Item = (&'m Box<[u8]>, &'m Moved)>) -> Batch {
    let needs_update_before = output.readers.needs_update_before;
    let mut changelog = ChangelogBuilder::new(&output.schema, 0);
    for (_, moved) in rows {
        changelog.push_moved(needs_update_before, 0, moved);
    }
    changelog.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            column::{ColumnType, Field, Value},
            row::push_cell,
        },
        plan::{Change, Readers},
    };

    fn row(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut row = Vec::new();
        match random.u8(..) {
            0..30 => push_cell(&mut row, Value::Null),
            value => push_cell(&mut row, Value::Int(value.into())),
        }
        push_cell(&mut row, Value::Text(&vec![b'x'; random.usize(0..9)]));
        row
    }

    #[test]
    fn pieces_that_were_made_again_come_to_the_changelog_of_all_rows() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let field = |name: &str, column_type| Field {
            name: name.to_owned(),
            column_type,
            nullable: true,
        };
        let schema = vec![field("n", ColumnType::Int), field("t", ColumnType::Text)];
        for needs_update_before in [false, true] {
            let output = Output {
                name: "out".to_owned(),
                offered: schema.clone(),
                schema: schema.clone(),
                change: Change::Keyed(None),
                timer_driven: false,
                readers: Readers {
                    needs_update_before,
                    ..Readers::OF_EVERY_CHANGE
                },
            };
            let mut moved = MovedOutput::new(true);
            for round in 0..60 {
                // Now and then all rows go, and many come at once.
                let (changes, keys) = (random.usize(0..400), random.u32(1..2_000));
                for _ in 0..changes {
                    let key = random.u32(0..keys).to_be_bytes();
                    match random.u8(0..4) {
                        0 if round % 7 == 6 => (0..keys).for_each(|key| moved.remove(&key.to_be_bytes())),
                        0 | 1 => moved.remove(&key),
                        _ => {
                            let [before, after] = [(); 2].map(|()| row(&mut random));
                            let (before, after) = match random.u8(0..3) {
                                0 => (None, Some(after)),
                                1 => (Some(before), None),
                                _ => (Some(before), Some(after)),
                            };
                            moved.insert(&key, Moved::new(before.as_deref(), after.as_deref()));
                        }
                    }
                }
                moved.renew(&output);
                let rows = moved.rows.iter();
                let expected = changelog_of(&output, rows);
                assert_eq!(moved.changelog(&output), Some(expected), "round {round}");
                assert_eq!(MovedOutput::new(false).changelog(&output), None);
            }
        }
    }
}
