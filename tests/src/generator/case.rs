//! A pipeline over a file in this process, held to what it has to leave: in random batches, with stops.

use super::{Event, Flow, Knobs, Pipeline, choices::Choices, events::Progress};
use crate::{
    replay::{Run, host},
    scratch_in_memory,
};
use proptest::prelude::*;
use std::{fmt, ops::Range, sync::Arc};
use weir::{definition::File, plan::Plan};

/// Bytes that an event is drawn from: more than it has columns, since some take two.
type EventBytes = [u8; 24];

/// A pipeline with its input, and how it is run.
pub struct Case {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its input.
    pub events: Vec<Event>,
    /// Whether a null is left out of a payload rather than written.
    leaves_out_nulls: bool,
    batches: Vec<usize>,
    stops: Vec<usize>,
}

/// Cases with so many events, in batches of one of some sizes.
pub fn cases(
    knobs: Knobs<'static>,
    flow: Flow,
    events: Range<usize>,
    batches: &[usize],
) -> impl Strategy<Value = Case> {
    let stops = prop::collection::vec(0..events.end, 0..4);
    let pipeline = prop::collection::vec(any::<u8>(), 0..100);
    let events = prop::collection::vec(any::<EventBytes>(), events);
    let batches = prop::collection::vec(prop::sample::select(batches.to_vec()), 1..4);
    let all = (pipeline, events, any::<bool>(), batches, stops);
    all.prop_map(move |(pipeline, events, leaves_out_nulls, batches, mut stops)| {
        stops.sort_unstable();
        let pipeline = Pipeline::draw(&mut Choices::of_bytes(&pipeline), &knobs);
        let mut progress = Progress::default();
        let event = |bytes: &EventBytes| pipeline.event(&flow, &mut progress, &mut Choices::of_bytes(bytes));
        Case {
            events: events.iter().map(event).collect(),
            pipeline,
            leaves_out_nulls,
            batches,
            stops,
        }
    })
}

impl Case {
    /// Runs it, and holds what it leaves to the model.
    ///
    /// # Panics
    /// When something differs.
    #[track_caller]
    pub fn check(&self) {
        let file = File::from_text("p.toml", self.pipeline.toml());
        let plan = Plan::build(&file, host()).unwrap_or_else(|error| panic!("the pipeline is fine: {error}"));
        let plan = Arc::new(plan);
        let input = self.payloads();
        let run = Run {
            plan: &plan,
            lookup_rows: b"",
            input: input.as_bytes(),
            batches: &self.batches,
            stops: &self.stops,
        };
        let folder = scratch_in_memory();
        let database = folder.path().join("p.db");
        run.into_database(&database);
        let expected = self.pipeline.expected(&self.events);
        expected.check(&plan, &database, |number| number as u64);
    }

    fn payloads(&self) -> String {
        let payload = |event| self.pipeline.payload(event, self.leaves_out_nulls) + "\n";
        self.events.iter().map(payload).collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, stops, .. } = self;
        write!(
            f,
            "batches of {batches:?}, stopped at {stops:?}\n{}{}",
            self.pipeline.toml(),
            self.payloads()
        )
    }
}
