//! The two scenarios that are measured: their events, their pipeline files, their plans.

use crate::{Result, root};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};
use weir::{
    command::sample::{Orders, PageVisits, Times},
    definition,
    plan::{Now, Plan},
    wasm::StageHost,
};

/// 2026-03-15T00:00:00 in Shanghai: the day on which all sample events lie.
const DAY_START_MS: i64 = 1_773_504_000_000;
const DAY_MS: u64 = 86_400_000;

/// "Now" for all events: within that day, as `--now` takes it, and in milliseconds.
pub(crate) const NOW: &str = "2026-03-15T12:00:00+08:00";
pub(crate) const NOW_MS: i64 = DAY_START_MS + DAY_MS as i64 / 2;

const SEED: u64 = 20_260_315;
const USERS: u32 = 200_000;
const PAIRS: u32 = 330_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// 1: orders of the day by the hour.
    HourlyOrders,
    /// 3: the last page of each account and device.
    LastPage,
}

/// Writes the next payload into the buffer.
pub(crate) type Generator = Box<dyn FnMut(&mut Vec<u8>)>;

impl Scenario {
    pub(crate) const ALL: [Self; 2] = [Self::HourlyOrders, Self::LastPage];

    /// The pipeline's name, and its folder's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HourlyOrders => "hourly-orders",
            Self::LastPage => "last-page",
        }
    }

    /// What the figures call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::HourlyOrders => "scenario 1, orders of 285 bytes",
            Self::LastPage => "scenario 3, visits of 135 bytes",
        }
    }

    /// The pipeline file.
    pub(crate) fn pipeline(self) -> PathBuf {
        root().join("guests").join(self.name()).join("pipeline.toml")
    }

    /// The events, spread over the day so that `events` of them fill it.
    pub(crate) fn generator(self, events: u64) -> Generator {
        let times = Times {
            start_ms: DAY_START_MS,
            span_ms: DAY_MS,
            events,
        };
        match self {
            Self::HourlyOrders => {
                let mut orders = Orders::new(SEED, USERS, times);
                Box::new(move |payload| orders.next_into(payload))
            }
            Self::LastPage => {
                let mut visits = PageVisits::new(SEED, PAIRS, times);
                Box::new(move |payload| visits.next_into(payload))
            }
        }
    }

    /// Writes `events` events to a file in `folder`, one on each line.
    pub(crate) fn write_events(self, folder: &Path, events: u64) -> Result<PathBuf> {
        let path = folder.join(self.name()).with_extension("jsonl");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut generate = self.generator(events);
        let mut payload = Vec::new();
        for _ in 0..events {
            generate(&mut payload);
            payload.push(b'\n');
            file.write_all(&payload)?;
        }
        file.flush()?;
        Ok(path)
    }

    /// The plan, with "now" fixed.
    pub(crate) fn plan(self, host: &StageHost) -> Result<Plan> {
        let mut plan = Plan::build(&definition::File::read(&self.pipeline())?, host)?;
        plan.now = Now::Fixed(NOW_MS);
        Ok(plan)
    }
}
