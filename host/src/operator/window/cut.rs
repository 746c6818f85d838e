//! Windows that are cut by the clock of a time zone.
//!
//! The clock of a zone goes on evenly but for the changes of its offset, where it jumps. Windows begin at the instants at
//! which it shows a multiple of their step, counted from midnight of 1970-01-01 and an offset: where it jumps back over
//! one, both times; where it jumps forward over one, at the jump. A tumbling window ends where the next one begins, and a
//! longer one when the clock first shows its end, or more. So a day begins at local midnight and has 23 or 25 hours where
//! the clocks change, and an hour that comes twice is two.

use crate::{
    plan::{WindowCut, WindowKind},
    time_zone::{ZoneOffset, offset_at},
};

/// The earliest and the latest instant that windows are told of: far beyond any calendar, and far from the end of 64 bits.
const INSTANT_MS_MAX: i64 = 1 << 60;

/// By how much a clock is put back at most: the farthest that two time zones are apart.
const JUMP_MS_MAX: i64 = 26 * 3_600_000;

/// Cuts time into windows.
#[derive(Debug)]
pub struct Cut {
    cut: WindowCut,
    size_ms: i64,
    /// How far apart windows begin; of cumulating ones, end.
    every_ms: i64,
    offset_ms: i64,
    zone: Option<Zone>,
}

/// A time zone, with the span of one offset that was asked for last.
#[derive(Debug)]
struct Zone {
    name: String,
    span: ZoneOffset,
}

/// A window: its first instant, and the first after it, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounds {
    /// The first instant that is after it.
    pub end_ms: i64,
    /// The first instant.
    pub start_ms: i64,
}

impl Cut {
    /// The windows of a plan.
    ///
    /// # Errors
    /// A sentence for a person: the time zone is not known.
    pub fn new(kind: &WindowKind) -> Result<Self, String> {
        let WindowKind::Aligned {
            cut,
            size_ms,
            every_ms,
            zone,
            offset_ms,
        } = kind
        else {
            return Err("sessions are not cut by the clock".to_owned());
        };
        let zone = zone.as_ref().map(|name| {
            let span = offset_at(name, 0)?;
            let name = name.clone();
            Ok::<_, String>(Zone { name, span })
        });
        Ok(Self {
            cut: *cut,
            size_ms: (*size_ms).max(1),
            every_ms: (*every_ms).max(1),
            offset_ms: *offset_ms,
            zone: zone.transpose()?,
        })
    }

    /// Appends the windows that `time_ms` falls into, the one that ends first in front.
    #[inline]
    pub fn push_windows(&mut self, time_ms: i64, windows: &mut Vec<Bounds>) {
        let time_ms = time_ms.clamp(-INSTANT_MS_MAX, INSTANT_MS_MAX);
        match self.cut {
            WindowCut::Hopping => self.push_hopping(time_ms, windows),
            WindowCut::Cumulating => {
                let start_ms = self.begin(time_ms, self.size_ms);
                let full_ms = self.next_begin(start_ms, self.size_ms);
                let mut end_ms = start_ms;
                while end_ms < full_ms {
                    end_ms = self.next_begin(end_ms, self.every_ms).min(full_ms);
                    if end_ms > time_ms {
                        windows.push(Bounds { end_ms, start_ms });
                    }
                }
            }
        }
    }

    /// Where the step begins that `time_ms` is in: windows begin and end between steps.
    #[inline]
    pub fn step_of(&mut self, time_ms: i64) -> i64 {
        self.begin(time_ms.clamp(-INSTANT_MS_MAX, INSTANT_MS_MAX), self.every_ms)
    }

    fn push_hopping(&mut self, time_ms: i64, windows: &mut Vec<Bounds>) {
        let from = windows.len();
        let mut start_ms = self.begin(time_ms, self.every_ms);
        if self.size_ms == self.every_ms {
            let end_ms = self.next_begin(start_ms, self.every_ms);
            windows.push(Bounds { end_ms, start_ms });
            return;
        }
        loop {
            let end_ms = self.first_showing(start_ms, self.size_ms);
            if end_ms > time_ms {
                windows.push(Bounds { end_ms, start_ms });
                start_ms = self.begin(start_ms - 1, self.every_ms);
                continue;
            }
            // Those that begin earlier end earlier as well; but where the clock was put back, those before may end later.
            let jump_ms = self.span_at(start_ms).valid_from_ms;
            if time_ms.saturating_sub(jump_ms) >= self.size_ms + JUMP_MS_MAX {
                break;
            }
            start_ms = self.begin(jump_ms - 1, self.every_ms);
        }
        if let Some(windows) = windows.get_mut(from..) {
            windows.sort_unstable();
        }
    }

    /// The last beginning of a step that is not after `time_ms`.
    fn begin(&mut self, time_ms: i64, step_ms: i64) -> i64 {
        let mut before_ms = time_ms;
        loop {
            let span = self.span_at(before_ms);
            let shown_ms = before_ms + offset_ms(&span);
            let begin_ms = self.floor(shown_ms, step_ms) - offset_ms(&span);
            if begin_ms >= span.valid_from_ms {
                return begin_ms;
            }
            // The clock jumped since. Where it jumped over a multiple, or to one, the jump is a beginning.
            let jump_ms = span.valid_from_ms;
            let before = self.span_at(jump_ms - 1);
            if self.floor(jump_ms + offset_ms(&span), step_ms) >= jump_ms + offset_ms(&before) {
                return jump_ms;
            }
            before_ms = jump_ms - 1;
        }
    }

    /// The first beginning of a step after `begin_ms`, which is one.
    fn next_begin(&mut self, begin_ms: i64, step_ms: i64) -> i64 {
        let mut span = self.span_at(begin_ms);
        let mut next_ms = self.floor(begin_ms + offset_ms(&span), step_ms) + step_ms - offset_ms(&span);
        while next_ms >= span.valid_until_ms {
            let (jump_ms, before) = (span.valid_until_ms, span);
            span = self.span_at(jump_ms);
            let shown_ms = jump_ms + offset_ms(&span);
            let multiple_ms = self.floor(shown_ms, step_ms);
            if multiple_ms == shown_ms || multiple_ms >= jump_ms + offset_ms(&before) {
                return jump_ms;
            }
            next_ms = multiple_ms + step_ms - offset_ms(&span);
        }
        next_ms
    }

    /// The first instant after the beginning `begin_ms` at which the clock shows `later_ms` more than there, or still more.
    fn first_showing(&mut self, begin_ms: i64, later_ms: i64) -> i64 {
        let mut span = self.span_at(begin_ms);
        let shown_ms = self.floor(begin_ms + offset_ms(&span), self.every_ms) + later_ms;
        loop {
            let at_ms = shown_ms - offset_ms(&span);
            if at_ms < span.valid_until_ms {
                // Where the clock jumped forward over it, that is the jump.
                return at_ms.max(span.valid_from_ms);
            }
            span = self.span_at(span.valid_until_ms);
        }
    }

    fn floor(&self, shown_ms: i64, step_ms: i64) -> i64 {
        let since = shown_ms - self.offset_ms;
        shown_ms - since.rem_euclid(step_ms)
    }

    /// The span of one offset around an instant.
    #[inline]
    fn span_at(&mut self, instant_ms: i64) -> ZoneOffset {
        let Some(zone) = &mut self.zone else { return UTC };
        if instant_ms < zone.span.valid_from_ms || instant_ms >= zone.span.valid_until_ms {
            // The name was found when the pipeline was planned.
            zone.span = offset_at(&zone.name, instant_ms).unwrap_or(UTC);
        }
        zone.span
    }
}

const UTC: ZoneOffset = ZoneOffset {
    offset_s: 0,
    valid_from_ms: i64::MIN,
    valid_until_ms: i64::MAX,
};

fn offset_ms(span: &ZoneOffset) -> i64 {
    i64::from(span.offset_s) * 1000
}

#[cfg(test)]
mod tests;
