//! Keys on their way through a batch: each by itself, since none knows of the others.

use super::Remembered;
use crate::{
    limits::{BATCH_EVENTS_MAX, TIMERS_AT_ONCE_MAX},
    model::{batch::Batch, guest::NO_TIMER},
    operator::{
        clock::{Reached, WatermarkProgress},
        guests::RejectedByGuest,
    },
};
use hashbrown::HashMap;

/// The keys that a batch has to do with.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    pub(super) input: &'a Batch,
    pub(super) progress: &'a WatermarkProgress<'a>,
    lanes: Vec<Lane>,
    by_key: HashMap<Box<[u8]>, usize>,
    /// Which keys were looked at since they may be due, and when they were to be.
    looked: Vec<(i64, Box<[u8]>)>,
    dead: Vec<DeadTimer>,
}

/// A key, and how far it is.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: Box<[u8]>,
    /// What is remembered of it by now.
    pub(super) remembered: Remembered,
    /// Whether that is something else than before the batch.
    pub(super) is_changed: bool,
    /// Its rows, and how many of them were taken in.
    rows: Vec<u32>,
    done: usize,
    /// How many of them to take in at once: few, where its times come between them.
    at_a_time: usize,
    /// The delivery behind which something happened to it last.
    position: Option<u32>,
    /// How many times came behind that delivery.
    at_once: u32,
}

/// A time that came, of which the function could make nothing.
#[derive(Debug)]
pub(super) struct DeadTimer {
    pub(super) delivery: u32,
    pub(super) time_us: i64,
    pub(super) key: Box<[u8]>,
    pub(super) why: RejectedByGuest,
}

/// A row, and the lane of its key.
pub(super) type RowOfLane = (u32, usize);

impl<'a> Lanes<'a> {
    pub(super) fn new(input: &'a Batch, progress: &'a WatermarkProgress<'a>) -> Self {
        Self {
            input,
            progress,
            lanes: Vec::new(),
            by_key: HashMap::new(),
            looked: Vec::new(),
            dead: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn lane(&self, lane: usize) -> Option<&Lane> {
        self.lanes.get(lane)
    }

    /// The lane of a key; `held` is what is remembered of it before the batch.
    fn of_key(&mut self, key: &[u8], held: impl FnOnce() -> Option<Remembered>) -> Option<&mut Lane> {
        let lanes = &mut self.lanes;
        let number = match self.by_key.get(key) {
            Some(&number) => number,
            None => {
                lanes.push(Lane {
                    key: key.into(),
                    remembered: held().unwrap_or_else(Remembered::nothing),
                    is_changed: false,
                    rows: Vec::new(),
                    done: 0,
                    at_a_time: usize::MAX,
                    position: None,
                    at_once: 0,
                });
                self.by_key.insert(key.into(), lanes.len() - 1);
                lanes.len() - 1
            }
        };
        lanes.get_mut(number)
    }

    /// A row of a key.
    pub(super) fn add_row(&mut self, row: u32, key: &[u8], held: impl FnOnce() -> Option<Remembered>) {
        if let Some(lane) = self.of_key(key, held) {
            lane.rows.push(row);
        }
    }

    /// A key that may be due, as it was to be at that time.
    pub(super) fn look(&mut self, time_us: i64, key: &[u8], held: impl FnOnce() -> Option<Remembered>) {
        self.looked.push((time_us, key.into()));
        if let Some(lane) = self.of_key(key, held)
            && lane.remembered.looked_us == time_us
        {
            lane.remembered.looked_us = NO_TIMER;
        }
    }

    /// The keys that were looked at, and when they were to be.
    pub(super) fn looked(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.looked.iter().map(|(time_us, key)| (*time_us, &**key))
    }

    pub(super) fn state(&self, lane: usize) -> &[u8] {
        self.lanes.get(lane).map_or(&[], |lane| &lane.remembered.state)
    }

    pub(super) fn timer(&self, lane: usize) -> i64 {
        self.lanes.get(lane).map_or(NO_TIMER, |lane| lane.remembered.timer_us)
    }

    /// The delivery behind which a time comes for which a key began to wait behind `position`: nothing where that is not so soon.
    fn comes_behind(&self, timer_us: i64, position: Option<u32>) -> Option<u32> {
        if timer_us == NO_TIMER {
            return None;
        }
        match self.progress.reached(timer_us) {
            Reached::By(mover) => Some(position.map_or(mover, |position| position.max(mover))),
            // It was set when the watermark had passed it already.
            Reached::Before => position.or_else(|| self.progress.first()),
            Reached::Later => None,
        }
    }

    /// The delivery behind which the time comes for which a key waits, if that is before its next row.
    pub(super) fn due(&self, lane: usize) -> Option<u32> {
        let lane = self.lanes.get(lane)?;
        let comes = self.comes_behind(lane.remembered.timer_us, lane.position)?;
        let next = lane.rows.get(lane.done).map(|&row| self.input.delivery(row as usize));
        Some(comes).filter(|comes| next.is_none_or(|next| *comes < next))
    }

    /// Whether some of its rows were not taken in yet.
    pub(super) fn has_rows(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.done < lane.rows.len())
    }

    /// The next rows of these lanes, in the order of the batch, as many as one call takes: of each those in front of the time for
    /// which it waits.
    pub(super) fn next_rows(&self, open: &[usize]) -> Vec<RowOfLane> {
        let mut rows = Vec::with_capacity(self.input.len());
        for &number in open {
            let Some(lane) = self.lanes.get(number) else { continue };
            let comes = self.comes_behind(lane.remembered.timer_us, lane.position);
            let left = lane.rows.get(lane.done..).unwrap_or_default().iter();
            let before = left.take_while(|&&row| comes.is_none_or(|comes| self.input.delivery(row as usize) <= comes));
            let before = before.take(lane.at_a_time);
            rows.extend(before.map(|&row| (row, number)));
        }
        rows.sort_unstable();
        rows.truncate(BATCH_EVENTS_MAX);
        rows
    }

    /// The lanes of which a row has set a time that comes before the next one of these rows, each with the first such row. For
    /// each row `timers` has the time for which its key waits behind it.
    pub(super) fn cut(&self, rows: &[RowOfLane], timers: &[i64]) -> HashMap<usize, u32> {
        let mut cut = HashMap::new();
        if timers.iter().all(|&timer_us| timer_us == NO_TIMER) {
            return cut;
        }
        let mut last: HashMap<usize, (u32, i64)> = HashMap::with_capacity(self.lanes.len());
        for (&(row, lane), &timer_us) in rows.iter().zip(timers) {
            let delivery = self.input.delivery(row as usize);
            if let Some((before, timer_us)) = last.insert(lane, (row, timer_us)) {
                let comes = self.comes_behind(timer_us, Some(self.input.delivery(before as usize)));
                if comes.is_some_and(|comes| comes < delivery) {
                    cut.entry(lane).or_insert(before);
                }
            }
        }
        cut
    }

    /// Takes the rows of these lanes in one by one from here on, and more of them as long as that goes well: what is asked too early
    /// is asked again.
    pub(super) fn slow_down(&mut self, cut: &HashMap<usize, u32>) {
        for &lane in cut.keys() {
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.at_a_time = 1;
            }
        }
    }

    /// Rows were taken in: each of `rows` whose lane is to be kept. `lanes` has those of `states`.
    pub(super) fn taken(
        &mut self,
        rows: &[RowOfLane],
        timers: &[i64],
        states: Vec<(usize, Box<[u8]>)>,
        is_kept: impl Fn(usize) -> bool,
    ) {
        for (at, &(row, number)) in rows.iter().enumerate() {
            let delivery = self.input.delivery(row as usize);
            let Some(lane) = self.lanes.get_mut(number).filter(|_| is_kept(number)) else {
                continue;
            };
            lane.done += 1;
            lane.position = Some(delivery);
            lane.at_once = 0;
            let timer_us = timers.get(at).copied().unwrap_or(NO_TIMER);
            lane.is_changed |= lane.remembered.timer_us != timer_us;
            lane.remembered.timer_us = timer_us;
        }
        for (number, state) in states {
            if let Some(lane) = self.lanes.get_mut(number).filter(|_| is_kept(number)) {
                lane.at_a_time = lane.at_a_time.saturating_mul(2);
            }
            if let Some(lane) = self.lanes.get_mut(number).filter(|_| is_kept(number)) {
                lane.set_state(state);
            }
        }
    }

    /// The time came for which a key waited. False where times came too often behind one delivery: it waits for none any more then.
    pub(super) fn fired(&mut self, lane: usize, delivery: u32, state: Box<[u8]>, timer_us: i64) -> bool {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return true;
        };
        lane.set_state(state);
        lane.is_changed = true;
        lane.remembered.timer_us = timer_us;
        lane.at_once = match lane.position == Some(delivery) {
            true => lane.at_once + 1,
            false => 1,
        };
        lane.position = Some(delivery);
        lane.at_once < TIMERS_AT_ONCE_MAX || timer_us == NO_TIMER
    }

    /// Of the time for which a key waits nothing can be made: it passes.
    pub(super) fn bury(&mut self, lane: usize, delivery: u32, why: RejectedByGuest) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        self.dead.push(DeadTimer {
            delivery,
            time_us: lane.remembered.timer_us,
            key: lane.key.clone(),
            why,
        });
        lane.is_changed = true;
        lane.remembered.timer_us = NO_TIMER;
        lane.position = Some(delivery);
    }

    /// The times of which nothing could be made, in order.
    pub(super) fn take_dead(&mut self) -> Vec<DeadTimer> {
        let mut dead = std::mem::take(&mut self.dead);
        dead.sort_by(|a, b| (a.delivery, a.time_us, &a.key).cmp(&(b.delivery, b.time_us, &b.key)));
        dead
    }

    pub(super) fn into_lanes(self) -> Vec<Lane> {
        self.lanes
    }
}

impl Lane {
    fn set_state(&mut self, state: Box<[u8]>) {
        if self.remembered.state != state {
            self.is_changed = true;
            self.remembered.state = state;
        }
    }
}
