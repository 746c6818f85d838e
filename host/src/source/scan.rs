//! How far a stream was looked at, and whether messages may have been removed from it before they were read.
//!
//! A reader that gets sequence 12 after sequence 9 knows that 10 and 11 are of subjects that it does not read, or that
//! they were removed before their turn. It has to tell the two apart, since the second is a loss:
//!
//! - While a reader *keeps up*, every message of its subjects reaches it as soon as it is stored, so nothing is removed
//!   before it was read. It keeps up from the moment at which the server says that nothing waits, for as long as the
//!   server has a request of it, which the reader tells by how much came since then.
//! - At any other time a jump over sequences is looked into: whether the stream still has what was passed over.
//!
//! Nothing here talks to a server, so that tests can hold it to any order of events.

use std::{sync::Arc, time::Instant};

/// What a reader knows of its stream.
#[derive(Debug)]
pub struct Scan {
    through: u64,
    /// Nothing was read yet, and reading begins with whatever comes first.
    is_new: bool,
    keeps_up: bool,
    /// When the server last said that nothing waits.
    proven: Option<Instant>,
    /// When it had nothing to do since, as far as it knows: more may be on its way.
    idle: Option<(Instant, usize)>,
    /// The last such moment at which nothing was on its way.
    settled: Option<Instant>,
    /// A moment without messages proves that none was on its way, also right behind some that came.
    trusts_silence: bool,
    /// Deliveries that the server may make without hearing of the reader.
    room: usize,
    /// Deliveries since the server said that nothing waits.
    since_proven: usize,
    /// From where on jumps are to be looked into.
    jumped_from: Option<u64>,
}

impl Scan {
    /// Of a reader that has read everything up to the sequence `through`, and gets up to `room` messages unasked.
    pub fn new(through: u64, room: usize) -> Self {
        Self {
            through,
            is_new: false,
            keeps_up: false,
            proven: None,
            idle: None,
            settled: None,
            trusts_silence: false,
            room,
            since_proven: 0,
            jumped_from: None,
        }
    }

    /// Reading begins with whatever comes first.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { is_new: true, ..self }
    }

    /// A short silence is trusted, because messages that the reader does not want are removed all the time.
    #[must_use]
    pub fn trusting_silence(self, trusts_silence: bool) -> Self {
        Self { trusts_silence, ..self }
    }

    /// Whether nothing was read yet that something could be missing behind.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// No message up to this sequence is unread, but for those that [`Scan::take_jump`] is about.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Takes note of a delivery.
    pub fn see(&mut self, sequence: u64) {
        if std::mem::take(&mut self.is_new) {
            self.through = self.through.max(sequence.saturating_sub(1));
        }
        // A burst may be faster than the server delivers, so a jump is looked into also where the reader keeps up.
        if sequence > self.through.saturating_add(1) {
            self.jumped_from.get_or_insert(self.through);
        }
        self.through = self.through.max(sequence);
        self.since_proven += 1;
        if self.since_proven >= self.room {
            self.keeps_up = false;
        }
    }

    /// Takes note that everything that came was taken in.
    pub fn idle(&mut self, now: Instant) {
        if self.keeps_up {
            // Where nothing came between two such moments, nothing was on its way at the first. In a burst, though, messages
            // may be removed before they are sent.
            if let Some((before, count)) = self.idle
                && count == self.since_proven
                && (count == 0 || self.trusts_silence)
            {
                self.settled = Some(before);
            }
            self.idle = Some((now, self.since_proven));
        }
    }

    /// Takes note that from now on, or some time ago already, messages may not have been delivered as they came.
    pub fn falls_behind(&mut self) {
        self.keeps_up = false;
    }

    /// Takes note that the server gave nothing for some time, which began no later than when nothing waited last.
    pub fn was_held_up(&mut self) {
        self.keeps_up = false;
        (self.idle, self.settled) = (None, None);
    }

    /// Takes note that nothing is unread up to `through`, and that whatever is stored from now on is delivered.
    pub fn caught_up(&mut self, through: u64, now: Instant) {
        self.looked_through(through);
        (self.is_new, self.keeps_up) = (false, true);
        self.proven = self.proven.max(Some(now));
        (self.idle, self.settled) = (Some((now, 0)), None);
        self.since_proven = 0;
    }

    /// Takes note that nothing is unread up to `through`.
    pub fn looked_through(&mut self, through: u64) {
        self.through = self.through.max(through);
    }

    /// The reader asked the server anew, which knows of no other request of it. Up to `then` everything was read.
    pub fn begin_pull(&mut self, then: Option<Instant>) {
        self.proven = self.proven.max(then);
        (self.keeps_up, self.since_proven) = (false, 0);
        (self.idle, self.settled) = (None, None);
    }

    /// The reader reads once more what comes behind this sequence.
    pub fn back_to(&mut self, through: u64) {
        self.through = self.through.min(through);
        self.jumped_from = None;
    }

    /// Whether messages reach the reader as they are stored.
    pub fn keeps_up(&self) -> bool {
        self.keeps_up
    }

    /// Messages that were stored before then were all read, or are on their way.
    pub fn read_until(&self) -> Option<Instant> {
        match self.since_proven < self.room {
            true => self.settled.max(self.proven),
            false => self.proven,
        }
    }

    /// When the server last said that nothing waits.
    pub fn proven(&self) -> Option<Instant> {
        self.proven
    }

    /// Messages that were stored before then were all read, where all that was sent over this pull has come.
    pub fn kept_up_until(&self) -> Option<Instant> {
        // Where much came since, the server may have fallen behind while the reader thought that it was idle.
        match self.since_proven < self.room {
            true => self.idle.map(|(now, _)| now).max(self.proven),
            false => self.proven,
        }
    }

    /// Whether something came since the server last said that nothing waits, while the reader keeps up.
    pub fn came_since_proven(&self) -> bool {
        self.keeps_up && self.since_proven > 0
    }

    /// The sequence behind which jumps are to be looked into, since the last call.
    pub fn take_jump(&mut self) -> Option<u64> {
        self.jumped_from.take()
    }
}

/// What a stream holds.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The first sequence; the next one to come where it is empty.
    pub first: u64,
    /// The last sequence that was given to a message.
    pub last: u64,
    /// Sequences from the first on whose messages are gone, ascending.
    pub deleted: Arc<[u64]>,
}

/// Sequences whose messages are gone: some, if not all, of those from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl Stored {
    /// What is gone behind `after` and up to `through`, other than what was `read` or is `known` to be gone; both ascend.
    pub fn gone(&self, after: u64, through: u64, read: &[u64], known: &[u64]) -> Option<Gone> {
        let mut gone: Option<Gone> = None;
        let mut add = |first, last| {
            gone = Some(match gone {
                None => Gone { first, last },
                Some(gone) => Gone {
                    first: gone.first.min(first),
                    last: gone.last.max(last),
                },
            });
        };
        // Before the first message nothing is left: what was not read of that is gone.
        let end = through.min(self.first.saturating_sub(1));
        let mut next = after.saturating_add(1);
        for &sequence in read
            .get(read.partition_point(|&read| read <= after)..)
            .unwrap_or_default()
        {
            if sequence > end {
                break;
            }
            if sequence > next {
                add(next, sequence - 1);
            }
            next = sequence + 1;
        }
        if next <= end {
            add(next, end);
        }
        let deleted = self.deleted.get(self.deleted.partition_point(|&gone| gone <= after)..);
        for &sequence in deleted.unwrap_or_default() {
            if sequence > through {
                break;
            }
            if read.binary_search(&sequence).is_err() && known.binary_search(&sequence).is_err() {
                add(sequence, sequence);
            }
        }
        gone
    }

    /// The first sequence behind `after` and up to `through` that is there, and was not `read`.
    pub fn passed_over(&self, after: u64, through: u64, read: &[u64]) -> Option<u64> {
        let start = self.first.max(after.saturating_add(1));
        let mut read = read
            .get(read.partition_point(|&read| read < start)..)?
            .iter()
            .peekable();
        let deleted = self.deleted.partition_point(|&gone| gone < start);
        let mut deleted = self.deleted.get(deleted..)?.iter().peekable();
        (start..=through).find(|sequence| {
            let was_read = read.next_if_eq(&sequence).is_some();
            let is_deleted = deleted.next_if_eq(&sequence).is_some();
            !was_read && !is_deleted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(first: u64, last: u64, deleted: &[u64]) -> Stored {
        Stored {
            first,
            last,
            deleted: deleted.into(),
        }
    }

    #[test]
    fn what_is_gone_is_told_from_what_was_read_and_from_what_is_there() {
        let gone = |first, last| Some(Gone { first, last });
        assert_eq!(
            stored(1, 30, &[]).gone(9, 12, &[12], &[]),
            None,
            "others' messages are there"
        );
        assert_eq!(stored(11, 30, &[]).gone(9, 12, &[12], &[]), gone(10, 10));
        assert_eq!(stored(20, 30, &[]).gone(9, 12, &[12], &[]), gone(10, 11));
        assert_eq!(
            stored(20, 30, &[]).gone(9, 12, &[10, 11, 12], &[]),
            None,
            "removed after it was read"
        );
        assert_eq!(stored(20, 30, &[]).gone(9, 30, &[], &[]), gone(10, 19));
        assert_eq!(stored(1, 30, &[3, 10, 25]).gone(9, 12, &[12], &[]), gone(10, 10));
        assert_eq!(
            stored(1, 30, &[3, 10, 25]).gone(9, 12, &[12], &[10]),
            None,
            "known to be gone"
        );
        assert_eq!(stored(1, 30, &[3, 10, 25]).gone(9, 12, &[10, 12], &[]), None);
        assert_eq!(stored(5, 30, &[10, 25]).gone(1, 30, &[2, 4, 12], &[]), gone(3, 25));
        assert_eq!(
            stored(31, 30, &[]).gone(30, 30, &[], &[]),
            None,
            "an empty stream that was read"
        );
    }

    #[test]
    fn a_message_that_is_there_and_was_not_read_was_passed_over() {
        assert_eq!(stored(1, 30, &[]).passed_over(9, 12, &[12]), Some(10));
        assert_eq!(stored(1, 30, &[3, 10, 11]).passed_over(9, 12, &[12]), None);
        assert_eq!(stored(12, 30, &[]).passed_over(9, 13, &[12, 13]), None);
        assert_eq!(stored(1, 30, &[10]).passed_over(9, 13, &[10, 12, 13]), Some(11));
    }

    #[test]
    fn every_jump_is_looked_into_and_what_was_stored_while_the_reader_kept_up_was_read() {
        let now = Instant::now();
        let at = |seconds| now + std::time::Duration::from_secs(seconds);
        let mut scan = Scan::new(0, 4).anew();
        scan.see(10);
        assert_eq!(
            (scan.take_jump(), scan.through()),
            (None, 10),
            "what was before it is no loss"
        );
        scan.see(11);
        assert_eq!(scan.take_jump(), None);
        scan.see(15);
        scan.see(19);
        assert_eq!((scan.take_jump(), scan.take_jump()), (Some(11), None));
        assert_eq!(scan.read_until(), None);
        scan.caught_up(25, now);
        scan.see(30);
        assert_eq!((scan.take_jump(), scan.keeps_up()), (Some(25), true));
        scan.idle(at(1));
        assert_eq!((scan.read_until(), scan.kept_up_until()), (Some(now), Some(at(1))));
        scan.idle(at(2));
        assert_eq!((scan.read_until(), scan.kept_up_until()), (Some(now), Some(at(2))));
        scan.see(31);
        scan.see(32);
        scan.see(33);
        assert!(!scan.keeps_up(), "the server may have waited for a request");
        scan.idle(at(3));
        assert_eq!((scan.read_until(), scan.proven()), (Some(now), Some(now)));
        scan.caught_up(40, at(4));
        assert_eq!((scan.read_until(), scan.keeps_up()), (Some(at(4)), true));
        scan.idle(at(5));
        scan.idle(at(6));
        scan.was_held_up();
        assert_eq!((scan.read_until(), scan.keeps_up()), (Some(at(4)), false));
    }
}
