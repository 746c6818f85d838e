//! How much a guest says over time: each call may be short, and there are many.

use crate::limits::GUEST_LOG_LINES_PER_MINUTE;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// What a guest said in the minute that began last.
#[derive(Debug, Default)]
pub(super) struct Said {
    since: Option<Instant>,
    lines: usize,
    is_told: bool,
}

/// What may be said of some lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// So many of them.
    pub(super) lines: usize,
    /// Whether it is to be told that others are dropped, which is told once in a minute.
    pub(super) tells: bool,
}

impl Said {
    /// How many of so many lines may be said now.
    pub(super) fn allow(&mut self, lines: usize, now: Instant) -> Allowed {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= MINUTE;
        if self.since.is_none_or(is_over) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        let allowed = lines.min(GUEST_LOG_LINES_PER_MINUTE - self.lines);
        self.lines += allowed;
        let tells = allowed < lines && !std::mem::replace(&mut self.is_told, allowed < lines);
        Allowed { lines: allowed, tells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GUEST_LOG_LINES;

    #[test]
    fn a_minute_has_so_many_lines_and_the_next_one_as_many() {
        let (mut said, begun) = (Said::default(), Instant::now());
        let mut allow = |lines, seconds| {
            let Allowed { lines, tells } = said.allow(lines, begun + Duration::from_secs(seconds));
            (lines, tells)
        };
        for call in 0..10 {
            assert_eq!(allow(GUEST_LOG_LINES - 1, 5 * call), (GUEST_LOG_LINES - 1, false));
        }
        assert_eq!(allow(GUEST_LOG_LINES, 59), (10, true));
        assert_eq!(allow(1, 59), (0, false), "it is told once");
        assert_eq!(allow(0, 59), (0, false));
        assert_eq!(allow(1, 60), (1, false));
        assert_eq!(
            allow(GUEST_LOG_LINES_PER_MINUTE, 61),
            (GUEST_LOG_LINES_PER_MINUTE - 1, true)
        );
    }
}
