//! A running guest: calls with bounds, and the search for the rows that make a call fail.

use super::{
    answer::checked,
    check::shorten,
    guest::Guest,
    host::StageHost,
    worlds::stage::{Rows, StageWorld},
};
use crate::{
    definition::StageLimits,
    limits::ROWS_PER_ROW,
    metrics::ModuleVersion,
    model::{
        column::{Column, ColumnType},
        decimal::DecimalType,
        guest::{
            Answer, GuestFailure, InputColumn, InputType, Judged, Module, OutputRows, OutputSpec, ParameterValue,
            Patience, RejectedRow,
        },
    },
    plan::RunningStage,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A stage that can be called. It is instantiated at the first call and again after each failure.
pub struct Instance {
    module: Arc<Module>,
    guest: Guest<StageWorld>,
    /// The types of the columns that it is given.
    types: Vec<ColumnType>,
    rows_per_row: usize,
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
            guest: Guest::new(host, module.code.get(), &module.digest, parameters, limits).with_watch(watch),
            types: declared_types(&module.description.inputs),
            rows_per_row: limits
                .rows_per_row
                .as_ref()
                .map_or(ROWS_PER_ROW, |rows| *rows.get_ref() as usize),
            module,
            is_over: Arc::default(),
        }
    }

    /// The same, called with columns of these types.
    #[must_use]
    pub fn with_inputs(mut self, types: &[ColumnType]) -> Self {
        self.types = types.to_vec();
        self
    }

    /// Why the host does not run it any more, where it died of it too often. Every call fails then.
    pub fn refusal(&self) -> Option<&str> {
        self.guest.refusal()
    }

    /// The component that runs here.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Instantiates and configures the guest now.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub fn configure(&mut self) -> Result<(), GuestFailure> {
        self.guest.ready()
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
        failure: GuestFailure,
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

    fn call(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Result<Answer, GuestFailure> {
        let rows = Rows {
            row_count,
            times_ms,
            columns,
            types: &self.types,
        };
        let (description, most) = (&self.module.description, self.rows_per_row);
        self.guest.work(
            row_count as usize,
            |stage, store| stage.process(store, rows, description),
            |given| given.and_then(|given| checked(given, row_count, description, most)),
        )
    }
}

impl RunningStage for Instance {
    fn measured(&self) -> Option<&Arc<ModuleVersion>> {
        Some(self.guest.measured())
    }

    fn refusal(&self) -> Option<&str> {
        Instance::refusal(self)
    }

    fn over(&self) -> Arc<AtomicBool> {
        self.is_over.clone()
    }

    fn configure(&mut self) -> Result<(), GuestFailure> {
        Instance::configure(self)
    }

    fn warm_up(&mut self) -> Result<(), GuestFailure> {
        let inputs = self.module.description.inputs.iter();
        let columns: Vec<Column> = inputs
            .map(|input| Column::of_layout(input.accepts.layout(), 0))
            .collect();
        self.call(0, &[], &columns.iter().collect::<Vec<_>>()).map(|_| ())
    }

    fn judge(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column], patience: Patience) -> Judged {
        self.judge_until(row_count, times_ms, columns, patience)
    }
}

/// The types that a guest describes, for one that nobody says the types of its columns to: what copes with any decimal is given
/// some.
pub(super) fn declared_types(inputs: &[InputColumn]) -> Vec<ColumnType> {
    let of_input = |input: &InputColumn| match input.accepts {
        InputType::Is(column_type) => column_type,
        InputType::AnyDecimal => ColumnType::Decimal(DecimalType::WIDEST),
    };
    inputs.iter().map(of_input).collect()
}
