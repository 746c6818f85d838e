//! Random events, swaps, take-backs and restarts, against a model that knows of rows and rules alone.

use super::*;
use crate::{
    definition::File,
    engine::{
        Compared, CurrentRows, Successor,
        shadow::current::{Shared, prepare, report_of},
    },
    format::Decoder,
    model::{
        column::{Column, ColumnType, Field, Value},
        deployment::{Deployment, StoredVersion, VersionChange},
        guest::{Answer, OutputRows, OutputSpec, RejectedRow},
    },
    plan::{GuestHost, StageVersion, StepVersions, Versions, double::Closures},
    storage::{MemoryStorage, Storage},
};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// A rule: lets rows from a threshold on through, with what they are in tens of it, and cannot take one number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    threshold: i64,
    fails_at: Option<i64>,
    /// Whether it passes on the key, so that rows can be told apart.
    keyed: bool,
}

/// What it gives of a row that it lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Given {
    level: i64,
    raise: bool,
    hold: bool,
}

const THRESHOLDS: [i64; 3] = [0, 8, 15];
const FAILS_AT: [Option<i64>; 3] = [None, Some(9), Some(17)];

/// A rule whose thread dies, where it is a rehearsal's.
const DIES_IN_REHEARSAL: Rule = Rule {
    threshold: 0,
    fails_at: Some(-1_000),
    keyed: true,
};

impl Rule {
    fn all(keyed: bool) -> impl Iterator<Item = Self> {
        THRESHOLDS.into_iter().flat_map(move |threshold| {
            FAILS_AT.into_iter().map(move |fails_at| Self {
                threshold,
                fails_at,
                keyed,
            })
        })
    }

    fn name(self) -> String {
        let Self {
            threshold,
            fails_at,
            keyed,
        } = self;
        format!("from-{threshold}-but-{fails_at:?}-{keyed}")
    }

    fn fails(self, n: i64) -> bool {
        self.fails_at == Some(n)
    }

    /// Nothing also where it fails: then the row has no further effect, if there is one at all.
    fn judge(self, n: i64) -> Option<Given> {
        (n >= self.threshold && !self.fails(n)).then_some(Given {
            level: n.div_euclid(self.threshold + 2),
            // Nobody reads them where keys are not passed on, so that nobody asks whether they differ.
            raise: self.keyed && n >= self.threshold + 8,
            hold: self.keyed && n >= self.threshold + 3,
        })
    }

    fn answer(self, rows: u32, columns: &[&Column]) -> Answer {
        let thread = std::thread::current();
        assert!(
            self != DIES_IN_REHEARSAL || thread.name() != Some("weir-rehearsal"),
            "this thread is to die"
        );
        let (mut given, mut rejected) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let Value::Int(n) = columns[0].get(row as usize) else {
                panic!("n is there")
            };
            match (self.fails(n), self.judge(n)) {
                (true, _) => rejected.push(RejectedRow {
                    row,
                    reason: format!("it is {n}"),
                    failed: false,
                }),
                (false, Some(of_row)) => given.push((row, of_row)),
                (false, None) => {}
            }
        }
        let column = |column_type, value: &dyn Fn(Given) -> Value<'static>| {
            let mut column = Column::with_capacity(column_type, given.len());
            given.iter().for_each(|(_, given)| column.push(value(*given)));
            column
        };
        Answer {
            outputs: vec![OutputRows {
                rows: given.iter().map(|(row, _)| *row).collect(),
                computed: vec![
                    column(ColumnType::Int, &|given| Value::Int(given.level)),
                    column(ColumnType::Boolean, &|given| Value::Boolean(given.raise)),
                    column(ColumnType::Boolean, &|given| Value::Boolean(given.hold)),
                ],
            }],
            rejected,
        }
    }
}

fn host() -> Closures {
    let field = |name: &str, column_type, nullable| Field {
        name: name.to_owned(),
        column_type,
        nullable,
    };
    let passed = |names: &[&str]| {
        names
            .iter()
            .map(|name| ((*name).to_owned(), (*name).to_owned()))
            .collect()
    };
    Rule::all(true)
        .chain(Rule::all(false))
        .chain([DIES_IN_REHEARSAL])
        .fold(Closures::default(), |host, rule| {
            let output = OutputSpec {
                name: "out".to_owned(),
                passed: if rule.keyed {
                    passed(&["k", "n"])
                } else {
                    passed(&["n"])
                },
                computed: vec![
                    field("level", ColumnType::Int, false),
                    field("raise", ColumnType::Boolean, false),
                    field("hold", ColumnType::Boolean, false),
                ],
            };
            let input = field("n", ColumnType::Int, true);
            host.with_stage(&rule.name(), vec![input], vec![output], move |rows, columns| {
                rule.answer(rows, columns)
            })
        })
}

/// What makes a changelog of the events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Changelog {
    LastValue,
    Aggregate,
    Window,
}

impl Changelog {
    fn step(self) -> &'static str {
        match self {
            Self::LastValue => "last_value = { key = [\"k\"], columns = [\"n\"], deleted = \"gone\" }",
            Self::Aggregate => "aggregate = { group_by = [\"k\"], columns = { n = { sum = \"n\" } } }",
            // One that never ends.
            Self::Window => {
                "window = { tumbling = \"1000 d\", emit = \"update\", group_by = [\"k\"], columns = { n = { sum = \"n\" } } }"
            }
        }
    }
}

const TRIAL_ROWS: u64 = 30;

/// Two rules, one behind the other, and all kinds of readers behind each. Of a window the start is not passed on, so that its
/// rows cannot be told apart in a table by key: there are groups alone.
fn has_tables(changelog: Changelog, keyed: bool) -> bool {
    keyed && changelog != Changelog::Window
}

fn text(changelog: Changelog, first: Rule, second: Rule) -> String {
    let tables = match has_tables(changelog, first.keyed) {
        false => "",
        true => {
            r#"
            [[sink]]
            from = "first"
            table = "first"
            primary_key = ["k"]
            columns = ["k", "n", "level"]
            [[sink]]
            from = "second"
            table = "second"
            primary_key = ["k"]
            columns = ["k", "n", "level"]
            [[sink]]
            from = "second"
            table = "by_number"
            primary_key = ["n"]
            columns = ["n", "k"]
            "#
        }
    };
    let crossed = match first.keyed {
        false => "",
        true => {
            r#"
            [[step]]
            name = "crossed"
            from = "first"
            on_crossing = { key = ["k"], raise = "raise", hold = "hold" }
            [[sink]]
            table = "raised"
            columns = ["k"]
            [[sink]]
            from = "crossed.cleared"
            table = "cleared"
            columns = ["k"]
            [[sink]]
            from = "crossed"
            subject = "raised"
            columns = ["k"]
            "#
        }
    };
    format!(
        r#"
        name = "rules"
        source = {{ stream = "S", subject = "s", columns = {{ k = "text", n = "int", gone = "boolean" }} }}
        [[step]]
        name = "current"
        {}
        [[step]]
        name = "first"
        stage = {{ module = "{}", trial = {{ rows = {TRIAL_ROWS} }} }}
        [[step]]
        name = "second"
        from = "first"
        stage = {{ module = "{}", trial = {{ rows = {TRIAL_ROWS} }} }}
        [[step]]
        name = "levels"
        from = "first"
        aggregate = {{ group_by = ["level"], columns = {{ rows = {{ count = "*" }}, total = {{ sum = "n" }} }} }}
        [[sink]]
        table = "levels"
        primary_key = ["level"]
        {crossed}
        [[step]]
        name = "all"
        from = "second"
        aggregate = {{ group_by = ["level"], columns = {{ rows = {{ count = "*" }}, greatest = {{ max = "n" }} }} }}
        [[sink]]
        table = "all"
        primary_key = ["level"]
        {tables}
        "#,
        changelog.step(),
        first.name(),
        second.name(),
    )
}

/// A step of the model: what decides, and what does where that fails on trial.
#[derive(Clone, Copy, Debug)]
struct Running {
    rule: Rule,
    trial: Option<(Rule, u64)>,
}

/// What a key's row has become behind the rules.
type Outputs = (Option<Given>, Option<Given>);

/// A row that goes, that comes, or one in the place of another, by their numbers.
struct Change {
    goes: Option<i64>,
    comes: Option<i64>,
}

/// The event is a dead letter.
struct Dead;

/// Rows and rules.
#[derive(Debug)]
struct Model {
    changelog: Changelog,
    current: BTreeMap<String, i64>,
    steps: [Running; 2],
    raised: BTreeSet<String>,
    crossed: [Vec<String>; 2],
    dead: u64,
}

impl Model {
    fn output(&self, n: i64) -> Outputs {
        let first = self.steps[0].rule.judge(n);
        (first, first.and_then(|_| self.steps[1].rule.judge(n)))
    }

    /// What an event leaves of the current row of a key.
    fn after(&self, k: &str, n: i64, gone: bool) -> Option<i64> {
        match (self.changelog, gone) {
            (Changelog::LastValue, true) => None,
            (Changelog::LastValue, false) => Some(n),
            (Changelog::Aggregate | Changelog::Window, _) => Some(self.current.get(k).copied().unwrap_or(0) + n),
        }
    }

    /// One event.
    fn event(&mut self, k: &str, n: i64, gone: bool) {
        let (before, after) = (self.current.get(k).copied(), self.after(k, n, gone));
        if before == after {
            return;
        }
        let (was, steps) = (self.outputs(), self.steps);
        let Ok(touched) = self.judge(k, before, after, &was) else {
            self.steps = steps;
            self.dead += 1;
            return;
        };
        match after {
            Some(n) => self.current.insert(k.to_owned(), n),
            None => self.current.remove(k),
        };
        self.cross(&was, touched);
    }

    /// Lets both rules judge a change. Gives the keys whose rows behind the first rule may be others, in their order.
    fn judge(
        &mut self,
        k: &str,
        before: Option<i64>,
        after: Option<i64>,
        was: &BTreeMap<String, Outputs>,
    ) -> Result<Vec<String>, Dead> {
        let change = Change {
            goes: before,
            comes: after,
        };
        let (mut touched, mut changes) = (Vec::new(), Vec::new());
        if self.step(0, &[change])? {
            // All rows are judged back.
            for (k, &n) in &self.current {
                let (on_trial, now) = (was[k].0, self.steps[0].rule.judge(n));
                if on_trial != now {
                    touched.push(k.clone());
                    changes.push(Change {
                        goes: on_trial.map(|_| n),
                        comes: now.map(|_| n),
                    });
                }
            }
        }
        let first = self.steps[0].rule;
        let passes = |n: &i64| first.judge(*n).is_some();
        changes.push(Change {
            goes: before.filter(passes),
            comes: after.filter(passes),
        });
        self.step(1, &changes)?;
        touched.push(k.to_owned());
        Ok(touched)
    }

    /// What a rule makes of some changes; whether its version is taken back.
    fn step(&mut self, at: usize, changes: &[Change]) -> Result<bool, Dead> {
        let (step, mut taken_back) = (&mut self.steps[at], false);
        for Change { goes, comes } in changes {
            let fails = |rule: Rule| comes.is_some_and(|n| rule.fails(n));
            match step.trial {
                Some((fallback, _)) if fails(step.rule) && !fails(fallback) => {
                    *step = Running {
                        rule: fallback,
                        trial: None,
                    };
                    taken_back = true;
                    continue;
                }
                _ if fails(step.rule) && self.changelog != Changelog::Window => return Err(Dead),
                Some((fallback, left)) => {
                    let left = left.saturating_sub(goes.iter().chain(comes).count() as u64);
                    step.trial = (left > 0).then_some((fallback, left));
                }
                None => {}
            }
            // No event is to blame for rows that may come because time went on: each is a dead letter of its own.
            self.dead += u64::from(fails(step.rule));
        }
        Ok(taken_back)
    }

    fn outputs(&self) -> BTreeMap<String, Outputs> {
        self.current.iter().map(|(k, &n)| (k.clone(), self.output(n))).collect()
    }

    /// Follows the crossings of keys that one event, or a swap, touched in this order.
    fn cross(&mut self, was: &BTreeMap<String, Outputs>, touched: Vec<String>) {
        let mut seen = BTreeSet::new();
        for k in touched {
            let now = self.current.get(&k).and_then(|&n| self.output(n).0);
            let before = was.get(&k).and_then(|outputs| outputs.0);
            if !seen.insert(k.clone()) || (before.is_none() && now.is_none()) {
                continue;
            }
            let (raise, hold) = now.map_or((false, false), |now| (now.raise, now.raise || now.hold));
            if raise && self.raised.insert(k.clone()) {
                self.crossed[0].push(k);
            } else if !hold && self.raised.remove(&k) {
                self.crossed[1].push(k);
            }
        }
    }

    /// What the next version of a step would fall back on.
    fn good(&self, at: usize) -> Rule {
        let step = self.steps[at];
        step.trial.map_or(step.rule, |(good, _)| good)
    }

    /// Another version, with what it falls back on; whether it takes over.
    fn swap(&mut self, at: usize, rule: Rule, good: Rule) -> bool {
        // Nor may the rule behind fail on what is let through by now. What failed before may fail again.
        let rules = self.steps.map(|step| step.rule);
        let mut others = rules;
        others[at] = rule;
        let failed = |rules: [Rule; 2], n: i64| {
            let reached = rules[0].judge(n).is_some();
            [rules[0].fails(n), reached && rules[1].fails(n)]
        };
        let fails = self.current.values().any(|&n| {
            let (before, after) = (failed(rules, n), failed(others, n));
            let newly = before.iter().zip(after).any(|(before, after)| after && !before);
            // Nor may it be taken back at once, where what it falls back on is not the one before.
            newly || after[at] && !good.fails(n)
        });
        if fails {
            return false;
        }
        let was = self.outputs();
        self.steps[at] = Running {
            rule,
            trial: Some((good, TRIAL_ROWS)),
        };
        let is = self.outputs();
        let touched = was.keys().filter(|k| was[*k].0 != is[*k].0).cloned().collect();
        self.cross(&was, touched);
        true
    }

    /// What a comparison of a candidate would say: how many current rows there are, of how many something comes under the
    /// candidate alone, under the live version alone, and otherwise; and how many the candidate fails on.
    fn compared(&self, at: usize, rule: Rule) -> [u64; 5] {
        let mut others = self.steps.map(|step| step.rule);
        others[at] = rule;
        let mut compared = [self.current.len() as u64, 0, 0, 0, 0];
        for &n in self.current.values() {
            let first = others[0].judge(n);
            let (was, is) = (self.output(n), (first, first.and_then(|_| others[1].judge(n))));
            let fails = [others[0].fails(n), first.is_some() && others[1].fails(n)];
            let failed = [
                self.steps[0].rule.fails(n),
                was.0.is_some() && self.steps[1].rule.fails(n),
            ];
            let newly = fails.iter().zip(failed).filter(|(is, was)| **is && !was);
            compared[4] += newly.count() as u64;
            // Nobody reads the other columns behind the second rule.
            let level = |given: Option<Given>| {
                given.map(|given| Given {
                    raise: false,
                    hold: false,
                    ..given
                })
            };
            let mut moved = vec![(level(was.1), level(is.1))];
            moved.extend((at == 0).then_some((was.0, is.0)));
            moved.retain(|(was, is)| was != is);
            let live = moved.iter().any(|(was, _)| was.is_some());
            let candidate = moved.iter().any(|(_, is)| is.is_some());
            match (live, candidate) {
                _ if moved.is_empty() => {}
                (false, _) => compared[1] += 1,
                (true, false) => compared[2] += 1,
                (true, true) => compared[3] += 1,
            }
        }
        compared
    }

    fn has_tables(&self) -> bool {
        has_tables(self.changelog, self.keyed())
    }

    fn keyed(&self) -> bool {
        self.steps[0].rule.keyed
    }

    fn tables(&self) -> BTreeMap<&'static str, Vec<Json>> {
        let mut tables: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        let mut levels: [BTreeMap<i64, (i64, i64, i64)>; 2] = Default::default();
        for (k, &n) in &self.current {
            let (first, second) = self.output(n);
            for (at, given) in [first, second].into_iter().enumerate() {
                let Some(given) = given else { continue };
                let of_level = levels[at].entry(given.level).or_insert((0, 0, i64::MIN));
                *of_level = (of_level.0 + 1, of_level.1 + n, of_level.2.max(n));
                if self.has_tables() {
                    tables
                        .entry(["first", "second"][at])
                        .or_default()
                        .push(json!([k, n, given.level]));
                }
            }
        }
        let [first, second] = levels;
        tables.insert(
            "levels",
            first
                .iter()
                .map(|(level, (rows, total, _))| json!([level, rows, total]))
                .collect(),
        );
        tables.insert(
            "all",
            second
                .iter()
                .map(|(level, (rows, _, greatest))| json!([level, rows, greatest]))
                .collect(),
        );
        if !self.keyed() {
            return tables;
        }
        tables.insert("raised", self.crossed[0].iter().map(|k| json!([k])).collect());
        tables.insert("cleared", self.crossed[1].iter().map(|k| json!([k])).collect());
        tables
    }
}

/// The engine with its storage, as a pipeline runs it.
struct Run {
    host: Closures,
    base: Plan,
    running: Arc<Plan>,
    versions: Versions,
    known: Vec<StoredVersion>,
    engine: Engine,
    storage: MemoryStorage,
    decoder: Decoder,
    sequence: u64,
}

const STEPS: [&str; 2] = ["first", "second"];

impl Run {
    fn new(text: &str) -> Self {
        let host = host();
        let base = || Plan::build(&File::from_text("rules.toml", text), &host).unwrap();
        let running = Arc::new(base());
        let mut storage = MemoryStorage::new(running.clone());
        storage.claim("events").unwrap();
        let mut engine = Engine::new(running.clone(), &host, storage.stored().seed).unwrap();
        storage.load(&mut engine).unwrap();
        engine.begin(0, &[]).unwrap();
        let decoder = Decoder::of(&running, 64).unwrap();
        Self {
            base: base(),
            host,
            running,
            versions: Versions::new(),
            known: Vec::new(),
            engine,
            storage,
            decoder,
            sequence: 0,
        }
    }

    fn version(&self, rule: Rule, version: u64) -> StageVersion {
        let module = self.host.load_stage(rule.name().as_ref(), Default::default()).unwrap();
        let digest = Some(module.digest.clone());
        StageVersion {
            module,
            deployment: Deployment {
                version,
                digest,
                ..Default::default()
            },
        }
    }

    /// Gets a version ready, as the rollout does it.
    fn prepare(&mut self, at: usize, rule: Rule, number: u64) -> (Box<Successor>, Arc<Plan>, StepVersions) {
        let before = self.versions.get(STEPS[at]).cloned().unwrap_or_default();
        let of_file = || {
            let stage = self.running.stage(STEPS[at]).unwrap();
            StageVersion {
                module: stage.module.clone(),
                deployment: stage.deployment.clone(),
            }
        };
        let last = self.known.iter().rfind(|known| known.step == STEPS[at]);
        let on_trial = last.is_some_and(|last| last.trial.left > 0);
        let live = before.live.clone().unwrap_or_else(of_file);
        let good = before.fallback.clone().filter(|_| on_trial).unwrap_or(live);
        let of_step = StepVersions {
            live: Some(self.version(rule, number)),
            fallback: Some(good),
            shadow: None,
        };
        let mut versions = self.versions.clone();
        versions.insert(STEPS[at].to_owned(), of_step.clone());
        let plan = Arc::new(self.base.again(&self.host, &versions).unwrap());
        let successor = Successor::prepare(&self.running, plan.clone(), &self.host, 64).unwrap();
        (Box::new(successor), plan, of_step)
    }

    /// Compares a candidate over current rows. Gives where it is told what was found.
    fn compare(&mut self, at: usize, rule: Rule) -> Shared {
        let mut would = self.versions.clone();
        let of_step = would.entry(STEPS[at].to_owned()).or_default();
        *of_step = StepVersions {
            live: Some(self.version(rule, 1_000)),
            fallback: of_step.live.take(),
            shadow: of_step.fallback.take(),
        };
        let would = Arc::new(self.base.again(&self.host, &would).unwrap());
        let found = Shared::default();
        let ready = prepare(STEPS[at], &self.running, Ok(would), &self.host, &found).unwrap();
        self.engine.begin_comparisons(ready.into_iter().collect()).unwrap();
        found
    }

    /// Lets it take over; whether it did.
    fn swap(&mut self, at: usize, (mut successor, plan, of_step): (Box<Successor>, Arc<Plan>, StepVersions)) -> bool {
        let decoder = successor.decoder.take().unwrap();
        let retired = self.engine.swap(*successor).unwrap();
        if retired.refused().is_some() {
            return false;
        }
        self.versions.insert(STEPS[at].to_owned(), of_step);
        (self.running, self.decoder) = (plan, decoder);
        true
    }

    fn events(&mut self, events: &[(String, i64, bool)]) {
        for (k, n, gone) in events {
            self.sequence += 1;
            let event = json!({ "k": k, "n": n, "gone": gone });
            self.decoder
                .push(self.sequence, Some(1_773_547_200_000), event.to_string().as_bytes());
        }
        self.engine.process(self.decoder.take()).unwrap();
    }

    fn commit(&mut self) {
        let number = self.storage.stored().turn + 1;
        let turn = self.engine.take_turn(number).unwrap();
        for (number, change) in turn.changes.iter().enumerate() {
            let is_overtaken = |step: &str| {
                let mut later = turn.changes.iter().skip(number + 1);
                later.any(|later| matches!(later, VersionChange::InForce(later) if later.step == step))
            };
            match change {
                VersionChange::InForce(in_force) => {
                    self.known
                        .retain(|known| known.step != in_force.step || known.first_sequence != in_force.first_sequence);
                    self.known.push(StoredVersion::of(in_force));
                    let of_step = self.versions.entry(in_force.step.clone()).or_default();
                    if !is_overtaken(&in_force.step)
                        && of_step
                            .live
                            .as_ref()
                            .is_some_and(|live| live.deployment != in_force.deployment)
                        && let Some(good) = of_step.fallback.take_if(|good| good.deployment == in_force.deployment)
                    {
                        of_step.live = Some(good);
                    }
                }
                VersionChange::Trial(trial) => {
                    let last = self.known.iter_mut().rfind(|known| known.step == trial.step).unwrap();
                    last.trial = trial.clone();
                }
                VersionChange::Refused(_) => {}
            }
        }
        self.storage.commit(turn).unwrap();
    }

    /// As another process would go on.
    fn restart(&mut self) {
        for (step, of_step) in &mut self.versions {
            let last = self.known.iter().rfind(|known| known.step == *step);
            if last.is_none_or(|last| last.trial.left == 0) {
                of_step.fallback = None;
            }
        }
        self.running = Arc::new(self.base.again(&self.host, &self.versions).unwrap());
        let stored = self.storage.stored().clone();
        self.engine = Engine::new(self.running.clone(), &self.host, stored.seed).unwrap();
        self.storage.load(&mut self.engine).unwrap();
        self.engine.begin(stored.position, &self.known).unwrap();
        self.decoder = Decoder::of(&self.running, 64).unwrap();
    }

    fn deciding(&self, at: usize) -> String {
        let at = self.running.nodes.position(|node| node.name == STEPS[at]).unwrap();
        let (Some(Step::Stage(stage)), NodeKind::Stage(plan)) =
            (self.engine.steps.get(at), &self.running.nodes.get(at).unwrap().kind)
        else {
            panic!("it is a stage")
        };
        stage.deciding(plan).module.digest.clone()
    }
}

/// Commits, and compares what is stored with what the model says.
fn check(run: &mut Run, model: &Model, context: &str) {
    run.commit();
    for (at, step) in STEPS.into_iter().enumerate() {
        assert_eq!(
            run.deciding(at),
            model.steps[at].rule.name(),
            "{step} decides {context}"
        );
    }
    for (table, rows) in model.tables() {
        let found: Vec<Json> = run.storage.rows(table).into_iter().map(Json::from).collect();
        assert_eq!(found, rows, "table {table} {context}");
    }
    if model.has_tables() {
        let numbers = model.current.values().copied();
        let numbers: BTreeSet<i64> = numbers.filter(|&n| model.output(n).1.is_some()).collect();
        let found = run.storage.rows("by_number");
        let found: BTreeSet<i64> = found.iter().filter_map(|row| row[0].as_i64()).collect();
        assert_eq!(found, numbers, "table by_number {context}");
    }
    let letters = run.storage.dead_letters_held().unwrap();
    assert_eq!(letters, model.dead, "dead letters {context}");
    if !model.keyed() {
        return;
    }
    let raised = run.storage.messages().iter().map(|message| message.payload.clone());
    let expected = model.crossed[0].iter().map(|k| format!("{{\"k\":\"{k}\"}}"));
    assert_eq!(
        raised.collect::<Vec<_>>(),
        expected.collect::<Vec<_>>(),
        "messages {context}"
    );
}

/// Lets some events pass; how many versions were taken back.
fn pass(run: &mut Run, model: &mut Model, random: &mut fastrand::Rng, batch: usize) -> u32 {
    let count = random.usize(1..=batch);
    let mut event = || (random.u32(0..9).to_string(), random.i64(-6..24), random.u32(0..5) == 0);
    let events: Vec<(String, i64, bool)> = (0..count).map(|_| event()).collect();
    run.events(&events);
    let before = model.steps.map(|step| step.rule);
    for (k, n, gone) in &events {
        model.event(k, *n, *gone);
    }
    let now = model.steps.map(|step| step.rule);
    before.iter().zip(now).filter(|(before, now)| **before != *now).count() as u32
}

/// How many runs there are: `WEIR_CASES` times as many, or with `WEIR_SEED` the one of that seed.
const RUNS: u64 = 60;

#[test]
fn current_rows_are_as_if_the_version_in_force_had_judged_them_always() {
    let given = |name: &str| std::env::var(name).map(|text| text.parse::<u64>().expect("a number"));
    let runs = RUNS * given("WEIR_CASES").unwrap_or(1);
    let seeds = given("WEIR_SEED").map_or(0..runs, |seed| seed..seed + 1);
    let is_whole = seeds.end == runs;
    let (mut refused, mut taken_back, mut found_otherwise) = (0, 0, 0);
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let keyed = random.u32(0..4) > 0;
        let rules: Vec<Rule> = Rule::all(keyed).collect();
        let changelogs = [Changelog::LastValue, Changelog::Aggregate, Changelog::Window];
        let changelog = random.choice(changelogs).unwrap();
        let begin = Rule {
            threshold: 8,
            fails_at: None,
            keyed,
        };
        let mut run = Run::new(&text(changelog, begin, begin));
        let mut model = Model {
            changelog,
            current: BTreeMap::new(),
            steps: [Running {
                rule: begin,
                trial: None,
            }; 2],
            raised: BTreeSet::new(),
            crossed: [Vec::new(), Vec::new()],
            dead: 0,
        };
        let batch = random.choice([1, 7, 64]).unwrap();
        for number in 1..40 {
            let context =
                format!("after action {number} with WEIR_SEED={seed}, {changelog:?}, {keyed}, batches of {batch}");
            match random.u32(0..10) {
                0 | 1 => {
                    // What is in force, and whether it is on trial, is known from commits.
                    check(&mut run, &model, &context);
                    let (at, rule) = (random.usize(0..2), random.choice(&rules).copied().unwrap());
                    let (mut successor, plan, of_step) = run.prepare(at, rule, number);
                    let good = model.good(at);
                    if random.bool() {
                        successor = match successor.rehearse(&run.running, &run.host).unwrap() {
                            Ok(prepared) => run.engine.begin_rehearsal(prepared).unwrap(),
                            Err(successor) => successor,
                        };
                        for _ in 0..random.usize(0..4) {
                            for _ in 0..random.usize(0..400) {
                                run.engine.rehearse_some().unwrap();
                            }
                            taken_back += pass(&mut run, &mut model, &mut random, batch);
                        }
                        while run.engine.rehearse_some().unwrap() || !run.engine.is_rehearsed() {
                            std::thread::yield_now();
                        }
                        taken_back += pass(&mut run, &mut model, &mut random, batch);
                    }
                    let expected = model.swap(at, rule, good);
                    let swapped = run.swap(at, (successor, plan, of_step));
                    assert_eq!(swapped, expected, "a swap to {rule:?} {context}");
                    refused += u32::from(!expected);
                }
                2 => {
                    check(&mut run, &model, &context);
                    run.restart();
                }
                3 => {
                    check(&mut run, &model, &context);
                    let (at, rule) = (random.usize(0..2), random.choice(&rules).copied().unwrap());
                    let found = run.compare(at, rule);
                    for _ in 0..random.usize(0..4) {
                        for _ in 0..random.usize(0..400) {
                            run.engine.compare_some().unwrap();
                        }
                        taken_back += pass(&mut run, &mut model, &mut random, batch);
                    }
                    while run.engine.compare_some().unwrap() != Compared::Through || !run.engine.has_compared() {
                        std::thread::yield_now();
                    }
                    let report = report_of(&found).unwrap();
                    assert!(
                        report.is_whole && report.sequence == run.sequence,
                        "{report:?} {context}"
                    );
                    let CurrentRows {
                        rows,
                        added,
                        missing,
                        changed,
                        rejected,
                        ..
                    } = report;
                    let expected = model.compared(at, rule);
                    assert_eq!(
                        [rows, added, missing, changed, rejected],
                        expected,
                        "{rule:?} beside {} {context}",
                        STEPS[at]
                    );
                    assert_eq!(report.stays_out.is_some(), rejected > 0, "{context}");
                    assert_eq!(report.examples.is_empty(), expected[1..4] == [0; 3], "{context}");
                    found_otherwise += u32::from(expected[1..4] != [0; 3]);
                }
                _ => taken_back += pass(&mut run, &mut model, &mut random, batch),
            }
            if random.bool() {
                check(&mut run, &model, &context);
            }
        }
        check(&mut run, &model, &format!("at the end with WEIR_SEED={seed}"));
    }
    if is_whole {
        assert!(
            refused > 10 && taken_back > 10 && found_otherwise > 10,
            "{refused} swaps were refused, {taken_back} versions taken back, {found_otherwise} candidates differed"
        );
    }
}

#[test]
fn a_rehearsal_that_dies_holds_no_swap_up() {
    let begin = Rule {
        threshold: 8,
        fails_at: None,
        keyed: true,
    };
    let mut run = Run::new(&text(Changelog::LastValue, begin, begin));
    run.events(&[("a".to_owned(), 3, false), ("b".to_owned(), 12, false)]);
    let (successor, plan, of_step) = run.prepare(0, DIES_IN_REHEARSAL, 1);
    let prepared = successor.rehearse(&run.running, &run.host).unwrap().unwrap();
    let successor = run.engine.begin_rehearsal(prepared).unwrap();
    while !run.engine.is_rehearsed() {
        run.engine.rehearse_some().unwrap();
    }
    assert!(run.swap(0, (successor, plan, of_step)));
    run.commit();
    assert_eq!(
        run.storage.rows("first"),
        [[json!("a"), json!(3), json!(1)], [json!("b"), json!(12), json!(6)]]
    );
}

#[test]
fn rows_of_a_window_that_is_over_since_a_rehearsal_began_stay_as_they_were_judged() {
    let [low, high] = [0, 8].map(|threshold| Rule {
        threshold,
        fails_at: None,
        keyed: true,
    });
    let text = format!(
        r#"
        name = "rules"
        source = {{ stream = "S", subject = "s", columns = {{ k = "text", n = "int", at = "int" }} }}
        event_time = {{ column = "at" }}
        [[step]]
        name = "current"
        window = {{ tumbling = "10 ms", emit = "update", group_by = ["k"], columns = {{ n = {{ sum = "n" }} }} }}
        [[step]]
        name = "first"
        stage = {{ module = "{}" }}
        [[step]]
        name = "levels"
        from = "first"
        aggregate = {{ group_by = ["level"], columns = {{ rows = {{ count = "*" }}, total = {{ sum = "n" }} }} }}
        [[sink]]
        table = "levels"
        primary_key = ["level"]
        "#,
        low.name()
    );
    let mut run = Run::new(&text);
    let pass = |run: &mut Run, n: i64, at: i64| {
        run.sequence += 1;
        let event = json!({ "k": "a", "n": n, "at": at }).to_string();
        run.decoder.push(run.sequence, Some(0), event.as_bytes());
        run.engine.process(run.decoder.take()).unwrap();
    };
    pass(&mut run, 3, 1);
    let (successor, plan, of_step) = run.prepare(0, high, 1);
    let prepared = successor.rehearse(&run.running, &run.host).unwrap().unwrap();
    let successor = run.engine.begin_rehearsal(prepared).unwrap();
    while run.engine.rehearse_some().unwrap() {}
    pass(&mut run, 4, 20);
    while !run.engine.is_rehearsed() {
        std::thread::yield_now();
    }
    assert!(run.swap(0, (successor, plan, of_step)));
    run.commit();
    // The first window is past; of the second the new version lets nothing through.
    assert_eq!(run.storage.rows("levels"), [[json!(1), json!(1), json!(3)]]);
}
