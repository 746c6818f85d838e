//! Inputs whose events have none of the declared columns: every column is null then, nothing is rejected, and nothing is right.
//!
//! A pipeline that was written for other events, a misspelt `path`, an envelope around the payload: all of them look like
//! this. So the first events of each input are looked at, from when a pipeline starts until a declared column is found or a
//! warning was given. Whatever comes after that costs nothing.

use crate::{
    model::{
        delivery::DecodedBatch,
        ids::InputId,
        path::{PathPart, ValuePath},
    },
    plan::{Input, Plan},
    text::printable,
};
use serde_json::{Map, Value as Json};

/// In so many events some declared column is found, unless the pipeline was written for others.
const EVENTS: u64 = 100;

/// Names that a warning lists, of those that were looked for and of those that are there.
const NAMES_SHOWN: usize = 8;

/// Letters of each.
const NAME_LETTERS: usize = 40;

/// Looks for declared columns in the first events.
#[derive(Debug)]
pub(super) struct Recognition {
    pipeline: String,
    /// The inputs of which none was found yet.
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    input: InputId,
    /// Whose events they are: nothing where there is one input alone.
    whose: String,
    paths: Vec<ValuePath>,
    /// What was looked for, in words.
    columns: String,
    events: u64,
    /// What is in the payloads instead.
    found: Vec<String>,
}

impl Recognition {
    pub(super) fn new(plan: &Plan) -> Self {
        let has_several = plan.inputs.len() > 1;
        // Other formats have a schema, or every column in every payload; a change without the key of its row is a dead letter.
        let inputs = plan
            .inputs
            .iter_enumerated()
            .filter(|(_, input)| input.format.is_json());
        Self {
            pipeline: plan.name.clone(),
            watched: inputs.map(|(id, input)| Watched::new(id, input, has_several)).collect(),
        }
    }

    /// Of events that were looked at before.
    pub(super) fn done() -> Self {
        Self {
            pipeline: String::new(),
            watched: Vec::new(),
        }
    }

    /// The next batch.
    pub(super) fn look(&mut self, batch: &DecodedBatch) {
        let pipeline = &self.pipeline;
        self.watched.retain_mut(|watched| watched.look(batch, pipeline));
    }

    /// The source ended.
    pub(super) fn end(self) {
        for watched in self.watched.iter().filter(|watched| watched.events > 0) {
            match watched.events {
                1 => watched.warn(&self.pipeline, "the only event"),
                events => watched.warn(&self.pipeline, &format!("all {events} events")),
            }
        }
    }
}

impl Watched {
    fn new(id: InputId, input: &Input, has_several: bool) -> Self {
        let in_payload = || {
            input
                .columns
                .iter()
                .filter_map(|column| Some((column, column.place.path()?)))
        };
        let named = in_payload().map(|(column, path)| {
            let (name, path) = (&column.field.name, path.to_string());
            match *name == path {
                true => shown(name),
                false => format!("{} at {}", shown(name), shown(&path)),
            }
        });
        Self {
            input: id,
            whose: match has_several {
                true => format!(" of input \"{}\" ({})", input.name, printable(&input.subject)),
                false => String::new(),
            },
            paths: in_payload().map(|(_, path)| path.clone()).collect(),
            columns: listed(named.collect()),
            events: 0,
            found: Vec::new(),
        }
    }

    /// Whether there is something to look for in the events behind this batch.
    fn look(&mut self, batch: &DecodedBatch, pipeline: &str) -> bool {
        for &delivery in &batch.of_input(self.input).deliveries {
            let payload = batch.deliveries.payloads.get(delivery as usize);
            // What is nested more deeply than this reads is not judged.
            let Ok(payload) = serde_json::from_slice::<Map<String, Json>>(payload) else {
                return false;
            };
            if self.paths.iter().any(|path| is_there(&payload, &path.0)) || self.paths.is_empty() {
                return false;
            }
            take_names(&payload, "", &mut self.found);
            self.events += 1;
            if self.events == EVENTS {
                self.warn(pipeline, &format!("the first {EVENTS} events"));
                return false;
            }
        }
        true
    }

    fn warn(&self, pipeline: &str, events: &str) {
        let there = match self.found.is_empty() {
            true => "the payloads have no members".to_owned(),
            false => format!("the payloads have {}", listed(self.found.clone())),
        };
        tracing::warn!(
            pipeline,
            "{pipeline}: no declared column was found in {events}{}, so all columns are null: looked for {}, and {there}; give \
             the columns of [source] the names that the payloads have, or say where each is with `path`",
            self.whose,
            self.columns
        );
    }
}

/// Whether a payload has a value where a column is, or null on the way to it.
fn is_there(payload: &Map<String, Json>, path: &[PathPart]) -> bool {
    let Some((PathPart::Name(first), rest)) = path.split_first() else {
        return false;
    };
    match payload.get(first) {
        None => false,
        Some(Json::Object(inner)) if !rest.is_empty() => is_there(inner, rest),
        Some(_) => true,
    }
}

/// Adds the names of what a payload holds, those within objects with the names of the objects, until there are enough.
fn take_names(payload: &Map<String, Json>, before: &str, names: &mut Vec<String>) {
    for (name, value) in payload {
        if names.len() > NAMES_SHOWN {
            return;
        }
        let name = format!("{before}{}", shown(name));
        match value {
            // No more of a name is shown than that anyhow.
            Json::Object(inner) if !inner.is_empty() && name.len() < NAME_LETTERS => {
                take_names(inner, &format!("{name}."), names);
            }
            _ if names.contains(&name) => {}
            _ => names.push(name),
        }
    }
}

/// A name that a stranger chose.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(NAME_LETTERS).collect();
    let more = if start.len() < name.len() { "…" } else { "" };
    format!("{}{more}", printable(&start))
}

fn listed(mut names: Vec<String>) -> String {
    let more = names.len() > NAMES_SHOWN;
    names.truncate(NAMES_SHOWN);
    let more = if more { " and more" } else { "" };
    format!("{}{more}", names.join(", "))
}
