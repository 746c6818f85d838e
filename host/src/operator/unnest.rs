//! `unnest`: a row of each element of a list, or of a JSON array, with all other columns of the row that has it.
//!
//! - Emits: the rows of a row at once, in the order of the elements. Where there is no element, or no array, no row; with `keep_empty`
//!   one, in which what would come from an element is null.
//! - Over a changelog: rows have the key of the row that they come of and their place. What an update leaves as it is is not emitted;
//!   a place that both arrays have is updated, one that only the former has is deleted, one that only the later has is inserted.
//! - Late rows: there are none.
//! - Nulls: an element that is null is an element. In other columns nulls go through.
//! - What is no array, has an element that does not fit, too many elements or too much in them, rejects its event. A row that goes and
//!   is such a one was rejected when it came, so nothing is taken back.
//! - Restart: there is no state.

use super::{Applied, Build, Inputs, Operator, Outputs, ProcessError, StateMap, Stateful, UnfitRow, guests::Guests};
use crate::{
    error::Result,
    format::ElementReader,
    limits::{UNNEST_BYTES_MAX, UNNEST_EVENT_BYTES_MAX},
    model::{
        batch::{Batch, Lineage, RowKind},
        column::{Column, ColumnType, Value},
        row::push_cell,
    },
    plan::Node,
    planner::unnest::{Element, UnnestPlan},
};
use std::{iter, ops::Range, sync::Arc};

/// The operator.
#[derive(Debug)]
pub struct Unnest {
    plan: UnnestPlan,
    needs_update_before: bool,
    reader: ElementReader,
}

impl Build for Unnest {
    type Plan = UnnestPlan;

    fn build(node: &Node, plan: &UnnestPlan, _: Guests, _: u64) -> Result<Self> {
        Ok(Self {
            plan: plan.clone(),
            needs_update_before: node.output(0)?.readers.needs_update_before,
            reader: reader(plan)?,
        })
    }
}

fn reader(plan: &UnnestPlan) -> Result<ElementReader> {
    match &plan.element {
        Element::OfList(column) => Ok(ElementReader::of_lists(column.clone())),
        Element::OfJson(column) => Ok(ElementReader::of_values(column.clone())),
        Element::Fields(columns) => ElementReader::of_objects(columns),
    }
}

impl Operator for Unnest {
    fn process(&mut self, inputs: Inputs<'_>) -> Result<Outputs, ProcessError> {
        let input = inputs.one()?;
        let unfolded = self.read(input, true)?;
        let rows = match &input.kinds {
            None => unfolded.each(|_| RowKind::Insert),
            Some(_) => unfolded.net(self.needs_update_before),
        };
        let rows = vec![unfolded.batch(rows)];
        // What becomes of the rows says it.
        let applied = vec![Applied::None];
        Ok(Outputs::new(rows, applied))
    }

    fn replan(&mut self, node: &Node) -> Result<()> {
        let plan = node.operator_plan::<UnnestPlan>()?;
        self.reader = reader(plan)?;
        self.needs_update_before = node.output(0)?.readers.needs_update_before;
        self.plan = plan.clone();
        Ok(())
    }

    fn unfold(&mut self, rows: &Batch) -> Result<Option<Batch>> {
        let unfolded = self.read(rows, false).map_err(ProcessError::into_defect)?;
        let each = unfolded.each(|row| rows.kind(row));
        Ok(Some(unfolded.batch(each)))
    }
}

impl Unnest {
    /// Reads the elements of all rows. Those of rows that go, and where `all_fit` is not asked for of others, may not fit: they have none.
    fn read<'b>(&mut self, input: &'b Batch, all_fit: bool) -> Result<Unfolded<'b>, ProcessError> {
        let columns = input.pick(&[self.plan.column]);
        let passed: Vec<&Arc<Column>> = input.picked(&self.plan.passed).collect();
        let mut unfolded = Unfolded {
            input,
            passed,
            elements: Vec::new(),
            places: self
                .plan
                .has_ordinal
                .then(|| Column::with_capacity(ColumnType::Int, input.len())),
            of_rows: Vec::with_capacity(input.len()),
        };
        let (mut unfit, mut bytes) = (Vec::new(), Bytes::default());
        for row in 0..input.len() {
            let array = columns.first().map_or(Value::Null, |column| column.get(row));
            let read = match array {
                Value::Text(array) if array != b"null" => self.reader.read(array),
                _ => Ok(0),
            };
            let read = read.and_then(|count| {
                let width = unfolded.width(row).saturating_add(match array {
                    Value::Text(array) => array.len().checked_div(count).unwrap_or(0),
                    _ => 0,
                });
                let rows_bytes = width.saturating_mul(count);
                match rows_bytes > UNNEST_BYTES_MAX || !bytes.has_room(input.delivery(row), rows_bytes) {
                    true => Err((count, format!("{count} elements whose rows take {rows_bytes} bytes"))),
                    false => Ok(count),
                }
                .map_err(|(count, found)| {
                    self.reader.forget(count);
                    format!(
                        "found {found}; accepted are rows of one row that take up to {UNNEST_BYTES_MAX} bytes, and of one event up to \
                         {UNNEST_EVENT_BYTES_MAX}"
                    )
                })
            });
            let count = match read {
                Ok(count) => count,
                Err(reason) => {
                    if all_fit && !input.kind(row).retracts() {
                        let reason = format!("column \"{}\": {reason}", self.plan.name);
                        unfit.push(UnfitRow {
                            row: row as u32,
                            reason,
                        });
                    }
                    unfolded.push(0, false);
                    continue;
                }
            };
            let is_kept = count == 0 && self.plan.keep_empty;
            if is_kept {
                self.reader.push_nulls()?;
            }
            unfolded.push(count, is_kept);
            if all_fit && bytes.is_too_much() && input.delivery(row) > input.delivery(0) {
                self.reader.take();
                return Err(ProcessError::TooMuch(input.delivery(row)));
            }
        }
        unfolded.elements = self.reader.take();
        match unfit.is_empty() {
            true => Ok(unfolded),
            false => Err(ProcessError::Unfit(unfit)),
        }
    }
}

/// What the rows take that were made so far.
#[derive(Default)]
struct Bytes {
    all: usize,
    of_event: usize,
    event: u32,
}

impl Bytes {
    /// Adds rows of an event, where there is room for them.
    fn has_room(&mut self, event: u32, bytes: usize) -> bool {
        if event != self.event {
            (self.event, self.of_event) = (event, 0);
        }
        let of_event = self.of_event.saturating_add(bytes);
        if of_event > UNNEST_EVENT_BYTES_MAX {
            return false;
        }
        (self.of_event, self.all) = (of_event, self.all.saturating_add(bytes));
        true
    }

    fn is_too_much(&self) -> bool {
        self.all > UNNEST_BYTES_MAX
    }
}

/// Rows with their elements.
struct Unfolded<'b> {
    input: &'b Batch,
    passed: Vec<&'b Arc<Column>>,
    /// What is read of the elements of all rows, one behind the other.
    elements: Vec<Arc<Column>>,
    /// The places of the elements.
    places: Option<Column>,
    /// For each row where its elements are.
    of_rows: Vec<Range<u32>>,
}

/// A row that goes out.
struct RowOut {
    kind: RowKind,
    row: u32,
    element: u32,
}

impl Unfolded<'_> {
    /// About how many bytes the columns of a row take that go on.
    fn width(&self, row: usize) -> usize {
        let widths = self.passed.iter().map(|column| match column.get(row) {
            Value::Text(text) => text.len().saturating_add(5),
            _ => 9,
        });
        widths.fold(16, usize::saturating_add)
    }

    /// Adds a row with its elements, or one that `is_kept` without any.
    fn push(&mut self, count: usize, is_kept: bool) {
        if let Some(places) = &mut self.places {
            (1..=count as i64).for_each(|place| places.push(Value::Int(place)));
            if is_kept {
                places.push_null();
            }
        }
        let start = self.of_rows.last().map_or(0, |before| before.end);
        self.of_rows.push(start..start + count as u32 + u32::from(is_kept));
    }

    /// A row of each element.
    fn each(&self, kind: impl Fn(usize) -> RowKind) -> Vec<RowOut> {
        let rows = self.of_rows.iter().enumerate();
        let rows = rows.flat_map(|(row, elements)| elements.clone().map(move |element| (row, element)));
        rows.map(|(row, element)| RowOut {
            kind: kind(row),
            row: row as u32,
            element,
        })
        .collect()
    }

    /// What a changelog comes to: of an update only what it changes.
    fn net(&self, needs_update_before: bool) -> Vec<RowOut> {
        let mut out = Vec::new();
        let (mut was_bytes, mut is_bytes) = (Vec::new(), Vec::new());
        let mut rows = self.of_rows.iter().enumerate().peekable();
        while let Some((row, elements)) = rows.next() {
            let kind = self.input.kind(row);
            let after = match kind {
                RowKind::UpdateBefore => rows.next_if(|(after, _)| self.input.kind(*after) == RowKind::UpdateAfter),
                _ => None,
            };
            let each = |kind, row: usize, elements: Range<u32>| {
                elements.map(move |element| RowOut {
                    kind,
                    row: row as u32,
                    element,
                })
            };
            let Some((after, later)) = after else {
                // Without its other half, it comes or goes.
                let kind = if kind.retracts() {
                    RowKind::Delete
                } else {
                    RowKind::Insert
                };
                out.extend(each(kind, row, elements.clone()));
                continue;
            };
            // A row without elements has no place, and one with elements has: they are rows of two keys.
            let both = match self.has_places(elements) == self.has_places(later) {
                true => elements.len().min(later.len()),
                false => 0,
            };
            for (element, later) in elements.clone().zip(later.clone()).take(both) {
                self.cells(&mut was_bytes, row, element);
                self.cells(&mut is_bytes, after, later);
                if was_bytes != is_bytes {
                    let before = each(RowKind::UpdateBefore, row, element..element + 1);
                    out.extend(before.filter(|_| needs_update_before));
                    out.extend(each(RowKind::UpdateAfter, after, later..later + 1));
                }
            }
            out.extend(each(RowKind::Delete, row, elements.start + both as u32..elements.end));
            out.extend(each(RowKind::Insert, after, later.start + both as u32..later.end));
        }
        out
    }

    /// Whether the first of these is an element, and not what stands for none.
    fn has_places(&self, elements: &Range<u32>) -> bool {
        let first = elements.start as usize;
        self.places.as_ref().is_some_and(|places| !places.is_null(first))
    }

    /// A row as its cells, in the place of what is in `bytes`.
    fn cells(&self, bytes: &mut Vec<u8>, row: usize, element: u32) {
        bytes.clear();
        let passed = self.passed.iter().map(|column| column.get(row));
        let elements = self.elements.iter().map(|column| column.get(element as usize));
        passed.chain(elements).for_each(|cell| push_cell(bytes, cell));
    }

    fn batch(&self, out: Vec<RowOut>) -> Batch {
        let rows: Vec<u32> = out.iter().map(|out| out.row).collect();
        let elements: Vec<u32> = out.iter().map(|out| out.element).collect();
        let passed = self.passed.iter().map(|column| Arc::new(column.gather(&rows)));
        let is_all = elements.len() == self.of_rows.last().map_or(0, |last| last.end as usize);
        let is_all = is_all && elements.iter().zip(0..).all(|(&element, at)| element == at);
        let of_elements = self.elements.iter().map(|column| match is_all {
            true => column.clone(),
            false => Arc::new(column.gather(&elements)),
        });
        let places = self.places.iter().map(|places| Arc::new(places.gather(&elements)));
        let lineage = self.input.lineage.as_ref().map(|lineage| {
            let mut of_out = Lineage::default();
            for &row in &rows {
                of_out.deliveries.extend_from_slice(lineage.of(row as usize));
                of_out.ends.push(of_out.deliveries.len() as u32);
            }
            Arc::new(of_out)
        });
        Batch {
            columns: iter::empty().chain(passed).chain(of_elements).chain(places).collect(),
            deliveries: rows.iter().map(|&row| self.input.delivery(row as usize)).collect(),
            kinds: self
                .input
                .kinds
                .as_ref()
                .map(|_| out.iter().map(|out| out.kind).collect()),
            lineage,
        }
    }
}

impl Stateful for Unnest {
    fn rollback(&mut self) {}

    fn states(&mut self) -> Vec<(&'static str, &mut dyn StateMap)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
