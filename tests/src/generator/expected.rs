//! What a pipeline has to leave.

use super::{
    Node, Pipeline,
    calendar::moments,
    events::{Event, What, object},
    kinds::Ran,
    model::{self, Change, Changes, Row, key_cell, pick},
    sinks::{Sink, Target},
};
use crate::{
    replay::state_sizes,
    table::{Cell, Counts, contents, query},
};
use std::{path::Path, sync::Arc};
use weir::plan::Plan;

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
        let [input] = &self.inputs[..] else {
            panic!("the model has one input, not {}", self.inputs.len());
        };
        let mut counts = Counts {
            events: events.len() as u64,
            ..Counts::default()
        };
        let mut dead_letters = Vec::new();
        // An event that a rule rejects on any branch has no effect.
        let mut living: Vec<Option<&Row>> = Vec::new();
        for (sequence, event) in (1..).zip(events) {
            let judge = event
                .row()
                .and_then(|row| self.nodes.iter().find(|node| node.rejects(row)));
            match (&event.what, judge) {
                (What::Row(row), None) => living.push(Some(row)),
                (What::Blank, _) => counts.empty += 1,
                (What::Row(_) | What::Broken(_), judge) => {
                    let step = judge.map_or("decode", |judge| &judge.name);
                    dead_letters.push((sequence, step.to_owned()));
                }
            }
            living.resize(sequence, None);
        }
        let time_ms = |row: &Row| match (&self.time, input.at().map(|at| &row[at])) {
            (Some(time), Some(Cell::Int(at))) => Some(time.time_ms(*at)),
            _ => None,
        };
        let times: Vec<Option<i64>> = living.iter().map(|row| time_ms((*row)?)).collect();
        let moments = moments(&times, self.time.as_ref().map_or(0, |time| time.out_of_orderness_ms));

        let source = living
            .iter()
            .map(|row| row.iter().map(|&row| Change::Insert(row.clone())).collect());
        let mut outputs: Vec<Vec<Changes>> = vec![vec![source.collect()]];
        let mut applied = vec![false; events.len()];
        let mut states = Vec::new();
        for node in &self.nodes[1..] {
            let inputs: Vec<&Changes> = node.from.iter().map(|&from| &outputs[from][0]).collect();
            let ran = node.step.as_ref().and_then(|step| step.run(&inputs, &moments));
            let Ran {
                outputs: ran,
                took,
                state,
            } = ran.unwrap_or_else(|| panic!("{} has no model", node.name));
            if !self.own_edge(node.from[0]).timer_driven {
                mark(&mut applied, took);
            }
            counts.late_rows += match ran.get(1) {
                Some(late) if node.outputs[1].name.ends_with(".late") => {
                    late.iter().map(Vec::len).sum::<usize>() as u64
                }
                _ => 0,
            };
            states.extend(state.map(|(state, held)| (format!("{}/{state}", node.name), held)));
            outputs.push(ran);
        }
        for Sink { from: (node, at), .. } in &self.sinks {
            if !self.nodes[*node].outputs[*at].timer_driven {
                mark(&mut applied, outputs[*node][*at].iter().map(|rows| !rows.is_empty()));
            }
        }
        counts.dead_letters = dead_letters.len() as u64;
        counts.applied = applied.iter().filter(|applied| **applied).count() as u64;
        counts.filtered = counts.events - counts.empty - counts.dead_letters - counts.applied;
        let held = |sink: &Sink| (sink.name.clone(), self.held(sink, &outputs[sink.from.0][sink.from.1]));
        Expected {
            sinks: self.sinks.iter().map(held).collect(),
            dead_letters,
            counts,
            states,
        }
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
        let sizes = state_sizes(plan, database);
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
