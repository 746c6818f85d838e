//! Sinks: rows on their way out, collected until the turn is committed.
//!
//! A table sink with a primary key collapses all changes of one key within a turn into one; an append-only table and a
//! subject get every row.

mod table;

pub use table::TableSink;

use crate::{
    error::note_defect,
    model::{
        batch::Batch,
        column::Column,
        form::ColumnForm,
        ids::SinkId,
        moved::MovedRows,
        row::push_cell,
        rows::{Message, OF_SWAP},
        turn::SinkRows,
    },
    operator::StateMap,
    plan::{SinkPlan, Target},
};
use serde_json::Value as Json;
use std::sync::Arc;

/// A sink that collects.
#[derive(Debug)]
pub enum Sink {
    /// A table by primary key.
    Table(Box<TableSink>),
    /// An append-only table.
    Append(AppendSink),
    /// A subject.
    Subject(SubjectSink),
}

impl Sink {
    /// A sink with nothing in it.
    pub fn new(id: SinkId, plan: &SinkPlan, seed: u64) -> Self {
        let columns: Vec<usize> = plan.columns.iter().map(|column| column.place).collect();
        match &plan.target {
            Target::Table {
                primary_key, rows_by, ..
            } => {
                let (columns, key) = places(plan, primary_key);
                Self::Table(Box::new(TableSink::new(columns, key, rows_by.clone(), seed)))
            }
            Target::Append { .. } => Self::Append(AppendSink {
                columns,
                rows: Vec::new(),
                bytes: 0,
                row: Vec::new(),
            }),
            Target::Subject { .. } => {
                let of_message = plan.columns.iter();
                let fields = of_message.map(|column| (column.field.name.clone(), column.column_form()));
                let fields = fields.collect();
                Self::Subject(SubjectSink {
                    id,
                    fields,
                    columns,
                    messages: Vec::new(),
                    bytes: 0,
                })
            }
        }
    }

    /// Goes on with what waits as the same sink of another plan, whose columns may lie elsewhere.
    pub fn replace(&mut self, plan: &SinkPlan) {
        let places: Vec<usize> = plan.columns.iter().map(|column| column.place).collect();
        match (self, &plan.target) {
            (
                Self::Table(table),
                Target::Table {
                    primary_key, rows_by, ..
                },
            ) => {
                let key = key_of(primary_key, &places);
                table.replace(places, key, rows_by.as_deref());
            }
            (Self::Append(append), _) => append.columns = places,
            (Self::Subject(subject), _) => subject.columns = places,
            _ => note_defect("a sink was replaced by one of another kind"),
        }
    }

    /// Takes in the rows of a batch. `sequence_of` gives the stream sequence of a delivery.
    pub fn collect(&mut self, input: &Batch, sequence_of: impl Fn(u32) -> u64) {
        match self {
            Self::Table(table) => table.collect(input, sequence_of),
            Self::Append(append) => append.collect(input),
            Self::Subject(subject) => subject.collect(input, sequence_of),
        }
    }

    /// The same of the rows of a swap behind the event of that sequence.
    pub fn collect_of_swap(&mut self, input: &Batch, behind: u64) {
        match self {
            Self::Table(table) => table.collect(input, |_| OF_SWAP + behind),
            Self::Append(append) => append.collect(input),
            Self::Subject(subject) => {
                let before = subject.messages.len();
                // Several swaps may take place behind one event, before the turn ends.
                let of_swaps = |message: &&Message| message.of_swap && message.sequence == behind;
                let first = subject.messages.iter().rev().find(of_swaps);
                let first = first.map_or(0, |last| last.ordinal + 1);
                subject.collect(input, |_| behind);
                let added = subject.messages.iter_mut().skip(before).zip(first..);
                added.for_each(|(message, ordinal)| (message.ordinal, message.of_swap) = (ordinal, true));
            }
        }
    }

    /// Whether it can take in the rows of a swap as they are, see [`Sink::collect_moved`].
    pub fn takes_moved(&self) -> bool {
        matches!(self, Self::Table(table) if !table.has_contenders())
    }

    /// Takes in the rows that a swap makes others in the output that it reads: what became of a change would come as with
    /// or without the row that it replaces (`needs_update_before`).
    pub fn collect_moved(&mut self, moved: &Arc<MovedRows>, needs_update_before: bool, behind: u64) {
        match self {
            Self::Table(table) if !table.has_contenders() => table.collect_moved(moved, needs_update_before, behind),
            _ => note_defect("rows of a swap were given to a sink that does not take them as they are"),
        }
    }

    /// Whether rows of a swap wait for the commit.
    pub fn holds_moved(&self) -> bool {
        matches!(self, Self::Table(table) if table.holds_moved())
    }

    /// How many rows wait for the commit. Those of a swap do not count: they were there before it.
    pub fn pending(&self) -> usize {
        match self {
            Self::Table(table) => table.pending(),
            Self::Append(append) => append.rows.len(),
            Self::Subject(subject) => subject.messages.len(),
        }
    }

    /// How many bytes wait that do not collapse.
    pub fn pending_bytes(&self) -> usize {
        match self {
            Self::Table(table) => table.pending_bytes(),
            Self::Append(append) => append.bytes,
            Self::Subject(subject) => subject.bytes,
        }
    }

    /// Hands over the rows for the turn.
    pub fn take_rows(&mut self) -> Option<SinkRows> {
        match self {
            Self::Table(table) => Some(SinkRows::Upserts(table.take())),
            Self::Append(append) => {
                append.bytes = 0;
                Some(SinkRows::Appends(std::mem::take(&mut append.rows)))
            }
            Self::Subject(_) => None,
        }
    }

    /// Hands over the messages for the turn.
    pub fn take_messages(&mut self) -> Vec<Message> {
        match self {
            Self::Subject(subject) => {
                subject.bytes = 0;
                std::mem::take(&mut subject.messages)
            }
            _ => Vec::new(),
        }
    }

    /// The state that the sink keeps, if any.
    pub fn state(&mut self) -> Option<&mut dyn StateMap> {
        match self {
            Self::Table(table) => table.state(),
            _ => None,
        }
    }

    /// Called once after all state was restored.
    pub fn restored(&mut self) {
        if let Self::Table(table) = self {
            table.restored();
        }
    }
}

/// Where the columns of a table, and those of its key, lie among those of the input.
pub(crate) fn places(plan: &SinkPlan, primary_key: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let columns: Vec<usize> = plan.columns.iter().map(|column| column.place).collect();
    let key = key_of(primary_key, &columns);
    (columns, key)
}

/// Where the columns of a key lie, among those of the input.
fn key_of(primary_key: &[usize], columns: &[usize]) -> Vec<usize> {
    let place = |&column: &usize| {
        columns.get(column).copied().unwrap_or_else(|| {
            note_defect(format_args!(
                "the key of a sink has column {column} of {}",
                columns.len()
            ));
            usize::MAX
        })
    };
    primary_key.iter().map(place).collect()
}

/// An append-only table.
#[derive(Debug)]
pub struct AppendSink {
    columns: Vec<usize>,
    rows: Vec<Vec<u8>>,
    /// Of all rows.
    bytes: usize,
    /// Room for one, so that each is allocated once.
    row: Vec<u8>,
}

impl AppendSink {
    fn collect(&mut self, input: &Batch) {
        let columns = input.pick(&self.columns);
        for row in 0..input.len() {
            self.row.clear();
            columns
                .iter()
                .for_each(|column| push_cell(&mut self.row, column.get(row)));
            self.bytes += self.row.len();
            self.rows.push(self.row.clone());
        }
    }
}

/// A subject.
#[derive(Debug)]
pub struct SubjectSink {
    id: SinkId,
    /// The columns of a message.
    fields: Vec<(String, ColumnForm)>,
    columns: Vec<usize>,
    messages: Vec<Message>,
    bytes: usize,
}

impl SubjectSink {
    fn collect(&mut self, input: &Batch, sequence_of: impl Fn(u32) -> u64) {
        let columns = input.pick(&self.columns);
        for (row, &delivery) in input.deliveries.iter().enumerate() {
            let sequence = sequence_of(delivery);
            let ordinal = match self.messages.last() {
                Some(last) if last.sequence == sequence && !last.of_swap => last.ordinal + 1,
                _ => 0,
            };
            let fields = self.fields.iter().map(|(name, form)| (name.as_str(), *form));
            let payload = json(fields, &columns, row);
            self.bytes += payload.len();
            self.messages.push(Message {
                sequence,
                sink: self.id,
                ordinal,
                of_swap: false,
                payload,
            });
        }
    }
}

/// A row as a JSON object.
pub(crate) fn json<'f>(
    fields: impl IntoIterator<Item = (&'f str, ColumnForm)>,
    columns: &[&Column],
    row: usize,
) -> String {
    let mut object = String::from("{");
    for ((name, form), column) in fields.into_iter().zip(columns) {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&Json::from(name).to_string());
        object.push(':');
        form.push_json(&mut object, column.get(row));
    }
    object.push('}');
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        column::{ColumnType, Value},
        turn::Upserts,
    };

    #[test]
    fn messages_of_swaps_behind_one_event_are_numbered_through() {
        let mut sink = Sink::Subject(SubjectSink {
            id: SinkId::FIRST,
            fields: Vec::new(),
            columns: Vec::new(),
            messages: Vec::new(),
            bytes: 0,
        });
        let rows = |deliveries: &[u32]| Batch {
            deliveries: deliveries.to_vec(),
            ..Batch::default()
        };
        sink.collect(&rows(&[6, 7, 7]), u64::from);
        sink.collect_of_swap(&rows(&[0, 0]), 7);
        sink.collect_of_swap(&rows(&[0]), 7);
        sink.collect(&rows(&[8]), u64::from);
        sink.collect_of_swap(&rows(&[0]), 8);
        let messages = sink.take_messages().into_iter();
        let numbers = messages.map(|message| (message.sequence, message.of_swap, message.ordinal));
        let expected = [
            (6, false, 0),
            (7, false, 0),
            (7, false, 1),
            (7, true, 0),
            (7, true, 1),
            (7, true, 2),
            (8, false, 0),
            (8, true, 0),
        ];
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn rows_of_a_swap_stand_between_what_was_collected_before_and_after() {
        let mut sink = Sink::Table(Box::new(TableSink::new(vec![0], vec![0], None, 7)));
        let mut column = Column::with_capacity(ColumnType::Int, 1);
        column.push(Value::Int(1));
        let rows = Batch {
            deliveries: vec![0],
            columns: vec![column.into()],
            ..Batch::default()
        };
        let moved = Arc::new(MovedRows::default());
        assert!(sink.takes_moved() && !sink.holds_moved());
        sink.collect(&rows, u64::from);
        sink.collect_moved(&moved, false, 3);
        sink.collect(&rows, u64::from);
        assert!(sink.holds_moved());
        assert_eq!(sink.pending(), 2, "rows of a swap count for no bound");
        let Some(SinkRows::Upserts(all)) = sink.take_rows() else {
            panic!("a table by key has upserts");
        };
        assert!(
            matches!(&all[..], [Upserts::Collected(_), Upserts::Moved(of_swap), Upserts::Collected(_)] if of_swap.behind == 3),
            "{all:?}"
        );
        assert!(!sink.holds_moved());
    }

    #[test]
    fn what_waits_for_an_append_only_table_is_counted_in_bytes_until_it_is_taken() {
        let mut texts = Column::with_capacity(ColumnType::Text, 0);
        for text in ["", "five!", "nineteen characters"] {
            texts.push(Value::Text(text.as_bytes()));
        }
        let batch = Batch {
            deliveries: vec![0, 1, 2],
            columns: vec![texts.into()],
            ..Batch::default()
        };
        let mut sink = Sink::Append(AppendSink {
            columns: vec![0],
            rows: Vec::new(),
            bytes: 0,
            row: Vec::new(),
        });
        for _ in 0..2 {
            sink.collect(&batch, u64::from);
            sink.collect(&batch, u64::from);
            let waiting = sink.pending_bytes();
            let Some(SinkRows::Appends(rows)) = sink.take_rows() else {
                panic!("an append-only table gives rows");
            };
            assert_eq!(rows.len(), 6);
            assert_eq!(waiting, rows.iter().map(Vec::len).sum::<usize>());
            assert_eq!((sink.pending(), sink.pending_bytes()), (0, 0));
        }
    }
}
