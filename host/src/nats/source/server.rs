//! What goes on at the server: what it says of the consumer, and the pull that is made anew.

use super::{
    IDLE_LOOK, JetStreamSource, QUESTION_PAUSES, connects,
    consumer::{Pull, pull_from},
    gap,
    lookup::{get_stream, made_anew, made_at},
    stream::{Holds, Others},
    watch::Found,
};
use crate::{
    error::{ErrorKind, Result},
    nats::BackOff,
    source::Stop,
};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the server is asked for its word that nothing is missing, where messages came and more may.
const PROOF_PAUSE: Duration = Duration::from_millis(250);

/// How long a message may be on its way from the server.
const MISSING_MAX: Duration = Duration::from_secs(2);

impl JetStreamSource {
    /// Nothing came for a moment.
    pub(super) async fn idle(&mut self, now: Instant) {
        self.scan.idle(now.into_std());
        if !self.nats.is_connected() {
            self.falls_behind();
            return;
        }
        let (when, pause) = self.next_question;
        if !self.scan.keeps_up() && now >= when {
            self.question = self.watch.ask();
            // The answer says when to ask again; one that is lost is not waited for.
            self.next_question = (now + QUESTION_PAUSES.1, (pause * 2).min(QUESTION_PAUSES.1));
        }
        self.ask_for_proof(now);
        if let Some(ticker) = &mut self.ticker {
            ticker.tick_when_silent(&self.nats).await;
        }
    }

    /// What came is proven soon to be all that there was: of what is removed later nobody can tell whose it was.
    pub(super) fn ask_for_proof(&mut self, now: Instant) {
        if self.gaps.others == Others::Stay && self.scan.came_since_proven() && now >= self.next_proof {
            self.watch.ask();
            self.next_proof = now + PROOF_PAUSE;
        }
    }

    /// Messages may not come as they are stored: the server is asked anew whether none waits.
    pub(super) fn falls_behind(&mut self) {
        self.scan.falls_behind();
        self.question = u64::MAX;
        self.next_question = (Instant::now(), QUESTION_PAUSES.0);
    }

    /// Takes note of what the server says of the consumer.
    pub(super) async fn hear(&mut self, found: Found) -> Result<()> {
        let Some(consumer) = found.consumer else {
            self.falls_behind();
            return Ok(());
        };
        if consumer.settings != self.settings {
            return self.reconnect("somebody changed the consumer").await;
        }
        if found.question >= self.question {
            self.next_question.0 = Instant::now() + self.next_question.1;
        }
        if consumer.was_paused {
            self.scan.was_held_up();
            self.falls_behind();
        }
        if consumer.delivered > self.cursor.in_consumer() {
            // They are on their way, unless nothing came for so long.
            let (given, came) = (consumer.delivered, self.cursor.in_consumer());
            match self.missing {
                Some((known, since, asked)) if (known, since) == (given, came) => {
                    if found.asked.duration_since(asked) >= MISSING_MAX {
                        return self.reconnect("messages were given to somebody else").await;
                    }
                }
                _ => self.missing = Some((given, came, found.asked)),
            }
            return Ok(());
        }
        self.missing = None;
        let is_at_end = consumer.pending == 0 && consumer.delivered == self.cursor.in_consumer();
        if !is_at_end {
            return Ok(());
        }
        let is_proven = self.gaps.go_all_the_time() || self.gaps.are_none(&self.scan, consumer.first, consumer.deleted);
        if self.options.latest_only || (self.scan.keeps_up() && is_proven) {
            self.scan.caught_up(consumer.looked_at, found.asked);
        } else if self.scan.keeps_up() || found.question >= self.question {
            let Some(holds) = self.look().await? else { return Ok(()) };
            // A request of the reader was there all the time, and nothing came.
            let is_silent = self.scan.keeps_up() && !self.scan.came_since_proven();
            let then = match is_silent {
                true => Some(std::time::Instant::now()),
                false => self.scan.read_until(),
            };
            self.check_unread(&holds, then).await?;
            self.scan.caught_up(consumer.looked_at, found.asked);
        } else {
            return Ok(());
        }
        self.is_drained = self.target.is_some();
        Ok(())
    }

    /// Checks that nothing is gone unread, or that it may be. Up to `then` everything was read, as far as the reader can tell
    /// by itself.
    async fn check_unread(&mut self, holds: &Holds, then: Option<std::time::Instant>) -> Result<()> {
        let (nats, options) = (&self.nats, &self.options);
        if let Some(gap) = self.gaps.find(nats, options, holds, &self.scan, then).await? {
            self.gaps.accept_or_refuse(options, holds, gap)?;
        }
        self.scan.looked_through(holds.stored.first.saturating_sub(1));
        Ok(())
    }

    /// Asks what the stream holds; nothing where the source was asked to end meanwhile.
    async fn look(&mut self) -> Result<Option<Holds>> {
        let asked = self.gaps.ask(&self.nats, &self.options);
        let Some(holds) = unless_stopped(&self.stop, asked).await else {
            return Ok(None);
        };
        holds.map(Some)
    }

    /// Makes the consumer anew after the last delivery that was seen, once the server lets us.
    pub(super) async fn reconnect(&mut self, reason: &str) -> Result<()> {
        self.falls_behind();
        let mut pauses = BackOff::new();
        let mut said = false;
        loop {
            let connects = connects(&self.nats);
            let stop = self.stop.clone();
            let Some(attempt) = unless_stopped(&stop, self.pull_anew()).await else {
                return Ok(());
            };
            match attempt {
                Ok((pull, kept_up_until)) => {
                    self.messages = pull.messages;
                    self.cursor.resume(pull.delivered);
                    self.settings = pull.settings;
                    self.connects = connects;
                    self.scan.begin_pull(kept_up_until);
                    self.missing = None;
                    self.is_unsettled = true;
                    self.watch.renew();
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::Environment | ErrorKind::Unavailable) => {
                    if !said {
                        tracing::warn!(
                            stream = self.options.stream,
                            "reading {} stopped ({reason}): {error}; trying again",
                            self.options.stream
                        );
                        said = true;
                    }
                    if unless_stopped(&stop, sleep(pauses.next())).await.is_none() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A new pull behind what was seen; and up to when all that was stored was read, over the one before.
    async fn pull_anew(&mut self) -> Result<(Pull, Option<std::time::Instant>)> {
        let stream = get_stream(&self.nats, &self.options.stream, &self.options.subjects).await?;
        if made_at(&stream) != self.created {
            return Err(made_anew(&self.options.stream));
        }
        let position = self.cursor.last();
        // What the server sent into a connection that was lost it has counted. Where that is not what came, only its own
        // word says up to when everything was read. Over a connection that was never lost all that was sent has come,
        // before the word that somebody deleted the consumer.
        let is_all_here = match stream.consumer_info(self.options.consumer.name()).await {
            Ok(info) => !info.paused && info.delivered.consumer_sequence == self.cursor.in_consumer(),
            Err(cause) => cause.kind() == ConsumerInfoErrorKind::NotFound && connects(&self.nats) == self.connects,
        };
        let then = match is_all_here {
            true => self.scan.kept_up_until(),
            false => self.scan.proven(),
        };
        let holds = Holds::ask(
            &self.nats,
            &self.options.stream,
            &self.options.subjects,
            &mut self.gaps.deleted,
        )
        .await?;
        gap::check_end(&self.options, &holds, position)?;
        self.gaps.others = holds.others;
        if !self.options.latest_only {
            self.check_unread(&holds, then).await?;
        }
        let pull = pull_from(&self.nats, &stream, &self.options, position, &self.lag).await?;
        Ok((pull, then))
    }
}

/// What comes of something, unless the source is asked to end first.
async fn unless_stopped<T>(stop: &Stop, what: impl Future<Output = T>) -> Option<T> {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            outcome = &mut what => return Some(outcome),
            () = sleep(IDLE_LOOK) => if stop.is_set() { return None },
        }
    }
}
