//! Random pipelines with windows: one or two over a source or a changelog, and sinks of every kind behind each output.
//!
//! As for the other operators, a pipeline is read off a list of bytes, of which each decides one thing.

use super::{
    cuts::Cut,
    model::{Emit, Kind, RetryEvent, Window, moments},
};
use crate::operators::{
    model::{self, Aggregate, Change, Changes, Row, pick},
    pipelines::{Choices, Held, object},
};
use jiff::Timestamp;
use std::fmt::Write;
use weir::model::column::ColumnType::{self, Boolean, Double, Int, Text};
use weir_tests::{guest, table::Cell};

/// The columns of the source. `at` is when an event happened; `own` is what steps may take for the time of a row.
pub(crate) const COLUMNS: [(&str, ColumnType); 8] = [
    ("g", Int),
    ("k", Text),
    ("n", Int),
    ("y", Double),
    ("b", Boolean),
    ("t", Text),
    ("at", Int),
    ("own", Int),
];
const N: usize = 2;
const AT: usize = 6;

/// A pipeline.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) calendar: Calendar,
    unit: Unit,
    out_of_orderness_ms: i64,
    /// Whether the time of events is that of `now`.
    by_now: bool,
    nodes: Vec<Node>,
    sinks: Vec<Sink>,
    /// A rule on another branch, which comes after the windows and rejects events that they have taken in; how it does.
    judge: Option<&'static str>,
}

/// What times and durations are made of.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    zone: Option<&'static str>,
    /// When it begins, roughly.
    base_ms: i64,
    /// The unit of all durations and times.
    step_ms: i64,
    /// What all instants are multiples of at which clocks change or windows begin.
    tick_ms: i64,
    is_civil: bool,
}

/// What the column `at` counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

/// The source, which is the first, or a step. It reads the first output of the one before it.
#[derive(Debug)]
struct Node {
    operator: Operator,
    columns: Vec<(String, ColumnType)>,
    /// The columns that tell rows apart; none for rows that stand for themselves.
    key: Option<Vec<usize>>,
    /// Whether rows come because time went on.
    timer_driven: bool,
}

#[derive(Debug)]
enum Operator {
    Source,
    LastValue { key: Vec<usize>, columns: Vec<usize> },
    Window(Box<Window>),
}

/// Where the rows of an output go.
#[derive(Debug)]
struct Sink {
    node: usize,
    late: bool,
    target: Target,
    columns: Vec<usize>,
}

#[derive(Debug)]
enum Target {
    Table(Vec<usize>),
    Append,
    Subject,
}

/// What a run has to end with.
#[derive(Debug)]
pub(crate) struct Expected {
    /// What the sinks `t0`, `t1`, … hold.
    pub(crate) sinks: Vec<Held>,
    pub(crate) applied: u64,
    pub(crate) late_rows: u64,
    /// How many entries the first state of each window has, by its name.
    pub(crate) states: Vec<(String, usize)>,
}

/// Changes of the clocks, and where they are not changed.
const ZONES: [(&str, &str, i64); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z", 15),
    ("Europe/Berlin", "2026-10-25T01:00:00Z", 15),
    // Half an hour back, and forth.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 15),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", 15),
    // A midnight that is skipped, and one from which the clocks go back.
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z", 15),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z", 15),
    // A day that is skipped; and clocks that go back over midnight.
    ("Pacific/Apia", "2011-12-30T10:00:00Z", 15),
    ("America/St_Johns", "2010-11-07T02:31:00Z", 1),
    ("Asia/Shanghai", "2026-03-29T01:00:00Z", 15),
];

/// The rule on the other branch rejects each event of which this divides `n`, and those without one.
const REJECTED: i64 = 3;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Calendar {
    fn choose(choices: &mut Choices<'_>) -> Self {
        let civil = |zone, base_ms, tick_min: i64| Self {
            zone,
            base_ms,
            step_ms: 15 * MINUTE_MS,
            tick_ms: tick_min * MINUTE_MS,
            is_civil: true,
        };
        match choices.below(16) {
            at @ 0..9 => {
                let bases = [0, 1_000, -37, 1_774_746_000_000];
                Self {
                    zone: None,
                    base_ms: bases[at % 4],
                    step_ms: if at < 6 { 1 } else { 1000 },
                    tick_ms: if at < 6 { 1 } else { 1000 },
                    is_civil: false,
                }
            }
            9 => civil(None, 20_000 * DAY_MS, 15),
            _ => {
                let (zone, change, tick_min) = ZONES[choices.below(ZONES.len())];
                let change: Timestamp = change.parse().unwrap();
                civil(Some(zone), change.as_millisecond() - 30 * HOUR_MS, tick_min)
            }
        }
    }

    /// One of some durations.
    fn duration(&self, choices: &mut Choices<'_>, steps: &[i64]) -> i64 {
        steps[choices.below(steps.len())] * self.step_ms
    }

    fn cut(&self, choices: &mut Choices<'_>) -> Cut {
        let minute = |minutes: i64| minutes * MINUTE_MS;
        let kind = choices.below(4);
        let (size_ms, every_ms) = match (self.is_civil, kind) {
            (true, 0 | 1) => {
                let sizes = [30, 60, 120, 360, 1440, 7 * 1440, 14 * 1440];
                let size_ms = minute(sizes[choices.below(sizes.len())]);
                (size_ms, size_ms)
            }
            (true, _) => {
                let sizes = [
                    (60, 30),
                    (180, 60),
                    (2880, 1440),
                    (360, 120),
                    (1440, 360),
                    (1440, 480),
                    (60, 15),
                ];
                let (size, every) = sizes[choices.below(sizes.len())];
                (minute(size), minute(every))
            }
            (false, 0 | 1) => {
                let size_ms = self.duration(choices, &[1, 2, 5, 10, 20]);
                (size_ms, size_ms)
            }
            (false, _) => {
                let every_ms = self.duration(choices, &[1, 2, 5]);
                (every_ms * (1 + choices.below(4) as i64), every_ms)
            }
        };
        let cumulating = kind == 3;
        let period_ms = if cumulating { size_ms } else { every_ms };
        let offset_ms = match choices.below(4) {
            0 => self.duration(choices, &[1, 2, 3, -1, -2]) % period_ms,
            _ => 0,
        };
        Cut {
            cumulating,
            size_ms,
            every_ms,
            offset_ms,
            zone: self.zone,
            tick_ms: self.tick_ms,
        }
    }
}

impl Pipeline {
    /// The pipeline that `bytes` stand for.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices::new(bytes);
        let choices = &mut choices;
        let calendar = Calendar::choose(choices);
        let mut nodes = vec![Node {
            operator: Operator::Source,
            columns: COLUMNS
                .map(|(name, column_type)| (name.to_owned(), column_type))
                .to_vec(),
            key: None,
            timer_driven: false,
        }];
        if choices.below(3) == 0 {
            nodes.push(last_value(choices));
        }
        let first = nodes.len();
        nodes.push(window(choices, &calendar, nodes.last().unwrap(), nodes.len(), false));
        if choices.below(4) == 0 {
            nodes.push(window(choices, &calendar, nodes.last().unwrap(), nodes.len(), true));
        }
        let mut sinks = Vec::new();
        for at in first..nodes.len() {
            let is_last = at + 1 == nodes.len();
            for _ in 0..choices.below(3) + usize::from(is_last) {
                sinks.push(sink(choices, &nodes, at));
            }
            // Which rows of a changelog are late depends on the columns that somebody reads: here on all.
            if nodes[at - 1].key.is_some() || has_late(&nodes[at]) && choices.below(2) == 0 {
                let columns = (0..late_columns(&nodes, at).len()).collect();
                sinks.push(Sink {
                    node: at,
                    late: true,
                    target: [Target::Append, Target::Subject]
                        .into_iter()
                        .nth(choices.below(2))
                        .unwrap(),
                    columns,
                });
            }
        }
        let units = [Unit::Milliseconds, Unit::Microseconds, Unit::Seconds];
        let unit = units[choices.below(if calendar.step_ms % 1000 == 0 && calendar.base_ms % 1000 == 0 {
            3
        } else {
            2
        })];
        Self {
            out_of_orderness_ms: calendar.duration(choices, &[0, 1, 2, 5, 10, 30]),
            by_now: unit == Unit::Milliseconds && choices.below(3) == 0,
            judge: [Some("reject"), Some("panic"), None, None, None][choices.below(5)],
            calendar,
            unit,
            nodes,
            sinks,
        }
    }

    /// The time of an event that is so many steps after the base, and of its row, for the columns `at` and `own`.
    pub(crate) fn times(&self, steps: i64, own_steps: Option<i64>, _: u8) -> [Cell; 2] {
        let time_ms = self.calendar.base_ms + steps * self.calendar.step_ms;
        let at = match self.unit {
            Unit::Seconds => time_ms / 1000,
            Unit::Milliseconds => time_ms,
            // The plain model counts milliseconds; what lies between them is for tests of its own.
            Unit::Microseconds => time_ms * 1000,
        };
        let own = own_steps.map(|own_steps| time_ms + own_steps * self.calendar.step_ms);
        [Cell::Int(at), own.map_or(Cell::Null, Cell::Int)]
    }

    /// Whether the rule on the other branch rejects an event.
    pub(crate) fn is_rejected(&self, event: &Row) -> bool {
        self.judge.is_some() && !matches!(event[N], Cell::Int(n) if n % REJECTED != 0)
    }

    /// When an event happened, where it says so.
    fn time_ms(&self, event: &Row) -> Option<i64> {
        let Cell::Int(at) = event[AT] else { return None };
        Some(match self.unit {
            Unit::Seconds => at * 1000,
            Unit::Milliseconds => at,
            Unit::Microseconds => at.div_euclid(1000),
        })
    }

    /// What a run over `events` has to end with. Nothing stands for a dead letter.
    pub(crate) fn expected(&self, events: &[Option<Row>]) -> Expected {
        let times: Vec<Option<i64>> = events.iter().map(|event| self.time_ms(event.as_ref()?)).collect();
        let moments = moments(&times, self.out_of_orderness_ms);
        let source: Changes = events
            .iter()
            .map(|event| event.iter().cloned().map(Change::Insert).collect())
            .collect();
        let mut applied = vec![false; events.len()];
        let mut states = Vec::new();
        let mut outputs: Vec<[Changes; 2]> = vec![[source, Vec::new()]];
        let mut late_rows = 0;
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            let input = &outputs[at - 1][0];
            let came = |changes: &Vec<Change>| !changes.is_empty() && !self.nodes[at - 1].timer_driven;
            outputs.push(match &node.operator {
                Operator::LastValue { key, columns } => {
                    applied
                        .iter_mut()
                        .zip(input)
                        .for_each(|(applied, changes)| *applied |= came(changes));
                    [model::last_value(input, key, columns), Vec::new()]
                }
                Operator::Window(window) => {
                    let RetryEvent { out, late, took, held } = window.run(input, &moments);
                    for ((applied, took), changes) in applied.iter_mut().zip(took).zip(input) {
                        *applied |= took && came(changes);
                    }
                    late_rows += late.iter().map(|rows| rows.len() as u64).sum::<u64>();
                    let state = if is_sliding(window) { "rows" } else { "windows" };
                    states.push((format!("s{at}/{state}"), held));
                    [out, late]
                }
                Operator::Source => panic!("there is one source"),
            });
        }
        let held = |sink: &Sink| {
            let input = &outputs[sink.node][usize::from(sink.late)];
            let picked = |rows: Vec<Row>| rows.iter().map(|row| pick(row, &sink.columns)).collect();
            match (&sink.target, self.key(sink)) {
                (Target::Table(primary_key), Some(rows_by)) => {
                    Held::Rows(picked(model::table(input, primary_key, rows_by)))
                }
                (Target::Table(primary_key), None) => Held::Rows(picked(model::upserts(input, primary_key))),
                (Target::Append, _) => Held::Appended(picked(model::appends(input))),
                (Target::Subject, _) => {
                    let all = self.columns(sink);
                    let columns: Vec<_> = sink.columns.iter().map(|&column| all[column].clone()).collect();
                    let rows: Vec<Row> = picked(model::appends(input));
                    Held::Messages(rows.iter().map(|row| object(&columns, row, |_| true)).collect())
                }
            }
        };
        let sinks = self.sinks.iter().map(held).collect();
        for sink in &self.sinks {
            let at = if sink.late { sink.node - 1 } else { sink.node };
            if !self.nodes[at].timer_driven {
                let rows = &outputs[sink.node][usize::from(sink.late)];
                applied
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(applied, rows)| *applied |= !rows.is_empty());
            }
        }
        Expected {
            sinks,
            applied: applied.iter().map(|&applied| u64::from(applied)).sum(),
            late_rows,
            states,
        }
    }

    fn key(&self, sink: &Sink) -> Option<&Vec<usize>> {
        if sink.late {
            None
        } else {
            self.nodes[sink.node].key.as_ref()
        }
    }

    fn columns(&self, sink: &Sink) -> Vec<(String, ColumnType)> {
        match sink.late {
            true => late_columns(&self.nodes, sink.node),
            false => self.nodes[sink.node].columns.clone(),
        }
    }

    // ---- the file -----------------------------------------------------------------------------------------------------

    /// The pipeline file.
    pub(crate) fn toml(&self) -> String {
        let mut text = "name = \"p\"\n".to_owned();
        if self.by_now {
            text += "now = { column = \"at\" }\n";
        }
        text += "[event_time]\n";
        if !self.by_now {
            text += "column = \"at\"\n";
            text += match self.unit {
                Unit::Seconds => "unit = \"s\"\n",
                Unit::Milliseconds => "",
                Unit::Microseconds => "unit = \"us\"\n",
            };
        }
        if self.out_of_orderness_ms > 0 {
            writeln!(text, "out_of_orderness = \"{} ms\"", self.out_of_orderness_ms).unwrap();
        }
        text += "[source]\nstream = \"S\"\nsubject = \"s\"\n[source.columns]\n";
        for (name, column_type) in COLUMNS {
            writeln!(text, "{name} = \"{column_type}\"").unwrap();
        }
        for (at, pair) in self.nodes.windows(2).enumerate() {
            let input: Vec<&str> = pair[0].columns.iter().map(|(name, _)| name.as_str()).collect();
            let names = |columns: &[usize]| columns.iter().map(|&column| input[column]).collect::<Vec<_>>();
            writeln!(text, "[[step]]\nname = \"s{}\"\nunread = true", at + 1).unwrap();
            match &pair[1].operator {
                Operator::LastValue { key, columns } => {
                    let (key, columns) = (names(key), names(columns));
                    writeln!(text, "last_value = {{ key = {key:?}, columns = {columns:?} }}").unwrap();
                }
                Operator::Window(window) => {
                    let results = &pair[1].columns[pair[1].columns.len() - window.aggregates.len()..];
                    write_window(&mut text, window, &input, results);
                }
                Operator::Source => {}
            }
        }
        if let Some(fails) = self.judge {
            let module = guest("versions");
            writeln!(
                text,
                "[[step]]\nname = \"judge\"\nunread = true\nfrom = \"source\"\n[step.stage]\nmodule = {module:?}"
            )
            .unwrap();
            writeln!(text, "parameters = {{ fails = {fails:?}, every = {REJECTED} }}").unwrap();
        }
        for (at, sink) in self.sinks.iter().enumerate() {
            let all = self.columns(sink);
            let names = |columns: &[usize]| columns.iter().map(|&column| all[column].0.clone()).collect::<Vec<_>>();
            let late = if sink.late { ".late" } else { "" };
            writeln!(text, "[[sink]]\nfrom = \"s{}{late}\"", sink.node).unwrap();
            writeln!(text, "columns = {:?}", names(&sink.columns)).unwrap();
            match &sink.target {
                Target::Subject => writeln!(text, "subject = \"t{at}\"").unwrap(),
                Target::Append => writeln!(text, "table = \"t{at}\"").unwrap(),
                Target::Table(key) => writeln!(text, "table = \"t{at}\"\nprimary_key = {:?}", names(key)).unwrap(),
            }
        }
        text
    }
}

fn write_window(text: &mut String, window: &Window, input: &[&str], results: &[(String, ColumnType)]) {
    writeln!(text, "[step.window]").unwrap();
    match &window.kind {
        Kind::Session { gap_ms } => writeln!(text, "session = {{ gap = \"{gap_ms} ms\" }}").unwrap(),
        Kind::SlidingRows(rows) => writeln!(text, "sliding = {{ rows = {rows} }}").unwrap(),
        Kind::SlidingTime(span_ms) => writeln!(text, "sliding = {{ time = \"{span_ms} ms\" }}").unwrap(),
        Kind::Cut(cut) => {
            let (size_ms, every_ms) = (cut.size_ms, cut.every_ms);
            let kind = if cut.cumulating { "cumulating" } else { "hopping" };
            match size_ms == every_ms && !cut.cumulating {
                true => writeln!(text, "tumbling = \"{size_ms} ms\"").unwrap(),
                false => writeln!(
                    text,
                    "{kind} = {{ size = \"{size_ms} ms\", every = \"{every_ms} ms\" }}"
                )
                .unwrap(),
            }
            if let Some(zone) = cut.zone {
                writeln!(text, "zone = \"{zone}\"").unwrap();
            }
            if cut.offset_ms != 0 {
                writeln!(text, "offset = \"{} ms\"", cut.offset_ms).unwrap();
            }
        }
    }
    match window.emit {
        Emit::Close => {}
        Emit::Update => text.push_str("emit = \"update\"\n"),
        Emit::Early(every_ms) => writeln!(text, "emit = {{ early = \"{every_ms} ms\" }}").unwrap(),
    }
    if window.lateness_ms > 0 {
        writeln!(text, "lateness = \"{} ms\"", window.lateness_ms).unwrap();
    }
    if let Some(time) = window.time {
        writeln!(text, "time = \"{}\"", input[time]).unwrap();
        if input[time] == "own" {
            text.push_str("time_unit = \"ms\"\n");
        }
    }
    let group: Vec<&str> = window.group.iter().map(|&column| input[column]).collect();
    writeln!(text, "group_by = {group:?}\n[step.window.columns]").unwrap();
    for (aggregate, (result, _)) in window.aggregates.iter().zip(results) {
        let column = aggregate.column.map_or("*", |column| input[column]);
        let coalesce = aggregate
            .coalesce
            .as_ref()
            .map(|instead| format!(", coalesce = {instead:?}"));
        let coalesce = coalesce.unwrap_or_default();
        writeln!(text, "{result} = {{ {} = \"{column}\"{coalesce} }}", aggregate.function).unwrap();
    }
}

fn is_sliding(window: &Window) -> bool {
    matches!(window.kind, Kind::SlidingRows(_) | Kind::SlidingTime(_))
}

fn has_late(node: &Node) -> bool {
    matches!(&node.operator, Operator::Window(window) if !matches!(window.kind, Kind::SlidingRows(_)))
}

/// The columns of the rows that come too late for a window.
fn late_columns(nodes: &[Node], window: usize) -> Vec<(String, ColumnType)> {
    let input = &nodes[window - 1];
    let retracts = input.key.as_ref().map(|_| ("retracts".to_owned(), Boolean));
    input.columns.iter().cloned().chain(retracts).collect()
}

fn last_value(choices: &mut Choices<'_>) -> Node {
    let mut key = vec![[0, 1, 4][choices.below(3)]];
    if choices.below(2) == 0 && !key.contains(&4) {
        key.push(4);
    }
    let columns: Vec<usize> = (0..COLUMNS.len()).filter(|column| !key.contains(column)).collect();
    let schema = key.iter().chain(&columns).map(|&column| COLUMNS[column]);
    Node {
        columns: schema
            .map(|(name, column_type)| (name.to_owned(), column_type))
            .collect(),
        key: Some((0..key.len()).collect()),
        operator: Operator::LastValue { key, columns },
        timer_driven: false,
    }
}

fn window(choices: &mut Choices<'_>, calendar: &Calendar, input: &Node, number: usize, over_window: bool) -> Node {
    let is_changelog = input.key.is_some();
    let kind = match choices.below(if is_changelog { 6 } else { 10 }) {
        0..=5 => Kind::Cut(calendar.cut(choices)),
        6..=7 => Kind::Session {
            gap_ms: calendar.duration(choices, &[1, 3, 5, 20]),
        },
        8 => Kind::SlidingRows(1 + choices.below(4)),
        _ => Kind::SlidingTime(calendar.duration(choices, &[1, 3, 5, 20])),
    };
    let by_name = |name: &str| input.columns.iter().position(|(column, _)| column == name);
    let time = match (&kind, choices.below(3)) {
        (Kind::SlidingRows(_), _) => None,
        _ if over_window => by_name("window_start").or(by_name("own")),
        (_, 0) => by_name("own"),
        _ if is_changelog => by_name("own"),
        _ => None,
    };
    let slides = matches!(kind, Kind::SlidingRows(_) | Kind::SlidingTime(_));
    let times = ["window_start", "window_end", "at", "own"].map(by_name);
    let mut group: Vec<usize> = (0..choices.below(3))
        .map(|_| choices.below(input.columns.len()))
        .collect();
    group.retain(|column| !times.contains(&Some(*column)));
    if !over_window && choices.below(3) > 0 {
        // Columns with few values.
        group = group
            .iter()
            .filter_map(|column| by_name(["g", "k", "b"][column % 3]))
            .collect();
    }
    group.sort_unstable();
    group.dedup();
    let aggregates = aggregates(choices, &input.columns, is_changelog || slides);
    let results = aggregates.iter().enumerate().map(|(at, aggregate)| {
        let result = match aggregate.function {
            "count" | "count_distinct" => Int,
            "avg" => Double,
            _ => aggregate.column.map_or(Int, |column| input.columns[column].1),
        };
        (format!("a{number}_{at}"), result)
    });
    let (emit, lateness_ms) = match (slides, choices.below(3)) {
        (true, _) => (Emit::Close, 0),
        (_, 0) => (Emit::Close, calendar.duration(choices, &[0, 0, 1, 5, 20])),
        (_, 1) => (Emit::Update, calendar.duration(choices, &[0, 1, 5, 20])),
        _ => {
            let every_ms = calendar.duration(choices, &[1, 3, 7, 10]);
            (Emit::Early(every_ms), calendar.duration(choices, &[0, 1, 5, 20]))
        }
    };
    let columns: Vec<_> = match slides {
        true => input.columns.iter().cloned().chain(results).collect(),
        false => {
            let bounds = ["window_start", "window_end"].map(|name| (name.to_owned(), Int));
            let group = group.iter().map(|&column| input.columns[column].clone());
            group.chain(bounds).chain(results).collect()
        }
    };
    let key = (!slides && (emit != Emit::Close || lateness_ms > 0)).then(|| {
        let ends = matches!(&kind, Kind::Cut(cut) if cut.cumulating);
        (0..=group.len() + usize::from(ends)).collect()
    });
    Node {
        timer_driven: input.timer_driven || !matches!(kind, Kind::SlidingRows(_)),
        columns,
        key,
        operator: Operator::Window(Box::new(Window {
            kind,
            group,
            aggregates,
            time,
            emit,
            lateness_ms,
            retracts: is_changelog,
        })),
    }
}

fn aggregates(choices: &mut Choices<'_>, input: &[(String, ColumnType)], unordered: bool) -> Vec<Aggregate> {
    let aggregate = |choices: &mut Choices<'_>| {
        let column = choices.below(input.len());
        let is_number = matches!(input[column].1, Int | Double);
        let mut functions = vec!["count", "count_distinct", "min", "max"];
        functions.extend(if is_number { &["sum", "avg"][..] } else { &[] });
        functions.extend(if unordered { &[][..] } else { &["first", "last"] });
        let function = functions[choices.below(functions.len())];
        let coalesce = match (function, choices.below(3), input[column].1) {
            ("sum" | "avg", 1, Int) => Some(Cell::Int(7)),
            ("sum" | "avg", 1, _) => Some(Cell::Double(0.5)),
            _ => None,
        };
        let every_row = function == "count" && choices.below(2) == 0;
        Aggregate {
            function,
            column: (!every_row).then_some(column),
            coalesce,
        }
    };
    (0..=choices.below(4)).map(|_| aggregate(choices)).collect()
}

fn sink(choices: &mut Choices<'_>, nodes: &[Node], at: usize) -> Sink {
    let node = &nodes[at];
    let all: Vec<usize> = (0..node.columns.len()).collect();
    let target = match (&node.key, choices.below(4)) {
        (None, 0 | 1) => Target::Append,
        (None, 2) => Target::Subject,
        (Some(key), 0..=2) => Target::Table(key.clone()),
        _ => Target::Table(choices.some_of(node.columns.len(), 1)),
    };
    let columns = match (&target, &node.key) {
        // Which change of a row was the last depends on the columns that somebody reads: here on all.
        (Target::Table(primary_key), Some(rows_by)) if !rows_by.iter().all(|column| primary_key.contains(column)) => {
            all
        }
        (target, _) => {
            let mut columns = match target {
                Target::Table(primary_key) => primary_key.clone(),
                _ => Vec::new(),
            };
            for column in choices.some_of(all.len(), 1) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns
        }
    };
    Sink {
        node: at,
        late: false,
        target,
        columns,
    }
}
