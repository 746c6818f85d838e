//! Windows that are over: what they gave stays as it is, without a word in the changelog. Somebody may want to know.

use super::Windows;
use crate::{
    model::{
        batch::{Batch, RowKind},
        row::cells,
    },
    operator::{ChangelogBuilder, top::results},
};
use std::mem;

/// A window that is gone: the delivery behind which it is, its key, and its results as they were emitted last.
pub(super) type Past = (u32, Box<[u8]>, Box<[u8]>);

impl Windows {
    /// See [`crate::operator::Operator::keep_past`].
    pub(in crate::operator::window) fn keep_past(&mut self, keeps: bool) {
        self.past = keeps.then(Vec::new);
    }

    /// See [`crate::operator::Operator::take_past`]: the rows of windows that are over.
    pub(in crate::operator::window) fn take_past(&mut self) -> Batch {
        let mut out = ChangelogBuilder::new(&self.schema, 0);
        for (delivery, key, emitted) in self.past.iter_mut().flat_map(mem::take) {
            let row = self.bounds.row_of(&key);
            for result in results(Some(&*emitted), self.ranked) {
                out.push(RowKind::Delete, delivery, cells(&row).chain(cells(result)));
            }
        }
        out.finish()
    }
}
