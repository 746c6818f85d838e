//! Guests that are closures: the rules over changelogs of random pipelines.

use super::{
    Pipeline,
    kinds::{
        Edge,
        threshold::{Rule, Verdict},
    },
};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use weir::{
    error::{Error, Result},
    model::{
        column::{
            Column,
            ColumnType::{Boolean, Int},
            Value,
        },
        deployment::Whose,
        guest::{AggregateModule, Answer, Judged, KeyedModule, Module, OutputRows, Patience, RejectedRow},
    },
    plan::{GuestHost, RunningAggregate, RunningKeyed, RunningStage, Setting},
};

/// A host that knows the rules of one pipeline.
#[derive(Debug)]
pub struct Rules(BTreeMap<String, Arc<Module>>);

/// The code of a rule: all that differs is how many outputs it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    pub(super) outputs: usize,
}

/// A rule that runs.
#[derive(Debug)]
struct Guest {
    judge: Judge,
    rule: Rule,
}

impl Pipeline {
    /// What runs its rules.
    pub fn host(&self) -> Rules {
        let modules = self.nodes.iter().filter_map(|node| {
            let inputs: Vec<&Edge> = node.from.iter().map(|&from| self.own_edge(from)).collect();
            let module = node.step.as_ref()?.module(&inputs)?;
            Some((module.digest.clone(), module))
        });
        Rules(modules.collect())
    }
}

impl GuestHost for Rules {
    fn load_stage(&self, path: &Path, _: Whose) -> Result<Arc<Module>> {
        let module = path.to_str().and_then(|name| self.0.get(name)).cloned();
        module.ok_or_else(|| Error::definition(format!("there is no rule {}", path.display())))
    }

    fn load_aggregate(&self, path: &Path, _: Whose) -> Result<Arc<AggregateModule>> {
        Err(Error::definition(format!("there is no aggregate {}", path.display())))
    }

    fn load_expression(&self, _: &[u8], _: Whose) -> Result<Arc<Module>> {
        Err(Error::definition("this host evaluates no expressions"))
    }

    fn load_keyed(&self, path: &Path, _: Whose) -> Result<Arc<KeyedModule>> {
        Err(Error::definition(format!(
            "there is no keyed function {}",
            path.display()
        )))
    }

    fn stage(&self, module: &Arc<Module>, setting: Setting<'_>) -> Box<dyn RunningStage> {
        let judge = module.code.get::<Judge>().expect("this host loaded it");
        Box::new(Guest {
            judge: *judge,
            rule: Rule::of(setting.parameters),
        })
    }

    fn aggregate(&self, module: &Arc<AggregateModule>, _: Setting<'_>) -> Box<dyn RunningAggregate> {
        panic!("this host loaded no {}", module.path.display())
    }

    fn keyed(&self, module: &Arc<KeyedModule>, _: Setting<'_>) -> Box<dyn RunningKeyed> {
        panic!("this host loaded no {}", module.path.display())
    }
}

impl RunningStage for Guest {
    fn judge(&mut self, row_count: u32, _: &[i64], columns: &[&Column], patience: Patience) -> Judged {
        let output = || OutputRows {
            rows: Vec::new(),
            computed: [Int, Boolean, Boolean].map(|of| Column::with_capacity(of, 0)).into(),
        };
        let mut judged = Judged {
            answer: Answer {
                outputs: (0..self.judge.outputs).map(|_| output()).collect(),
                rejected: Vec::new(),
            },
            ..Judged::default()
        };
        for row in 0..row_count {
            let value = match columns[0].get(row as usize) {
                Value::Int(value) => Some(value),
                _ => None,
            };
            judged.judged_rows += 1;
            match self.rule.judge(value) {
                Verdict::Fails => {
                    judged.answer.rejected.push(RejectedRow {
                        row,
                        reason: format!("it is {value:?}"),
                        failed: self.rule.traps,
                    });
                    if self.rule.traps {
                        judged.failed_rows += 1;
                        if patience == Patience::OneFailure {
                            break;
                        }
                    }
                }
                Verdict::Passes(output, label, raises, holds) => {
                    if let Some(output) = judged.answer.outputs.get_mut(output) {
                        output.rows.push(row);
                        let computed = [Value::Int(label), Value::Boolean(raises), Value::Boolean(holds)];
                        let columns = output.computed.iter_mut().zip(computed);
                        columns.for_each(|(column, value)| column.push(value));
                    }
                }
                Verdict::Stays => {}
            }
        }
        judged
    }
}
