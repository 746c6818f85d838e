//! A rule over a changelog, versions of which are swapped while events pass: it lets rows through from a threshold on.
//!
//! It passes all columns on, so that whatever reads a changelog may read it, and adds a label that only some rows have, and
//! what `on_crossing` wants to know. Its guests are closures: what is tested is what becomes of their verdicts.

use super::{Decided, Edge, Place, Ran, Step};
use crate::{
    generator::{
        calendar::{AT, Moment, OWN},
        choices::Choices,
        model::{Change, Changes, Row, key_cell, pick_key},
        rules::Judge,
    },
    table::Cell,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use weir::model::{
    column::{ColumnType::Boolean, ColumnType::Int, Field},
    guest::{CodeHandle, Description, Module, OutputSpec, ParameterSpec, ParameterType, ParameterValue},
};

/// A rule, as its parameters make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// It lets rows through from here on.
    pub least: i64,
    /// Whether it lets rows through that have no value.
    pub nulls: bool,
    /// The label of rows with an odd value; those of others have 0.
    pub label: i64,
    /// It rejects rows with this value.
    pub fails_at: Option<i64>,
    /// Whether it fails there instead, as a guest does that traps.
    pub traps: bool,
}

/// A rule with the number of its deployment; 0 for that of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number.
    pub number: u64,
    /// The rule.
    pub rule: Rule,
}

/// Another version of a rule takes over.
#[derive(Clone, Copy, Debug)]
pub struct Swap {
    /// The step, by its number.
    pub step: usize,
    /// The version.
    pub version: Version,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on by an output, with a label, and whether it raises, and holds.
    Passes(usize, i64, bool, bool),
    /// It goes no further.
    Stays,
    /// The rule does not take it.
    Fails,
}

/// The step.
#[derive(Debug)]
pub struct Threshold {
    /// The number of the step.
    pub number: usize,
    /// The column that it judges.
    pub column: usize,
    /// The columns that tell the rows of the changelog apart.
    pub key: Vec<usize>,
    /// The rules from the changelog of the operator to this one.
    pub path: Vec<usize>,
    /// Whether rows may come because time went on, so that no event is to blame for them.
    pub timer_driven: bool,
    /// Whether rows below the threshold leave by an output of their own.
    pub has_low: bool,
    /// For how many rows a version is on trial.
    pub trial_rows: u64,
    /// What the file says.
    pub first: Rule,
}

const VALUES: [i64; 8] = [1, 0, 2, 3, -1, i64::MIN, i64::MAX, 4];

/// Counts and sums come to these only after a while.
const FAILURES: [i64; 8] = [2, 1, 3, 0, 1, 2, i64::MAX, 4];

/// Columns that hardly any threshold divides.
const TIMES: [&str; 4] = [AT, OWN, "window_start", "window_end"];

impl Rule {
    /// One or another.
    pub fn draw(choices: &mut Choices<'_>) -> Self {
        Self {
            least: choices.one_of(&VALUES),
            nulls: choices.below(2) == 1,
            label: choices.below(3) as i64,
            fails_at: (choices.below(3) > 0).then(|| choices.one_of(&FAILURES)),
            traps: choices.below(3) == 2,
        }
    }

    /// What becomes of a row with this value.
    pub fn judge(self, value: Option<i64>) -> Verdict {
        if value.is_some() && value == self.fails_at {
            return Verdict::Fails;
        }
        match value {
            None if self.nulls => Verdict::Passes(0, self.label, false, true),
            Some(value) if value >= self.least => {
                let label = if value % 2 == 0 { 0 } else { self.label };
                Verdict::Passes(0, label, value > self.least, true)
            }
            // Where there is such an output.
            Some(_) => Verdict::Passes(1, self.label, false, false),
            None => Verdict::Stays,
        }
    }

    /// The rule that parameters make, by name; those that are not there have their defaults.
    pub(in crate::generator) fn of(parameters: &[(String, ParameterValue)]) -> Self {
        let mut rule = Self::default();
        for (name, value) in parameters {
            match (&**name, value) {
                ("least", ParameterValue::Int(least)) => rule.least = *least,
                ("nulls", ParameterValue::Boolean(nulls)) => rule.nulls = *nulls,
                ("label", ParameterValue::Int(label)) => rule.label = *label,
                ("fails_at", ParameterValue::IntList(values)) => rule.fails_at = values.first().copied(),
                ("traps", ParameterValue::Boolean(traps)) => rule.traps = *traps,
                _ => panic!("no parameter {name} is {value}"),
            }
        }
        rule
    }

    /// Its parameters, as a deployment has them.
    pub fn parameters(self) -> BTreeMap<String, toml::Value> {
        let fails_at: Vec<toml::Value> = self.fails_at.into_iter().map(toml::Value::from).collect();
        let parameters: [(&str, toml::Value); 5] = [
            ("least", self.least.into()),
            ("nulls", self.nulls.into()),
            ("label", self.label.into()),
            ("fails_at", fails_at.into()),
            ("traps", self.traps.into()),
        ];
        parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn specs() -> Vec<ParameterSpec> {
        let spec = |name: &str, default: ParameterValue| ParameterSpec {
            name: name.to_owned(),
            parameter_type: default.parameter_type(),
            default: Some(default),
            doc: String::new(),
        };
        vec![
            spec("least", ParameterValue::Int(0)),
            spec("nulls", ParameterValue::Boolean(false)),
            spec("label", ParameterValue::Int(0)),
            ParameterSpec {
                parameter_type: ParameterType::IntList,
                ..spec("fails_at", ParameterValue::IntList(Vec::new()))
            },
            spec("traps", ParameterValue::Boolean(false)),
        ]
    }
}

pub(super) fn draw(choices: &mut Choices<'_>, place: &Place<'_>) -> Option<Box<dyn Step>> {
    let input = place.input;
    let key = input.key.clone()?;
    let ints = (0..input.columns.len()).filter(|&column| {
        let (name, column_type) = &input.columns[column];
        *column_type == Int && !TIMES.contains(&&**name)
    });
    let ints: Vec<usize> = ints.collect();
    if ints.is_empty() {
        return None;
    }
    // Rather what is computed than what never changes.
    let column = ints[ints.len() - 1 - choices.below(ints.len())];
    Some(Box::new(Threshold {
        number: place.number,
        column,
        key,
        path: [&input.rules[..], &[place.number]].concat(),
        timer_driven: input.timer_driven,
        has_low: choices.below(3) == 2,
        trial_rows: choices.one_of(&[1000, 0, 1000, 5]),
        first: Rule {
            fails_at: None,
            ..Rule::draw(choices)
        },
    }))
}

/// What decides, and what does where that fails on trial, with the rows for which it still is.
#[derive(Clone, Copy, Debug)]
struct Running {
    live: Version,
    trial: Option<(Version, u64)>,
}

/// What a rule gives for one event, by output.
type Given = Vec<Vec<Change>>;

impl Threshold {
    fn outputs(&self) -> usize {
        1 + usize::from(self.has_low)
    }

    fn value(&self, row: &Row) -> Option<i64> {
        match row[self.column] {
            Cell::Int(value) => Some(value),
            _ => None,
        }
    }

    fn fails(&self, rule: Rule, row: &Row) -> bool {
        rule.judge(self.value(row)) == Verdict::Fails
    }

    /// The row that a rule makes of one for an output.
    fn given(&self, rule: Rule, row: &Row, output: usize) -> Option<Row> {
        match rule.judge(self.value(row)) {
            Verdict::Passes(to, label, raises, holds) if to == output => {
                let computed = [Cell::Int(label), Cell::Int(raises.into()), Cell::Int(holds.into())];
                Some(row.iter().cloned().chain(computed).collect())
            }
            _ => None,
        }
    }

    /// Adds what differs between what rules make of a row, or two.
    fn differ(&self, given: &mut Given, before: Option<(Rule, &Row)>, after: Option<(Rule, &Row)>) {
        for (output, given) in given.iter_mut().enumerate() {
            let of = |judged: Option<(Rule, &Row)>| judged.and_then(|(rule, row)| self.given(rule, row, output));
            let (before, after) = (of(before), of(after));
            if before != after {
                given.extend(change(before, after));
            }
        }
    }

    /// Another version takes over, here or at a rule in front: all current rows are judged anew, in the order of their keys.
    /// Says whether the rules take them.
    fn take_over(
        &self,
        swap: Swap,
        running: &mut Running,
        current: &mut Vec<Row>,
        changes: &[Change],
        given: &mut Given,
    ) -> bool {
        let (was, before) = (running.live.rule, current.clone());
        changes.iter().for_each(|change| apply(current, change));
        if swap.step == self.number {
            let good = running.trial.map_or(running.live, |(fallback, _)| fallback);
            *running = Running {
                live: swap.version,
                trial: (self.trial_rows > 0).then_some((good, self.trial_rows)),
            };
        }
        let rule = running.live.rule;
        let keys: BTreeSet<Row> = before
            .iter()
            .chain(&*current)
            .map(|row| pick_key(row, &self.key))
            .collect();
        let mut takes_all = true;
        for key in keys {
            let find = |rows: &'_ [Row]| rows.iter().find(|row| pick_key(row, &self.key) == key).cloned();
            let (old, new) = (find(&before), find(current));
            let failed = old.as_ref().is_some_and(|row| self.fails(was, row));
            takes_all &= failed || !new.as_ref().is_some_and(|row| self.fails(rule, row));
            self.differ(
                given,
                old.as_ref().map(|row| (was, row)),
                new.as_ref().map(|row| (rule, row)),
            );
        }
        takes_all
    }
}

/// What takes a row from what it was to what it is.
fn change(before: Option<Row>, after: Option<Row>) -> Option<Change> {
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some(Change::Insert(after)),
        (Some(before), None) => Some(Change::Delete(before)),
        (Some(before), Some(after)) => Some(Change::Update(before, after)),
    }
}

fn apply(rows: &mut Vec<Row>, change: &Change) {
    let (gone, new) = halves(change);
    if let Some(gone) = gone {
        let at = rows.iter().position(|row| row == gone);
        rows.remove(at.expect("what is taken away was there"));
    }
    rows.extend(new.cloned());
}

fn halves(change: &Change) -> (Option<&Row>, Option<&Row>) {
    match change {
        Change::Insert(new) => (None, Some(new)),
        Change::Update(gone, new) => (Some(gone), Some(new)),
        Change::Delete(gone) => (Some(gone), None),
    }
}

impl Step for Threshold {
    fn outputs(&self, inputs: &[&Edge]) -> Vec<Edge> {
        let number = self.number;
        let mut own = Edge {
            name: String::new(),
            rules: self.path.clone(),
            ..inputs[0].clone()
        };
        own.columns.extend([
            (format!("label{number}"), Int),
            (format!("up{number}"), Boolean),
            (format!("near{number}"), Boolean),
        ]);
        let low = Edge {
            name: "low".to_owned(),
            ..own.clone()
        };
        [own, low].into_iter().take(Self::outputs(self)).collect()
    }

    fn write(&self, _: &[&Edge]) -> String {
        let parameters = self.first.parameters().into_iter();
        let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name} = {value}")).collect();
        format!(
            "[step.stage]\nmodule = \"threshold-{}\"\nparameters = {{ {} }}\ntrial = {{ rows = {} }}\n",
            self.number,
            parameters.join(", "),
            self.trial_rows
        )
    }

    fn module(&self, inputs: &[&Edge]) -> Option<Arc<Module>> {
        let (judged, column_type) = &inputs[0].columns[self.column];
        let field = |name: String, column_type, nullable| Field {
            name,
            column_type,
            nullable,
        };
        let number = self.number;
        let passed = inputs[0].columns.iter().map(|(name, _)| (name.clone(), name.clone()));
        let own = OutputSpec {
            name: "out".to_owned(),
            passed: passed.collect(),
            computed: vec![
                field(format!("label{number}"), Int, false),
                field(format!("up{number}"), Boolean, false),
                field(format!("near{number}"), Boolean, false),
            ],
            many: false,
        };
        let low = OutputSpec {
            name: "low".to_owned(),
            ..own.clone()
        };
        let name = format!("threshold-{number}");
        let outputs = Self::outputs(self);
        Some(Arc::new(Module {
            digest: name.clone(),
            path: name.clone().into(),
            bytes: Arc::default(),
            description: Description {
                name,
                version: "1".to_owned(),
                doc: String::new(),
                inputs: vec![field(judged.clone(), *column_type, true).into()],
                reads_time: false,
                outputs: [own, low].into_iter().take(outputs).collect(),
                parameters: Rule::specs(),
            },
            code: CodeHandle::new(Arc::new(Judge { outputs })),
        }))
    }

    fn lets_through(&self) -> bool {
        true
    }

    fn rule(&self) -> Option<&Threshold> {
        Some(self)
    }

    fn judge(&self, input: &Changes, past: &[Vec<Row>], moments: &[Moment]) -> Option<Ran> {
        let mut current: Vec<Row> = Vec::new();
        let first = Version {
            number: 0,
            rule: self.first,
        };
        let mut running = Running {
            live: first,
            trial: None,
        };
        let mut decided = Decided {
            in_force: vec![(None, first)],
            ..Decided::default()
        };
        let mut outputs: Vec<Changes> = vec![Vec::new(); Self::outputs(self)];
        let mut over = Vec::new();
        for (at, (changes, moment)) in input.iter().zip(moments).enumerate() {
            let mut given: Given = vec![Vec::new(); outputs.len()];
            match moment.swap.filter(|swap| self.path.contains(&swap.step)) {
                Some(swap) => {
                    if swap.step == self.number {
                        decided.in_force.push((Some(at), swap.version));
                        let good = running.trial.map_or(running.live, |(fallback, _)| fallback);
                        decided.good.push((at, good));
                    }
                    if !self.take_over(swap, &mut running, &mut current, changes, &mut given) {
                        decided.rejects.push(at);
                    }
                }
                None => {
                    for change in changes {
                        self.event(at, change, &mut running, &mut current, &mut given, &mut decided);
                    }
                }
            }
            let mut gone = Vec::new();
            for row in past.get(at).into_iter().flatten() {
                current.retain(|known| known != row);
                gone.extend(self.given(running.live.rule, row, 0));
            }
            over.push(gone);
            outputs
                .iter_mut()
                .zip(given)
                .for_each(|(output, given)| output.push(given));
        }
        Some(Ran {
            outputs,
            took: vec![false; input.len()],
            state: None,
            past: over,
            decided,
        })
    }
}

impl Threshold {
    /// One change of an event.
    fn event(
        &self,
        at: usize,
        change: &Change,
        running: &mut Running,
        current: &mut Vec<Row>,
        given: &mut Given,
        decided: &mut Decided,
    ) {
        let (gone, new) = halves(change);
        if let Some((fallback, left)) = running.trial {
            let (live, good) = (running.live.rule, fallback.rule);
            let fails =
                |row: &Row, goes: bool| (live.traps || !goes) && self.fails(live, row) && !self.fails(good, row);
            if gone.is_some_and(|row| fails(row, true)) || new.is_some_and(|row| fails(row, false)) {
                // All current rows are judged back in front of it.
                let mut rows = current.clone();
                rows.sort_by_key(|row| row.iter().map(key_cell).collect::<Row>());
                for row in &rows {
                    self.differ(given, Some((live, row)), Some((good, row)));
                }
                *running = Running {
                    live: fallback,
                    trial: None,
                };
                decided.in_force.push((Some(at), fallback));
                decided.taken_back.push(at);
            } else {
                let rows = u64::from(gone.is_some()) + u64::from(new.is_some());
                let left = left.saturating_sub(rows);
                running.trial = (left > 0).then_some((fallback, left));
            }
        }
        let rule = running.live.rule;
        let rejected = [(gone, true), (new, false)]
            .into_iter()
            .filter(|(row, goes)| row.is_some_and(|row| self.fails(rule, row)) && (rule.traps || !goes));
        for _ in rejected {
            match self.timer_driven {
                true => decided.dead_rows.push(at),
                false => decided.rejects.push(at),
            }
        }
        for (output, given) in given.iter_mut().enumerate() {
            let of = |row: Option<&Row>| row.and_then(|row| self.given(rule, row, output));
            given.extend(self::change(of(gone), of(new)));
        }
        apply(current, change);
    }
}
