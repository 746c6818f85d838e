//! Guests for unit tests: closures in the place of components.

use super::{GuestHost, RunningAggregate, RunningStage, Setting};
use crate::{
    error::{Error, Result},
    model::{
        column::{Column, ColumnType, Field, Value},
        deployment::Whose,
        guest::{
            Accumulate, Accumulated, AggregateDescription, AggregateModule, Answer, CodeHandle, Description, Judged,
            Merged, Module, OutputSpec, Patience, RejectedInput, ResultColumn,
        },
    },
};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

/// A host whose guests are closures. A pipeline file names them as modules.
#[derive(Debug, Default)]
pub(crate) struct Closures {
    stages: BTreeMap<String, Arc<Module>>,
    aggregates: BTreeMap<String, Arc<AggregateModule>>,
}

/// What a stage answers to so many rows of its columns.
struct Judge(Box<JudgeRows>);

type JudgeRows = dyn Fn(u32, &[&Column]) -> Answer + Send + Sync;

/// What becomes of a group, which is a number, with a value that comes (`false`) or goes (`true`).
struct Take(Box<TakeValue>);

type TakeValue = dyn Fn(i64, Value<'_>, bool) -> Result<i64, String> + Send + Sync;

impl Closures {
    /// With a stage that reads `inputs` and has `outputs`.
    pub(crate) fn with_stage(
        mut self,
        name: &str,
        inputs: Vec<Field>,
        outputs: Vec<OutputSpec>,
        judge: impl Fn(u32, &[&Column]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let description = Description {
            name: name.to_owned(),
            version: "1".to_owned(),
            doc: String::new(),
            inputs,
            reads_time: false,
            outputs,
            parameters: Vec::new(),
        };
        let module = Module {
            digest: name.to_owned(),
            path: name.into(),
            bytes: Arc::default(),
            description,
            code: CodeHandle::new(Arc::new(Judge(Box::new(judge)))),
        };
        self.stages.insert(name.to_owned(), Arc::new(module));
        self
    }

    /// With an aggregate that makes a number of the values of `input`, from zero on.
    pub(crate) fn with_aggregate(
        mut self,
        name: &str,
        input: Field,
        take: impl Fn(i64, Value<'_>, bool) -> Result<i64, String> + Send + Sync + 'static,
    ) -> Self {
        let description = AggregateDescription {
            name: name.to_owned(),
            version: "1".to_owned(),
            doc: String::new(),
            inputs: vec![input],
            parameters: Vec::new(),
            result: ResultColumn {
                column_type: ColumnType::Int,
                nullable: false,
            },
            retracts: true,
            merges: false,
            state: "int".to_owned(),
        };
        let module = AggregateModule {
            digest: name.to_owned(),
            path: name.into(),
            bytes: Arc::default(),
            description,
            code: CodeHandle::new(Arc::new(Take(Box::new(take)))),
        };
        self.aggregates.insert(name.to_owned(), Arc::new(module));
        self
    }
}

fn found<M>(modules: &BTreeMap<String, Arc<M>>, path: &Path) -> Result<Arc<M>> {
    let module = path.to_str().and_then(|name| modules.get(name));
    module
        .cloned()
        .ok_or_else(|| Error::definition(format!("there is no closure {}", path.display())))
}

impl GuestHost for Closures {
    fn load_stage(&self, path: &Path, _: Whose) -> Result<Arc<Module>> {
        found(&self.stages, path)
    }

    fn load_aggregate(&self, path: &Path, _: Whose) -> Result<Arc<AggregateModule>> {
        found(&self.aggregates, path)
    }

    fn stage(&self, module: &Arc<Module>, _: Setting<'_>) -> Box<dyn RunningStage> {
        Box::new(module.code.get::<Judge>().expect("this host loaded it"))
    }

    fn aggregate(&self, module: &Arc<AggregateModule>, _: Setting<'_>) -> Box<dyn RunningAggregate> {
        Box::new(module.code.get::<Take>().expect("this host loaded it"))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl RunningStage for Arc<Judge> {
    fn judge(&mut self, row_count: u32, _: &[i64], columns: &[&Column], _: Patience) -> Judged {
        let answer = self.0(row_count, columns);
        Judged {
            failed_rows: answer.rejected.iter().filter(|row| row.failed).count() as u64,
            judged_rows: row_count,
            timed_out: false,
            answer,
        }
    }
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Take").finish_non_exhaustive()
    }
}

impl RunningAggregate for Arc<Take> {
    fn accumulate(&mut self, asked: Accumulate<'_>) -> Accumulated {
        let number = |state: &[u8]| state.try_into().map_or(0, i64::from_le_bytes);
        let mut groups: Vec<i64> = asked.states.iter().map(|state| number(state)).collect();
        let mut results = Column::with_capacity(ColumnType::Int, asked.groups.len());
        let mut refused = None;
        for (row, &group) in asked.groups.iter().enumerate() {
            let group = &mut groups[group as usize];
            let goes = asked.retracts.is_some_and(|retracts| retracts[row] == 1);
            match self.0(*group, asked.columns[0].get(row), goes) {
                Ok(after) => *group = after,
                Err(reason) => {
                    refused = Some(RejectedInput {
                        reason,
                        failed: false,
                        timed_out: false,
                    });
                    break;
                }
            }
            results.push(Value::Int(*group));
        }
        Accumulated {
            applied: results.len() as u32,
            states: groups.iter().map(|group| Box::from(group.to_le_bytes())).collect(),
            results,
            refused,
        }
    }

    fn merge(&mut self, _: &[&[u8]], _: &[&[u8]]) -> Merged {
        unreachable!("its description says that it merges no groups")
    }
}
