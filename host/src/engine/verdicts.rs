//! Asking a guest: rows in, and for each output the rows that go on, with those that it rejects.

use crate::{
    error::note_defect,
    limits::BATCH_EVENTS_MAX,
    model::{
        batch::{Batch, RowKind},
        column::Column,
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

/// The events behind rows that go by their numbers. What comes of a row tells its number then, and not only its event, of which
/// there may be several rows.
#[derive(Clone, Copy)]
pub(super) struct Events<'a> {
    /// The delivery of each row.
    pub(super) causes: &'a [u32],
    pub(super) deliveries: &'a Deliveries,
}

impl Events<'_> {
    /// The delivery of a row.
    pub(super) fn delivery(self, number: u32) -> u32 {
        self.causes.get(number as usize).copied().unwrap_or_else(|| {
            note_defect(format_args!(
                "the event of row {number} of {} was asked for",
                self.causes.len()
            ));
            0
        })
    }

    /// The sequence of the event of a row.
    pub(super) fn sequence(self, number: u32) -> u64 {
        self.deliveries.sequence(self.delivery(number))
    }

    /// "Now" of each of `rows`, for a rule that reads it; else nothing.
    pub(super) fn times(self, plan: &StagePlan, rows: &Batch) -> Vec<i64> {
        let time = |&number: &u32| self.deliveries.time_ms(self.delivery(number));
        match plan.module.description.reads_time {
            true => rows.deliveries.iter().map(time).collect(),
            false => Vec::new(),
        }
    }

    /// Rows with their events in the place of their numbers.
    pub(super) fn settle(self, rows: Batch) -> Batch {
        Batch {
            deliveries: rows.deliveries.iter().map(|&number| self.delivery(number)).collect(),
            ..rows
        }
    }
}

/// Asks one guest of rows that go by their numbers.
pub(super) fn ask(
    guest: &mut dyn RunningStage,
    plan: &StagePlan,
    input: &Batch,
    events: Events<'_>,
    patience: Patience,
) -> Verdicts {
    ask_at(guest, plan, input, &events.times(plan, input), patience)
}

/// The same rows, with their numbers as their deliveries.
pub(super) fn numbered(rows: &Batch) -> Batch {
    Batch {
        deliveries: (0..rows.len() as u32).collect(),
        lineage: None,
        ..rows.clone()
    }
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

/// Which current rows a rule may fail on, by their numbers: those that were rejected before.
pub(super) type Known<'k> = &'k dyn Fn(u32) -> bool;

/// Asks one guest of current rows of a changelog, whose deliveries are their numbers; where some rows are `known`, up to a
/// failure on another one.
pub(super) fn ask_current(
    guest: &mut dyn RunningStage,
    plan: &StagePlan,
    rows: &Batch,
    known: Option<Known<'_>>,
) -> Verdicts {
    match known {
        Some(known) => ask_up_to_failure(guest, plan, rows, known),
        None => in_parts(plan, rows, |part| ask_at(guest, plan, part, &[], Patience::Endless)),
    }
}

/// Asks up to the first row that makes the guest fail and is not `known`: the verdicts tell of that row, and of
/// none behind it.
fn ask_up_to_failure(guest: &mut dyn RunningStage, plan: &StagePlan, rows: &Batch, is_known: Known<'_>) -> Verdicts {
    let mut parts = Parts::new(plan.outputs.len());
    let (mut start, end) = (0, rows.len() as u32);
    while start < end {
        let part_end = end.min(start.saturating_add(BATCH_EVENTS_MAX as u32));
        let part = rows.gather(&(start..part_end).collect::<Vec<_>>());
        let mut given = ask_at(guest, plan, &part, &[], Patience::OneFailure);
        let failed = given.rejected.iter().find(|rejected| rejected.failed);
        let is_new = failed.is_some_and(|failed| !is_known(part.delivery(failed.row as usize)));
        let judged = given.judged_rows.min(part_end - start);
        parts.push(mem::take(&mut given.outputs));
        parts.add(&given);
        parts.reject(given.rejected, start);
        // It was told to end.
        if is_new || judged == 0 {
            break;
        }
        start += judged;
    }
    parts.finish()
}

fn rows_out(input: &Batch, answer: OutputRows, output: &StageOutput) -> Batch {
    let OutputRows { rows, computed } = answer;
    let computed: Vec<Arc<Column>> = computed.into_iter().map(Arc::new).collect();
    let all =
        rows.len() == input.len() && (!output.many || rows.iter().enumerate().all(|(at, &row)| at == row as usize));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        definition::File,
        model::{
            column::{ColumnType, Field, Value},
            guest::{Answer, Judged, OutputSpec},
        },
        plan::{Plan, double::Closures},
    };

    /// Fails on the numbers that five divides, and remembers which numbers it was asked of.
    #[derive(Debug)]
    struct FailsOnFives(Vec<i64>);

    impl RunningStage for FailsOnFives {
        fn judge(&mut self, row_count: u32, _: &[i64], columns: &[&Column], _: Patience) -> Judged {
            let mut judged = Judged {
                answer: Answer {
                    outputs: vec![OutputRows {
                        rows: Vec::new(),
                        computed: Vec::new(),
                    }],
                    rejected: Vec::new(),
                },
                ..Judged::default()
            };
            for row in 0..row_count {
                let Value::Int(n) = columns[0].get(row as usize) else {
                    panic!("n is there")
                };
                self.0.push(n);
                judged.judged_rows += 1;
                if n % 5 == 0 {
                    let reason = format!("it is {n}");
                    judged.answer.rejected.push(RejectedRow {
                        row,
                        reason,
                        failed: true,
                    });
                    break;
                }
                judged.answer.outputs[0].rows.push(row);
            }
            judged
        }
    }

    #[test]
    fn a_guest_is_asked_of_nothing_behind_the_first_row_that_it_fails_on_anew() {
        let n = || Field {
            name: "n".to_owned(),
            column_type: ColumnType::Int,
            nullable: true,
        };
        let output = OutputSpec {
            name: "out".to_owned(),
            passed: vec![("n".to_owned(), "n".to_owned())],
            computed: Vec::new(),
            many: false,
        };
        let host = Closures::default().with_stage("rule", vec![n()], vec![output], |_, _| Answer::default());
        let text = r#"
            name = "numbers"
            source = { stream = "S", subject = "s", columns = { n = "int" } }
            step = [{ name = "rule", stage = { module = "rule" } }]
            sink = [{ table = "kept" }]
        "#;
        let plan = Plan::build(&File::from_text("numbers.toml", text), &host).unwrap();
        let mut column = Column::with_capacity(ColumnType::Int, 0);
        (1..=20).for_each(|n| column.push(Value::Int(n)));
        let rows = Batch {
            columns: vec![column.into()],
            deliveries: (0..20).collect(),
            ..Batch::default()
        };
        let mut guest = FailsOnFives(Vec::new());
        // Number 5 is known to fail.
        let known = |row: u32| row == 4;
        let given = ask_current(&mut guest, plan.stage("rule").unwrap(), &rows, Some(&known));
        assert_eq!(guest.0, (1..=10).collect::<Vec<_>>());
        assert_eq!(given.judged_rows, 10);
        let rejected: Vec<u32> = given.rejected.iter().map(|rejected| rejected.row).collect();
        assert_eq!(rejected, [4, 9]);
        assert_eq!(given.outputs[0].deliveries, [0, 1, 2, 3, 5, 6, 7, 8]);
    }
}
