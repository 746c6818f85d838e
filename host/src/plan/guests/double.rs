//! Guests for unit tests: closures in the place of components.

use super::{GuestHost, RunningAggregate, RunningKeyed, RunningStage, Setting};
use crate::{
    error::{Error, Result},
    model::{
        column::{Column, ColumnType, Field, Value},
        deployment::Whose,
        guest::{
            Accumulate, Accumulated, AggregateDescription, AggregateModule, Answer, CodeHandle, Description, DueKeys,
            InputColumn, Judged, KeyedDescription, KeyedFired, KeyedModule, KeyedProcessed, Merged, Module, OutputRows,
            OutputSpec, Patience, RejectedInput, ResultColumn, Results, RowsOfKeys,
        },
    },
};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

/// A host whose guests are closures. A pipeline file names them as modules.
#[derive(Debug, Default)]
pub(crate) struct Closures {
    stages: BTreeMap<String, Arc<Module>>,
    aggregates: BTreeMap<String, Arc<AggregateModule>>,
    keyed: BTreeMap<String, Arc<KeyedModule>>,
}

/// What happens to a key of a keyed function whose states are numbers.
pub(crate) enum Happens {
    /// A row comes, with that number, and happened then.
    Row(i64, i64),
    /// The time comes for which it waits.
    Time(i64),
}

/// What a keyed function makes of a key's number and the time for which it waits, and what it gives.
pub(crate) type Turned = Result<(i64, i64, Vec<i64>), String>;

struct Turn(Box<TurnKey>);

type TurnKey = dyn Fn(i64, i64, Happens) -> Turned + Send + Sync;

/// What a stage answers to so many rows of its columns.
struct Judge(Box<JudgeRows>);

type JudgeRows = dyn Fn(u32, &[&Column]) -> Answer + Send + Sync;

/// An aggregate whose states are numbers.
struct Take {
    take: Arc<TakeValue>,
    result: Box<ResultOf>,
}

/// What becomes of a group with a value that comes (`false`) or goes (`true`).
type TakeValue = dyn Fn(i64, Value<'_>, bool) -> Result<i64, String> + Send + Sync;

/// The result of a group, if it has one.
type ResultOf = dyn Fn(i64) -> Option<i64> + Send + Sync;

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
            inputs: inputs.into_iter().map(InputColumn::from).collect(),
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

    /// With an aggregate that makes a number of the values of `input`, from zero on. Groups merge to the sum of theirs.
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
            inputs: vec![input.into()],
            parameters: Vec::new(),
            result: ResultColumn {
                column_type: ColumnType::Int,
                nullable: false,
            },
            retracts: true,
            merges: true,
            state: "int".to_owned(),
        };
        let module = AggregateModule {
            digest: name.to_owned(),
            path: name.into(),
            bytes: Arc::default(),
            description,
            code: CodeHandle::new(Arc::new(Take {
                take: Arc::new(take),
                result: Box::new(Some),
            })),
        };
        self.aggregates.insert(name.to_owned(), Arc::new(module));
        self
    }

    /// With a keyed function that reads the number `input`, has the number 0 of a new key, and gives numbers `n`.
    pub(crate) fn with_keyed(
        mut self,
        name: &str,
        input: &str,
        turn: impl Fn(i64, i64, Happens) -> Turned + Send + Sync + 'static,
    ) -> Self {
        let number = |name: &str| Field {
            name: name.to_owned(),
            column_type: ColumnType::Int,
            nullable: true,
        };
        let description = KeyedDescription {
            name: name.to_owned(),
            version: "1".to_owned(),
            doc: String::new(),
            inputs: vec![number(input).into()],
            reads_time: false,
            reads_event_time: true,
            timers: true,
            outputs: vec![OutputSpec {
                name: "out".to_owned(),
                passed: Vec::new(),
                computed: vec![number("n")],
                many: true,
            }],
            parameters: Vec::new(),
            state: "int".to_owned(),
        };
        let module = KeyedModule {
            digest: name.to_owned(),
            path: name.into(),
            bytes: Arc::default(),
            description,
            code: CodeHandle::new(Arc::new(Turn(Box::new(turn)))),
        };
        self.keyed.insert(name.to_owned(), Arc::new(module));
        self
    }

    /// With another module, at `path`, of the aggregate at `of`: it describes itself as that one does, its states are the same,
    /// and it gives these results of them. `state` is how it describes them, where that is otherwise.
    pub(crate) fn with_module_of(
        mut self,
        of: &str,
        path: &str,
        state: Option<&str>,
        result: impl Fn(i64) -> Option<i64> + Send + Sync + 'static,
    ) -> Self {
        let of = &self.aggregates[of];
        let mut description = of.description.clone();
        description.state = state.unwrap_or(&description.state).to_owned();
        let take = of.code.get::<Take>().expect("this host loaded it").take.clone();
        let module = AggregateModule {
            digest: path.to_owned(),
            path: path.into(),
            bytes: Arc::default(),
            description,
            code: CodeHandle::new(Arc::new(Take {
                take,
                result: Box::new(result),
            })),
        };
        self.aggregates.insert(path.to_owned(), Arc::new(module));
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

    fn load_expression(&self, _: &[u8], _: Whose) -> Result<Arc<Module>> {
        Err(Error::definition("this host evaluates no expressions"))
    }

    fn load_keyed(&self, path: &Path, _: Whose) -> Result<Arc<KeyedModule>> {
        found(&self.keyed, path)
    }

    fn keyed(&self, module: &Arc<KeyedModule>, _: Setting<'_>) -> Box<dyn RunningKeyed> {
        Box::new(module.code.get::<Turn>().expect("this host loaded it"))
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

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

/// Zero has no bytes.
fn state(number: i64) -> Box<[u8]> {
    match number {
        0 => Box::default(),
        number => Box::from(number.to_le_bytes()),
    }
}

/// Numbers that came of rows or keys, by the numbers of these.
fn numbers(given: &[(u32, i64)]) -> Vec<OutputRows> {
    let mut column = Column::with_capacity(ColumnType::Int, given.len());
    given.iter().for_each(|(_, n)| column.push(Value::Int(*n)));
    vec![OutputRows {
        rows: given.iter().map(|(row, _)| *row).collect(),
        computed: vec![column],
    }]
}

impl RunningKeyed for Arc<Turn> {
    fn process(&mut self, asked: RowsOfKeys<'_>) -> KeyedProcessed {
        let mut states: Vec<i64> = asked.states.iter().map(|state| number(state)).collect();
        let mut waiting = asked.timers.to_vec();
        let (mut timers, mut given, mut first) = (Vec::new(), Vec::new(), None);
        for (row, &key) in asked.keys.iter().enumerate() {
            let Value::Int(n) = asked.columns[0].get(row) else {
                panic!("the number is there")
            };
            let key = key as usize;
            match self.0(states[key], waiting[key], Happens::Row(n, asked.event_times_us[row])) {
                Ok((state, timer, gives)) => {
                    (states[key], waiting[key]) = (state, timer);
                    timers.push(timer);
                    given.extend(gives.into_iter().map(|n| (row as u32, n)));
                }
                Err(reason) => {
                    first = Some(refused(reason));
                    break;
                }
            }
        }
        KeyedProcessed {
            applied: timers.len() as u32,
            states: states.into_iter().map(state).collect(),
            timers,
            outputs: numbers(&given),
            refused: first,
        }
    }

    fn on_timers(&mut self, asked: DueKeys<'_>) -> KeyedFired {
        let (mut states, mut timers, mut given, mut first) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (key, (held, &came)) in asked.states.iter().zip(asked.timers).enumerate() {
            match self.0(number(held), came, Happens::Time(came)) {
                Ok((after, timer, gives)) => {
                    states.push(state(after));
                    timers.push(timer);
                    given.extend(gives.into_iter().map(|n| (key as u32, n)));
                }
                Err(reason) => {
                    first = Some(refused(reason));
                    break;
                }
            }
        }
        KeyedFired {
            states,
            timers,
            outputs: numbers(&given),
            refused: first,
        }
    }
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Take").finish_non_exhaustive()
    }
}

fn number(state: &[u8]) -> i64 {
    state.try_into().map_or(0, i64::from_le_bytes)
}

impl Take {
    fn result(&self, group: i64) -> Result<Value<'static>, RejectedInput> {
        let result = (self.result)(group).map(Value::Int);
        result.ok_or_else(|| refused(format!("{group} has no result")))
    }
}

fn refused(reason: String) -> RejectedInput {
    RejectedInput {
        reason,
        failed: false,
        timed_out: false,
    }
}

impl RunningAggregate for Arc<Take> {
    fn accumulate(&mut self, asked: Accumulate<'_>) -> Accumulated {
        let mut groups: Vec<i64> = asked.states.iter().map(|state| number(state)).collect();
        let mut results = Column::with_capacity(ColumnType::Int, asked.groups.len());
        let mut first = None;
        for (row, &group) in asked.groups.iter().enumerate() {
            let group = &mut groups[group as usize];
            let goes = asked.retracts.is_some_and(|retracts| retracts[row] == 1);
            let after = (self.take)(*group, asked.columns[0].get(row), goes).map_err(refused);
            match after.and_then(|after| Ok((after, self.result(after)?))) {
                Ok((after, result)) => {
                    *group = after;
                    results.push(result);
                }
                Err(refused) => {
                    first = Some(refused);
                    break;
                }
            }
        }
        Accumulated {
            applied: results.len() as u32,
            states: groups.iter().map(|group| Box::from(group.to_le_bytes())).collect(),
            results,
            refused: first,
        }
    }

    fn merge(&mut self, into: &[&[u8]], from: &[&[u8]]) -> Merged {
        let pairs = into.iter().zip(from);
        let merged = pairs.map(|(into, from)| Box::from((number(into) + number(from)).to_le_bytes()));
        Merged {
            states: merged.collect(),
            refused: None,
        }
    }

    fn results(&mut self, states: &[&[u8]]) -> Results {
        let mut column = Column::with_capacity(ColumnType::Int, states.len());
        for state in states {
            match self.result(number(state)) {
                Ok(result) => column.push(result),
                Err(refused) => {
                    return Results {
                        column,
                        refused: Some(refused),
                    };
                }
            }
        }
        Results { column, refused: None }
    }
}
