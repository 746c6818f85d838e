//! Deliveries: messages as the source handed them over, and what becomes of those that cannot be processed.

use crate::{
    error::note_defect,
    model::{
        batch::{Batch, NOTHING},
        column::TextValues,
        ids::{IdVec, InputId},
    },
};

/// A message, as a source hands it to decode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'m> {
    /// The subject that it came on, where that is known.
    pub subject: Option<&'m str>,
    /// The stream sequence; in a file the number of the line.
    pub sequence: u64,
    /// The sequence that a line of a file says, which is what columns of the sequence then hold.
    pub written_sequence: Option<u64>,
    /// When the source stored it, in milliseconds since 1970-01-01T00:00:00Z; nothing where it does not know.
    pub store_ms: Option<i64>,
    /// Its headers as a JSON object, each with its value or a list of its values; empty where it has none, or nothing reads
    /// them.
    pub headers: &'m str,
    /// The payload.
    pub payload: &'m [u8],
}

/// What [`Deliveries`] keep of messages beside what they always do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Their subjects.
    pub subjects: bool,
    /// Their headers.
    pub headers: bool,
    /// The sequences that lines say.
    pub sequences: bool,
}

/// The deliveries of one batch, in the order of the stream.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// The stream sequence of each, strictly ascending.
    pub sequences: Vec<u64>,
    /// "Now" for each, in milliseconds since 1970-01-01T00:00:00Z.
    pub times_ms: Vec<i64>,
    /// When each happened, in microseconds since 1970-01-01T00:00:00Z; "now" where the pipeline does not say otherwise.
    pub event_times_us: Vec<i64>,
    /// When the source stored each, in milliseconds since 1970-01-01T00:00:00Z; nothing where it does not know.
    pub store_times_ms: Vec<Option<i64>>,
    /// The subject of each, empty where it is of no input or not known; left out as a whole where the source has only one
    /// input and no column is read from it.
    pub subjects: TextValues,
    /// The headers of each, as [`Message::headers`]; left out as a whole where no column is read from them.
    pub headers: TextValues,
    /// The sequence that the line of each says; left out as a whole where no column is read from it.
    pub written_sequences: Vec<Option<u64>>,
    /// The payload of each. Kept until the batch is through, because a guest may still make a dead letter of it.
    pub payloads: TextValues,
}

impl Deliveries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Adds a delivery and returns its index. All of a batch are kept in the same way.
    pub fn push(&mut self, message: &Message<'_>, times: DeliveryTimes, kept: Kept) -> u32 {
        if kept.subjects {
            self.subjects.push(message.subject.unwrap_or_default().as_bytes());
        }
        if kept.headers {
            self.headers.push(message.headers.as_bytes());
        }
        if kept.sequences {
            self.written_sequences.push(message.written_sequence);
        }
        self.sequences.push(message.sequence);
        self.times_ms.push(times.now_ms);
        self.event_times_us.push(times.event_us);
        self.store_times_ms.push(times.store_ms);
        self.payloads.push(message.payload);
        (self.sequences.len() - 1) as u32
    }

    /// The stream sequence of delivery `index`.
    #[inline]
    pub fn sequence(&self, index: u32) -> u64 {
        match self.sequences.get(index as usize) {
            Some(&sequence) => sequence,
            None => self.beyond(index, 0),
        }
    }

    /// The subject of delivery `index`, where subjects are kept and it is known.
    pub fn subject(&self, index: u32) -> Option<&str> {
        let subject = self.subjects.get(index as usize);
        std::str::from_utf8(subject).ok().filter(|subject| !subject.is_empty())
    }

    /// The headers of delivery `index`, where they are kept; empty where it has none.
    pub fn headers(&self, index: u32) -> &str {
        std::str::from_utf8(self.headers.get(index as usize)).unwrap_or_default()
    }

    /// The sequence that the line of delivery `index` says, where that is kept.
    pub fn written_sequence(&self, index: u32) -> Option<u64> {
        self.written_sequences.get(index as usize).copied().flatten()
    }

    /// When delivery `index` happened.
    #[inline]
    pub fn event_time_us(&self, index: u32) -> i64 {
        match self.event_times_us.get(index as usize) {
            Some(&event_us) => event_us,
            None => self.beyond(index, i64::MIN),
        }
    }

    /// When delivery `index` was stored, where the source knows.
    #[inline]
    pub fn store_time_ms(&self, index: u32) -> Option<i64> {
        match self.store_times_ms.get(index as usize) {
            Some(&store_ms) => store_ms,
            None => self.beyond(index, None),
        }
    }

    /// "Now" for delivery `index`.
    #[inline]
    pub fn time_ms(&self, index: u32) -> i64 {
        match self.times_ms.get(index as usize) {
            Some(&now_ms) => now_ms,
            None => self.beyond(index, 0),
        }
    }

    /// Notes that something was asked of a delivery that is not there. Nobody sees `instead`: no turn is given after that.
    #[cold]
    #[inline(never)]
    fn beyond<T>(&self, index: u32, instead: T) -> T {
        note_defect(format_args!("delivery {index} of {} was asked for", self.len()));
        instead
    }
}

/// The times of a delivery, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryTimes {
    /// "Now".
    pub now_ms: i64,
    /// When it happened.
    pub event_us: i64,
    /// When the source stored it, where it knows.
    pub store_ms: Option<i64>,
}

/// A batch on its way from decode to the engine.
#[derive(Debug, Default)]
pub struct DecodedBatch {
    /// What the source handed over, empty payloads left out.
    pub deliveries: Deliveries,
    /// The events among them, those of each input under its index.
    pub events: IdVec<InputId, Batch>,
    /// Those that are no events.
    pub rejected: Vec<RejectedDelivery>,
    /// Those that are ticks: no events, but they say how late it is.
    pub ticks: Vec<u32>,
    /// The sequences of payloads that were empty or white space, ascending.
    pub empties: Vec<u64>,
    /// The last sequence that was looked at; 0 when none was.
    pub last_sequence: u64,
    /// How far the source has looked.
    pub scanned: Scanned,
    /// What the source needs to acknowledge everything up to `last_sequence`.
    pub receipt: Receipt,
    /// Whether the source knows of more that waits right behind this: then a turn may wait for it.
    pub behind: bool,
}

impl DecodedBatch {
    /// The events of an input; none beyond the last.
    pub fn of_input(&self, input: InputId) -> &Batch {
        self.events.get(input).unwrap_or(&NOTHING)
    }
}

/// How far a stream was looked at, whether or not messages of the pipeline's subjects were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// No message of the subjects with a sequence up to this one waits, or was removed before it was read. At least the
    /// position; 0 where the source does not say.
    pub through: u64,
    /// Messages that are missing up to this sequence are accepted to be missing: they were when the database was begun, or
    /// somebody said so.
    pub accepted: u64,
}

/// What a source wants back once everything up to a batch is committed.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// JetStream: the subject that takes the ack.
    pub ack_subject: Option<String>,
    /// File: hash of all bytes up to and with the last line.
    pub content_hash: u64,
}

/// A delivery that cannot be processed, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedDelivery {
    /// The index of the delivery in its batch.
    pub delivery: u32,
    /// The step that rejected it; `decode` for the decoder.
    pub step: String,
    /// The module version of that step, when it is a stage: SHA-256 of the component, in hexadecimal.
    pub module: Option<String>,
    /// A sentence for a person.
    pub reason: String,
}

/// A rejected delivery as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stream sequence.
    pub sequence: u64,
    /// The subject that it came on, where the source has several inputs or a column is read from it.
    pub subject: Option<String>,
    /// Its headers, where columns are read from them and it has some: see [`Message::headers`].
    pub headers: Option<String>,
    /// The sequence that its line said, where a column is read from it.
    pub written_sequence: Option<u64>,
    /// "Now" of the delivery, in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: i64,
    /// When the source stored it, where it knows.
    pub store_ms: Option<i64>,
    /// The step that rejected it.
    pub step: String,
    /// The module version of that step, when it is a stage.
    pub module: Option<String>,
    /// A sentence for a person.
    pub reason: String,
    /// The payload, byte for byte.
    pub payload: Vec<u8>,
    /// Whether it is no delivery but a row that came because time went on; `payload` then is that row as JSON.
    pub is_row: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::take_defect;

    #[test]
    fn what_is_asked_of_a_delivery_that_is_not_there_is_a_defect() {
        let mut deliveries = Deliveries::default();
        let times = DeliveryTimes {
            now_ms: 1,
            event_us: 2,
            store_ms: None,
        };
        let message = Message {
            sequence: 7,
            payload: b"{}",
            ..Message::default()
        };
        let last = deliveries.push(&message, times, Kept::default());
        let known: [fn(&Deliveries, u32) -> bool; 4] = [
            |deliveries, index| deliveries.sequence(index) == 7,
            |deliveries, index| deliveries.event_time_us(index) == 2,
            |deliveries, index| deliveries.store_time_ms(index).is_none(),
            |deliveries, index| deliveries.time_ms(index) == 1,
        ];
        for is_known in known {
            assert!(is_known(&deliveries, last) && take_defect().is_ok());
            is_known(&deliveries, last + 1);
            let defect = take_defect().unwrap_err().to_string();
            assert!(defect.starts_with("delivery 1 of 1 was asked for ("), "{defect}");
        }
    }
}
