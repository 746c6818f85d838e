//! Events whose key and value are of one type, and runs of them in batches of several sizes, stopped at random.

use super::{
    kinds::{Kind, Plain, cell, kinds, mean, sum},
    plan,
};
use proptest::{collection::vec, option::weighted, prelude::*};
use std::{collections::BTreeSet, fmt, sync::Arc};
use weir::plan::Plan;
use weir_tests::{
    replay::Run,
    seed::check_property,
    table::{Cell, Contents},
};

/// How much older than an earlier event one may be, in the pipelines of these tests.
pub(super) const OUT_OF_ORDERNESS_MS: i64 = 7;

/// An event as it is meant.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Its number.
    pub(super) n: i64,
    pub(super) at_ms: i64,
    /// Whether it is of the second input, where there are two.
    pub(super) is_right: bool,
    pub(super) group: i64,
    pub(super) key: Option<Plain>,
    pub(super) value: Option<Plain>,
    pub(super) raises: Option<bool>,
    pub(super) holds: Option<bool>,
    way: usize,
}

impl Event {
    pub(super) fn number(&self) -> Cell {
        Cell::Int(self.n)
    }

    pub(super) fn key_cell(&self) -> Cell {
        cell(self.key.as_ref())
    }

    pub(super) fn value_cell(&self) -> Cell {
        cell(self.value.as_ref())
    }

    /// Number, key and value.
    pub(super) fn row(&self) -> Vec<Cell> {
        vec![self.number(), self.key_cell(), self.value_cell()]
    }

    /// As a line; each null is one, or nothing. Those of the second input give their columns other names.
    fn line(&self, with_subject: bool) -> String {
        let [n, k, v] = if self.is_right && with_subject {
            ["m", "j", "w"]
        } else {
            ["n", "k", "v"]
        };
        let boolean = |value: Option<bool>| value.map(|value| value.to_string());
        let plain = |value: &Option<Plain>, way| value.as_ref().map(|value| value.json(way));
        let members = [
            (n, Some(self.n.to_string())),
            ("at", Some(self.at_ms.to_string())),
            ("g", Some(self.group.to_string())),
            (k, plain(&self.key, self.way)),
            (v, plain(&self.value, self.way / 3)),
            ("up", boolean(self.raises)),
            ("held", boolean(self.holds)),
        ];
        let space = [" ", "", "\t"][self.way % 3];
        let members = members.into_iter().filter_map(|(name, value)| match value {
            None if self.way.is_multiple_of(2) => None,
            None => Some(format!("\"{name}\":null")),
            Some(value) => Some(format!("{space}\"{name}\"{space}:{space}{value}{space}")),
        });
        let payload = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        match (with_subject, self.is_right) {
            (false, _) => payload + "\n",
            (true, false) => format!("{{\"subject\": \"a\", \"payload\": {payload}}}\n"),
            (true, true) => format!("{{\"subject\": \"b\", \"payload\": {payload}}}\n"),
        }
    }
}

/// Events, and after how many of them a run is stopped.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) events: Vec<Event>,
    /// The values that are in them, and perhaps more.
    pub(super) palette: Vec<Plain>,
    stops: Vec<usize>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: String = self.events.iter().map(|event| event.line(true)).collect();
        write!(f, "stopped at {:?}\n{lines}", self.stops)
    }
}

/// Where the watermark stands before and after each event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
}

impl Case {
    /// The events, each with the watermark about it. That of two inputs is the one which is further behind.
    pub(super) fn marked(&self, inputs: usize) -> impl Iterator<Item = (&Event, Mark)> {
        let mut latest = vec![None::<i64>; inputs];
        let mut before_ms = i64::MIN;
        self.events.iter().map(move |event| {
            let latest_ms = &mut latest[usize::from(event.is_right) % inputs];
            *latest_ms = (*latest_ms).max(Some(event.at_ms));
            let after_ms = latest.iter().copied().min().flatten();
            let after_ms = after_ms.map_or(i64::MIN, |latest_ms| latest_ms - OUT_OF_ORDERNESS_MS);
            let mark = Mark { before_ms, after_ms };
            before_ms = after_ms;
            (event, mark)
        })
    }
}

fn case(kind: &Kind) -> impl Strategy<Value = Case> + use<> {
    let some = |count: usize| weighted(0.85, 0..count);
    let event = (
        (some(6), some(6), 0..3i64),
        (-12..16i64, any::<bool>(), 0..36usize),
        (weighted(0.85, any::<bool>()), weighted(0.85, any::<bool>())),
    );
    let (palette, events) = (vec(kind.values(), 2..6), vec(event, 1..60));
    (palette, events, vec(0..60usize, 0..3)).prop_map(|(palette, events, mut stops)| {
        stops.sort_unstable();
        let value = |at: Option<usize>| at.map(|at| palette[at % palette.len()].clone());
        let events = events.into_iter().enumerate();
        let events = events.map(
            |(n, ((key, of, group), (jump, is_right, way), (raises, holds)))| Event {
                n: n as i64,
                at_ms: 2 * n as i64 + jump,
                is_right,
                group,
                key: value(key),
                value: value(of),
                raises,
                holds,
                way,
            },
        );
        let events = events.collect();
        Case { events, palette, stops }
    })
}

/// Functions over column `v`, as [`results`] computes them.
fn functions(kind: &Kind) -> String {
    let mut functions =
        "rows = { count = \"*\" }\nvalued = { count = \"v\" }\ndistinct = { count_distinct = \"v\" }\n".to_owned();
    if kind.has_order {
        functions += "least = { min = \"v\" }\nmost = { max = \"v\" }\n";
    }
    if kind.is_number() {
        functions += "total = { sum = \"v\" }\n";
    }
    if let Some(places) = kind.places() {
        functions += &format!("mean = {{ avg = \"v\", scale = {places} }}\n");
    }
    functions
}

/// What the functions give for rows of these values.
pub(super) fn results<'v>(kind: &Kind, values: impl Iterator<Item = Option<&'v Plain>>) -> Vec<Cell> {
    let all: Vec<Option<&Plain>> = values.collect();
    let some: Vec<&Plain> = all.iter().flatten().copied().collect();
    let count = |count: usize| Cell::Int(count as i64);
    let distinct = some.iter().collect::<BTreeSet<_>>().len();
    let mut results = vec![count(all.len()), count(some.len()), count(distinct)];
    if kind.has_order {
        results.extend([cell(some.iter().min().copied()), cell(some.iter().max().copied())]);
    }
    if kind.is_number() {
        results.push(sum(&some));
    }
    if let Some(places) = kind.places() {
        results.push(mean(&some, places));
    }
    results
}

/// A pipeline over columns of a type, as `template` says: `COLUMN` declares one, `FIXED` and `NOTHING` are constants of it,
/// `FUNCTIONS` are those of [`results`], and `RANK` is what rows can be ranked by.
pub(super) fn plan_of(kind: &Kind, template: &str) -> Arc<Plan> {
    let (constant, name) = (&kind.constant.0, &kind.name);
    let text = template
        .replace("COLUMN", &kind.column)
        .replace("FIXED", &format!("{{ constant = {constant}, type = \"{name}\" }}"))
        .replace("NOTHING", &format!("{{ null = true, type = \"{name}\" }}"))
        .replace("FUNCTIONS", &functions(kind))
        .replace("RANK", if kind.has_order { "v" } else { "n" });
    plan(&text)
}

/// Tables by name, with the rows that they have to hold.
pub(super) type Tables = Vec<(&'static str, Vec<Vec<Cell>>)>;

/// Holds a pipeline to a model, for each type of columns: in batches of each size, with stops.
#[track_caller]
pub(super) fn check_each_type(cases: u32, template: &str, model: impl Fn(&Kind, &Case) -> Tables) {
    check_each_type_with_rows(cases, template, |_| String::new(), model);
}

/// The same, with rows of a lookup table.
#[track_caller]
pub(super) fn check_each_type_with_rows(
    cases: u32,
    template: &str,
    lookup_rows: impl Fn(&Case) -> String,
    model: impl Fn(&Kind, &Case) -> Tables,
) {
    let with_subject = template.contains("[source.input.");
    for kind in kinds() {
        let plan = plan_of(&kind, template);
        check_property(cases, &case(&kind), |case| {
            let (expected, lookup_rows) = (model(&kind, case), lookup_rows(case));
            let input: String = case.events.iter().map(|event| event.line(with_subject)).collect();
            for batch in [1, 7, 256, 4096] {
                let run = Run {
                    plan: &plan,
                    lookup_rows: lookup_rows.as_bytes(),
                    input: input.as_bytes(),
                    batches: &[batch],
                    stops: &case.stops,
                };
                check(
                    &run.contents(),
                    &expected,
                    &format!("{}: batches of {batch}", kind.name),
                );
            }
        });
    }
}

#[track_caller]
fn check(found: &Contents, expected: &Tables, context: &str) {
    assert_eq!(found.dead_letters, [], "{context}");
    for (name, expected) in expected {
        let found = &found.tables[*name].rows;
        assert_eq!(found, expected, "{context}: table {name}: found, and expected");
    }
}

/// Rows as a table with a primary key holds them.
pub(super) fn sorted(rows: impl IntoIterator<Item = Vec<Cell>>) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = rows.into_iter().collect();
    rows.sort();
    rows
}
