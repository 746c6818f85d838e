//! Where rows go.

use super::{Pipeline, choices::Choices, kinds::Edge};

/// A sink of an edge.
#[derive(Debug)]
pub struct Sink {
    /// The table or subject.
    pub name: String,
    /// The node, and the number of its edge.
    pub from: (usize, usize),
    /// What it is.
    pub target: Target,
    /// The columns of the edge that it takes.
    pub columns: Vec<usize>,
}

/// What a sink is.
#[derive(Debug)]
pub enum Target {
    /// A table by this key.
    Table(Vec<usize>),
    /// A table without one.
    Append,
    /// A subject.
    Subject,
}

impl Pipeline {
    /// Adds a sink of an edge, by the number of its node and its own; `columns` are all of them when none is named.
    ///
    /// # Panics
    /// When there is no such edge or column.
    pub fn sink(&mut self, name: &str, from: (usize, usize), target: Target, columns: &[&str]) {
        let edge = &self.nodes[from.0].outputs[from.1];
        let column = |name: &&str| edge.column(name).expect("there is such a column");
        let columns = match columns {
            [] => (0..edge.columns.len()).collect(),
            _ => columns.iter().map(column).collect(),
        };
        let name = name.to_owned();
        self.sinks.push(Sink {
            name,
            from,
            target,
            columns,
        });
    }

    /// A few sinks behind what there is: mostly behind the last step, and behind what must be read.
    pub(super) fn draw_sinks(&mut self, choices: &mut Choices<'_>) {
        let is_read = |at: &usize| self.nodes[*at].step.as_ref().is_none_or(|step| step.is_read());
        let readable: Vec<usize> = (0..self.nodes.len()).filter(is_read).collect();
        for &node in &readable {
            let is_last = readable.last() == Some(&node);
            // Where everything that is published is kept, nothing is filtered.
            let some = if node == 0 {
                choices.below(6) == 5
            } else {
                choices.below(3) > 0
            };
            for _ in 0..usize::from(some) + usize::from(is_last) * (1 + choices.below(2)) {
                let edge = self.own_edge(node);
                let (target, columns) = drawn(choices, edge);
                self.push_sink((node, 0), target, columns);
            }
            for at in 1..self.nodes[node].outputs.len() {
                let edge = &self.nodes[node].outputs[at];
                if edge.is_read_whole || choices.below(2) == 0 {
                    let columns = (0..edge.columns.len()).collect();
                    let target = match &edge.key {
                        Some(_) => whole(edge),
                        None if choices.below(2) == 0 => Target::Append,
                        None => Target::Subject,
                    };
                    self.push_sink((node, at), target, columns);
                }
            }
        }
    }

    /// A sink for every edge of every step that may be read: tables, and subjects here and there.
    pub(super) fn draw_every_sink(&mut self, choices: &mut Choices<'_>) {
        for node in self.inputs.len()..self.nodes.len() {
            if self.nodes[node].step.as_ref().is_some_and(|step| !step.is_read()) {
                continue;
            }
            for at in 0..self.nodes[node].outputs.len() {
                let edge = &self.nodes[node].outputs[at];
                let columns = (0..edge.columns.len()).collect();
                let target = match &edge.key {
                    Some(_) => whole(edge),
                    None if choices.below(2) == 0 => Target::Append,
                    None => Target::Subject,
                };
                self.push_sink((node, at), target, columns);
            }
        }
    }

    fn push_sink(&mut self, from: (usize, usize), target: Target, columns: Vec<usize>) {
        let name = format!("t{}", self.sinks.len());
        self.sinks.push(Sink {
            name,
            from,
            target,
            columns,
        });
    }
}

/// A table of the rows of a changelog.
fn whole(edge: &Edge) -> Target {
    match &edge.key {
        Some(key) if !key.is_empty() => Target::Table(key.clone()),
        // One row in all has no column to be told by.
        _ => Target::Table(vec![0]),
    }
}

/// A sink of one kind or another, and what it takes.
fn drawn(choices: &mut Choices<'_>, edge: &Edge) -> (Target, Vec<usize>) {
    let all = edge.columns.len();
    let target = match (&edge.key, choices.below(4)) {
        (None, 0 | 1) => Target::Append,
        (None, 2) => Target::Subject,
        (Some(key), 0 | 1) if !key.is_empty() => Target::Table(key.clone()),
        _ => Target::Table(choices.some_of(all, 1)),
    };
    let mut columns = match (&target, &edge.key) {
        // Which change of a row was the last depends on the columns that somebody reads: here on all.
        (Target::Table(primary_key), Some(rows_by)) if !rows_by.iter().all(|column| primary_key.contains(column)) => {
            return (target, (0..all).collect());
        }
        (Target::Table(primary_key), _) => primary_key.clone(),
        (Target::Append | Target::Subject, _) => Vec::new(),
    };
    for column in choices.some_of(all, 1) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    (target, columns)
}
