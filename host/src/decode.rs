//! Decode: payloads to columns.
//!
//! A payload is one JSON object. Every declared column is checked, also one that no step reads; only those that some
//! step reads are built. What is wrong becomes a dead letter with the column, what was found, and what is accepted.

mod columns;
mod json;
mod number;

pub use columns::{ColumnBuilders, Decoded, Reject};
pub use json::Scanner;

use crate::{
    column::Batch,
    definition::TextFormat,
    delivery::{DecodedBatch, DeliveryTimes, Rejected},
    error::{Error, Result},
    limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX},
    plan::{EventColumn, Now, Plan, SourceColumn},
    text::printable,
};
use std::ops::Range;

/// The name under which the decoder rejects deliveries.
pub const STEP: &str = "decode";

/// The event times that are accepted, in milliseconds: the years 0 to 9999.
pub const EVENT_TIMES_MS: Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// Collects deliveries into a batch.
#[derive(Debug)]
pub struct Decoder {
    columns: Vec<SourceColumn>,
    formats: Vec<(usize, TextFormat)>,
    now: Now,
    event_column: Option<EventColumn>,
    events_max: usize,
    scanner: Scanner,
    builders: ColumnBuilders,
    batch: DecodedBatch,
}

impl Decoder {
    /// A decoder for the events of a pipeline.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub fn of(plan: &Plan, events_max: usize) -> Result<Self> {
        let decoder = Self::new(&plan.columns, plan.now.clone(), events_max)?;
        Ok(Self {
            event_column: plan.event_time.column,
            ..decoder
        })
    }

    /// A decoder for `columns`, whose batches hold up to `events_max` deliveries.
    ///
    /// # Errors
    /// When two columns are read from one value.
    pub fn new(columns: &[SourceColumn], now: Now, events_max: usize) -> Result<Self> {
        let events_max = events_max.clamp(1, BATCH_EVENTS_MAX);
        let formats = columns
            .iter()
            .enumerate()
            .filter_map(|(index, column)| Some((index, column.format?)));
        Ok(Self {
            scanner: Scanner::new(columns).map_err(Error::definition)?,
            builders: ColumnBuilders::new(columns, events_max),
            formats: formats.collect(),
            columns: columns.to_vec(),
            now,
            event_column: None,
            events_max,
            batch: DecodedBatch::default(),
        })
    }

    /// Takes in one delivery. `store_time_ms` is when the source stored it; a file does not know.
    pub fn push(&mut self, sequence: u64, store_time_ms: Option<i64>, payload: &[u8]) {
        self.batch.last_sequence = sequence;
        let row = self.builders.rows();
        let outcome = self
            .scanner
            .decode(payload, &mut self.builders)
            .and_then(|decoded| match decoded {
                Decoded::Row => self
                    .check_formats(row)
                    .and_then(|()| self.check_now(row, store_time_ms))
                    .and_then(|()| self.check_event_time(row))
                    .map(|()| decoded),
                Decoded::Blank => Ok(decoded),
            });
        let mut times = self.times(store_time_ms);
        if let Ok(Decoded::Row) = outcome {
            if let Now::Column(column) = self.now {
                times.now_ms = self.builders.int(column, row).unwrap_or(times.now_ms);
                times.event_ms = times.now_ms;
            }
            if let Some(EventColumn { index, unit }) = self.event_column {
                times.event_ms = self
                    .builders
                    .int(index, row)
                    .map_or(times.event_ms, |value| unit.in_ms(value));
            }
        }
        match outcome {
            Ok(Decoded::Row) => {
                let delivery = self.batch.deliveries.push(sequence, times, payload);
                self.batch.events.deliveries.push(delivery);
            }
            Ok(Decoded::Blank) => self.batch.blank += 1,
            Err(reject) => {
                let delivery = self.batch.deliveries.push(sequence, times, payload);
                let reason = reject.to_string();
                self.batch.rejected.push(Rejected {
                    delivery,
                    step: STEP.to_owned(),
                    module: None,
                    reason,
                });
            }
        }
    }

    /// Takes in a tick: a message that is no event, and says how late it is.
    pub fn push_tick(&mut self, sequence: u64, store_time_ms: i64) {
        self.batch.last_sequence = sequence;
        let times = DeliveryTimes {
            event_ms: store_time_ms,
            ..self.times(Some(store_time_ms))
        };
        let delivery = self.batch.deliveries.push(sequence, times, &[]);
        self.batch.ticks.push(delivery);
    }

    /// The times of a delivery, as far as they are not in its payload.
    fn times(&self, store_ms: Option<i64>) -> DeliveryTimes {
        let now_ms = match self.now {
            Now::Fixed(now_ms) => now_ms,
            Now::StoreTime | Now::Column(_) => store_ms.unwrap_or(0),
        };
        DeliveryTimes {
            now_ms,
            event_ms: now_ms,
            store_ms,
        }
    }

    /// An event without a time, or with one that no calendar has, has no place in any window.
    fn check_event_time(&mut self, row: usize) -> Result<(), Reject> {
        let Some(EventColumn { index, unit }) = self.event_column else {
            return Ok(());
        };
        let found = match self.builders.int(index, row) {
            Some(value) if EVENT_TIMES_MS.contains(&unit.in_ms(value)) => return Ok(()),
            Some(value) => value.to_string(),
            None => "null".to_owned(),
        };
        self.builders.drop_row();
        let unit = unit.plural();
        Err(Reject {
            column: self.columns.get(index).map(|column| column.field.name.clone()),
            reason: format!(
                "found {found}, and it is the event time; accepted are {unit} since 1970-01-01T00:00:00Z, of the years 0 to 9999"
            ),
        })
    }

    fn check_formats(&mut self, row: usize) -> Result<(), Reject> {
        let wrong = self.formats.iter().find_map(|&(index, TextFormat::Number)| {
            let text = self.builders.text(index, row).filter(|text| !number::is_number(text))?;
            let shown: String = String::from_utf8_lossy(text).chars().take(40).collect();
            Some(Reject {
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
    fn check_now(&mut self, row: usize, store_time_ms: Option<i64>) -> Result<(), Reject> {
        let Now::Column(column) = self.now else { return Ok(()) };
        if store_time_ms.is_some() || self.builders.int(column, row).is_some() {
            return Ok(());
        }
        self.builders.drop_row();
        Err(Reject {
            column: self.columns.get(column).map(|column| column.field.name.clone()),
            reason: "found null, and it is \"now\"; accepted is a time in milliseconds where there is no store time"
                .to_owned(),
        })
    }

    /// Whether the batch has to be taken before more is pushed.
    pub fn is_full(&self) -> bool {
        self.batch.deliveries.len() as u64 + self.batch.blank >= self.events_max as u64
            || self.batch.deliveries.payloads.data.len() >= BATCH_BYTES_MAX
    }

    /// Whether nothing was pushed since the last [`Decoder::take`].
    pub fn is_empty(&self) -> bool {
        self.batch.last_sequence == 0
    }

    /// The batch, and an empty one in its place.
    pub fn take(&mut self) -> DecodedBatch {
        let builders = std::mem::replace(&mut self.builders, ColumnBuilders::new(&self.columns, self.events_max));
        let mut batch = std::mem::take(&mut self.batch);
        batch.events = Batch {
            columns: builders.finish(),
            deliveries: batch.events.deliveries,
            kinds: None,
            causes: None,
        };
        batch
    }
}
