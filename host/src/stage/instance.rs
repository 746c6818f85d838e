//! A running guest: calls with bounds, and the search for the rows that make a call fail.

use super::{
    answer::{Answer, OutputRows, RejectedRow, shorten},
    bindings::exports::weir::stage::stage as abi,
    call::{Bounds, Live, StageFailure, lower},
    description::{OutputSpec, ParameterValue},
    host::{Module, StageHost},
};
use crate::{column::Column, definition::StageLimits};
use std::{fmt, sync::Arc};

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Judged {
    /// The answer; rows that made the guest fail are among the rejected.
    pub answer: Answer,
    /// How many rows made the guest trap, run too long, or answer wrongly.
    pub failed_rows: u64,
}

/// A guest that can be called. It is instantiated at the first call and again after each failure.
pub struct Instance {
    host: StageHost,
    module: Arc<Module>,
    parameters: Vec<(String, ParameterValue)>,
    bounds: Bounds,
    live: Option<Live>,
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
        Self {
            host: host.clone(),
            module,
            parameters,
            bounds: Bounds::new(limits),
            live: None,
        }
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
        self.live().map(|_| ())
    }

    fn live(&mut self) -> Result<&mut Live, StageFailure> {
        let live = match self.live.take() {
            Some(live) => live,
            None => {
                let mut live = Live::new(
                    self.host.engine(),
                    &self.module.pre,
                    self.bounds,
                    &self.module.description.name,
                )?;
                live.configure(&self.parameters, self.bounds)?;
                live
            }
        };
        Ok(self.live.insert(live))
    }

    /// Calls the guest with `columns` (those of its description, in order), each of `row_count` rows, and the time of
    /// each row (empty when the rule does not read it).
    ///
    /// Rows that make it fail are found by halving the batch; each costs itself and no other row.
    pub fn judge(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Judged {
        match self.call(row_count, times_ms, columns) {
            Ok(answer) => Judged { answer, failed_rows: 0 },
            Err(failure) => self.isolate(row_count, times_ms, columns, failure),
        }
    }

    fn isolate(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column], failure: StageFailure) -> Judged {
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
                    reason: shorten(failure.0),
                }],
            };
            return Judged { answer, failed_rows: 1 };
        }
        let middle = row_count / 2;
        let mut judged = Judged::default();
        for (start, end) in [(0, middle), (middle, row_count)] {
            let rows: Vec<u32> = (start..end).collect();
            let parts: Vec<Column> = columns.iter().map(|column| column.gather(&rows)).collect();
            let times = times_ms.get(start as usize..end as usize).unwrap_or_default();
            let part = self.judge(end - start, times, &parts.iter().collect::<Vec<_>>());
            judged.answer.append(part.answer, start);
            judged.failed_rows += part.failed_rows;
        }
        judged
    }

    fn call(&mut self, row_count: u32, times_ms: &[i64], columns: &[&Column]) -> Result<Answer, StageFailure> {
        let bounds = self.bounds;
        let live = self.live()?;
        let columns: Vec<abi::ColumnParam<'_>> = columns.iter().map(|column| lower(column)).collect();
        let given = live.process(
            abi::Batch {
                row_count,
                times_ms,
                columns: &columns,
            },
            bounds,
        );
        let answer = given.and_then(|given| {
            Answer::from_guest(given, row_count, &self.module.description)
                .map_err(|what| StageFailure(format!("the rule broke the contract: {what}")))
        });
        if answer.is_err() {
            // An instance that trapped takes no further calls, and one that answers wrongly is not trusted.
            self.live = None;
        }
        answer
    }
}
