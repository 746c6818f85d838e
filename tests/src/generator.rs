//! Random pipelines, their events, and what they have to leave: the one generator of all random tests.
//!
//! A pipeline is drawn from [`Choices`]: bytes, which proptest makes smaller when a test fails, or a seed. What may be drawn
//! is in [`Knobs`]: which [`kinds`] of steps in which places, and whether events have times. What a stream is like is a
//! [`Flow`]. [`Pipeline::expected`] computes everything anew from whole lists of rows and shares nothing with the engine.

pub mod calendar;
pub mod case;
pub mod choices;
pub mod events;
mod exact;
pub mod expected;
mod file;
pub mod kinds;
pub mod model;
pub mod rules;
pub mod sinks;
pub mod swapped;

use calendar::EventTime;
use choices::Choices;
use events::{COLUMNS, Input, TIMED_COLUMNS};
use kinds::{ANY, Edge, KINDS, Kind, Place, SWAPPED, Step, threshold::Rule};
use sinks::Sink;

pub use events::{Event, Flow};

/// A pipeline over a stream.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: &'static str,
    /// The stream.
    pub stream: &'static str,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// Its event time, where it has one.
    pub time: Option<EventTime>,
    /// The inputs, then the steps.
    nodes: Vec<Node>,
    sinks: Vec<Sink>,
}

/// An input or a step, with the edges that its rows leave by.
#[derive(Debug)]
struct Node {
    name: String,
    /// Its kind; nothing for an input.
    kind: &'static str,
    /// What it reads: other nodes, by their own edges.
    from: Vec<usize>,
    /// Nothing for an input.
    step: Option<Box<dyn Step>>,
    outputs: Vec<Edge>,
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Knobs<'k> {
    /// Whether events have times.
    pub timed: bool,
    /// The steps, in order.
    pub slots: &'k [Slot],
    /// Whether every edge has a sink.
    pub every_sink: bool,
}

/// A place where a step may be.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The kinds that it may have; one that is named twice comes twice as often, and [`ANY`] is any with a model.
    pub kinds: &'static [&'static str],
    /// In how many of how many pipelines there is one.
    pub happens: (usize, usize),
    /// What it reads.
    pub from: From,
}

/// What a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The source.
    Source,
    /// The step before it.
    Last,
    /// The source or any step.
    Any,
}

impl Pipeline {
    /// One that reads these inputs, and has neither steps nor sinks yet.
    pub fn new(name: &'static str, stream: &'static str, inputs: Vec<Input>, time: Option<EventTime>) -> Self {
        let is_alone = inputs.len() == 1;
        let node = |input: &Input| {
            let name = if is_alone { "source" } else { input.name }.to_owned();
            let columns = input.typed();
            Node {
                outputs: vec![Edge {
                    name: name.clone(),
                    columns,
                    ..Edge::default()
                }],
                name,
                kind: "",
                from: Vec::new(),
                step: None,
            }
        };
        Self {
            name,
            stream,
            nodes: inputs.iter().map(node).collect(),
            inputs,
            time,
            sinks: Vec::new(),
        }
    }

    /// A pipeline over one subject, as the choices decide.
    pub fn draw(choices: &mut Choices<'_>, knobs: &Knobs<'_>) -> Self {
        let input = Input {
            name: "events",
            subject: "s",
            columns: if knobs.timed { TIMED_COLUMNS } else { COLUMNS },
        };
        let time = knobs.timed.then(|| EventTime::draw(choices));
        let mut pipeline = Self::new("p", "S", vec![input], time);
        for slot in knobs.slots {
            if choices.happens(slot.happens.0, slot.happens.1) {
                pipeline.draw_step(choices, slot);
            }
        }
        if knobs.every_sink {
            pipeline.draw_every_sink(choices);
        } else {
            pipeline.draw_sinks(choices);
        }
        pipeline
    }

    /// One with a step of each kind that fits one of its inputs, and a sink for every edge.
    pub fn of_every_kind(choices: &mut Choices<'_>, inputs: Vec<Input>) -> Self {
        let mut pipeline = Self::new("p", "S", inputs, Some(EventTime::draw(choices)));
        for kind in KINDS {
            let step = pipeline.draw_kind(choices, kind, 0);
            if let Some(step) = step.filter(|step| step.is_read()) {
                let name = format!("s{}", pipeline.nodes.len());
                pipeline.add(kind.name, &name, 0, step);
            }
        }
        pipeline.draw_every_sink(choices);
        pipeline
    }

    /// Adds a step that reads a node, and says which node it is.
    pub fn add(&mut self, kind: &'static str, name: &str, from: usize, step: Box<dyn Step>) -> usize {
        let from: Vec<usize> = [from].into_iter().chain(step.with()).collect();
        let inputs: Vec<&Edge> = from.iter().map(|&from| self.own_edge(from)).collect();
        let mut outputs = step.outputs(&inputs);
        for edge in &mut outputs {
            edge.name = if edge.name.is_empty() {
                name.to_owned()
            } else {
                format!("{name}.{}", edge.name)
            };
            if !step.lets_through() {
                edge.of = kind;
            }
        }
        self.nodes.push(Node {
            name: name.to_owned(),
            kind,
            from,
            step: Some(step),
            outputs,
        });
        self.nodes.len() - 1
    }

    /// The edge that the name of a node stands for.
    pub fn own_edge(&self, node: usize) -> &Edge {
        &self.nodes[node].outputs[0]
    }

    /// The numbers of its rules over changelogs, versions of which may be swapped.
    pub fn rules(&self) -> Vec<usize> {
        let is_rule = |node: &Node| node.step.as_ref().is_some_and(|step| step.rule().is_some());
        (0..self.nodes.len()).filter(|&at| is_rule(&self.nodes[at])).collect()
    }

    /// What its rules over changelogs begin with, by the numbers of their steps.
    pub fn first_rules(&self) -> impl Iterator<Item = (usize, Rule)> {
        let steps = self.nodes.iter().filter_map(|node| node.step.as_ref()?.rule());
        steps.map(|threshold| (threshold.number, threshold.first))
    }

    /// The name of a node.
    pub fn name_of(&self, node: usize) -> &str {
        &self.nodes[node].name
    }

    /// The kinds of its steps.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let steps = self.nodes.iter().filter(|node| node.step.is_some());
        steps.map(|node| node.kind)
    }

    fn draw_step(&mut self, choices: &mut Choices<'_>, slot: &Slot) {
        let is_read = |node: &Node| node.step.as_ref().is_none_or(|step| step.is_read());
        let readable: Vec<usize> = (0..self.nodes.len()).filter(|&at| is_read(&self.nodes[at])).collect();
        let from = match slot.from {
            From::Source => 0,
            From::Last => readable[readable.len() - 1],
            From::Any => choices.one_of(&readable),
        };
        // One that does not fit leaves the place to the next of those that do.
        let first = choices.below(slot.kinds.len());
        for name in slot.kinds[first..].iter().chain(&slot.kinds[..first]) {
            let any = KINDS
                .iter()
                .filter(|kind| kind.name == *name || *name == ANY && kind.has_model);
            let named: Vec<&Kind> = any.chain(SWAPPED.iter().filter(|kind| kind.name == *name)).collect();
            let kind = choices.one_of(&named);
            if let Some(step) = self.draw_kind(choices, kind, from) {
                let name = format!("s{}", self.nodes.len());
                self.add(kind.name, &name, from, step);
                return;
            }
        }
    }

    fn draw_kind(&self, choices: &mut Choices<'_>, kind: &Kind, from: usize) -> Option<Box<dyn Step>> {
        let place = Place {
            input: self.own_edge(from),
            other: (self.inputs.len() > 1).then(|| (1, self.own_edge(1))),
            calendar: self.time.as_ref().map(|time| &time.calendar),
            number: self.nodes.len(),
        };
        (kind.draw)(choices, &place)
    }
}
