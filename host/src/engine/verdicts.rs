//! Asking a guest: rows in, and for each output the rows that go on, with those that it rejects.

use crate::{
    error::note_defect,
    limits::BATCH_EVENTS_MAX,
    model::{
        column::{Batch, Column, RowKind},
        delivery::Deliveries,
        guest::{OutputRows, Patience, RejectedRow},
    },
    plan::{RunningStage, StageColumn, StageOutput, StagePlan},
};
use std::{mem, sync::Arc};

/// What a guest said of some rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts {
    pub(super) outputs: Vec<Batch>,
    pub(super) rejected: Vec<RejectedRow>,
    /// Rows that made it fail.
    pub(super) failed_rows: u64,
    /// Rows that it judged, from the first on.
    pub(super) judged_rows: u32,
    /// Whether a row that made it fail did so by running too long.
    pub(super) timed_out: bool,
}

/// Verdicts over the parts of a batch, in order.
pub(super) struct Parts {
    outputs: Vec<Vec<Batch>>,
    all: Verdicts,
}

impl Parts {
    pub(super) fn new(outputs: usize) -> Self {
        Self {
            outputs: vec![Vec::new(); outputs],
            all: Verdicts::default(),
        }
    }

    pub(super) fn push(&mut self, outputs: Vec<Batch>) {
        self.outputs
            .iter_mut()
            .zip(outputs)
            .for_each(|(all, part)| all.push(part));
    }

    pub(super) fn add(&mut self, part: &Verdicts) {
        self.all.failed_rows += part.failed_rows;
        self.all.judged_rows += part.judged_rows;
        self.all.timed_out |= part.timed_out;
    }

    /// Takes the rejected rows of a part that begins at `start`.
    pub(super) fn reject(&mut self, rejected: Vec<RejectedRow>, start: u32) {
        let moved = rejected.into_iter().map(|rejected| RejectedRow {
            row: rejected.row + start,
            ..rejected
        });
        self.all.rejected.extend(moved);
    }

    pub(super) fn finish(self) -> Verdicts {
        Verdicts {
            outputs: self.outputs.into_iter().map(Batch::merge).collect(),
            ..self.all
        }
    }
}

/// Asks one guest.
pub(super) fn ask(
    guest: &mut dyn RunningStage,
    plan: &StagePlan,
    input: &Batch,
    deliveries: &Deliveries,
    patience: Patience,
) -> Verdicts {
    ask_at(guest, plan, input, &times(plan, input, deliveries), patience)
}

/// Asks one guest, which is told these times.
pub(super) fn ask_at(
    guest: &mut dyn RunningStage,
    plan: &StagePlan,
    input: &Batch,
    times_ms: &[i64],
    patience: Patience,
) -> Verdicts {
    if input.is_empty() {
        return Verdicts {
            outputs: vec![Batch::default(); plan.outputs.len()],
            ..Default::default()
        };
    }
    let columns: Vec<&Column> = input.pick(&plan.inputs);
    let judged = guest.judge(input.len() as u32, times_ms, &columns, patience);
    let mut given: Vec<Option<OutputRows>> = judged.answer.outputs.into_iter().map(Some).collect();
    let outputs = plan.outputs.iter().map(|output| {
        // A guest beside another one may not have it.
        let Some(index) = output.index else {
            return Batch::default();
        };
        match given.get_mut(index).and_then(Option::take) {
            Some(rows) => rows_out(input, rows, output),
            None => {
                note_defect(format_args!("a guest gave no output {index}"));
                Batch::default()
            }
        }
    });
    Verdicts {
        outputs: outputs.collect(),
        rejected: judged.answer.rejected,
        failed_rows: judged.failed_rows,
        judged_rows: judged.judged_rows,
        timed_out: judged.timed_out,
    }
}

/// Asks of all rows, some at a time: an operator may give more than a batch has events, and the memory of a guest is bounded.
/// The two rows of an update stay together.
pub(super) fn in_parts(plan: &StagePlan, input: &Batch, mut ask: impl FnMut(&Batch) -> Verdicts) -> Verdicts {
    let rows = input.len();
    if rows <= BATCH_EVENTS_MAX {
        return ask(input);
    }
    let mut parts = Parts::new(plan.outputs.len());
    let mut start = 0;
    while start < rows {
        let mut end = rows.min(start + BATCH_EVENTS_MAX);
        if end < rows && input.kind(end - 1) == RowKind::UpdateBefore {
            end += 1;
        }
        let part = input.gather(&(start as u32..end as u32).collect::<Vec<_>>());
        let mut given = ask(&part);
        parts.push(mem::take(&mut given.outputs));
        parts.add(&given);
        parts.reject(given.rejected, start as u32);
        start = end;
    }
    parts.finish()
}

/// Asks one guest of current rows of a changelog, whose deliveries are their numbers.
pub(super) fn ask_in_parts(guest: &mut dyn RunningStage, plan: &StagePlan, rows: &Batch) -> Verdicts {
    in_parts(plan, rows, |part| ask_at(guest, plan, part, &[], Patience::Endless))
}

/// "Now" of each row, for a rule that reads it; else nothing.
pub(super) fn times(plan: &StagePlan, input: &Batch, deliveries: &Deliveries) -> Vec<i64> {
    match plan.module.description.reads_time {
        true => input
            .deliveries
            .iter()
            .map(|&delivery| deliveries.time_ms(delivery))
            .collect(),
        false => Vec::new(),
    }
}

fn rows_out(input: &Batch, answer: OutputRows, output: &StageOutput) -> Batch {
    let OutputRows { rows, computed } = answer;
    let computed: Vec<Arc<Column>> = computed.into_iter().map(Arc::new).collect();
    let all = rows.len() == input.len();
    let columns = output.columns.iter().filter_map(|column| {
        let found = match *column {
            StageColumn::Passed(index) => input.columns.get(index).map(|column| match all {
                true => column.clone(),
                false => Arc::new(column.gather(&rows)),
            }),
            StageColumn::Computed(index) => computed.get(index).cloned(),
        };
        if found.is_none() {
            note_defect(format_args!("a guest gave no column {column:?}"));
        }
        found
    });
    Batch {
        columns: columns.collect(),
        deliveries: rows.iter().map(|&row| input.delivery(row as usize)).collect(),
        kinds: input.kinds.as_ref().map(|_| kinds_out(input, &rows)),
        lineage: None,
    }
}

/// The kinds of the rows that a stage kept of a changelog. Where it kept only one half of an update, the row came or
/// went for those who read on.
fn kinds_out(input: &Batch, rows: &[u32]) -> Vec<RowKind> {
    let kept = |row: Option<u32>| row.is_some_and(|row| rows.binary_search(&row).is_ok());
    rows.iter()
        .map(|&row| match input.kind(row as usize) {
            RowKind::UpdateBefore if !kept(row.checked_add(1)) => RowKind::Delete,
            RowKind::UpdateAfter if !kept(row.checked_sub(1)) => RowKind::Insert,
            kind => kind,
        })
        .collect()
}
