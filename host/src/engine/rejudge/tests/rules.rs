//! Rules in place of guests, and pipelines that have them.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A rule: lets rows from a threshold on through, with what they are in tens of it, and cannot take one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) threshold: i64,
    pub(super) fails_at: Option<i64>,
    /// Whether it passes on the key, so that rows can be told apart.
    pub(super) keyed: bool,
}

/// What it gives of a row that it lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Given {
    pub(super) level: i64,
    pub(super) raise: bool,
    pub(super) hold: bool,
}

pub(super) const THRESHOLDS: [i64; 3] = [0, 8, 15];
pub(super) const FAILS_AT: [Option<i64>; 3] = [None, Some(9), Some(17)];

/// A rule whose thread dies, where it is a rehearsal's.
pub(super) const DIES_IN_REHEARSAL: Rule = Rule {
    threshold: 0,
    fails_at: Some(-1_000),
    keyed: true,
};

/// A rule whose thread waits until it is told to go on, where it is a rehearsal's.
pub(super) const WAITS_IN_REHEARSAL: Rule = Rule {
    fails_at: Some(-2_000),
    ..DIES_IN_REHEARSAL
};

pub(super) static GOES_ON: AtomicBool = AtomicBool::new(false);

impl Rule {
    pub(super) fn all(keyed: bool) -> impl Iterator<Item = Self> {
        THRESHOLDS.into_iter().flat_map(move |threshold| {
            FAILS_AT.into_iter().map(move |fails_at| Self {
                threshold,
                fails_at,
                keyed,
            })
        })
    }

    pub(super) fn name(self) -> String {
        let Self {
            threshold,
            fails_at,
            keyed,
        } = self;
        format!("from-{threshold}-but-{fails_at:?}-{keyed}")
    }

    pub(super) fn fails(self, n: i64) -> bool {
        self.fails_at == Some(n)
    }

    /// Nothing also where it fails: then the row has no further effect, if there is one at all.
    pub(super) fn judge(self, n: i64) -> Option<Given> {
        (n >= self.threshold && !self.fails(n)).then_some(Given {
            level: n.div_euclid(self.threshold + 2),
            // Nobody reads them where keys are not passed on, so that nobody asks whether they differ.
            raise: self.keyed && n >= self.threshold + 8,
            hold: self.keyed && n >= self.threshold + 3,
        })
    }

    pub(super) fn answer(self, rows: u32, columns: &[&Column]) -> Answer {
        let thread = std::thread::current();
        assert!(
            self != DIES_IN_REHEARSAL || thread.name() != Some("weir-rehearsal"),
            "this thread is to die"
        );
        while self == WAITS_IN_REHEARSAL && thread.name() == Some("weir-rehearsal") && !GOES_ON.load(Ordering::Relaxed)
        {
            std::thread::yield_now();
        }
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

pub(super) fn host() -> Closures {
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
        .chain([DIES_IN_REHEARSAL, WAITS_IN_REHEARSAL])
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
                many: false,
            };
            let input = field("n", ColumnType::Int, true);
            host.with_stage(&rule.name(), vec![input], vec![output], move |rows, columns| {
                rule.answer(rows, columns)
            })
        })
}

/// What makes a changelog of the events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Changelog {
    LastValue,
    Aggregate,
    Window,
}

impl Changelog {
    pub(super) fn step(self) -> &'static str {
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

pub(super) const TRIAL_ROWS: u64 = 30;

/// Two rules, one behind the other, and all kinds of readers behind each. Of a window the start is not passed on, so that its
/// rows cannot be told apart in a table by key: there are groups alone.
pub(super) fn has_tables(changelog: Changelog, keyed: bool) -> bool {
    keyed && changelog != Changelog::Window
}

pub(super) fn text(changelog: Changelog, first: Rule, second: Rule) -> String {
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
