//! What a case leaves: a replay into a database of its own, read back.

use super::{
    case::Case,
    rows::{Shape, exact, written},
};
use crate::{
    command::{load_plan, table},
    engine::{Engine, JudgedRows},
    error::{Error, Result},
    files::{input, private_file},
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::{ids::TableId, turn::Counts},
    plan::{Now, Plan, TablePlan},
    runtime::pipeline::{self, Swaps},
    source::{
        NoAcknowledge, Stop,
        file::{FileSource, IDENTITY},
    },
    storage::{LetterFilter, Location, Messages, Storage, StoredDeadLetter},
    wasm::StageHost,
};
use serde_json::Value as Json;
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// What "now" is in a case that does not say, where the pipeline means the store time: noon of a day in Shanghai.
const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_773_547_200, 0);

/// Bytes of the events of a case, or of a table that it starts with. They are read in every test, by a person who waits.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// What a case left.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) plan: Arc<Plan>,
    /// Each table with its rows.
    pub(super) tables: Vec<(Shape, Vec<Vec<Json>>)>,
    pub(super) dead_letters: Vec<StoredDeadLetter>,
    /// What was published, in order.
    pub(super) messages: Vec<Message>,
    pub(super) counts: Counts,
    /// What its rules judged first.
    pub(super) judged: Arc<JudgedRows>,
}

/// A message that went to a subject.
#[derive(Debug)]
pub(super) struct Message {
    /// Subject and payload, as they are compared.
    pub(super) row: Vec<Json>,
    /// The line of a file that expects it.
    pub(super) line: String,
}

impl Message {
    fn new(subject: String, payload: &[u8]) -> Self {
        let payload = String::from_utf8_lossy(payload);
        let text = |text: &str| Json::from(text).to_string();
        let (value, message) = match exact(&payload) {
            // A column of JSON may go over several lines.
            Ok(value) if payload.contains(['\n', '\r']) => {
                let line = written(&value);
                (value, line)
            }
            Ok(value) => (value, payload.into_owned()),
            Err(_) => (Json::from(payload.as_ref()), text(&payload)),
        };
        Self {
            line: format!("{{\"subject\":{},\"message\":{message}}}", text(&subject)),
            row: vec![Json::String(subject), value],
        }
    }
}

impl Outcome {
    /// Runs the case.
    pub(super) fn of(case: &Case, pipeline: &Path, host: &StageHost) -> Result<Self> {
        Self::run(case, pipeline, host, BATCH_EVENTS_MAX, Times::First)
    }

    /// Runs it once more, in batches of so many events.
    pub(super) fn again(case: &Case, pipeline: &Path, host: &StageHost, batch: usize) -> Result<Self> {
        Self::run(case, pipeline, host, batch, Times::Again)
    }

    fn run(case: &Case, pipeline: &Path, host: &StageHost, batch: usize, times: Times) -> Result<Self> {
        let mut plan = load_plan(pipeline, host, case.now)?;
        if plan.now == Now::StoreTime {
            plan.now = Now::StoreTimeOr(NOW.as_millisecond());
        }
        let plan = Arc::new(plan);
        let folder = private_file::temporary_folder("weir-test-")?;
        let location = Location::in_folder(folder.path(), "case");
        let judged = Arc::<JudgedRows>::default();
        let counts = replay(case, &plan, host, &location, (batch, times), &judged)?;
        let database = location.inspect();

        let mut tables = Vec::new();
        for shape in Shape::all(&plan) {
            let rows = database.rows(&shape.name)?;
            let rows = rows.into_iter().map(|row| shape.found(row)).collect();
            tables.push((shape, rows));
        }
        let mut dead_letters = Vec::new();
        database.dead_letters(&LetterFilter::default(), &mut |letter| {
            dead_letters.push(letter);
            Ok(())
        })?;
        let outbox = location.hold()?.outbox(&plan.name)?;
        let messages = outbox.oldest(outbox.waiting()? as usize, usize::MAX, &BTreeSet::new())?;
        // Dead letters are compared as such.
        let messages = messages.into_iter().filter(|message| !message.is_letter());
        let messages = messages.map(|message| Message::new(message.subject, &message.payload));
        Ok(Self {
            tables,
            dead_letters,
            messages: messages.collect(),
            counts,
            plan,
            judged,
        })
    }
}

/// Whether the events of a case run for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    First,
    Again,
}

fn replay(
    case: &Case,
    plan: &Arc<Plan>,
    host: &StageHost,
    location: &Location,
    (batch, times): (usize, Times),
    judged: &Arc<JudgedRows>,
) -> Result<Counts> {
    let mut storage = location.hold()?.open(plan.clone(), Messages::Outbox)?;
    case.load_start(plan, &mut *storage)?;
    storage.claim(IDENTITY)?;
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
    storage.load(&mut engine)?;
    if times == Times::First {
        engine.note_judged_rows(judged.clone());
    }
    let decoder = Decoder::of(plan, batch)?;
    input::check_file(&case.input(), "", INPUT_BYTES_MAX)?;
    let source = FileSource::open(&case.input(), decoder, 0, stored.content_hash, Stop::default())?;
    let metrics = engine.metrics().clone();
    let ran = match times {
        Times::First => pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none()),
        Times::Again => pipeline::run_again(source, engine, storage, NoAcknowledge),
    };
    drop(ran?);
    Ok(metrics.counts())
}

impl Case {
    /// Sets the rows of lookup tables with which the case begins.
    pub(super) fn load_start(&self, plan: &Plan, storage: &mut dyn Storage) -> Result<()> {
        for (name, file) in &self.start {
            input::check_file(file, "", INPUT_BYTES_MAX)?;
            let (id, table_plan) = start_table(plan, name.as_deref(), file)?;
            let mut refused = None;
            let (mut rows, _) = table::read_rows(table_plan, file, |line, reason| {
                refused.get_or_insert_with(|| super::mistake(file, line as usize, reason));
            })?;
            refused.map_or(Ok(()), Err)?;
            storage.set_table(id, rows.take_changes())?;
        }
        Ok(())
    }
}

/// The lookup table that a file fills.
fn start_table<'p>(plan: &'p Plan, name: Option<&str>, file: &Path) -> Result<(TableId, &'p TablePlan)> {
    let found = match name {
        None => plan.tables.find(|_| plan.tables.len() == 1),
        Some(name) => plan.tables.find(|table| table.name == name),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = plan
            .tables
            .iter()
            .map(|table| format!("start.{}.jsonl", table.name))
            .collect();
        let accepted = match names.is_empty() {
            true => "it has none".to_owned(),
            false => format!("accepted are {}", names.join(", ")),
        };
        Error::definition(format!(
            "{} does not say which lookup table of pipeline {} it fills; {accepted}",
            file.display(),
            plan.name
        ))
    })
}
