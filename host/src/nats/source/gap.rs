//! Messages that were removed before they were read: where they are looked for, and what is done about them.

use super::{
    Consumer, Gap, JetStreamSource, JetStreamSourceOptions,
    consumer::PULL_MESSAGES,
    lookup::made_anew,
    stream::{Deleted, Holds, Others},
};
use crate::{
    error::{Error, Result},
    model::{
        delivery::{DecodedBatch, Scanned},
        subject::listed,
    },
    nats::Nats,
    say,
    source::{Gone, Scan},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Who replaces all that a stream holds within so short a time may do so before anything of it is sent.
const SOON: Duration = Duration::from_secs(10);

/// What is known of the messages that a stream does not have any more.
#[derive(Debug)]
pub(super) struct Gaps {
    pub(super) deleted: Deleted,
    /// When the stream was made.
    created: String,
    /// The last sequence when it was looked at first.
    begun_at: u64,
    /// Sequences from within the stream that are gone and are accepted to be; ascending.
    known: Arc<[u64]>,
    /// Up to where they may be.
    accepted: u64,
    /// Where a consumer passed over a message that is there, so that it was made anew.
    passed_over: Option<u64>,
    /// The stream holds messages of other subjects, from a time at which it took them.
    is_mixed: bool,
    /// When the stream lets go of messages of other subjects.
    pub(super) others: Others,
    /// It was said that the stream keeps too little to tell.
    said_small: bool,
}

/// Sequences that are gone, and what was read before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    gone: Gone,
    after: u64,
}

/// A batch that jumps over sequences, behind `after`, and what the server is asked about those.
pub(super) struct Held {
    batch: DecodedBatch,
    after: u64,
    look: JoinHandle<Result<(Holds, Deleted)>>,
}

impl Held {
    /// What the stream holds, once the server has said so.
    pub(super) async fn look(&mut self) -> Result<(Holds, Deleted)> {
        match (&mut self.look).await {
            Ok(holds) => holds,
            Err(cause) => Err(Error::environment(format!("cannot look at the stream: {cause}"))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.look.abort();
    }
}

impl Gaps {
    /// Looks at the stream before anything is read of it: whether what comes after the position is there. Gives also where
    /// reading begins.
    pub(super) async fn begin(nats: &Nats, options: &JetStreamSourceOptions) -> Result<(Self, Scan)> {
        let mut gaps = Self {
            deleted: Deleted::default(),
            created: String::new(),
            begun_at: 0,
            known: Arc::default(),
            accepted: 0,
            passed_over: None,
            is_mixed: false,
            others: Others::None,
            said_small: false,
        };
        let holds = gaps.ask(nats, options).await?;
        gaps.created.clone_from(&holds.created);
        gaps.begun_at = holds.stored.last;
        gaps.others = holds.others;
        check_kept(options, &holds)?;
        check_end(options, &holds, options.position)?;
        let stored = &holds.stored;
        let Scanned { through, accepted } = options.scanned;
        let before_first = stored.first.saturating_sub(1);
        // A stream that was put back to an older copy knows nothing of what was looked at behind its end.
        let mut through = options.position.max(if through > stored.last { 0 } else { through });
        let is_new = options.scanned == Scanned::default();
        if is_new {
            // A new database begins with what is there; and so does a replay, behind the place that it was told.
            gaps.accept(&holds, stored.last);
            if options.position == 0 {
                through = through.max(before_first.min(stored.last));
            }
        } else {
            gaps.accept(&holds, accepted);
        }
        if options.latest_only {
            through = through.max(before_first.min(stored.last));
        } else if let Some(gone) = stored.gone(through, stored.last, &[], &gaps.known) {
            gaps.accept_or_refuse(options, &holds, Found { gone, after: through })?;
            through = through.max(before_first);
        }
        let scan = Scan::new(through, PULL_MESSAGES / 2).trusting_silence(gaps.go_all_the_time());
        let scan = match is_new && options.position == 0 {
            true => scan.anew(),
            false => scan,
        };
        Ok((gaps, scan))
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn begun_at(&self) -> u64 {
        self.begun_at
    }

    /// Asks the server what the stream holds, until it answers.
    pub(super) async fn ask(&mut self, nats: &Nats, options: &JetStreamSourceOptions) -> Result<Holds> {
        Holds::ask_until_answered(nats, &options.stream, &options.subjects, &mut self.deleted).await
    }

    /// Holds a batch that jumps over sequences behind `after`, and asks what became of them.
    pub(super) fn hold(&self, nats: &Nats, options: &JetStreamSourceOptions, batch: DecodedBatch, after: u64) -> Held {
        let (nats_of_look, stream, subjects) = (nats.clone(), options.stream.clone(), options.subjects.clone());
        let mut deleted = self.deleted.clone();
        let look = nats.runtime.spawn(async move {
            let holds = Holds::ask_until_answered(&nats_of_look, &stream, &subjects, &mut deleted).await?;
            Ok((holds, deleted))
        });
        Held { batch, after, look }
    }

    /// Whether messages of other subjects go all the time, so that nothing can be told from what is gone.
    pub(super) fn go_all_the_time(&self) -> bool {
        matches!(self.others, Others::GoSoon | Others::GoWhenRead)
    }

    /// Whether nothing that was not read can be gone, by what is said of the stream in each of its answers.
    pub(super) fn are_none(&self, scan: &Scan, first: u64, deleted: u64) -> bool {
        let through = scan.through();
        first <= through.saturating_add(1) && self.deleted.end_before(through, first, deleted)
    }

    /// What is gone of what was not read. Up to `then` everything was, as far as the reader can tell by itself.
    pub(super) async fn find(
        &mut self,
        nats: &Nats,
        options: &JetStreamSourceOptions,
        holds: &Holds,
        scan: &Scan,
        then: Option<Instant>,
    ) -> Result<Option<Found>> {
        if scan.is_new() {
            return Ok(None);
        }
        let range = (scan.through(), holds.stored.last);
        self.find_in(nats, options, holds, range, &[], (scan.proven(), then))
            .await
    }

    /// What is gone of a range, other than what was `read`. Up to `proven` the server says that everything was, and up to
    /// `then` the reader thinks so.
    async fn find_in(
        &mut self,
        nats: &Nats,
        options: &JetStreamSourceOptions,
        holds: &Holds,
        range: (u64, u64),
        read: &[u64],
        (proven, then): (Option<Instant>, Option<Instant>),
    ) -> Result<Option<Found>> {
        let find = |then| self.find_since(nats, options, holds, range, read, then);
        if self.go_all_the_time() {
            return find(then).await;
        }
        // Messages that come and go in one burst reach no reader, however fast it is. Only where the stream removes what is
        // young by itself that is no news.
        let Some(gone) = find(proven).await? else {
            return Ok(None);
        };
        if holds.others != Others::Stay || !holds.rolled_over_since(proven) {
            return Ok(Some(gone));
        }
        let gone = find(then).await?;
        let is_soon = proven.is_some_and(|proven| holds.since(proven) < SOON);
        if gone.is_none() && is_soon && !std::mem::replace(&mut self.said_small, true) {
            let (stream, subjects) = (&options.stream, listed(&options.subjects));
            say!(
                Warning,
                "weir: stream {stream} replaced all its messages within a few seconds; those that weir did not see are taken to \
                 be of other subjects than {subjects}, which is not certain: let the stream keep more messages"
            );
        }
        Ok(gone)
    }

    async fn find_since(
        &self,
        nats: &Nats,
        options: &JetStreamSourceOptions,
        holds: &Holds,
        (after, through): (u64, u64),
        read: &[u64],
        then: Option<Instant>,
    ) -> Result<Option<Found>> {
        if holds.created != self.created {
            return Err(made_anew(&options.stream));
        }
        let gone = |after| holds.stored.gone(after, through, read, &self.known);
        let Some(found) = gone(after) else { return Ok(None) };
        let Some(then) = then else {
            return Ok(Some(Found { gone: found, after }));
        };
        let (stream, subjects) = (&options.stream, &options.subjects);
        let read_through = holds.last_before(nats, stream, subjects, then).await?.max(after);
        Ok(gone(read_through).map(|gone| Found {
            gone,
            after: read_through,
        }))
    }

    /// Says what is gone and goes on after it, where that is accepted.
    pub(super) fn accept_or_refuse(
        &mut self,
        options: &JetStreamSourceOptions,
        holds: &Holds,
        found: Found,
    ) -> Result<()> {
        match options.gap {
            Gap::Refuse => Err(refusal(options, holds, found)),
            Gap::Accept => {
                let Gone { first, last } = found.gone;
                let which = match first == last {
                    true => format!("sequence {first} is gone"),
                    false => format!("of sequences {first} to {last} messages are gone"),
                };
                say!(
                    Warning,
                    "weir: stream {}: {which}, and may have been of {}; going on without them, as --accept-gap says",
                    options.stream,
                    listed(&options.subjects)
                );
                self.accept(holds, holds.stored.last);
                Ok(())
            }
        }
    }

    /// What is missing up to `through` is accepted to be missing.
    fn accept(&mut self, holds: &Holds, through: u64) {
        let deleted = &holds.stored.deleted;
        let known = deleted.get(..deleted.partition_point(|&gone| gone <= through));
        self.known = known.unwrap_or_default().into();
        self.accepted = through;
    }
}

impl JetStreamSource {
    /// Gives a batch that was held, if nothing of what it jumps over is missing.
    pub(super) async fn judge(
        &mut self,
        mut held: Held,
        (holds, deleted): (Holds, Deleted),
    ) -> Result<Option<DecodedBatch>> {
        let batch = std::mem::take(&mut held.batch);
        self.gaps.deleted = deleted;
        let read = sequences_of(&batch);
        let range = (held.after, batch.last_sequence);
        let gap = match self.scan.keeps_up() && holds.others == Others::GoWhenRead {
            // What is gone was read by somebody else; of the source's own it would have been acknowledged.
            true => None,
            false => {
                let until = (self.scan.proven(), self.scan.read_until());
                self.gaps
                    .find_in(&self.nats, &self.options, &holds, range, &read, until)
                    .await?
            }
        };
        if let Some(gap) = gap
            && let Err(refusal) = self.gaps.accept_or_refuse(&self.options, &holds, gap)
        {
            self.failed = Some(refusal);
            return Ok(Some(self.before(&batch, gap.gone.first)));
        }
        if holds.is_dense && !self.gaps.is_mixed {
            let (after, through) = range;
            if let Some(passed_over) = holds.stored.passed_over(after, through, &read) {
                if self.gaps.passed_over != Some(passed_over) {
                    self.gaps.passed_over = Some(passed_over);
                    let before = self.before(&batch, passed_over);
                    self.cursor.back_to(passed_over - 1);
                    self.scan.back_to(passed_over - 1);
                    self.failed = self.reconnect("the consumer passes over messages").await.err();
                    return Ok(Some(before));
                }
                self.gaps.is_mixed = true;
            }
        }
        Ok(Some(batch))
    }

    /// What a batch holds before a sequence. What was decoded since is read again, or of no use.
    fn before(&mut self, batch: &DecodedBatch, sequence: u64) -> DecodedBatch {
        drop(self.decoder.take());
        self.decoder.push_before(batch, sequence);
        let mut before = self.decoder.take();
        before.scanned = Scanned {
            through: sequence - 1,
            accepted: self.gaps.accepted,
        };
        before
    }
}

/// The sequences of a batch, ascending.
fn sequences_of(batch: &DecodedBatch) -> Vec<u64> {
    let mut sequences = [batch.deliveries.sequences.as_slice(), &batch.empties].concat();
    sequences.sort_unstable();
    sequences
}

/// Whether the stream keeps what the source has to read.
fn check_kept(options: &JetStreamSourceOptions, holds: &Holds) -> Result<()> {
    let name = &options.stream;
    match (options.latest_only, holds.of_subject_max) {
        (false, Some(1)) => Err(Error::definition(format!(
            "stream {name} keeps one message of each subject, so messages are replaced before they are read; where the \
             latest of each is all that counts, say `latest_only = true` in [source]"
        ))),
        (true, None) if !holds.rolls_up => Err(Error::definition(format!(
            "[source] says `latest_only = true`, but stream {name} keeps all messages of a subject \
             (max_msgs_per_subject is not set), so one that is missing is lost; leave `latest_only` out"
        ))),
        _ => Ok(()),
    }
}

/// Whether the stream ends where it has ended before.
pub(super) fn check_end(options: &JetStreamSourceOptions, holds: &Holds, position: u64) -> Result<()> {
    let (name, last) = (&options.stream, holds.stored.last);
    if last >= position {
        return Ok(());
    }
    Err(Error::mismatch(format!(
        "the database holds everything of stream {name} up to sequence {position}, but the stream ends at {last}: it was \
         restored from an older copy; name another --database, or restore the stream"
    )))
}

fn refusal(options: &JetStreamSourceOptions, holds: &Holds, Found { gone, after }: Found) -> Error {
    let (name, subjects) = (&options.stream, listed(&options.subjects));
    let what = match gone.first < holds.stored.first {
        true => format!(
            "stream {name} begins at sequence {}, but the database ends at {after}: what was between is gone",
            holds.stored.first
        ),
        false => format!(
            "messages of stream {name} from sequence {} on were removed before they were read, while the database ends at \
             {after}: what was there is gone",
            gone.first
        ),
    };
    let whose = match holds.is_dense {
        true => String::new(),
        false => format!(", and messages of {subjects} may have been among it"),
    };
    let way_out = match options.consumer {
        Consumer::Durable(_) => "Say --accept-gap once to go on without it, or name another --database to start afresh",
        Consumer::Ephemeral(_) => "Replay what is there, into another --database",
    };
    let by_subject = match holds.of_subject_max {
        Some(max) => format!(
            ". The stream keeps {max} messages of each subject: where the latest is all that counts, say `latest_only = true` \
             in [source]"
        ),
        None => String::new(),
    };
    Error::mismatch(format!("{what}{whose}. {way_out}{by_subject}"))
}
