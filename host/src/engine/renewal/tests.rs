//! Random events and starts with other aggregates, against a model that knows of rows and functions alone.

use super::*;
use crate::{
    definition::File,
    error::ErrorKind,
    format::Decoder,
    model::{
        column::{Column, ColumnType, Field, Value},
        guest::{Answer, OutputRows, OutputSpec, RejectedRow},
    },
    plan::{Plan, double::Closures},
    storage::{MemoryStorage, Storage},
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, sync::Arc};

/// What a module makes of the sum of a group.
type ResultOf = fn(i64) -> Option<i64>;

const MODULES: [(&str, ResultOf); 4] = [
    ("sum", |sum| Some(sum)),
    ("tens", |sum| Some(sum.div_euclid(10))),
    ("less", |sum| Some(40 - sum)),
    ("odd", |sum| (sum % 2 != 0).then_some(sum)),
];

/// From what on the rule lets results through, and what it cannot take.
const THRESHOLD: i64 = 12;
const UNFIT: i64 = 17;

/// When everything happens.
const AT_MS: i64 = 1_773_547_200_000;

fn int(name: &str) -> Field {
    Field {
        name: name.to_owned(),
        column_type: ColumnType::Int,
        nullable: true,
    }
}

fn host() -> Closures {
    let host = Closures::default().with_aggregate("sum", int("n"), |sum, value, goes| match value {
        Value::Int(value) => Ok(if goes { sum - value } else { sum + value }),
        other => Err(format!("{other:?} is no number")),
    });
    let [_, others @ ..] = MODULES;
    let host = others.into_iter().fold(host, |host, (path, result)| {
        host.with_module_of("sum", path, None, result)
    });
    let host = host.with_module_of("sum", "otherwise", Some("another number"), Some);
    let output = OutputSpec {
        name: "out".to_owned(),
        passed: vec![("k".to_owned(), "k".to_owned())],
        computed: vec![int("n"), int("level")],
        many: false,
    };
    host.with_stage("threshold", vec![int("result")], vec![output], |rows, columns| {
        let (mut answer, mut passed) = (Answer::default(), Vec::new());
        let [mut results, mut levels] = [(); 2].map(|()| Column::with_capacity(ColumnType::Int, 0));
        for row in 0..rows {
            match columns[0].get(row as usize) {
                Value::Int(UNFIT) => answer.rejected.push(RejectedRow {
                    row,
                    reason: format!("it is {UNFIT}"),
                    failed: false,
                }),
                Value::Int(result) if result >= THRESHOLD => {
                    passed.push(row);
                    results.push(Value::Int(result));
                    levels.push(Value::Int(level(result)));
                }
                _ => {}
            }
        }
        answer.outputs.push(OutputRows {
            rows: passed,
            computed: vec![results, levels],
        });
        answer
    })
}

fn level(result: i64) -> i64 {
    result.div_euclid(10)
}

/// Where the rows of the aggregate come from, and what it is.
#[derive(Clone, Copy, Debug)]
struct Shape {
    over_changelog: bool,
    is_window: bool,
}

fn plan(host: &Closures, shape: Shape, module: &str, behind: &str) -> Arc<Plan> {
    let (before, from) = match shape.over_changelog {
        true => (
            "[[step]]\nname = \"last\"\nlast_value = { key = [\"id\"], deleted = \"gone\" }",
            "last",
        ),
        false => ("", "source"),
    };
    let operator = match shape.is_window {
        true => "window = { time = \"at\", tumbling = \"1000 d\", emit = \"update\", ",
        false => "aggregate = { ",
    };
    // No guest stands behind rows that come because time went on.
    let behind = match shape.is_window {
        true => "sum = \"n\"".to_owned(),
        false => format!("module = \"{behind}\""),
    };
    let key = match shape.is_window {
        true => "primary_key = [\"k\", \"window_start\", \"window_end\"]",
        false => "primary_key = [\"k\"]",
    };
    let text = format!(
        r#"
        name = "results"
        source = {{ stream = "S", subject = "s", columns = {{ id = "int", k = "text", n = "int", at = "int", gone = "boolean" }} }}
        {before}
        [[step]]
        name = "results"
        from = "{from}"
        {operator} group_by = ["k"], columns = {{ result = {{ module = "{module}" }}, rows = {{ count = "*" }} }} }}
        [[sink]]
        table = "results"
        {key}
        [[step]]
        name = "threshold"
        from = "results"
        stage = {{ module = "threshold" }}
        [[step]]
        name = "levels"
        from = "threshold"
        aggregate = {{ group_by = ["level"], columns = {{ groups = {{ count = "*" }}, total = {{ sum = "n" }}, of = {{ {behind} }} }} }}
        [[sink]]
        table = "levels"
        primary_key = ["level"]
        "#
    );
    Arc::new(Plan::build(&File::from_text("results.toml", text), host).unwrap_or_else(|error| panic!("{error}")))
}

/// Rows, and what they come to.
#[derive(Clone, Debug)]
struct Model {
    over_changelog: bool,
    current: BTreeMap<i64, (String, i64)>,
    /// By key the sum, and of how many rows.
    sums: BTreeMap<String, (i64, i64)>,
}

impl Model {
    fn event(&mut self, id: i64, k: &str, n: i64, gone: bool) {
        let before = match self.over_changelog {
            true => self.current.remove(&id),
            false => None,
        };
        if let Some((k, n)) = before {
            let sum = self.sums.get_mut(&k).unwrap();
            *sum = (sum.0 - n, sum.1 - 1);
            if sum.1 == 0 {
                self.sums.remove(&k);
            }
        }
        if self.over_changelog && gone {
            return;
        }
        let sum = self.sums.entry(k.to_owned()).or_default();
        *sum = (sum.0 + n, sum.1 + 1);
        self.current.insert(id, (k.to_owned(), n));
    }

    fn results(&self, module: &str) -> BTreeMap<&str, Option<i64>> {
        let result = result_of(module);
        self.sums
            .iter()
            .map(|(k, (sum, _))| (k.as_str(), result(*sum)))
            .collect()
    }

    /// Whether a start would be refused that has these results in the place of those.
    fn refuses(&self, before: &str, after: &str) -> bool {
        let (before, after) = (self.results(before), self.results(after));
        after
            .iter()
            .any(|(k, after)| after.is_none() || (*after == Some(UNFIT) && before[k] != *after))
    }

    fn tables(&self, module: &str, behind: &str) -> [Vec<Json>; 2] {
        let results = self.results(module);
        let rows = results
            .iter()
            .map(|(k, result)| json!([k, result.unwrap(), self.sums[*k].1]));
        let mut levels: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for result in results.values().flatten().filter(|result| **result >= THRESHOLD) {
            let of_level = levels.entry(level(*result)).or_default();
            *of_level = (of_level.0 + 1, of_level.1 + result);
        }
        let of = result_of(behind);
        let levels = levels.into_iter();
        let levels = levels.map(|(level, (groups, total))| json!([level, groups, total, of(total).unwrap()]));
        [rows.collect(), levels.collect()]
    }
}

fn result_of(module: &str) -> ResultOf {
    MODULES.iter().find(|(path, _)| *path == module).unwrap().1
}

/// A pipeline as processes run it one after the other.
struct Run {
    host: Closures,
    shape: Shape,
    storage: MemoryStorage,
    engine: Engine,
    decoder: Decoder,
}

impl Run {
    fn new(shape: Shape, modules: (&str, &str)) -> Self {
        let host = host();
        let plan = plan(&host, shape, modules.0, modules.1);
        let mut storage = MemoryStorage::new(plan.clone());
        storage.claim("events").unwrap();
        let engine = begun(&host, &plan, &mut storage).unwrap();
        let decoder = Decoder::of(&plan, 64).unwrap();
        Self {
            host,
            shape,
            storage,
            engine,
            decoder,
        }
    }

    /// As another process would go on. What was not committed is lost.
    fn start(&mut self, (module, behind): (&str, &str)) -> Result<()> {
        let plan = plan(&self.host, self.shape, module, behind);
        self.engine = begun(&self.host, &plan, &mut self.storage)?;
        self.decoder = Decoder::of(&plan, 64).unwrap();
        Ok(())
    }

    fn commit(&mut self) {
        let turn = self.engine.take_turn(self.storage.stored().turn + 1).unwrap();
        self.storage.commit(turn).unwrap();
    }

    fn tables(&self) -> [Vec<Json>; 2] {
        let results = self.storage.rows("results").into_iter().map(|mut row| {
            if self.shape.is_window {
                row.drain(1..3);
            }
            Json::from(row)
        });
        let levels = self.storage.rows("levels").into_iter().map(Json::from);
        [results.collect(), levels.collect()]
    }
}

fn begun(host: &Closures, plan: &Arc<Plan>, storage: &mut MemoryStorage) -> Result<Engine> {
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
    storage.load(&mut engine)?;
    engine.begin(stored.position, &[])?;
    Ok(engine)
}

#[test]
fn tables_are_as_if_the_aggregates_had_given_the_results_always() {
    let (mut refused, mut changed) = (0, 0);
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let shape = Shape {
            over_changelog: random.bool(),
            is_window: random.u32(0..3) == 0,
        };
        let mut pick = {
            let mut random = random.fork();
            move |modules: usize| MODULES[random.usize(0..modules)].0
        };
        // Only the first aggregate may have no result.
        let behind = move |module| if shape.is_window { "sum" } else { module };
        let mut modules = (pick(3), behind(pick(3)));
        let mut run = Run::new(shape, modules);
        let mut model = Model {
            over_changelog: shape.over_changelog,
            current: BTreeMap::new(),
            sums: BTreeMap::new(),
        };
        let mut sequence = 0;
        for round in 0..8 {
            let context = format!("seed {seed}, round {round}: {shape:?}, {modules:?}");
            for _ in 0..random.usize(0..12) {
                let (id, k) = (random.i64(0..9), random.choice(["a", "b", "c", "d"]).unwrap());
                let (n, gone) = (random.i64(-5..25), random.u32(0..5) == 0);
                let mut after = model.clone();
                after.event(id, k, n, gone);
                // What the rule cannot take, or has no result, is for other tests.
                let results = after.results(modules.0);
                if results
                    .values()
                    .any(|result| result.is_none_or(|result| result == UNFIT))
                {
                    continue;
                }
                model = after;
                sequence += 1;
                let event = json!({ "id": id, "k": k, "n": n, "at": AT_MS, "gone": gone }).to_string();
                run.decoder.push(sequence, Some(AT_MS), event.as_bytes());
            }
            run.engine.process(run.decoder.take()).unwrap();
            run.commit();
            assert_eq!(run.tables(), model.tables(modules.0, modules.1), "{context}");

            let next = (pick(4), behind(pick(3)));
            let crashes = random.u32(0..3) == 0;
            match run.start(next) {
                Ok(()) => {
                    assert!(
                        sequence == 0 || !model.refuses(modules.0, next.0),
                        "{context}, then {next:?}"
                    );
                    changed += u32::from(next != modules);
                    let after = (next, model.tables(next.0, next.1));
                    if crashes {
                        assert_eq!(
                            run.tables(),
                            model.tables(modules.0, modules.1),
                            "nothing is written, {context}"
                        );
                        run.start(next).unwrap();
                    }
                    run.commit();
                    assert_eq!(run.tables(), after.1, "{context}, then {next:?}");
                    modules = next;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Definition, "{error}");
                    assert!(model.refuses(modules.0, next.0), "{error}, {context}, then {next:?}");
                    refused += 1;
                    run.start(modules).unwrap();
                    run.commit();
                }
            }
            if modules.0 == "odd" {
                // Its next row would have no result.
                modules = ("sum", "sum");
                run.start(modules).unwrap();
                run.commit();
            }
            assert_eq!(
                run.tables(),
                model.tables(modules.0, modules.1),
                "after a start, {context}"
            );
        }
    }
    assert!(refused > 100 && changed > 500, "{refused} refused, {changed} changed");
}

const OVER_CHANGELOG: Shape = Shape {
    over_changelog: true,
    is_window: false,
};

fn event(run: &mut Run, sequence: u64, event: Json) {
    run.decoder.push(sequence, Some(AT_MS), event.to_string().as_bytes());
    run.engine.process(run.decoder.take()).unwrap();
}

#[test]
fn what_cannot_take_over_is_said() {
    let mut run = Run::new(OVER_CHANGELOG, ("sum", "sum"));
    event(&mut run, 1, json!({ "id": 1, "k": "a", "n": 23 }));
    event(&mut run, 2, json!({ "id": 2, "k": "b", "n": 40 }));
    run.commit();
    let tables = run.tables();
    let mut said = |module: &str| run.start((module, "sum")).map(drop).unwrap_err().to_string();
    let [of_state, of_rule, of_result] = ["otherwise", "less", "odd"].map(&mut said);
    assert_eq!(
        of_state,
        "column \"result\" of step \"results\" is computed by sum with states int so far, and would be by sum with states \
         another number: a module goes on with states that it describes itself, to the letter; what stands there has to be built \
         anew: name another --database and fill it from the stream, or put back a module that describes the states that are held"
    );
    assert_eq!(
        of_rule,
        "the aggregates that the pipeline file names by now cannot take over from those that computed the results so far: step \
         \"threshold\" rejects a row that would come of it: it is 17: what stands behind would stay as the former gave it; name \
         another module or other parameters, or put back the former"
    );
    assert_eq!(
        of_result,
        "column \"result\" of step \"results\": its aggregate has no result of a state that it holds by now: 40 has no result: \
         what stands behind would stay as the former gave it; name another module or other parameters, or put back the former"
    );
    assert_eq!(run.tables(), tables);
    run.start(("tens", "sum")).unwrap();
}

#[test]
fn a_start_with_other_aggregates_has_a_turn_without_an_event() {
    let host = host();
    let plan = |module: &str| {
        let text = format!(
            r#"
            name = "results"
            source = {{ stream = "S", subject = "s", columns = {{ k = "text", n = "int" }} }}
            step = [{{ name = "results", aggregate = {{ group_by = ["k"], columns = {{ result = {{ module = "{module}" }} }} }} }}]
            sink = [{{ table = "results", primary_key = ["k"] }}]
            "#
        );
        Arc::new(Plan::build(&File::from_text("results.toml", text), &host).unwrap())
    };
    let mut storage = MemoryStorage::new(plan("sum"));
    storage.claim("events").unwrap();
    let mut engine = begun(&host, &plan("sum"), &mut storage).unwrap();
    let mut decoder = Decoder::of(&plan("sum"), 64).unwrap();
    decoder.push(1, Some(0), json!({ "k": "a", "n": 42 }).to_string().as_bytes());
    engine.process(decoder.take()).unwrap();
    storage.commit(engine.take_turn(1).unwrap()).unwrap();

    let same = begun(&host, &plan("sum"), &mut storage).unwrap();
    assert!(!same.has_turn(), "nothing is new");
    let mut other = begun(&host, &plan("tens"), &mut storage).unwrap();
    assert!(other.has_turn() && other.has_changes());
    storage.commit(other.take_turn(2).unwrap()).unwrap();
    assert!(!other.has_turn());
    assert_eq!(storage.rows("results"), [[json!("a"), json!(4)]]);
    assert_eq!(storage.stored().position, 1);
    let again = begun(&host, &plan("tens"), &mut storage).unwrap();
    assert!(!again.has_turn(), "it is remembered");
}
