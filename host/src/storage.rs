//! Where turns go, and what people read of them afterwards.

mod audit;
mod dead_letters;
mod lineage;
mod outbox;
pub mod sqlite;
mod stored;

pub use audit::{Check, FileSize, Kept, StateSize, Verdict};
pub use dead_letters::{LetterCounts, LetterFilter, LetterName, StoredDeadLetter};
pub use lineage::{RowLineage, TracedRow};
pub use outbox::{MessageCounts, MessageFilter, OutgoingMessage, PUBLISH, StoredAt, WaitingMessage};
pub use stored::{Messages, StoredPipeline};
