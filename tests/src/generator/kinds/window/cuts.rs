//! Windows that are cut by the clock of a zone, by looking at that clock at every tick.

use jiff::{Timestamp, tz::TimeZone};

/// How windows are cut. All durations are multiples of the tick, and clocks change at ticks.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Whether windows begin together and grow.
    pub cumulating: bool,
    /// How long a window is.
    pub size_ms: i64,
    /// How far apart windows begin; of cumulating ones, end.
    pub every_ms: i64,
    /// By how much windows begin later than the clock says.
    pub offset_ms: i64,
    /// Whose clock it is; UTC, when absent.
    pub zone: Option<&'static str>,
    /// What all instants are multiples of at which clocks change or windows begin.
    pub tick_ms: i64,
}

/// A window: its first instant, and the first after it.
pub type Bounds = (i64, i64);

/// An instant, and what the clock shows then; and what it would show if it had not just been changed.
struct Tick {
    at_ms: i64,
    shown_ms: i64,
    unchanged_ms: i64,
}

const DAY_MS: i64 = 86_400_000;

/// A Monday: windows of whole weeks begin on one.
const MONDAY_MS: i64 = 4 * DAY_MS;

impl Cut {
    /// Its lines in the file.
    pub(super) fn write(&self) -> String {
        let (size_ms, every_ms) = (self.size_ms, self.every_ms);
        let kind = if self.cumulating { "cumulating" } else { "hopping" };
        let mut text = match size_ms == every_ms && !self.cumulating {
            true => format!("tumbling = \"{size_ms} ms\"\n"),
            false => format!("{kind} = {{ size = \"{size_ms} ms\", every = \"{every_ms} ms\" }}\n"),
        };
        if let Some(zone) = self.zone {
            text += &format!("zone = {zone:?}\n");
        }
        if self.offset_ms != 0 {
            text += &format!("offset = \"{} ms\"\n", self.offset_ms);
        }
        text
    }

    /// All windows that hold an instant from `first_ms` to `last_ms`, and some around them.
    ///
    /// # Panics
    /// When there is no such zone.
    pub fn windows(&self, first_ms: i64, last_ms: i64) -> Vec<Bounds> {
        let ticks = self.ticks(first_ms, last_ms);
        if self.cumulating {
            let starts = self.beginnings(&ticks, self.size_ms);
            let ends = self.beginnings(&ticks, self.every_ms);
            let of_one = starts.windows(2).flat_map(|pair| {
                let (start_ms, full_ms) = (pair[0].0, pair[1].0);
                let within = ends.iter().map(|(end_ms, _)| *end_ms);
                let within = within.filter(move |&end_ms| start_ms < end_ms && end_ms < full_ms);
                within.chain([full_ms]).map(move |end_ms| (start_ms, end_ms))
            });
            return of_one.collect();
        }
        let starts = self.beginnings(&ticks, self.every_ms);
        if self.size_ms == self.every_ms {
            return starts.windows(2).map(|pair| (pair[0].0, pair[1].0)).collect();
        }
        let window = |&(start_ms, shown_ms): &(i64, i64)| {
            let end = ticks
                .iter()
                .find(|tick| tick.at_ms > start_ms && tick.shown_ms >= shown_ms + self.size_ms)?;
            Some((start_ms, end.at_ms))
        };
        starts.iter().filter_map(window).collect()
    }

    fn ticks(&self, first_ms: i64, last_ms: i64) -> Vec<Tick> {
        let zone = self.zone.map(|name| TimeZone::get(name).expect("the zone is known"));
        let offset_ms = |at_ms: i64| match &zone {
            None => 0,
            Some(zone) => i64::from(zone.to_offset(Timestamp::from_millisecond(at_ms).unwrap()).seconds()) * 1000,
        };
        let around_ms = 2 * self.size_ms + if zone.is_some() { 2 * DAY_MS } else { 0 };
        let (first, last) = (
            (first_ms - around_ms).div_euclid(self.tick_ms),
            (last_ms + around_ms).div_euclid(self.tick_ms) + 1,
        );
        let tick = |number: i64| {
            let at_ms = number * self.tick_ms;
            Tick {
                at_ms,
                shown_ms: at_ms + offset_ms(at_ms),
                unchanged_ms: at_ms + offset_ms(at_ms - 1),
            }
        };
        (first..=last).map(tick).collect()
    }

    /// Where a step begins, with what the clock shows there: a multiple, or where it jumped over one that. Whole days begin
    /// once.
    fn beginnings(&self, ticks: &[Tick], step_ms: i64) -> Vec<(i64, i64)> {
        let period_ms = if self.cumulating { self.size_ms } else { self.every_ms };
        let weeks_ms = if period_ms % (7 * DAY_MS) == 0 { MONDAY_MS } else { 0 };
        let past_ms = |shown_ms: i64| (shown_ms - self.offset_ms - weeks_ms).rem_euclid(step_ms);
        let beginning = |tick: &Tick| {
            let multiple_ms = tick.shown_ms - past_ms(tick.shown_ms);
            let jumped_over = tick.unchanged_ms <= multiple_ms && multiple_ms < tick.shown_ms;
            (multiple_ms == tick.shown_ms || jumped_over).then_some((tick.at_ms, multiple_ms))
        };
        let mut beginnings: Vec<(i64, i64)> = ticks.iter().filter_map(beginning).collect();
        if step_ms % DAY_MS == 0 {
            // A date begins once: when the clock first shows it, or a later one.
            let mut latest_ms = i64::MIN;
            beginnings.retain(|(_, multiple_ms)| {
                let is_later = *multiple_ms > latest_ms;
                latest_ms = latest_ms.max(*multiple_ms);
                is_later
            });
        }
        beginnings
    }
}
