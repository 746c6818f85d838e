//! A pipeline over a file, in this process: what `weir replay` and `weir table load` do, without starting one each time.

use crate::table::{Contents, contents};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use weir::{
    definition::File,
    engine::Engine,
    error::Result,
    format::Decoder,
    model::ids::{InputId, TableId},
    operator::lookup,
    plan::{GuestHost, Now, Plan},
    runtime::pipeline::Swaps,
    source::{
        NoAcknowledge, Stop,
        file::{FileSource, IDENTITY},
    },
    storage::{Backend, Location, Messages},
    wasm::{Compiler, StageHost},
};

/// The instant that golden cases call now: 2026-03-15T12:00:00+08:00.
pub const GOLDEN_NOW_MS: i64 = 1_773_547_200_000;

/// How long a lock may outlive the one who gave it back.
const LOCK_MAX: Duration = Duration::from_secs(10);

/// The engine for guests. All tests share one, and a cache beside their binary, so that each guest is compiled once.
///
/// # Panics
/// When this machine cannot run WebAssembly.
pub fn host() -> &'static StageHost {
    static HOST: OnceLock<StageHost> = OnceLock::new();
    HOST.get_or_init(|| {
        let tests = std::env::current_exe().expect("the tests are a file");
        let cache = tests.with_file_name("weir-test-cache");
        StageHost::new(Some(&cache), Compiler::InProcess).expect("this machine can run WebAssembly")
    })
}

/// Reads and checks a pipeline file; `now` is as in the golden cases.
///
/// # Errors
/// What is wrong with the file.
pub fn plan(pipeline: &Path) -> Result<Plan> {
    let mut plan = Plan::build(&File::read(pipeline)?, host())?;
    if plan.now == Now::StoreTime {
        plan.now = Now::StoreTimeOr(GOLDEN_NOW_MS);
    }
    Ok(plan)
}

/// Runs a file of payloads through a pipeline into a database, `batch` events at a time. A database that holds the
/// beginning of the file already is continued.
///
/// # Errors
/// What `weir replay` would say.
pub fn replay(plan: &Arc<Plan>, input: &Path, database: &Path, batch: usize) -> Result<()> {
    replay_with(plan, input, database, batch, Messages::Drop)
}

/// As [`replay`], with messages to the outbox if wanted. No step forgets more keys at once than a batch has events, where it
/// may forget the others later.
///
/// # Errors
/// What `weir replay` would say.
pub fn replay_with(plan: &Arc<Plan>, input: &Path, database: &Path, batch: usize, messages: Messages) -> Result<()> {
    let mut storage = hold(database)?.open(plan.clone(), messages)?;
    storage.claim(IDENTITY)?;
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host(), stored.seed)?;
    engine.set_forgotten_at_once(batch);
    storage.load(&mut engine)?;
    let decoder = Decoder::of(plan, batch)?;
    let source = FileSource::open(input, decoder, stored.position, stored.content_hash, Stop::default())?;
    weir::runtime::pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none()).map(drop)
}

/// How many entries each state of a database has, by its name: what a pipeline would begin with.
///
/// # Panics
/// When the database is not the pipeline's.
#[track_caller]
pub fn state_sizes(plan: &Arc<Plan>, database: &Path) -> Vec<(String, usize)> {
    state_sizes_of(host(), plan, database)
}

/// The same, of a plan that another host can run.
///
/// # Panics
/// As [`state_sizes`].
#[track_caller]
pub fn state_sizes_of(host: &dyn GuestHost, plan: &Arc<Plan>, database: &Path) -> Vec<(String, usize)> {
    let hold = hold(database).expect("nobody else holds the database");
    let mut storage = hold
        .open(plan.clone(), Messages::Outbox)
        .expect("the database can be opened");
    let mut engine = Engine::new(plan.clone(), host, storage.stored().seed).expect("the plan can run");
    storage.load(&mut engine).expect("the state can be read");
    engine.state_sizes()
}

/// Takes hold of a database.
///
/// A command that another test starts has this process's locks too, from its fork until it becomes that command. So a
/// lock that was given back may still be held, for a moment.
///
/// # Errors
/// When it is held for longer.
pub fn hold(database: &Path) -> Result<Arc<dyn Backend>> {
    let begun = Instant::now();
    loop {
        match Location::from(database).hold() {
            Err(_) if begun.elapsed() < LOCK_MAX => std::thread::park_timeout(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// Sets rows of the pipeline's only lookup table, one JSON object each.
///
/// # Panics
/// When the pipeline has not one table, or a row does not fit it.
#[track_caller]
pub fn load_table(plan: &Arc<Plan>, rows: &[u8], database: &Path) {
    let [table_plan] = plan.tables.as_slice() else {
        panic!("{} lookup tables", plan.tables.len())
    };
    let mut table = lookup::Table::new(table_plan.clone(), 1);
    let lines: Vec<&[u8]> = rows
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let columns: Vec<usize> = (0..table_plan.columns.len()).collect();
    for lines in lines.chunks(1000) {
        let mut decoder = Decoder::of_columns(&table_plan.columns, lines.len()).expect("the columns are fine");
        for (number, line) in lines.iter().enumerate() {
            decoder.push(number as u64 + 1, None, line);
        }
        let batch = decoder.take();
        assert_eq!(batch.rejected, [], "every row fits the table");
        table.set(batch.of_input(InputId::FIRST), &columns);
    }
    let hold = hold(database).expect("nobody else holds the database");
    let mut storage = hold
        .open(plan.clone(), Messages::Drop)
        .expect("the database can be opened");
    storage
        .set_table(TableId::FIRST, table.take_changes())
        .expect("the table can be written");
}

/// A whole run over a new database: lookup rows if there are any, then `lines` in one go, or stopped after each of
/// `stops` (numbers of lines, ascending) and started again.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The pipeline.
    pub plan: &'a Arc<Plan>,
    /// The rows of its only lookup table.
    pub lookup_rows: &'a [u8],
    /// The payloads, one per line.
    pub input: &'a [u8],
    /// Events in one batch: that of each part, over and over.
    pub batches: &'a [usize],
    /// After how many lines the run is stopped and started again.
    pub stops: &'a [usize],
}

impl Run<'_> {
    /// Does it.
    ///
    /// # Panics
    /// When something fails that is no dead letter.
    #[track_caller]
    pub fn contents(&self) -> Contents {
        let folder = crate::scratch_in_memory();
        let database = folder.path().join("test.db");
        self.into_database(&database);
        contents(&database)
    }

    /// Does it, and leaves the database at `database`.
    ///
    /// # Panics
    /// When something fails that is no dead letter.
    #[track_caller]
    pub fn into_database(&self, database: &Path) {
        if !self.lookup_rows.is_empty() {
            load_table(self.plan, self.lookup_rows, database);
        }
        let input = database.with_extension("jsonl");
        let lines: Vec<&[u8]> = self.input.split_inclusive(|&byte| byte == b'\n').collect();
        let ends = self.stops.iter().copied().chain([lines.len()]);
        for (end, &batch) in ends.zip(self.batches.iter().cycle()) {
            std::fs::write(&input, lines[..end.min(lines.len())].concat()).expect("the input can be written");
            replay_with(self.plan, &input, database, batch, Messages::Outbox).expect("the run ends well");
        }
    }
}
