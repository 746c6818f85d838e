//! What a pipeline has to leave.

use super::{
    Node, Pipeline,
    calendar::moments,
    events::{Event, What, object},
    kinds::{
        Decided, Ran,
        threshold::{Swap, Version},
    },
    model::{self, Change, Changes, Row, key_cell, pick, pick_key},
    sinks::{Sink, Target},
};
use crate::{
    replay::{host, state_sizes_of},
    table::{Cell, Counts, contents, query},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};
use weir::plan::{GuestHost, Plan};

/// What a run has to end with.
#[derive(Debug)]
pub struct Expected {
    /// What each sink holds, by its name.
    pub sinks: Vec<(String, Held)>,
    /// The sequences of dead letters, if events are numbered from 1, and the steps that they come from.
    pub dead_letters: Vec<(usize, String)>,
    /// What is counted.
    pub counts: Counts,
    /// How many entries the first state of a step has, by its name.
    pub states: Vec<(String, usize)>,
    /// Of each table by key, rows by which events and swaps were made.
    pub traces: Vec<Trace>,
    /// For each swap whether it takes place, and what the version falls back on.
    pub swaps: Vec<Option<Version>>,
    /// For each rule over a changelog, by its name, the versions that decided, each with the number of the first event over
    /// which it did. One that decided over none is not among them.
    pub versions: Vec<(String, Vec<(usize, Version)>)>,
    /// How many versions on trial were taken back.
    pub taken_back: usize,
}

/// By which events and swaps the rows of a table were made.
#[derive(Debug)]
pub struct Trace {
    /// The table.
    pub table: String,
    /// The columns of its key.
    pub key: Vec<String>,
    /// By their keys. Nothing is said of a table whose rows stand for others of one key, or do not show all that changes.
    pub rows: BTreeMap<Row, Option<Causes>>,
    /// Whether it is known by which events. Not where an aggregate or a window sums up what several events did.
    pub knows_events: bool,
}

/// The events that changed a row, and the events behind which swaps did.
pub type Causes = (BTreeSet<u64>, BTreeSet<u64>);

/// What is taken for known of a run, until the model says otherwise.
#[derive(Debug, Default)]
struct Known {
    /// The events that a rule over a changelog rejects, by their numbers among events and swaps, and the rule.
    dead: BTreeMap<usize, usize>,
    /// The swaps that do not take place, likewise.
    refused: BTreeSet<usize>,
}

/// A run of the model.
struct Course {
    /// For each event and swap the event, where it has an effect.
    living: Vec<bool>,
    /// For each node and edge.
    outputs: Vec<Vec<Changes>>,
    /// For each node.
    decided: Vec<Decided>,
    applied: Vec<bool>,
    late_rows: u64,
    states: Vec<(String, usize)>,
}

/// What a sink holds.
#[derive(Debug)]
pub enum Held {
    /// The rows of a table, in any order.
    Rows(Vec<Row>),
    /// The rows of a table without a key, in this order.
    Appended(Vec<Row>),
    /// Messages, in this order.
    Messages(Vec<String>),
}

impl Pipeline {
    /// What a run over `events` has to end with.
    ///
    /// # Panics
    /// When a step has no model, or the source has several inputs.
    pub fn expected(&self, events: &[Event]) -> Expected {
        self.expected_with(events, &[])
    }

    /// The same with swaps, each behind so many events.
    ///
    /// # Panics
    /// As [`Pipeline::expected`], and when the swaps are not in their order.
    pub fn expected_with(&self, events: &[Event], swaps: &[(usize, Swap)]) -> Expected {
        // The events and swaps in their order.
        let mut places: Vec<Result<usize, usize>> = Vec::new();
        let mut next = 0;
        for event in 0..=events.len() {
            while let Some((behind, _)) = swaps.get(next).filter(|(behind, _)| *behind <= event) {
                assert_eq!(*behind, event, "swaps are in their order");
                places.push(Err(next));
                next += 1;
            }
            places.extend((event < events.len()).then_some(Ok(event)));
        }
        // What has no effect, one after the other: each changes what comes behind it.
        let mut known = Known::default();
        let course = loop {
            let course = self.course(events, swaps, &places, &known);
            let rejects = course.decided.iter().enumerate().flat_map(|(node, decided)| {
                let rejects = decided.rejects.iter();
                rejects.map(move |&at| (at, node))
            });
            let Some((at, node)) = rejects.min() else { break course };
            match places[at] {
                Ok(_) => drop(known.dead.insert(at, node)),
                Err(_) => drop(known.refused.insert(at)),
            }
        };
        self.leaves(events, swaps, &places, &known, course)
    }

    /// Runs the model once.
    fn course(
        &self,
        events: &[Event],
        swaps: &[(usize, Swap)],
        places: &[Result<usize, usize>],
        known: &Known,
    ) -> Course {
        let [input] = &self.inputs[..] else {
            panic!("the model has one input, not {}", self.inputs.len());
        };
        // An event that a rule rejects on any branch has no effect.
        let living: Vec<Option<&Row>> = places
            .iter()
            .enumerate()
            .map(|(at, place)| {
                let event = place.ok().filter(|_| !known.dead.contains_key(&at));
                let row = event.and_then(|event| events[event].row());
                row.filter(|row| !self.nodes.iter().any(|node| node.rejects(row)))
            })
            .collect();
        let time_ms = |row: &Row| match (&self.time, input.at().map(|at| &row[at])) {
            (Some(time), Some(Cell::Int(at))) => Some(time.time_ms(*at)),
            _ => None,
        };
        let times: Vec<Option<i64>> = living.iter().map(|row| time_ms((*row)?)).collect();
        let mut moments = moments(&times, self.time.as_ref().map_or(0, |time| time.out_of_orderness_ms));
        for (at, moment) in moments.iter_mut().enumerate() {
            let swap = places[at].err().filter(|_| !known.refused.contains(&at));
            moment.swap = swap.map(|swap| swaps[swap].1);
            if moment.swap.is_some() {
                // What comes of it happens where the watermark stands.
                moment.time_ms = moment.before_ms;
            }
        }

        let source = living
            .iter()
            .map(|row| row.iter().map(|&row| Change::Insert(row.clone())).collect());
        let mut course = Course {
            outputs: vec![vec![source.collect()]],
            living: living.iter().map(Option::is_some).collect(),
            decided: vec![Decided::default()],
            applied: vec![false; places.len()],
            late_rows: 0,
            states: Vec::new(),
        };
        let mut past = vec![Vec::new()];
        for node in &self.nodes[1..] {
            let inputs: Vec<&Changes> = node.from.iter().map(|&from| &course.outputs[from][0]).collect();
            let step = node.step.as_ref();
            let ran = step.and_then(|step| {
                let judged = step.judge(inputs[0], &past[node.from[0]], &moments);
                judged.or_else(|| step.run(&inputs, &moments))
            });
            let ran: Ran = ran.unwrap_or_else(|| panic!("{} has no model", node.name));
            if !self.own_edge(node.from[0]).timer_driven {
                mark(&mut course.applied, ran.took);
            }
            course.late_rows += match ran.outputs.get(1) {
                Some(late) if node.outputs[1].name.ends_with(".late") => {
                    late.iter().map(Vec::len).sum::<usize>() as u64
                }
                _ => 0,
            };
            let states = ran.state.map(|(state, held)| (format!("{}/{state}", node.name), held));
            course.states.extend(states);
            course.outputs.push(ran.outputs);
            course.decided.push(ran.decided);
            past.push(ran.past);
        }
        for Sink { from: (node, at), .. } in &self.sinks {
            if !self.nodes[*node].outputs[*at].timer_driven {
                let rows = &course.outputs[*node][*at];
                mark(&mut course.applied, rows.iter().map(|rows| !rows.is_empty()));
            }
        }
        course
    }

    /// What a run leaves.
    fn leaves(
        &self,
        events: &[Event],
        swaps: &[(usize, Swap)],
        places: &[Result<usize, usize>],
        known: &Known,
        course: Course,
    ) -> Expected {
        let mut counts = Counts {
            events: events.len() as u64,
            late_rows: course.late_rows,
            ..Counts::default()
        };
        let mut dead_letters = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let Ok(event) = *place else { continue };
            match (&events[event].what, course.living[at]) {
                (What::Blank, _) => counts.empty += 1,
                (_, true) => counts.applied += u64::from(course.applied[at]),
                (_, false) => {
                    let judge = events[event]
                        .row()
                        .and_then(|row| self.nodes.iter().position(|node| node.rejects(row)));
                    // An event that no step behind the first judge of it has seen is rejected by that one.
                    let step = judge.into_iter().chain(known.dead.get(&at).copied()).min();
                    let step = step.map_or("decode", |step| &self.nodes[step].name);
                    dead_letters.push((event + 1, step.to_owned()));
                    counts.dead_letters += 1;
                }
            }
            for (node, decided) in self.nodes.iter().zip(&course.decided) {
                for _ in decided.dead_rows.iter().filter(|row| **row == at) {
                    dead_letters.push((event + 1, node.name.clone()));
                    counts.dead_rows += 1;
                }
            }
        }
        counts.filtered = counts.events - counts.empty - counts.dead_letters - counts.applied;
        // The number of the last event that came before.
        let behind = |at: usize| {
            places[..at]
                .iter()
                .rev()
                .find_map(|place| place.ok())
                .map_or(0, |event| event + 1)
        };
        let outcome = |(at, place): (usize, &Result<usize, usize>)| {
            let swap = swaps[place.err()?].1;
            let mut good = course.decided[swap.step].good.iter();
            Some(good.find(|(of, _)| *of == at).map(|(_, good)| *good))
        };
        let versions = self.nodes.iter().zip(&course.decided);
        let versions = versions
            .filter(|(_, decided)| !decided.in_force.is_empty())
            .map(|(node, decided)| {
                let mut versions: BTreeMap<usize, Version> = BTreeMap::new();
                for (at, version) in &decided.in_force {
                    // Where an event ends a trial, the version before decides from the next one on.
                    let first = at.map_or(1, |at| behind(at) + 1 + usize::from(places[at].is_ok()));
                    versions.insert(first, *version);
                }
                (node.name.clone(), versions.into_iter().collect())
            });
        Expected {
            sinks: self.sinks.iter().map(|sink| self.sink_held(sink, &course)).collect(),
            dead_letters,
            counts,
            versions: versions.collect(),
            taken_back: course.decided.iter().map(|decided| decided.taken_back.len()).sum(),
            traces: self.traces(&course, |at| {
                let event = places[at].map(|event| event as u64 + 1);
                event.map_err(|_| behind(at) as u64)
            }),
            swaps: places.iter().enumerate().filter_map(outcome).collect(),
            states: course.states,
        }
    }

    fn sink_held(&self, sink: &Sink, course: &Course) -> (String, Held) {
        (
            sink.name.clone(),
            self.held(sink, &course.outputs[sink.from.0][sink.from.1]),
        )
    }

    /// By what rows were made; `place` gives the event, or the event that a swap is behind.
    fn traces(&self, course: &Course, place: impl Fn(usize) -> Result<u64, u64>) -> Vec<Trace> {
        let traced = self.sinks.iter().filter_map(|sink| {
            let edge = &self.nodes[sink.from.0].outputs[sink.from.1];
            let (Target::Table(primary_key), Some(key)) = (&sink.target, &edge.key) else {
                return None;
            };
            // Of an update that no column of the table shows nothing is said here.
            let is_whole = sink.columns.len() == edge.columns.len();
            let is_known = primary_key == key && is_whole;
            let is_single = !edge.rules.is_empty() || edge.of == "last_value";
            let mut rows: BTreeMap<Row, Option<Causes>> = BTreeMap::new();
            for (at, changes) in course.outputs[sink.from.0][sink.from.1].iter().enumerate() {
                for (row, _) in model::single(changes) {
                    let causes = rows.entry(pick_key(&row, primary_key)).or_default();
                    if is_known {
                        let (events, swaps) = causes.get_or_insert_default();
                        match place(at) {
                            Ok(event) => events.insert(event),
                            Err(behind) => swaps.insert(behind),
                        };
                    }
                }
            }
            Some(Trace {
                table: sink.name.clone(),
                key: edge.names(primary_key).into_iter().map(str::to_owned).collect(),
                rows,
                knows_events: is_single && !edge.timer_driven,
            })
        });
        traced.collect()
    }

    fn held(&self, sink: &Sink, input: &Changes) -> Held {
        let edge = &self.nodes[sink.from.0].outputs[sink.from.1];
        let picked = |rows: Vec<Row>| rows.iter().map(|row| pick(row, &sink.columns)).collect();
        match (&sink.target, &edge.key) {
            (Target::Table(primary_key), Some(rows_by)) => {
                Held::Rows(picked(model::table(input, primary_key, rows_by)))
            }
            (Target::Table(primary_key), None) => Held::Rows(picked(model::upserts(input, primary_key))),
            (Target::Append, _) => Held::Appended(picked(model::appends(input))),
            (Target::Subject, _) => {
                let columns: Vec<_> = sink
                    .columns
                    .iter()
                    .map(|&column| edge.columns[column].clone())
                    .collect();
                let rows: Vec<Row> = picked(model::appends(input));
                Held::Messages(rows.iter().map(|row| object(&columns, row, |_| true)).collect())
            }
        }
    }
}

impl Node {
    fn rejects(&self, event: &Row) -> bool {
        self.step.as_ref().is_some_and(|step| step.rejects(event))
    }
}

fn mark(applied: &mut [bool], by: impl IntoIterator<Item = bool>) {
    applied.iter_mut().zip(by).for_each(|(applied, by)| *applied |= by);
}

impl Expected {
    /// Holds what a run left to it; `sequences` are those of the events.
    ///
    /// # Panics
    /// When something differs.
    #[track_caller]
    pub fn check(&self, plan: &Arc<Plan>, database: &Path, sequences: impl Fn(usize) -> u64) {
        self.check_of(host(), plan, database, sequences);
    }

    /// The same, of a plan that another host can run.
    ///
    /// # Panics
    /// When something differs.
    #[track_caller]
    pub fn check_of(&self, host: &dyn GuestHost, plan: &Arc<Plan>, database: &Path, sequences: impl Fn(usize) -> u64) {
        let contents = contents(database);
        let letters = contents.dead_letters.iter();
        let found: Vec<(u64, &str)> = letters.map(|letter| (letter.sequence, &*letter.step)).collect();
        let dead = self.dead_letters.iter();
        let dead: Vec<(u64, &str)> = dead.map(|(number, step)| (sequences(*number), &**step)).collect();
        assert_eq!(found, dead, "dead letters: found, and expected");
        for (name, held) in &self.sinks {
            let (rows, is_keyed) = match held {
                Held::Rows(rows) => (rows, true),
                Held::Appended(rows) => (rows, false),
                Held::Messages(messages) => {
                    let outbox = format!("SELECT payload FROM weir_outbox WHERE subject = '{name}' ORDER BY id");
                    let found = query(database, &outbox);
                    assert_eq!(found, *messages, "subject {name}: found, and expected");
                    continue;
                }
            };
            // SQLite keeps one zero.
            let mut expected: Vec<Row> = rows.iter().map(|row| row.iter().map(key_cell).collect()).collect();
            let mut found = contents.tables[name].rows.clone();
            if is_keyed {
                expected.sort();
                found.sort();
            }
            assert_eq!(found, expected, "table {name}: found, and expected");
        }
        assert_eq!(contents.counts, self.counts, "counts: found, and expected");
        let sizes = state_sizes_of(host, plan, database);
        for state in &self.states {
            // Slices have an entry per group, and not one per group and window; they go with the last window.
            let slices = state.0.replace("/windows", "/slices");
            let slices = sizes.iter().find(|(name, _)| *name == slices && *name != state.0);
            let held = match slices {
                Some((_, held)) => *held <= state.1 && (*held == 0) == (state.1 == 0),
                None => sizes.contains(state),
            };
            assert!(held, "expected {state:?}, found {sizes:?}");
        }
    }
}
