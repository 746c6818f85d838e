//! Dead letters as a storage holds them, and which of them somebody means.

use crate::model::delivery::DeadLetter;

/// A dead letter in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The pipeline.
    pub pipeline: String,
    /// The stream sequence; in a replay of a file the number of the line.
    pub sequence: u64,
    /// The subject that it came on, where the pipeline has several inputs or reads a column from it.
    pub subject: Option<String>,
    /// Its headers as a JSON object, where the pipeline reads columns from them.
    pub headers: Option<String>,
    /// The sequence that its line said, where the pipeline reads a column from it.
    pub written_sequence: Option<u64>,
    /// What was "now" for it, in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: i64,
    /// When the message was stored, in the same unit; nothing where the source did not know, or an older layout did not
    /// say.
    pub store_ms: Option<i64>,
    /// The step that rejected it.
    pub step: String,
    /// The module version of that step, when it is a stage.
    pub module: Option<String>,
    /// Why.
    pub reason: String,
    /// The payload, byte for byte.
    pub payload: Vec<u8>,
    /// Whether it is a row that came because time went on, and no event; nothing where an older layout did not say.
    pub is_row: Option<bool>,
    /// How often it was retried.
    pub retries: u64,
}

impl StoredDeadLetter {
    /// A dead letter of a pipeline as it is kept, when it was retried so often.
    pub(super) fn of(pipeline: &str, letter: DeadLetter, retries: u64) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            sequence: letter.sequence,
            subject: letter.subject,
            headers: letter.headers,
            written_sequence: letter.written_sequence,
            time_ms: letter.time_ms,
            store_ms: letter.store_ms,
            step: letter.step,
            module: letter.module,
            reason: letter.reason,
            payload: letter.payload,
            is_row: Some(letter.is_row),
            retries,
        }
    }
}

/// A dead letter without what may be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterName {
    /// Its place among the dead letters.
    pub id: i64,
    /// See [`StoredDeadLetter::is_row`].
    pub is_row: Option<bool>,
}

/// Which dead letters are meant: those that all of it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Rejected by this step.
    pub step: Option<String>,
    /// Rejected by a module whose digest begins so.
    pub module: Option<String>,
    /// With this text in the reason.
    pub reason: Option<String>,
    /// From this sequence on.
    pub from: Option<u64>,
    /// Up to this sequence.
    pub to: Option<u64>,
}

impl LetterFilter {
    /// Whether every dead letter fits.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a dead letter fits.
    pub(super) fn takes(&self, letter: &StoredDeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.pipeline, &letter.pipeline)
            && is(&self.step, &letter.step)
            && self.module.as_ref().is_none_or(|module| {
                letter
                    .module
                    .as_ref()
                    .is_some_and(|found| found.starts_with(module.as_str()))
            })
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| letter.reason.contains(reason.as_str()))
            && self.from.is_none_or(|from| letter.sequence >= from)
            && self.to.is_none_or(|to| letter.sequence <= to)
    }
}

/// The dead letters of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// Those that are held.
    pub held: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Those that were let go, since no more are kept.
    pub let_go: u64,
}
