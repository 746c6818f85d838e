//! Where a consumer of a stream stands: what comes twice is dropped, and what is missing is noticed.
//!
//! Nothing here talks to a server, so that a simulation can hold it to any order of duplicates, losses and redeliveries.

/// The place of a reader in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    last: u64,
    last_in_consumer: u64,
}

/// What a delivery is to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The next one.
    New,
    /// It was seen before: to be dropped.
    Twice,
    /// Deliveries before it may be missing (lost on the way, or of a consumer that somebody made anew under this name): the
    /// consumer is to be made anew after [`Cursor::last`].
    Gap,
}

impl Cursor {
    /// A reader that has everything up to the sequence `position`, with a consumer that has counted `delivered` deliveries.
    pub fn new(position: u64, delivered: u64) -> Self {
        Self {
            last: position,
            last_in_consumer: delivered,
        }
    }

    /// The last sequence of the stream that was seen.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many deliveries the consumer has counted.
    pub fn in_consumer(&self) -> u64 {
        self.last_in_consumer
    }

    /// Reads once more what comes behind a sequence.
    pub fn back_to(&mut self, position: u64) {
        self.last = self.last.min(position);
    }

    /// Goes on with another consumer, which stands after [`Cursor::last`] and has counted `delivered` deliveries.
    pub fn resume(&mut self, delivered: u64) {
        self.last_in_consumer = delivered;
    }

    /// Takes note of a delivery, by its sequence in the stream and the consumer's count of it.
    ///
    /// The consumer counts each delivery, also one that it makes again. After [`Seen::Gap`] the cursor is as it was.
    pub fn see(&mut self, stream_sequence: u64, consumer_sequence: u64) -> Seen {
        if consumer_sequence != self.last_in_consumer.saturating_add(1) {
            return Seen::Gap;
        }
        self.last_in_consumer = consumer_sequence;
        if stream_sequence <= self.last {
            return Seen::Twice;
        }
        self.last = stream_sequence;
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_new_seen_before_or_behind_a_gap() {
        let mut cursor = Cursor::new(10, 5);
        assert_eq!(
            cursor.see(12, 6),
            Seen::New,
            "sequences of other subjects are not counted"
        );
        assert_eq!(cursor.see(12, 7), Seen::Twice);
        assert_eq!(cursor.see(3, 8), Seen::Twice);
        assert_eq!(cursor.see(14, 10), Seen::Gap);
        assert_eq!(cursor.see(13, 9), Seen::New, "a gap changes nothing");
        cursor.resume(0);
        assert_eq!((cursor.see(14, 1), cursor.last()), (Seen::New, 14));
        assert_eq!(cursor.see(15, 1), Seen::Gap);
    }
}
