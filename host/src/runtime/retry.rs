//! Dead letters once more: their payloads go through the rules of today, outside of the stream.
//!
//! A letter goes the way of any event, with its sequence, subject and times as they were, and takes effect now: behind
//! everything that is committed. Rows behind event time are judged by the watermark as it stands, so they are late where it
//! has passed them. Each turn is one transaction: what the letters of it change, that they are letters no more (or are
//! again, with the reason of today), and the counts. The position stays. So whatever dies in between, a letter was either
//! retried or is still there.
//!
//! What decides is what `weir run` would let decide next, but for trials: a version on trial decides alone, and what it
//! does with a letter does not count for it.

use crate::{
    engine::Engine,
    error::{Error, Result},
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::{
        delivery::{DeadLetter, Message, Receipt},
        ids::InputId,
        subject::{listed, matches},
        turn::{Counts, RetriedLetter},
    },
    plan::{Now, Plan, Versions},
    runtime::rollout,
    source::{Event, EventLines, file::IDENTITY},
    storage::{Backend, LetterFilter, Messages, Storage, StoredDeadLetter},
    wasm::StageHost,
};
use std::sync::Arc;

/// Retries dead letters of one pipeline in a database that nothing else holds meanwhile.
#[derive(Debug)]
pub struct Retry {
    storage: Box<dyn Storage>,
    engine: Engine,
    plan: Arc<Plan>,
    origin: Origin,
    decoder: Decoder,
    /// What the lines of a file are.
    lines: Option<EventLines>,
    /// Whether turns are committed.
    keeps: bool,
    /// The letters of the open turn.
    taken: Vec<RetriedLetter>,
    report: RetryReport,
}

/// What a replay says to be changed in a pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'c> {
    /// In words; empty for nothing.
    pub said: &'c str,
    /// What its stages run instead; the plan has them.
    pub versions: &'c Versions,
}

/// What became of the letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryReport {
    /// Letters that were retried.
    pub retried: u64,
    /// What became of them: `events` is how many there were, and `dead_letters` how many are letters again.
    pub counts: Counts,
    /// Messages to publish.
    pub messages: u64,
    /// Letters that cannot be retried, which are as they were.
    pub refused: u64,
    /// Rows of windows among those that were asked for: they are no events, and cannot come again.
    pub rows: u64,
    /// Rows that the server did not take, and that wait in the outbox once more.
    pub republished: u64,
}

/// Something that became of one letter.
#[derive(Debug)]
pub enum RetryEvent<'t> {
    /// It took effect.
    Applied(u64),
    /// A rule or a lookup left it out.
    Filtered(u64),
    /// It is a dead letter again.
    Again(&'t DeadLetter),
    /// It cannot be retried, for this reason.
    Refused(&'t StoredDeadLetter, &'t str),
    /// So many letters are through, of so many.
    Through(u64, u64),
}

/// What filled a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// `weir run`.
    Stream,
    /// `weir replay` of a stream.
    PastOfStream,
    /// `weir replay` of a file.
    File,
}

impl Retry {
    /// Opens the database of the pipeline `base`, as the last commit left it, with the `changes` of a replay. With `keeps`, turns are committed; else it is only found out what would become of the letters.
    ///
    /// # Errors
    /// When the database has no such pipeline, was filled from something else, or does not fit the pipeline any more.
    pub fn open(
        backend: &dyn Backend,
        host: &StageHost,
        base: Plan,
        changes: Changes<'_>,
        keeps: bool,
    ) -> Result<Self> {
        let location = backend.location();
        let recovered = backend.recover()?;
        let held = backend.inspect();
        let pipelines = held.pipelines()?;
        let Some((_, stored)) = pipelines.iter().find(|(name, _)| *name == base.name) else {
            let known: Vec<&str> = pipelines.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::mismatch(format!(
                "database {location} has no pipeline \"{}\"; it has {}",
                base.name,
                known.join(", ")
            )));
        };
        let origin = Origin::of(stored.source.as_deref().unwrap_or_default(), &base, changes.said)
            .map_err(|error| error.context(format!("database {location}")))?;
        let mut known = held.versions(&base.name)?;
        known.iter_mut().for_each(|version| version.trial.left = 0);
        let plan = match origin {
            Origin::Stream => Arc::new(rollout::plan_of_database(&base, host, &*held, &known, false)?),
            // What replaces the rules that judged current rows does so when the replay goes on.
            Origin::PastOfStream | Origin::File => {
                rollout::Former::of(base, changes.versions.clone(), host, &*held, &known)?.plan
            }
        };
        let messages = match origin {
            Origin::Stream => Messages::Outbox,
            Origin::PastOfStream | Origin::File => Messages::Drop,
        };
        let mut storage = backend.open(plan.clone(), messages)?;
        drop(recovered);
        let stored = storage.stored().clone();
        let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
        storage.load(&mut engine)?;
        engine.begin(stored.position, &known)?;
        engine.leave_failures_uncounted();
        // Where nothing is kept, each letter is told of on its own; batches do not change what becomes of it.
        let decoder = Decoder::of(&plan, if keeps { BATCH_EVENTS_MAX } else { 1 })?;
        let lines = match origin {
            Origin::File => Some(EventLines::new(decoder.subjects(), decoder.reads_envelopes())),
            Origin::Stream | Origin::PastOfStream => None,
        };
        Ok(Self {
            storage,
            engine,
            plan,
            origin,
            decoder,
            lines,
            keeps,
            taken: Vec::new(),
            report: RetryReport::default(),
        })
    }

    /// Whether messages of letters that are retried go out.
    pub fn publishes(&self) -> bool {
        self.origin == Origin::Stream
    }

    /// Retries the letters that `filter` lets through, in order of their sequences, and tells what becomes of each that does
    /// not take effect (where nothing is kept, of each), and how far it is.
    ///
    /// # Errors
    /// When the database cannot be read or written. Letters of turns that were committed before are retried then, and all
    /// others are as they were.
    pub fn run(mut self, filter: &LetterFilter, mut report: impl FnMut(RetryEvent<'_>)) -> Result<RetryReport> {
        self.report.republished = self.storage.publish_again(filter, self.keeps)?;
        let names = self.storage.letters(filter)?;
        let all = names.len() as u64;
        for (through, name) in (0..).zip(names) {
            if name.is_row == Some(true) {
                self.report.rows += 1;
                continue;
            }
            let letter = self.storage.letter(name.id)?;
            match self.push(&letter) {
                Ok(()) => self.taken.push(RetriedLetter {
                    id: name.id,
                    sequence: letter.sequence,
                    retries: letter.retries + 1,
                }),
                Err(reason) => {
                    self.report.refused += 1;
                    report(RetryEvent::Refused(&letter, &reason));
                }
            }
            if self.decoder.is_full() {
                self.turn(&mut report)?;
                report(RetryEvent::Through(through + 1, all));
            }
        }
        self.turn(&mut report)?;
        if !self.keeps {
            self.report.rows = self.report.rows.saturating_sub(self.report.republished);
        }
        Ok(self.report)
    }

    /// Hands a letter to the decoder; the error says why it cannot be retried.
    fn push(&mut self, letter: &StoredDeadLetter) -> Result<(), String> {
        if letter.is_row.is_none() {
            return Err(
                "an older weir wrote it, and did not say whether it is an event, or a row that came because time went on"
                    .to_owned(),
            );
        }
        if self.taken.last().is_some_and(|last| last.sequence >= letter.sequence) {
            return Err("there is another dead letter of the same event".to_owned());
        }
        let is_timeless = letter.store_ms.is_none() && letter.time_ms == 0 && self.plan.now == Now::StoreTime;
        if let Some(step) = self.plan.time_reader.as_ref().filter(|_| is_timeless) {
            return Err(format!(
                "step \"{step}\" reads the time, and none is known of it; say --now TIME, such as --now 2026-03-15T12:00:00+08:00"
            ));
        }
        // An older layout does not know when it was stored, but "now" says it.
        let is_stored = self.origin != Origin::File && self.plan.now == Now::StoreTime;
        let store_ms = letter.store_ms.or_else(|| is_stored.then_some(letter.time_ms));
        let mut message = Message {
            sequence: letter.sequence,
            subject: letter.subject.as_deref(),
            written_sequence: letter.written_sequence,
            store_ms,
            headers: letter.headers.as_deref().unwrap_or_default(),
            payload: &letter.payload,
        };
        let inputs = &self.plan.inputs;
        let input = match (&letter.subject, &mut self.lines) {
            (Some(subject), _) => {
                let input = inputs.position(|input| matches(&input.subject, subject));
                input.ok_or_else(|| {
                    format!(
                        "it came on subject {subject}, which the pipeline does not read any more; it reads {}",
                        listed(&self.plan.subjects())
                    )
                })?
            }
            (None, Some(lines)) => match lines.read_alone(&letter.payload) {
                Event::Payload => InputId::FIRST,
                Event::Of(line) => {
                    let now_ms = message.store_ms;
                    message = line.message(letter.sequence);
                    message.store_ms = message.store_ms.or(now_ms);
                    line.input
                }
                Event::Empty => return Err("it is an empty line".to_owned()),
                Event::Refused(reason) => return Err(reason),
            },
            (None, None) if inputs.len() == 1 => InputId::FIRST,
            (None, None) => {
                return Err(format!(
                    "it is not known on which subject it came, and the pipeline reads {}",
                    listed(&self.plan.subjects())
                ));
            }
        };
        self.decoder.push_again(input, &message, letter.time_ms);
        Ok(())
    }

    /// Processes and commits the letters that were handed to the decoder.
    fn turn(&mut self, report: &mut impl FnMut(RetryEvent<'_>)) -> Result<()> {
        if self.taken.is_empty() {
            return Ok(());
        }
        self.engine.process(self.decoder.take())?;
        let mut turn = self.engine.take_turn(self.storage.stored().turn + 1)?;
        // Where the source goes on is not for letters to say.
        (turn.position, turn.receipt) = (0, Receipt::default());
        turn.retried = std::mem::take(&mut self.taken);
        self.report.retried += turn.retried.len() as u64;
        self.report.counts += turn.counts;
        self.report.messages += turn.messages.len() as u64;
        for letter in turn.dead_letters.iter().filter(|letter| !letter.is_row) {
            report(RetryEvent::Again(letter));
        }
        if self.keeps {
            return self.storage.commit(turn);
        }
        match (turn.retried.as_slice(), turn.counts) {
            ([letter], Counts { applied: 1, .. }) => report(RetryEvent::Applied(letter.sequence)),
            ([letter], Counts { dead_letters: 0, .. }) => report(RetryEvent::Filtered(letter.sequence)),
            _ => {}
        }
        Ok(())
    }
}

impl Origin {
    /// What `source` is, the name under which a database knows what it was filled from.
    fn of(source: &str, plan: &Plan, changes: &str) -> Result<Self> {
        let mut subjects = plan.subjects();
        subjects.sort();
        let of_stream = |source: &str| {
            source.starts_with(&format!("stream {} made at ", plan.stream))
                && source.contains(&format!(", {}", listed(&subjects)))
        };
        let begins = source.strip_suffix(changes).unwrap_or_default();
        let origin = match (begins.strip_prefix("a replay of "), begins == IDENTITY) {
            (_, true) => Some(Self::File),
            (Some(replayed), _) if of_stream(replayed) && replayed.ends_with(" on") => Some(Self::PastOfStream),
            (None, _) if of_stream(begins) && changes.is_empty() => Some(Self::Stream),
            _ => None,
        };
        origin.ok_or_else(|| {
            Error::mismatch(format!(
                "it was filled from {source}, and the pipeline reads stream {}, {}{changes}; name the pipeline file that it \
                 was filled by, with the same --with and --param if it was a replay with some",
                plan.stream,
                listed(&subjects)
            ))
        })
    }
}
