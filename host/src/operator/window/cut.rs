//! Windows that are cut by the clock of a time zone.
//!
//! The clock of a zone goes on evenly but for the changes of its offset, where it jumps. Windows begin at the instants at
//! which it shows a multiple of their step, counted from midnight of 1970-01-01 and an offset: where it jumps forward over
//! one, at the jump; where it jumps back over one, both times, so that an hour that comes twice is two. But a step of whole
//! days is a date: it begins when the clock first shows it or more, and once. So there is one window for each date that the
//! clock ever shows, of 23 or 25 hours where the clocks change; and where they are put back over midnight, what they show of
//! the day before once more is of the day that has begun. A tumbling window ends where the next one begins, and a longer one
//! when the clock first shows its end, or more.

use crate::{
    model::time_zone::offset_at,
    plan::{DAY_US, SECOND_US, ms_in_us},
    planner::window::{WindowCut, WindowKind},
};
use std::ops::Range;

/// The earliest and the latest instant that windows reach: far beyond any calendar, and far from the end of 64 bits.
const INSTANT_US_MAX: i64 = 1 << 60;

/// By how much a clock is put back at most: the farthest that two time zones are apart.
const JUMP_US_MAX: i64 = 26 * 3_600 * SECOND_US;

/// Cuts time into windows.
#[derive(Debug)]
pub struct Cut {
    cut: WindowCut,
    size_us: i64,
    /// How far apart windows begin; of cumulating ones, end.
    every_us: i64,
    offset_us: i64,
    zone: Option<Zone>,
}

/// A time zone, with the spans of one offset each that were asked for last, the last one in front.
#[derive(Debug)]
struct Zone {
    name: String,
    spans: [Span; 2],
}

/// The offset of a clock from UTC, and from when until when it has it. All in microseconds.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset_us: i64,
    from_us: i64,
    /// The first instant after it.
    until_us: i64,
}

/// The clock of UTC.
const UTC: Span = Span {
    offset_us: 0,
    from_us: i64::MIN,
    until_us: i64::MAX,
};

impl Span {
    fn find(zone: &str, instant_us: i64) -> Result<Self, String> {
        let found = offset_at(zone, instant_us.div_euclid(1_000))?;
        Ok(Self {
            offset_us: i64::from(found.offset_s) * SECOND_US,
            from_us: ms_in_us(found.valid_from_ms),
            until_us: ms_in_us(found.valid_until_ms),
        })
    }

    fn holds(&self, instant_us: i64) -> bool {
        (self.from_us..self.until_us).contains(&instant_us)
    }

    /// What the clock shows.
    fn shows(&self, instant_us: i64) -> i64 {
        instant_us + self.offset_us
    }
}

/// A window: its first instant, and the first after it, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounds {
    /// The first instant that is after it.
    pub end_us: i64,
    /// The first instant.
    pub start_us: i64,
}

impl Cut {
    /// The windows of a plan.
    ///
    /// # Errors
    /// A sentence for a person: the time zone is not known.
    pub fn new(kind: &WindowKind) -> Result<Self, String> {
        let WindowKind::Aligned {
            cut,
            size_us,
            every_us,
            zone,
            offset_us,
        } = kind
        else {
            return Err("sessions are not cut by the clock".to_owned());
        };
        let zone = zone.as_ref().map(|name| {
            let (name, spans) = (name.clone(), [Span::find(name, 0)?; 2]);
            Ok::<_, String>(Zone { name, spans })
        });
        Ok(Self {
            cut: *cut,
            size_us: (*size_us).max(1),
            every_us: (*every_us).max(1),
            offset_us: *offset_us,
            zone: zone.transpose()?,
        })
    }

    /// Appends the windows that `time_us` falls into, the one that ends first in front.
    #[inline]
    pub fn push_windows(&mut self, time_us: i64, windows: &mut Vec<Bounds>) {
        let time_us = time_us.clamp(-INSTANT_US_MAX, INSTANT_US_MAX);
        match self.cut {
            WindowCut::Hopping => self.push_hopping(time_us, windows),
            WindowCut::Cumulating => {
                let start_us = self.begin(time_us, self.size_us);
                let full_us = self.next_begin(start_us, self.size_us);
                let mut end_us = start_us;
                while end_us < full_us {
                    end_us = self.next_begin(end_us, self.every_us).min(full_us);
                    if end_us > time_us {
                        windows.push(Bounds { end_us, start_us });
                    }
                }
            }
        }
    }

    /// The step that `time_us` is in. Windows begin and end between steps, so all instants of one are in the same windows.
    pub fn step_of(&mut self, time_us: i64) -> Range<i64> {
        let start_us = self.begin(time_us.clamp(-INSTANT_US_MAX, INSTANT_US_MAX), self.every_us);
        start_us..self.next_begin(start_us, self.every_us)
    }

    fn push_hopping(&mut self, time_us: i64, windows: &mut Vec<Bounds>) {
        let from = windows.len();
        let mut start_us = self.begin(time_us, self.every_us);
        if self.size_us == self.every_us {
            let end_us = self.next_begin(start_us, self.every_us);
            windows.push(Bounds { end_us, start_us });
            return;
        }
        loop {
            let end_us = self.first_showing(start_us, self.size_us);
            if end_us > time_us {
                windows.push(Bounds { end_us, start_us });
                start_us = self.begin(start_us - 1, self.every_us);
                continue;
            }
            // Those that begin earlier end earlier as well; but where the clock was put back, those before may end later.
            let jump_us = self.span_at(start_us).from_us;
            if time_us.saturating_sub(jump_us) >= self.size_us + JUMP_US_MAX {
                break;
            }
            start_us = self.begin(jump_us - 1, self.every_us);
        }
        if let Some(windows) = windows.get_mut(from..) {
            windows.sort_unstable();
        }
    }

    /// The last beginning of a step that is not after `time_us`.
    fn begin(&mut self, time_us: i64, step_us: i64) -> i64 {
        if is_date(step_us) {
            return self.begin_date(time_us, step_us);
        }
        let mut before_us = time_us;
        loop {
            let span = self.span_at(before_us);
            let begin_us = self.floor(span.shows(before_us), step_us) - span.offset_us;
            if begin_us >= span.from_us {
                return begin_us;
            }
            // The clock jumped since. Where it jumped over a multiple, or to one, the jump is a beginning.
            let jump_us = span.from_us;
            let before = self.span_at(jump_us - 1);
            if self.floor(span.shows(jump_us), step_us) >= before.shows(jump_us) {
                return jump_us;
            }
            before_us = jump_us - 1;
        }
    }

    /// The same of a step of whole days.
    #[inline]
    fn begin_date(&mut self, time_us: i64, step_us: i64) -> i64 {
        let span = self.span_at(time_us);
        let mut shown_us = self.floor(span.shows(time_us), step_us);
        let begin_us = shown_us - span.offset_us;
        // What the clock showed so long before a change is less than what it shows after it.
        if begin_us >= span.from_us.saturating_add(JUMP_US_MAX) {
            return begin_us;
        }
        // The clock may have been put back since it showed a later date.
        loop {
            let next_us = self.first_to_show(shown_us + step_us);
            if next_us > time_us {
                return self.first_to_show(shown_us);
            }
            shown_us += step_us;
        }
    }

    /// The first beginning of a step after `begin_us`, which is one.
    fn next_begin(&mut self, begin_us: i64, step_us: i64) -> i64 {
        let mut span = self.span_at(begin_us);
        let shown_us = self.floor(span.shows(begin_us), step_us) + step_us;
        if is_date(step_us) {
            return self.first_to_show(shown_us);
        }
        let mut next_us = shown_us - span.offset_us;
        while next_us >= span.until_us {
            let (jump_us, before) = (span.until_us, span);
            span = self.span_at(jump_us);
            let shown_us = span.shows(jump_us);
            let multiple_us = self.floor(shown_us, step_us);
            if multiple_us == shown_us || multiple_us >= before.shows(jump_us) {
                return jump_us;
            }
            next_us = multiple_us + step_us - span.offset_us;
        }
        next_us
    }

    /// The first instant after the beginning `begin_us` at which the clock shows `later_us` more than there, or still more.
    fn first_showing(&mut self, begin_us: i64, later_us: i64) -> i64 {
        let span = self.span_at(begin_us);
        let shown_us = self.floor(span.shows(begin_us), self.every_us) + later_us;
        self.first_from(span, shown_us)
    }

    /// The first instant of all at which the clock shows `shown_us`, or more.
    fn first_to_show(&mut self, shown_us: i64) -> i64 {
        // No clock is so far ahead of UTC.
        let span = self.span_at(shown_us - JUMP_US_MAX);
        self.first_from(span, shown_us)
    }

    /// The first instant at which the clock shows `shown_us`, or more, from `span` on.
    fn first_from(&mut self, mut span: Span, shown_us: i64) -> i64 {
        loop {
            let at_us = shown_us - span.offset_us;
            if at_us < span.until_us {
                // Where the clock jumped forward over it, that is the jump.
                return at_us.max(span.from_us);
            }
            span = self.span_at(span.until_us);
        }
    }

    fn floor(&self, shown_us: i64, step_us: i64) -> i64 {
        let since = shown_us - self.offset_us;
        shown_us - since.rem_euclid(step_us)
    }

    /// The span of one offset around an instant.
    #[inline]
    fn span_at(&mut self, instant_us: i64) -> Span {
        let Some(zone) = &mut self.zone else { return UTC };
        let [last, before] = &mut zone.spans;
        if !last.holds(instant_us) {
            std::mem::swap(last, before);
            if !last.holds(instant_us) {
                // The name was found when the pipeline was planned.
                *last = Span::find(&zone.name, instant_us).unwrap_or(UTC);
            }
        }
        *last
    }
}

/// Whether windows that begin so far apart begin at dates.
fn is_date(step_us: i64) -> bool {
    step_us % DAY_US == 0
}

#[cfg(test)]
mod tests;
