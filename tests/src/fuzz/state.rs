//! The state log of a database, read back.

use crate::{
    generator::{
        Flow, Pipeline,
        calendar::AT,
        choices::Choices,
        events::{Input, TIMED_COLUMNS, Values},
    },
    replay::host,
};
use std::sync::{Arc, LazyLock};
use weir::{
    definition::File,
    engine::Engine,
    format::Decoder,
    model::{
        delivery::Message,
        ids::{Id, InputId},
    },
    plan::Plan,
};

/// A pipeline with every kind of state: a step of each kind over two inputs, always the same.
static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let events = Input {
        name: "events",
        subject: "events",
        columns: TIMED_COLUMNS,
    };
    let payments = Input {
        name: "payments",
        subject: "payments",
        columns: &[
            ("k", Values::Texts(&["a", "a\0", ""])),
            (AT, Values::EventTime),
            ("paid", Values::Below(1000)),
        ],
    };
    Pipeline::of_every_kind(&mut Choices::of_seed(SEED), vec![events, payments])
});

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let file = File::from_text("states.toml", PIPELINE.toml());
    Arc::new(Plan::build(&file, host()).unwrap_or_else(|error| panic!("{error}")))
});

/// How many events fill the states.
const EVENTS: usize = 60;

/// The seed of the pipeline, of its events, and of the states: where keys belong depends on it.
const SEED: u64 = 7;

fn engine() -> Engine {
    Engine::new(PLAN.clone(), host(), SEED).expect("the plan can run")
}

/// The names of all states, in order: the first byte of an input is a number among them.
fn states() -> Vec<String> {
    engine().state_sizes().into_iter().map(|(name, _)| name).collect()
}

/// What states come to over some events: an input for each state, as the log has it.
///
/// # Panics
/// When a step has nothing to show.
pub fn inputs() -> Vec<Vec<u8>> {
    let mut engine = engine();
    process(&mut engine);
    let names = states();
    let turn = engine.take_turn(1).expect("no invariant breaks");
    let rows = turn.log.iter().filter_map(|row| {
        let state = names.iter().position(|name| *name == row.state)?;
        Some([&[state as u8], row.entries.as_slice()].concat())
    });
    let inputs: Vec<Vec<u8>> = rows.collect();
    // Some states are of functions that a step need not have; but no step has nothing.
    let step = |state: &usize| names[*state].split('/').next();
    let filled: Vec<_> = inputs.iter().map(|input| step(&input[0].into())).collect();
    let empty: Vec<_> = (0..names.len())
        .filter(|state| !filled.contains(&step(state)))
        .collect();
    assert!(empty.is_empty(), "steps that hold nothing: {empty:?} of {names:?}");
    inputs
}

fn process(engine: &mut Engine) {
    let mut decoder = Decoder::of(&PLAN, EVENTS).expect("the plan can be decoded for");
    let events = PIPELINE.events(EVENTS, &Flow::RANDOM, &mut Choices::of_seed(SEED));
    for (sequence, event) in (1..).zip(events) {
        let (subject, payload) = (PIPELINE.inputs[event.input].subject, PIPELINE.payload(&event, false));
        let message = Message {
            subject: Some(subject),
            sequence,
            store_ms: Some(0),
            payload: payload.as_bytes(),
            ..Message::default()
        };
        decoder.push_to(InputId::of(event.input), &message);
    }
    engine.process(decoder.take()).expect("no invariant breaks");
}

/// Entries of a state as a database could hold them that somebody made: they are refused, or held. (What a disk damaged
/// does not come so far: it has another checksum.)
///
/// # Panics
/// When it does neither.
pub fn state(bytes: &[u8]) {
    let Some((state, entries)) = bytes.split_first() else {
        return;
    };
    let names = states();
    let name = &names[usize::from(*state) % names.len()];
    let mut engine = engine();
    if let Err(error) = engine.restore(name, entries) {
        let message = error.to_string();
        assert!(message.contains("its bytes are damaged"), "{message}");
        return;
    }
    engine.restored();
    let held: usize = engine.state_sizes().iter().map(|(_, entries)| entries).sum();
    assert!(held <= entries.len(), "{held} entries of {} bytes", entries.len());
}
