//! Decode: payloads to columns.
//!
//! Where a source has several inputs, a delivery belongs to the one whose subject it came on, and its payload is read by
//! that one's columns. The deliveries of a batch are those of all inputs, in the order of the stream; each input has the
//! rows of its own.
//!
//! A payload is one JSON object, or of another format, see `payloads.rs`. Every declared column is checked, also one that
//! no step reads; only those that some step reads are built. What is wrong becomes a dead letter with the column, what was found, and what is accepted.

mod avro;
mod columns;
mod compressed;
mod csv;
mod cursor;
mod debezium;
mod elements;
mod framing;
mod input_payloads;
mod json;
mod json_text;
mod list;
mod metadata;
mod number;
mod payloads;
mod protobuf;
mod reading;
mod scalar;

pub use columns::{ColumnBuilders, Decoded, RejectedPayload};
pub use elements::ElementReader;
pub use json::{Line, LineScanner, ObjectKind, Scanner};

use crate::{
    error::{Result, note_defect},
    limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX},
    model::{
        batch::Batch,
        delivery::{DecodedBatch, DeliveryTimes, Kept, Message, RejectedDelivery},
        ids::{IdVec, InputId},
        path::PathPart,
        subject,
    },
    plan::{Now, PayloadFormat, Place, Plan, SECOND_US, SourceColumn, TimeColumn, TimeScale, ms_in_us},
    text::printable,
};
use compressed::Compressed;
use input_payloads::InputPayloads;
use metadata::Metadata;
use std::ops::Range;

/// The name under which the decoder rejects deliveries.
pub const STEP: &str = "decode";

/// The event times that are accepted, in microseconds: the years 0 to 9999.
pub const EVENT_TIMES_US: Range<i64> = -62_167_219_200 * SECOND_US..253_402_300_800 * SECOND_US;

/// Collects deliveries into a batch.
#[derive(Debug)]
pub struct Decoder {
    inputs: IdVec<InputId, Input>,
    now: KnownNow,
    /// A step that reads "now", where that is the store time.
    time_reader: Option<String>,
    kept: Kept,
    events_max: usize,
    /// Bytes of the payloads of the batch once they were decompressed.
    unpacked_bytes: usize,
    batch: DecodedBatch,
}

/// What is known of "now" without a message, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default)]
struct KnownNow {
    /// "Now" of every event.
    fixed_ms: Option<i64>,
    /// "Now" of events that have no store time.
    else_ms: Option<i64>,
}

impl KnownNow {
    /// The times of a delivery, as far as they are not in its payload.
    fn times(self, store_ms: Option<i64>) -> DeliveryTimes {
        let now_ms = self.fixed_ms.or(store_ms).or(self.else_ms).unwrap_or(0);
        DeliveryTimes {
            now_ms,
            event_us: ms_in_us(now_ms),
            store_ms,
        }
    }
}

/// One input: the columns of its payloads, under construction.
#[derive(Debug)]
struct Input {
    subject: String,
    columns: Vec<SourceColumn>,
    /// Texts that have to be numbers, and columns that may not be null.
    numbers: Vec<usize>,
    required: Vec<usize>,
    /// The columns that hold "now", and when an event happened.
    now_column: Option<usize>,
    event_column: Option<TimeColumn>,
    metadata: Metadata,
    payloads: InputPayloads,
    compressed: Option<Compressed>,
    /// Whether payloads are changes of rows, which may stand in a payload of their own.
    reads_changes: bool,
    builders: ColumnBuilders,
    /// The delivery of each row.
    deliveries: Vec<u32>,
    /// Rows that there is room for from the start.
    rows: usize,
}

impl Decoder {
    /// A decoder for the events of a pipeline, whose batches hold up to `events_max` deliveries.
    ///
    /// # Errors
    /// When two columns of an input are read from one value.
    pub fn of(plan: &Plan, events_max: usize) -> Result<Self> {
        let events_max = events_max.clamp(1, BATCH_EVENTS_MAX);
        // Several inputs share a batch, so each has room for its part, and grows where it has more.
        let rows = events_max.div_ceil(plan.inputs.len().max(1));
        let inputs = plan.inputs.iter().map(|input| {
            let now_column = match &plan.now {
                Now::Column(name) => input.columns.iter().position(|column| column.field.name == *name),
                Now::StoreTime | Now::StoreTimeOr(_) | Now::Fixed(_) => None,
            };
            Ok(Input {
                now_column,
                event_column: input.event_column,
                compressed: input.compression.map(Compressed::new),
                ..Input::new(&input.subject, &input.format, &input.columns, rows)?
            })
        });
        let now = match plan.now {
            Now::Fixed(now_ms) => KnownNow {
                fixed_ms: Some(now_ms),
                else_ms: None,
            },
            Now::StoreTimeOr(now_ms) => KnownNow {
                fixed_ms: None,
                else_ms: Some(now_ms),
            },
            Now::StoreTime | Now::Column(_) => KnownNow::default(),
        };
        let mut decoder = Self::over(inputs.collect::<Result<_>>()?, now, events_max);
        decoder.time_reader = plan.time_reader.clone().filter(|_| plan.now == Now::StoreTime);
        Ok(decoder)
    }

    /// A decoder for rows of these columns, which are no events.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub fn of_columns(columns: &[SourceColumn], events_max: usize) -> Result<Self> {
        let events_max = events_max.clamp(1, BATCH_EVENTS_MAX);
        Ok(Self::over(
            vec![Input::new(">", &PayloadFormat::Json, columns, events_max)?].into(),
            KnownNow::default(),
            events_max,
        ))
    }

    fn over(inputs: IdVec<InputId, Input>, now: KnownNow, events_max: usize) -> Self {
        let reads = |is| inputs.iter().any(|input: &Input| input.metadata.reads(is));
        let kept = Kept {
            subjects: inputs.len() > 1 || reads(|place| matches!(place, Place::Subject { .. })),
            headers: reads(|place| matches!(place, Place::Header(_)))
                || inputs.iter().any(Input::is_compressed_as_headers_say),
            sequences: reads(|place| matches!(place, Place::Sequence)),
        };
        Self {
            inputs,
            now,
            time_reader: None,
            kept,
            events_max,
            unpacked_bytes: 0,
            batch: DecodedBatch::default(),
        }
    }

    /// The input that a message on `subject` belongs to. Where there is only one, everything does.
    pub fn input_of(&self, subject: &str) -> Option<InputId> {
        match self.inputs.len() {
            1 => Some(InputId::FIRST),
            _ => self.inputs.position(|input| subject::matches(&input.subject, subject)),
        }
    }

    /// The subject of each input, which may hold wildcards.
    pub fn subjects(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.subject.clone()).collect()
    }

    /// Whether a payload of the only input may have a subject and a payload of its own, among the columns.
    pub fn reads_envelopes(&self) -> bool {
        let columns = self.inputs.iter().flat_map(|input| &input.columns);
        let mut roots = columns.filter_map(|column| match &column.place {
            Place::Payload(path) => path.0.first(),
            _ => None,
        });
        let has_payload = self.inputs.iter().any(|input| input.reads_changes);
        has_payload || roots.any(|root| matches!(root, PathPart::Name(name) if name == "subject" || name == "payload"))
    }

    /// The step that reads the time, where that is the store time, which every message then needs.
    pub fn reads_store_time(&self) -> Option<&str> {
        self.time_reader.as_deref()
    }

    /// Whether a column of the only input is read from the subject, or there are several inputs: messages need theirs.
    pub fn reads_subjects(&self) -> bool {
        self.kept.subjects
    }

    /// Whether messages are to be handed over with their headers.
    pub fn reads_headers(&self) -> bool {
        self.kept.headers
    }

    /// Takes in one delivery of the only input. `store_time_ms` is when the source stored it; a file does not know.
    pub fn push(&mut self, sequence: u64, store_time_ms: Option<i64>, payload: &[u8]) {
        let message = Message {
            sequence,
            store_ms: store_time_ms,
            payload,
            ..Message::default()
        };
        self.push_to(InputId::FIRST, &message);
    }

    /// Takes in one message of an input; otherwise as [`Decoder::push`].
    pub fn push_to(&mut self, input: InputId, message: &Message<'_>) {
        let times = self.now.times(message.store_ms);
        self.take_in(input, message, times);
    }

    /// Takes in a message once more, that was a dead letter. `now_ms` is what was "now" for it, unless the pipeline fixes
    /// that or a column holds it.
    pub fn push_again(&mut self, input: InputId, message: &Message<'_>, now_ms: i64) {
        let now_ms = self.now.fixed_ms.unwrap_or(now_ms);
        let times = DeliveryTimes {
            now_ms,
            event_us: ms_in_us(now_ms),
            store_ms: message.store_ms,
        };
        self.take_in(input, message, times);
    }

    /// Takes in once more what a batch holds before a sequence.
    pub fn push_before(&mut self, batch: &DecodedBatch, sequence: u64) {
        let deliveries = &batch.deliveries;
        let mut empties = batch.empties.iter().take_while(|&&empty| empty < sequence).peekable();
        let mut rejected = batch.rejected.iter().peekable();
        for (index, &of_delivery) in (0..).zip(&deliveries.sequences) {
            while let Some(&empty) = empties.next_if(|&&empty| empty < of_delivery) {
                self.count_empty(empty);
            }
            if of_delivery >= sequence {
                break;
            }
            let stored_ms = deliveries.store_time_ms(index);
            if batch.ticks.binary_search(&index).is_ok() {
                self.push_tick(of_delivery, stored_ms.unwrap_or(0));
                continue;
            }
            let message = Message {
                subject: deliveries.subject(index),
                sequence: of_delivery,
                written_sequence: deliveries.written_sequence(index),
                store_ms: stored_ms,
                headers: deliveries.headers(index),
                payload: deliveries.payloads.get(index as usize),
            };
            // It may be of no input, and its payload none that says why.
            if let Some(rejected) = rejected.next_if(|rejected| rejected.delivery == index) {
                let (times, reason) = (self.now.times(stored_ms), rejected.reason.clone());
                self.batch.last_sequence = of_delivery;
                self.batch.reject(&message, times, self.kept, reason);
                continue;
            }
            match self.input_of(message.subject.unwrap_or_default()) {
                Some(input) => self.push_to(input, &message),
                None => note_defect(format_args!("event {of_delivery} is of no input")),
            }
        }
        empties.for_each(|&empty| self.count_empty(empty));
    }

    /// Counts a delivery that has no payload, whose input does not matter.
    pub fn count_empty(&mut self, sequence: u64) {
        self.batch.last_sequence = sequence;
        self.batch.empties.push(sequence);
    }

    /// Makes a dead letter of a delivery that belongs to no input.
    pub fn reject(&mut self, sequence: u64, payload: &[u8], reason: String) {
        self.batch.last_sequence = sequence;
        let times = self.now.times(None);
        let message = Message {
            sequence,
            payload,
            ..Message::default()
        };
        self.batch.reject(&message, times, self.kept, reason);
    }

    fn take_in(&mut self, input: InputId, message: &Message<'_>, mut times: DeliveryTimes) {
        let sequence = message.sequence;
        self.batch.last_sequence = sequence;
        let inputs = self.inputs.len();
        let Some(input) = self.inputs.get_mut(input) else {
            note_defect(format_args!("event {sequence} is for input {input} of {inputs}"));
            return;
        };
        let row = input.builders.rows();
        let outcome = input.decode(row, message);
        if let Some(compressed) = &input.compressed {
            self.unpacked_bytes = self.unpacked_bytes.saturating_add(compressed.unpacked_bytes());
        }
        match outcome {
            Ok(Decoded::Row) => {
                input.set_times(row, &mut times);
                let delivery = self.batch.deliveries.push(message, times, self.kept);
                input.deliveries.push(delivery);
            }
            Ok(Decoded::Empty) => self.batch.empties.push(sequence),
            Err(reject) => self.batch.reject(message, times, self.kept, reject.to_string()),
        }
    }

    /// Takes in a tick: a message that is no event, and says how late it is.
    pub fn push_tick(&mut self, sequence: u64, store_time_ms: i64) {
        self.batch.last_sequence = sequence;
        let times = DeliveryTimes {
            event_us: ms_in_us(store_time_ms),
            ..self.now.times(Some(store_time_ms))
        };
        let message = Message {
            sequence,
            ..Message::default()
        };
        let delivery = self.batch.deliveries.push(&message, times, self.kept);
        self.batch.ticks.push(delivery);
    }

    /// Whether the batch has to be taken before more is pushed.
    pub fn is_full(&self) -> bool {
        let deliveries = &self.batch.deliveries;
        deliveries.len() + self.batch.empties.len() >= self.events_max
            || deliveries.payloads.data.len() + deliveries.subjects.data.len() + self.unpacked_bytes >= BATCH_BYTES_MAX
    }

    /// Whether nothing was pushed since the last [`Decoder::take`].
    pub fn is_empty(&self) -> bool {
        self.batch.last_sequence == 0
    }

    /// The batch, and an empty one in its place.
    pub fn take(&mut self) -> DecodedBatch {
        let mut batch = std::mem::take(&mut self.batch);
        self.unpacked_bytes = 0;
        batch.events = self.inputs.iter_mut().map(Input::take).collect();
        batch
    }
}

impl Input {
    fn new(subject: &str, format: &PayloadFormat, columns: &[SourceColumn], rows: usize) -> Result<Self> {
        let those = |is: fn(&SourceColumn) -> bool| {
            let all = columns.iter().enumerate().filter(|(_, column)| is(column));
            all.map(|(index, _)| index).collect()
        };
        Ok(Self {
            subject: subject.to_owned(),
            metadata: Metadata::of(subject, columns),
            payloads: InputPayloads::new(format, columns)?,
            compressed: None,
            reads_changes: format.debezium().is_some(),
            builders: ColumnBuilders::new(columns, rows),
            numbers: those(|column| column.is_number),
            // Of a row that is gone there is only its key.
            required: match format.debezium() {
                None => those(|column| column.required),
                Some(_) => Vec::new(),
            },
            columns: columns.to_vec(),
            now_column: None,
            event_column: None,
            deliveries: Vec::with_capacity(rows),
            rows,
        })
    }

    fn is_compressed_as_headers_say(&self) -> bool {
        self.compressed.as_ref().is_some_and(Compressed::reads_headers)
    }

    /// Appends the event in `payload` as row number `row`, unless something is wrong with it.
    fn decode(&mut self, row: usize, message: &Message<'_>) -> Result<Decoded, RejectedPayload> {
        if let Err(reject) = self.metadata.push(message, &mut self.builders) {
            self.builders.roll_back();
            return Err(reject);
        }
        let decoded = match &mut self.compressed {
            None => self.payloads.decode(message.payload, &mut self.builders),
            Some(compressed) => match compressed.unpack(message.payload, message.headers) {
                Ok(payload) => self.payloads.decode(payload, &mut self.builders),
                Err(reject) => {
                    self.builders.roll_back();
                    Err(reject)
                }
            },
        };
        match decoded? {
            Decoded::Row => {}
            Decoded::Empty => {
                self.builders.roll_back();
                return Ok(Decoded::Empty);
            }
        }
        self.check_required(row)?;
        self.check_numbers(row)?;
        self.check_now(row, message.store_ms)?;
        self.check_event_time(row)?;
        Ok(Decoded::Row)
    }

    /// Puts the times in place that row number `row` holds.
    fn set_times(&self, row: usize, times: &mut DeliveryTimes) {
        if let Some(column) = self.now_column {
            times.now_ms = self.builders.int(column, row).unwrap_or(times.now_ms);
            times.event_us = ms_in_us(times.now_ms);
        }
        if let Some(TimeColumn { index, scale }) = self.event_column {
            let event_us = self.builders.int(index, row).and_then(|value| scale.in_us(value));
            times.event_us = event_us.unwrap_or(times.event_us);
        }
    }

    /// An event without a time, or with one that no calendar has, has no place in any window; one that is finer than what
    /// the host compares would change places with others.
    fn check_event_time(&mut self, row: usize) -> Result<(), RejectedPayload> {
        let Some(TimeColumn { index, scale }) = self.event_column else {
            return Ok(());
        };
        let value = self.builders.int(index, row);
        let found = match value.map(|value| (value, scale.in_us(value))) {
            Some((_, Some(event_us))) if EVENT_TIMES_US.contains(&event_us) => return Ok(()),
            Some((value, _)) => value.to_string(),
            None => "null".to_owned(),
        };
        self.builders.drop_row();
        let truncated = TimeScale {
            truncates: true,
            ..scale
        };
        let is_fine = value.is_some_and(|value| scale.in_us(value).is_none() && truncated.in_us(value).is_some());
        let column = self.columns.get(index);
        let accepted = match is_fine {
            _ if column.is_some_and(|column| column.reading.is_some()) => "timestamps".to_owned(),
            true => "whole microseconds; truncate = true beside `unit` cuts what is finer".to_owned(),
            false => format!(
                "{} since 1970-01-01T00:00:00Z, of the years 0 to 9999",
                scale.unit.plural()
            ),
        };
        Err(RejectedPayload {
            column: self.columns.get(index).map(|column| column.field.name.clone()),
            reason: format!("found {found}, and it is the event time; accepted are {accepted}"),
        })
    }

    fn check_required(&mut self, row: usize) -> Result<(), RejectedPayload> {
        let is_null = |index: &&usize| self.builders.is_null(**index, row);
        let Some(&index) = self.required.iter().find(is_null) else {
            return Ok(());
        };
        self.builders.drop_row();
        Err(RejectedPayload {
            column: self.columns.get(index).map(|column| column.field.name.clone()),
            reason: "found null, or nothing; accepted is a value, since the column is required".to_owned(),
        })
    }

    fn check_numbers(&mut self, row: usize) -> Result<(), RejectedPayload> {
        let wrong = self.numbers.iter().find_map(|&index| {
            let text = self.builders.text(index, row).filter(|text| !number::is_number(text))?;
            let shown: String = String::from_utf8_lossy(text).chars().take(40).collect();
            Some(RejectedPayload {
                column: self.columns.get(index).map(|column| column.field.name.clone()),
                reason: format!(
                    "found the text \"{}\"; accepted is a finite number in decimal, or null",
                    printable(&shown)
                ),
            })
        });
        match wrong {
            None => Ok(()),
            Some(reject) => {
                self.builders.drop_row();
                Err(reject)
            }
        }
    }

    /// Where a column is "now" and holds null, the store time steps in, if there is one.
    fn check_now(&mut self, row: usize, store_time_ms: Option<i64>) -> Result<(), RejectedPayload> {
        let Some(column) = self.now_column else { return Ok(()) };
        if store_time_ms.is_some() || self.builders.int(column, row).is_some() {
            return Ok(());
        }
        self.builders.drop_row();
        Err(RejectedPayload {
            column: self.columns.get(column).map(|column| column.field.name.clone()),
            reason: "found null, and it is \"now\"; accepted is a time in milliseconds where there is no store time"
                .to_owned(),
        })
    }

    /// The rows, and none in their place.
    fn take(&mut self) -> Batch {
        let builders = std::mem::replace(&mut self.builders, ColumnBuilders::new(&self.columns, self.rows));
        Batch {
            columns: builders.finish(),
            deliveries: std::mem::take(&mut self.deliveries),
            kinds: None,
            lineage: None,
        }
    }
}

impl DecodedBatch {
    /// Adds a delivery that is no event.
    fn reject(&mut self, message: &Message<'_>, times: DeliveryTimes, kept: Kept, reason: String) {
        let delivery = self.deliveries.push(message, times, kept);
        self.rejected.push(RejectedDelivery {
            delivery,
            step: STEP.to_owned(),
            module: None,
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::column::{ColumnType, Field};

    #[test]
    fn what_is_taken_in_once_more_is_rejected_for_the_same_reasons() {
        let column = SourceColumn {
            field: Field {
                name: "n".to_owned(),
                column_type: ColumnType::Int,
                nullable: true,
            },
            place: Place::Payload(crate::model::path::ValuePath::of_names(["n"])),
            reading: None,
            is_number: false,
            required: false,
            materialised: true,
        };
        let mut decoder = Decoder::of_columns(&[column], 16).unwrap();
        decoder.push(1, Some(10), br#"{"n": 1}"#);
        // The payload is empty, and yet the delivery is no empty one.
        decoder.reject(2, b"", "subject s was deleted".to_owned());
        decoder.push(3, Some(30), b"broken");
        decoder.count_empty(4);
        decoder.push(5, Some(50), br#"{"n": 5}"#);
        let batch = decoder.take();
        assert_eq!((batch.rejected.len(), batch.empties.as_slice()), (2, [4].as_slice()));

        decoder.push_before(&batch, 5);
        let again = decoder.take();
        assert_eq!(again.rejected, batch.rejected);
        assert_eq!(again.empties, batch.empties);
        assert_eq!(again.deliveries.sequences, [1, 2, 3]);
        assert_eq!(again.deliveries.store_times_ms, batch.deliveries.store_times_ms[..3]);
        assert_eq!(again.of_input(InputId::FIRST).deliveries, [0]);
        assert_eq!(again.last_sequence, 4);
    }
}
