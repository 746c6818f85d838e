//! Where turns go, and what people read of them afterwards.
//!
//! ```text
//! Location ──hold──► Backend ──open────► Storage ◄── turns of one pipeline
//!     │                 └─────outbox──► Outbox  ──► publisher
//!     └────inspect──► Inspect ──snapshot──► Snapshot      (no lock, whoever holds it)
//! ```
//!
//! A [`Location`] is what `--database` names. One process holds it as a [`Backend`], in which each pipeline has a
//! [`Storage`] of its own: it takes [turns](Turn) and gives them back to an engine, which it knows as [`Restore`] alone.
//! Others read through [`Inspect`]. SQLite is the one implementation that lasts; it is named in `location.rs` and `sqlite/` alone.

mod audit;
mod backend;
mod compare;
mod dead_letters;
mod discard;
mod inspect;
mod lineage;
mod location;
mod memory;
mod outbox;
mod restore;
mod sqlite;
mod stored;
mod stored_table;
mod turn_check;

pub use audit::{Check, FileSize, Kept, StateSize, Verdict};
pub use backend::{Backend, HostFile, Recovered};
pub use compare::{Difference, PairedTable, SharedTable, Side, SnapshotPair, StoredCell, TableShape, Tally};
pub use dead_letters::{LetterCounts, LetterFilter, LetterName, StoredDeadLetter};
pub use discard::Discard;
pub use inspect::{Inspect, RowStream, Snapshot};
pub use lineage::{RowLineage, SwapOfRow, TracedRow};
pub use location::{Location, leave};
pub use memory::MemoryStorage;
pub use outbox::{MessageCounts, MessageFilter, Outbox, OutgoingMessage, PUBLISH, StoredAt, WaitingMessage};
pub use restore::{Contents, Part, Remembered, Restore};
pub use stored::{Messages, StoredPipeline};
pub use stored_table::{StoredColumn, StoredTable};

use crate::{
    error::Result,
    model::{ids::TableId, rows::KeyedRows, turn::Turn},
};
use std::{collections::BTreeMap, fmt};
use turn_check::check_turn;

/// What one pipeline keeps: its tables and state, and how far it is. A turn is in it as a whole or not at all, whatever dies
/// when, and the position is part of the turn.
///
/// # Examples
///
/// A pipeline, and what it goes on with after a restart. [`MemoryStorage`] lasts as long as the process:
///
/// ```
/// use std::sync::Arc;
/// use weir::{definition::File, engine::Engine, format::Decoder, plan::Plan, storage::{MemoryStorage, Storage}};
/// use weir::wasm::{Compiler, StageHost};
///
/// let file = File::from_text("visits.toml", r#"
///     name = "visits"
///     source = { stream = "WEB", subject = "visits", columns = { user = "text", page = "text" } }
///     step = [{ name = "pages", aggregate = { group_by = ["user"], columns = { pages = { count = "*" } } } }]
///     sink = [{ table = "pages", primary_key = ["user"] }]
/// "#);
/// let host = StageHost::new(None, Compiler::InProcess)?;
/// let plan = Arc::new(Plan::build(&file, &host)?);
/// let mut storage = MemoryStorage::new(plan.clone());
/// storage.claim("the visits of a test")?;
///
/// for page in ["home", "cart"] {
///     // Each time as after a restart: the engine has no state but what the storage gives back.
///     let mut engine = Engine::new(plan.clone(), &host, storage.stored().seed)?;
///     storage.load(&mut engine)?;
///     let (position, turn) = (storage.stored().position, storage.stored().turn + 1);
///     engine.begin(position, &[])?;
///     let mut decoder = Decoder::of(&plan, 4096)?;
///     decoder.push(position + 1, None, format!(r#"{{"user": "ann", "page": "{page}"}}"#).as_bytes());
///     engine.process(decoder.take())?;
///     storage.commit(engine.take_turn(turn)?)?;
/// }
///
/// assert_eq!(storage.rows("pages"), [[serde_json::json!("ann"), serde_json::json!(2)]]);
/// assert_eq!(storage.stored().position, 2);
/// # Ok::<(), weir::error::Error>(())
/// ```
pub trait Storage: fmt::Debug + Send {
    /// What the last commit left.
    fn stored(&self) -> &StoredPipeline;

    /// Whether what is committed can be read back. Where it cannot, turns need no state.
    fn keeps(&self) -> bool {
        true
    }

    /// Claims the pipeline's place for a source, or finds that it belongs to it.
    ///
    /// # Errors
    /// When it was filled from another source, or another process wrote to it.
    fn claim(&mut self, source: &str) -> Result<()>;

    /// Fills an engine with the state and the tables of the last commit.
    ///
    /// # Errors
    /// When the stored state was built for other settings, or cannot be read. The engine is of no use then.
    fn load(&mut self, into: &mut dyn Restore) -> Result<()>;

    /// Commits a turn: all of it, or nothing.
    ///
    /// # Errors
    /// When it cannot be written (a full disk, say), another process wrote meanwhile, or the turn is not one of the plan.
    /// What is stored then is what the turn before left.
    fn commit(&mut self, turn: Turn) -> Result<()>;

    /// Writes rows of a lookup table, over those of the same key, all or none.
    ///
    /// # Errors
    /// As [`Storage::commit`].
    fn set_table(&mut self, table: TableId, rows: KeyedRows) -> Result<()>;

    /// Whether the pipeline stopped because a module failed too often, and has not gone on since.
    ///
    /// # Errors
    /// When it cannot be read.
    fn is_stopped(&self) -> Result<bool>;

    /// Whether it is settled from which events on messages are published: it is from the first start over a stream on.
    fn is_settled(&self) -> bool;

    /// Settles from which events on messages are published, for the subjects where that is not the first: those before are
    /// counted and not published.
    ///
    /// # Errors
    /// When it cannot be written.
    fn settle(&mut self, first: &BTreeMap<String, u64>) -> Result<()>;

    /// The event from which on messages to `subject` are published.
    fn first_published(&self, subject: &str) -> u64;

    /// How many dead letters of the pipeline it holds.
    ///
    /// # Errors
    /// When it cannot be read.
    fn dead_letters_held(&self) -> Result<u64>;

    /// Puts rows that the server did not take, of the dead letters that `filter` lets through, into the outbox once more,
    /// behind what waits there, and gives how many. Without `keeps` it only counts them.
    ///
    /// # Errors
    /// When it cannot be read or written. It then is as it was.
    fn publish_again(&mut self, filter: &LetterFilter, keeps: bool) -> Result<u64>;

    /// The dead letters of the pipeline that `filter` lets through, in order of their sequences.
    ///
    /// # Errors
    /// When it cannot be read.
    fn letters(&self, filter: &LetterFilter) -> Result<Vec<LetterName>>;

    /// The dead letter at that place.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    fn letter(&self, id: i64) -> Result<StoredDeadLetter>;
}
