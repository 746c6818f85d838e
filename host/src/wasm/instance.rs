//! A running guest: calls with bounds, and the search for the rows that make a call fail.

use super::{
    answer::{Answer, OutputRows, RejectedRow},
    bindings::{StageComponent, exports::weir::stage::stage as abi},
    call::StageFailure,
    check::shorten,
    description::{OutputSpec, ParameterValue},
    guest::Guest,
    host::StageHost,
    module::Module,
    translate::of_stage::lower,
};
use crate::{definition::StageLimits, model::column::Column};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Judged {
    /// The answer; rows that made the guest fail are among the rejected.
    pub answer: Answer,
    /// How many rows made the guest trap, run too long, or answer wrongly.
    pub failed_rows: u64,
    /// How many rows were judged, from the first on: all, unless failures were to be few.
    pub judged_rows: u32,
    /// Whether one of the rows that failed did so by running too long.
    pub timed_out: bool,
}

/// How long to go on judging a batch in which rows make the guest fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// To the end.
    Endless,
    /// Up to the first of them.
    OneFailure,
}

/// A stage that can be called. It is instantiated at the first call and again after each failure.
pub struct Instance {
    module: Arc<Module>,
    guest: Guest<StageComponent>,
    /// Set where nobody wants the answers any more.
    is_over: Arc<AtomicBool>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// A guest with its parameters, every one that its description lists.
    pub fn new(
        host: &StageHost,
        module: Arc<Module>,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        let watch = host.guest_watch(&module.digest, Some(&parameters));
        Self {
            guest: Guest::new(host, &module.code, parameters, limits).with_watch(watch),
            module,
            is_over: Arc::default(),
        }
    }

    /// Why the host does not run it any more, where it died of it too often. Every call fails then.
    pub fn refusal(&self) -> Option<&str> {
        self.guest.refusal()
    }

    /// What ends the search for the rows that make a call fail, once it is set: answers are of no use from then on.
    pub fn over(&self) -> Arc<AtomicBool> {
        self.is_over.clone()
    }

    /// The component that runs here.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Instantiates and configures the guest now.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub fn configure(&mut self) -> Result<(), StageFailure> {
        self.guest.ready()
    }

    /// Calls the guest without rows, so that its first batch meets nothing that is new to it.
    ///
    /// # Errors
    /// How it failed.
    pub fn warm_up(&mut self) -> Result<(), StageFailure> {
        let inputs = self.module.description.inputs.clone();
        let columns: Vec<Column> = inputs.iter().map(|f| Column::with_capacity(f.column_type, 0)).collect();
        self.call(0, &[], &columns.iter().collect::<Vec<_>>()).map(|_| ())
    }

    /// Calls the guest with `columns` (those of its description, in order), each of `row_count` rows, and the time of
    /// each row (empty when the rule does not read it).
    ///
    /// Rows that make it fail are found by halving the batch; each costs itself and no other row. One that fails alone
    /// is judged once more, by a new instance, if the one before had been called: what other rows left there (memory
    /// that they took, or its holes) must not cost it.
    pub fn judge(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Judged {
        self.judge_until(row_count, times_ms, columns, Patience::Endless)
    }

    /// As [`Instance::judge`], but ends after the row at which patience does.
    pub fn judge_until(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column], patience: Patience) -> Judged {
        match self.call(row_count, times_ms, columns) {
            Ok(answer) => Judged {
                answer,
                failed_rows: 0,
                judged_rows: row_count,
                timed_out: false,
            },
            Err(failure) => self.isolate(row_count, times_ms, columns, failure, patience),
        }
    }

    fn isolate(
        &mut self,
        row_count: u32,
        times_ms: &[i64],
        columns: &[&Column],
        failure: StageFailure,
        patience: Patience,
    ) -> Judged {
        if row_count <= 1 && failure.used && !self.is_over.load(Ordering::Relaxed) {
            return self.judge_until(row_count, times_ms, columns, patience);
        }
        if row_count <= 1 {
            let nothing = |output: &OutputSpec| OutputRows {
                rows: Vec::new(),
                computed: output
                    .computed
                    .iter()
                    .map(|f| Column::with_capacity(f.column_type, 0))
                    .collect(),
            };
            let answer = Answer {
                outputs: self.module.description.outputs.iter().map(nothing).collect(),
                rejected: vec![RejectedRow {
                    row: 0,
                    reason: shorten(failure.reason),
                    failed: true,
                }],
            };
            return Judged {
                answer,
                failed_rows: 1,
                judged_rows: 1,
                timed_out: failure.timed_out,
            };
        }
        let middle = row_count / 2;
        let mut judged = Judged::default();
        for (start, end) in [(0, middle), (middle, row_count)] {
            let rows: Vec<u32> = (start..end).collect();
            let parts: Vec<Column> = columns.iter().map(|column| column.gather(&rows)).collect();
            let times = times_ms.get(start as usize..end as usize).unwrap_or_default();
            let part = self.judge_until(end - start, times, &parts.iter().collect::<Vec<_>>(), patience);
            judged.answer.append(part.answer, start);
            judged.failed_rows += part.failed_rows;
            judged.judged_rows += part.judged_rows;
            judged.timed_out |= part.timed_out;
            if patience == Patience::OneFailure && judged.failed_rows > 0 || self.is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        judged
    }

    fn call(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Result<Answer, StageFailure> {
        let columns: Vec<abi::ColumnParam<'_>> = columns.iter().map(|column| lower(column)).collect();
        let batch = abi::Batch {
            row_count,
            times_ms,
            columns: &columns,
        };
        self.guest.work(
            |stage, store| stage.weir_stage_stage().call_process(store, batch),
            |given| Answer::from_guest(given, row_count, &self.module.description),
        )
    }
}
