//! Expiry: keys that are forgotten once no row came for them for so long of event time (`ttl`).
//!
//! - A row touches its key at the time of its event; where the watermark is past that already, at the watermark. So a row
//!   that is late keeps its key for as long as any other.
//! - A key goes as soon as the watermark is `ttl` past its last touch, right after the event that moved it there. Of keys
//!   that go with one event the order is that in which they are due, then that of the keys.
//! - Where nothing but tables by the same keys reads the step, it may forget some of those keys now and the others
//!   later (see [`Forgotten`]): millions of rows that go need not go in one transaction. A key that is due and still there
//!   counts as gone for all that comes after the event: the next row of it is its first.
//! - Restart: the state holds when each key was touched, so nothing changes.

use super::{
    ChangelogBuilder, StateMap,
    clock::{Cursor, WatermarkProgress},
    timers::Timers,
};
use crate::{
    limits::FORGOTTEN_AT_ONCE,
    model::batch::Batch,
    state::{KeyedState, StateValue},
};

/// The name of the state that holds when keys were touched.
pub(super) const TOUCHED: &str = "touched";

/// Rows of keys that were due and are forgotten later than the event that moved the watermark there.
#[derive(Debug)]
pub struct Forgotten {
    /// A delete for each. Their deliveries are places in `events`.
    pub rows: Batch,
    /// The stream sequences of the events for which they go.
    pub events: Vec<u64>,
}

/// An operator that forgets keys, and tells of it.
pub trait Forgets {
    /// Which keys are due, where it forgets any.
    fn expiry(&mut self) -> Option<&mut Expiry>;

    /// Room for what it emits.
    fn changelog(&self) -> ChangelogBuilder;

    /// Drops what there is of a key, and adds the delete of its row to `out`.
    fn forget(&mut self, key: &[u8], delivery: u32, out: &mut ChangelogBuilder);

    /// The watermark moved, by the event of a delivery and a sequence: forgets the keys that are due and go at once.
    fn expire(&mut self, (mover, sequence): (u32, u64), watermark_us: i64, out: &mut ChangelogBuilder) {
        while let Some(keys) = self.expiry().and_then(|expiry| expiry.take_due(watermark_us)) {
            keys.iter().for_each(|key| self.forget(key, mover, out));
        }
        if let Some(expiry) = self.expiry() {
            expiry.moved(watermark_us, sequence);
        }
    }

    /// Forgets more of the keys that were left for later. Where the event for which one goes is not known, it is `last`.
    fn forget_due(&mut self, watermark_us: i64, last: u64) -> Forgotten {
        let (mut out, mut events) = (self.changelog(), Vec::new());
        if let Some(expiry) = self.expiry() {
            expiry.begin(watermark_us);
        }
        while let Some((event, keys)) = self.expiry().and_then(|expiry| expiry.take_left(watermark_us, last)) {
            let place = events.len() as u32;
            events.push(event);
            keys.iter().for_each(|key| self.forget(key, place, &mut out));
        }
        let rows = out.finish();
        Forgotten { rows, events }
    }
}

/// When keys were touched, and which are due.
#[derive(Debug)]
pub struct Expiry {
    ttl_us: i64,
    touched: KeyedState<Touch>,
    timers: Timers,
    /// How many keys go at once where others that are due may go later.
    at_once: Option<usize>,
    /// How many more go now.
    room: usize,
    /// Whether keys that are due are still there.
    is_overdue: bool,
    /// How the watermark moved since then: where to, ascending, and by the event of which sequence. Not kept.
    moves: Vec<(i64, u64)>,
}

/// The last touch of a key. Most touches move no timer: that a key was touched since is found out when it is due.
#[derive(Clone, Debug)]
struct Touch {
    time_us: i64,
    /// Where the key's timer stands; others that it may have are left over from a rollback. Not kept.
    timer_us: i64,
}

impl StateValue for Touch {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let time_us = i64::from_le_bytes(bytes.try_into().ok()?);
        let timer_us = time_us;
        Some(Self { time_us, timer_us })
    }
}

impl Expiry {
    pub(super) fn new(ttl_us: i64, seed: u64) -> Self {
        Self {
            ttl_us,
            touched: KeyedState::new(seed),
            timers: Timers::default(),
            at_once: None,
            room: usize::MAX,
            is_overdue: false,
            moves: Vec::new(),
        }
    }

    /// Where it `spreads`, only some of the keys that are due go at once.
    pub(super) fn spread(self, spreads: bool) -> Self {
        let at_once = spreads.then_some(FORGOTTEN_AT_ONCE);
        Self { at_once, ..self }
    }

    /// Changes how many keys go at once, where they do not all.
    pub(crate) fn set_at_once(&mut self, keys: usize) {
        self.at_once = self.at_once.and(Some(keys));
    }

    /// Whether keys that are due were left for later.
    pub(crate) fn has_left(&self, watermark_us: i64) -> bool {
        self.at_once.is_some() && self.timers.is_due(watermark_us)
    }

    /// A batch begins at this watermark: from now on as many keys go as do at once.
    pub(super) fn begin(&mut self, watermark_us: i64) {
        self.room = self.at_once.unwrap_or(usize::MAX);
        self.is_overdue = self.timers.is_due(watermark_us);
    }

    /// Whether the key is due at this watermark, and still there: it was left for later, or a start made the `ttl` shorter.
    #[inline]
    pub(super) fn is_overdue(&self, key: &[u8], watermark_us: i64) -> bool {
        let is_due = |touch: &Touch| touch.time_us.saturating_add(self.ttl_us) <= watermark_us;
        self.is_overdue && self.touched.get(key).is_some_and(is_due)
    }

    /// The event of `sequence` moved the watermark here, and all that goes now is gone.
    pub(super) fn moved(&mut self, watermark_us: i64, sequence: u64) {
        if self.is_overdue {
            // A rollback leaves moves that are done again.
            let before = self.moves.partition_point(|&(to_us, _)| to_us < watermark_us);
            self.moves.truncate(before);
            self.moves.push((watermark_us, sequence));
        }
    }

    /// Takes keys that were left and go now at this watermark, and the sequence of the event for which they go: `last` where
    /// that is not known.
    fn take_left(&mut self, watermark_us: i64, last: u64) -> Option<(u64, Vec<Box<[u8]>>)> {
        let (due_us, keys) = self.take_next(watermark_us)?;
        Some((self.mover(due_us).unwrap_or(last), keys))
    }

    /// The event that moved the watermark to `time_us`, as far as that is known: a start does not know it.
    fn mover(&self, time_us: i64) -> Option<u64> {
        let at = self.moves.partition_point(|&(watermark_us, _)| watermark_us < time_us);
        self.moves.get(at).map(|&(_, sequence)| sequence)
    }

    /// A row of `key` came, see [`ExpiryCursor::touch_us`].
    pub(super) fn touch(&mut self, key: &[u8], time_us: i64) {
        let timers = &mut self.timers;
        let timer_us = time_us.saturating_add(self.ttl_us);
        self.touched.modify(key, |current| match current {
            Some(touch) if touch.time_us >= time_us => false,
            Some(touch) => {
                touch.time_us = time_us;
                true
            }
            None => {
                timers.add(timer_us, key);
                *current = Some(Touch { time_us, timer_us });
                true
            }
        });
    }

    /// The key went for another reason.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.touched.modify(key, |current| current.take().is_some());
    }

    /// Takes keys that go at this watermark, until none goes now: some at a time, in order.
    pub(super) fn take_due(&mut self, watermark_us: i64) -> Option<Vec<Box<[u8]>>> {
        self.take_next(watermark_us).map(|(_, keys)| keys)
    }

    /// The same, with when they were due.
    fn take_next(&mut self, watermark_us: i64) -> Option<(i64, Vec<Box<[u8]>>)> {
        let Some((timer_us, mut keys)) = self.timers.take_some_due(watermark_us, self.room) else {
            self.is_overdue = self.timers.is_due(watermark_us);
            if !self.is_overdue {
                self.moves.clear();
            }
            return None;
        };
        self.room -= keys.len();
        let Self {
            ttl_us,
            touched,
            timers,
            ..
        } = self;
        keys.retain(|key| {
            let mut goes = false;
            touched.modify(key, |current| {
                let Some(touch) = current.as_mut().filter(|touch| touch.timer_us == timer_us) else {
                    return false;
                };
                let due_us = touch.time_us.saturating_add(*ttl_us);
                goes = due_us <= timer_us;
                match goes {
                    true => *current = None,
                    false => {
                        touch.timer_us = due_us;
                        timers.add(due_us, key);
                    }
                }
                // Where the timer stands is not kept.
                goes
            });
            goes
        });
        Some((timer_us, keys))
    }

    pub(super) fn rollback(&mut self) {
        let mut back: Vec<Box<[u8]>> = Vec::new();
        self.touched.rollback(|key, live| {
            if live {
                back.push(key.into());
            }
        });
        for key in back {
            if let Some(touch) = self.touched.get(&key) {
                self.timers.add_again(touch.timer_us, &key);
            }
        }
    }

    pub(super) fn restored(&mut self) {
        let keys: Vec<Box<[u8]>> = self.touched.iter().map(|(key, _)| key.into()).collect();
        for key in keys {
            let timers = &mut self.timers;
            self.touched.modify(&key, |current| {
                if let Some(touch) = current {
                    touch.timer_us = touch.time_us.saturating_add(self.ttl_us);
                    timers.add(touch.timer_us, &key);
                }
                false
            });
        }
    }

    pub(super) fn state(&mut self) -> &mut dyn StateMap {
        &mut self.touched
    }
}

/// The watermark along the rows of a batch; for a step that does not follow it, none.
#[derive(Debug)]
pub(super) struct ExpiryCursor<'p> {
    progress: Option<&'p WatermarkProgress<'p>>,
    cursor: Option<Cursor<'p>>,
    watermark_us: i64,
}

impl<'p> ExpiryCursor<'p> {
    pub(super) fn of(progress: Option<&'p WatermarkProgress<'p>>) -> Self {
        Self {
            progress,
            cursor: progress.map(WatermarkProgress::cursor),
            watermark_us: progress.map_or(i64::MIN, WatermarkProgress::before_us),
        }
    }

    /// The next move, if it comes before `delivery`, see [`Cursor::next_before`].
    #[inline]
    pub(super) fn next_before(&mut self, delivery: u32) -> Option<(u32, i64)> {
        let moved = self.cursor.as_mut()?.next_before(delivery)?;
        self.watermark_us = moved.1;
        Some(moved)
    }

    /// The next move.
    pub(super) fn next_move(&mut self) -> Option<(u32, i64)> {
        let moved = self.cursor.as_mut()?.next_move()?;
        self.watermark_us = moved.1;
        Some(moved)
    }

    /// Where the watermark stands.
    pub(super) fn watermark_us(&self) -> i64 {
        self.watermark_us
    }

    /// The stream sequence of a delivery.
    pub(super) fn sequence(&self, delivery: u32) -> u64 {
        self.progress.map_or(0, |progress| progress.sequence(delivery))
    }

    /// When a row of `delivery` touches its key.
    pub(super) fn touch_us(&self, delivery: u32) -> i64 {
        let time_us = self.progress.map_or(i64::MIN, |progress| progress.time_us(delivery));
        time_us.max(self.watermark_us)
    }
}
