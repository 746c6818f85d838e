//! Random rows into operators whose guest changes on the way, against the same operator whose guest was the new one always.

use crate::{
    model::column::{ColumnType, Field, Value},
    operator::testing::Tested,
    plan::double::Closures,
};
use std::{collections::BTreeMap, fmt::Write};

const COLUMNS: &str = "id = \"int\", k = \"text\", n = \"int\"";

/// What an operator is, but for the guest among its functions, and whether rows are taken back from it.
const OPERATORS: [(&str, bool); 10] = [
    ("aggregate = { group_by = [\"k\"], COLUMNS }", false),
    ("aggregate = { group_by = [\"k\"], COLUMNS }", true),
    ("window = { tumbling = \"40 ms\", group_by = [\"k\"], COLUMNS }", false),
    (
        "window = { hopping = { size = \"60 ms\", every = \"20 ms\" }, lateness = \"1 d\", group_by = [\"k\"], COLUMNS }",
        false,
    ),
    (
        "window = { tumbling = \"40 ms\", emit = \"update\", group_by = [\"k\"], COLUMNS }",
        true,
    ),
    (
        "window = { tumbling = \"1 h\", emit = \"update\", lateness = \"1 d\", group_by = [\"k\"], COLUMNS }",
        false,
    ),
    (
        "window = { hopping = { size = \"60 ms\", every = \"20 ms\" }, emit = { early = \"30 ms\" }, lateness = \"1 d\", group_by = [\"k\"], COLUMNS }",
        false,
    ),
    (
        "window = { session = { gap = \"15 ms\" }, group_by = [\"k\"], COLUMNS }",
        false,
    ),
    (
        "window = { session = { gap = \"15 ms\" }, lateness = \"1 d\", emit = \"update\", group_by = [\"k\"], COLUMNS }",
        false,
    ),
    (
        "window = { session = { gap = \"15 ms\" }, lateness = \"1 d\", emit = { early = \"30 ms\" }, group_by = [\"k\"], COLUMNS }",
        false,
    ),
];

/// What a module makes of the sum of a group.
type ResultOf = fn(i64) -> Option<i64>;

/// How the sum becomes the result, by module.
const MODULES: [(&str, ResultOf); 4] = [
    ("sum", |sum| Some(sum)),
    ("tens", |sum| Some(sum.div_euclid(10))),
    ("none", |_| Some(0)),
    ("less", |sum| Some(7 - sum)),
];

fn host() -> Closures {
    let input = Field {
        name: "n".to_owned(),
        column_type: ColumnType::Int,
        nullable: true,
    };
    let host = Closures::default().with_aggregate("sum", input, |sum, value, goes| match value {
        Value::Int(value) => Ok(if goes { sum - value } else { sum + value }),
        other => Err(format!("{other:?} is no number")),
    });
    let [_, others @ ..] = MODULES;
    let host = others.into_iter().fold(host, |host, (path, result)| {
        host.with_module_of("sum", path, None, result)
    });
    host.with_module_of("sum", "odd", None, |sum| (sum % 2 != 0).then_some(sum))
}

/// The last step, with this module among its functions, beside one that stays.
fn pipeline((operator, takes_back): (&str, bool), module: &str) -> String {
    let columns = format!(
        "columns = {{ rows = {{ count = \"*\" }}, result = {{ module = \"{module}\" }}, greatest = {{ max = \"n\" }}, always = {{ module = \"sum\" }} }}"
    );
    let before = if takes_back {
        "{ name = \"last\", last_value = { key = [\"id\"] } },"
    } else {
        ""
    };
    let time = if operator.starts_with("window") && takes_back {
        ", time = \"n\", "
    } else {
        ", "
    };
    let operator = operator.replace(", COLUMNS", &format!("{time}{columns}"));
    let table = match operator.starts_with("aggregate") {
        true => "primary_key = [\"k\"]".to_owned(),
        false if operator.contains("emit") || operator.contains("lateness") => {
            let end = if operator.contains("session") {
                ""
            } else {
                ", \"window_end\""
            };
            format!("primary_key = [\"k\", \"window_start\"{end}]")
        }
        false => "columns = [\"k\", \"window_start\", \"rows\", \"result\", \"greatest\", \"always\"]".to_owned(),
    };
    format!("step = [{before} {{ name = \"results\", {operator} }}]\nsink = [{{ table = \"results\", {table} }}]")
}

/// Random rows, of which those of a changelog are taken back.
struct Rows {
    random: fastrand::Rng,
    takes_back: bool,
    number: u64,
    ms: i64,
    current: BTreeMap<i64, (char, i64)>,
}

impl Rows {
    fn table(&mut self) -> String {
        let mut table = "# kind ms id k n\n".to_owned();
        for _ in 0..self.random.usize(1..12) {
            self.number += 1;
            self.ms += self.random.i64(0..9);
            let late = self.random.i64(0..30);
            let (number, ms) = (self.number, self.ms - late);
            let id = self.random.i64(0..8);
            let row = (self.random.char('a'..='c'), self.random.i64(1..50));
            let mut line = |kind: &str, (k, n): (char, i64)| {
                writeln!(table, "{number} {kind} {ms} {id} {k} {n}").unwrap();
            };
            match self.current.remove(&id).filter(|_| self.takes_back) {
                None => line("+", row),
                Some(before) if self.random.u32(0..4) == 0 => {
                    line("-", before);
                    continue;
                }
                Some(before) => {
                    line("U-", before);
                    line("U+", row);
                }
            }
            self.current.insert(id, row);
        }
        table
    }
}

#[test]
fn states_are_as_if_the_new_guest_had_been_there_always() {
    let mut renewed = 0;
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let operator = random.choice(OPERATORS).unwrap();
        let [old, new] = [(); 2].map(|()| random.choice(MODULES).unwrap().0);
        let context = format!("seed {seed}: {operator:?} from {old} to {new}");
        let mut rows = Rows {
            takes_back: operator.1,
            number: 0,
            ms: 1_000,
            current: BTreeMap::new(),
            random,
        };
        let of = |module: &str| Tested::with_guests(host(), COLUMNS, &pipeline(operator, module));
        let (mut changes, mut always) = (of(old), of(new));
        let is_early = operator.0.contains("early");
        for _ in 0..rows.random.usize(0..4) {
            let table = rows.table();
            changes.take_in(&table);
            always.take_in(&table);
        }
        renewed += u32::from(changes.held() != always.held());
        changes.renew(COLUMNS, &pipeline(operator, new)).unwrap();
        always.restart();
        for step in 0..rows.random.usize(1..4) {
            // What waits to be emitted still stands as the old guest gave it.
            if !is_early {
                assert!(
                    changes.held() == always.held(),
                    "the states {step} batches later, {context}"
                );
                assert_eq!(changes.stands(), always.stands(), "{step} batches later, {context}");
            }
            let table = rows.table();
            let (found, expected) = (changes.take_in(&table), always.take_in(&table));
            assert!(
                is_early || found == expected,
                "{found:?}, and not {expected:?}: {context}"
            );
        }
        // Everything that waits is emitted, and no window goes.
        rows.ms += 10_000;
        for _ in 0..2 {
            rows.number += 1;
            let table = format!("# kind ms id k n\n{} + {} 100 z 5\n", rows.number, rows.ms);
            rows.ms += 10_000;
            changes.take_in(&table);
            always.take_in(&table);
        }
        assert_eq!(changes.stands(), always.stands(), "in the end, {context}");
        assert!(changes.held() == always.held(), "the states in the end, {context}");
    }
    assert!(renewed > 100, "{renewed} of them changed anything");
}

#[test]
fn a_state_without_a_result_is_said() {
    let [operator, ..] = OPERATORS;
    let mut sums = Tested::with_guests(host(), COLUMNS, &pipeline(operator, "sum"));
    sums.take_in("# kind ms id k n\n1 + 1 1 a 3\n2 + 2 2 b 3\n3 + 3 3 b 1\n");
    let said = sums.renew(COLUMNS, &pipeline(operator, "odd"));
    assert_eq!(said, Err("4 has no result".to_owned()));
}
