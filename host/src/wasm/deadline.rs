//! How long a call may take: the time that the guest itself had the processor.
//!
//! A wall clock would make a call's end depend on what else the machine does. So the clock behind deadlines, whose ticks
//! guests notice within their loops and calls, only says when to look. A call that ends before the first tick reads no
//! clock at all.

use crate::limits::{EPOCH_TICK, GUEST_WALL_MIN, GUEST_WALL_TIMES};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Which bound a call ran past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The deadline: the guest had the processor for so long.
    Own,
    /// The bound for a guest that waits for the processor.
    Wall(Spent),
}

/// What a call took so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) wall: Duration,
    /// Time of the processor.
    pub(super) own: Duration,
}

/// Watches over the deadline of one call after the other.
#[derive(Debug)]
pub(super) struct Meter {
    /// The ticks of the process.
    ticks: Arc<AtomicU64>,
    deadline: Duration,
    /// The tick at which to look.
    due: u64,
    /// What the clocks said when they were first read in this call: at most a tick after it began.
    began: Option<(Instant, Duration)>,
    over: Option<Over>,
}

impl Meter {
    pub(super) fn new(ticks: Arc<AtomicU64>) -> Self {
        Self {
            ticks,
            deadline: Duration::ZERO,
            due: 0,
            began: None,
            over: None,
        }
    }

    /// A call begins. Gives the ticks after which to [look](Meter::look).
    pub(super) fn begin(&mut self, deadline: Duration) -> u64 {
        self.deadline = deadline;
        self.began = None;
        self.over = None;
        self.after(1)
    }

    /// Whether it is time to look, for what the host does on behalf of a guest.
    pub(super) fn is_due(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) >= self.due
    }

    /// Looks at the clocks. Gives the ticks after which to look again, unless the call has to end.
    pub(super) fn look(&mut self) -> Option<u64> {
        let (wall, own) = (Instant::now(), own_time());
        let Some((wall_before, own_before)) = self.began else {
            self.began = Some((wall, own));
            return Some(self.after(ticks(self.deadline)));
        };
        let spent = Spent {
            wall: wall.saturating_duration_since(wall_before),
            own: own.saturating_sub(own_before),
        };
        match decide(self.deadline, spent) {
            Ok(rest) => Some(self.after(ticks(rest))),
            Err(over) => {
                self.over = Some(over);
                None
            }
        }
    }

    /// Which bound the call ran past.
    pub(super) fn over(&self) -> Option<Over> {
        self.over
    }

    fn after(&mut self, ticks: u64) -> u64 {
        self.due = self.ticks.load(Ordering::Relaxed).saturating_add(ticks);
        ticks
    }
}

/// How long a call that took so much may go on before it is looked at again.
///
/// # Errors
/// Which bound it is past.
fn decide(deadline: Duration, spent: Spent) -> Result<Duration, Over> {
    let most = wall_most(deadline);
    if spent.own >= deadline {
        Err(Over::Own)
    } else if spent.wall >= most {
        Err(Over::Wall(spent))
    } else {
        Ok((deadline - spent.own).min(most - spent.wall))
    }
}

/// How long a call may take by the clock on the wall.
pub(super) fn wall_most(deadline: Duration) -> Duration {
    (deadline * GUEST_WALL_TIMES).max(GUEST_WALL_MIN)
}

/// Ticks that cover `time`.
fn ticks(time: Duration) -> u64 {
    (time.as_nanos().div_ceil(EPOCH_TICK.as_nanos()) as u64).max(1)
}

/// The time of the processor that this thread had.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::{Meter, Over, Spent, decide, own_time, ticks, wall_most};
    use std::{hint::black_box, sync::Arc, time::Duration};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn decided(deadline: u64, wall: u64, own: u64) -> Result<u64, Over> {
        let spent = Spent {
            wall: ms(wall),
            own: ms(own),
        };
        decide(ms(deadline), spent).map(|rest| rest.as_millis() as u64)
    }

    #[test]
    fn a_guest_that_had_its_time_is_ended() {
        assert_eq!(decided(500, 500, 500), Err(Over::Own));
        assert_eq!(decided(500, 9000, 501), Err(Over::Own));
        assert_eq!(decided(1, 1, 1), Err(Over::Own));
    }

    #[test]
    fn a_guest_that_waited_for_the_processor_goes_on_for_the_rest() {
        assert_eq!(decided(500, 500, 499), Ok(1));
        assert_eq!(decided(500, 510, 0), Ok(500));
        assert_eq!(decided(500, 9800, 120), Ok(200), "up to the bound of the wall clock");
    }

    #[test]
    fn a_guest_that_gets_no_processor_is_ended_all_the_same() {
        let spent = |wall, own| Spent {
            wall: ms(wall),
            own: ms(own),
        };
        assert_eq!(decided(500, 10_000, 120), Err(Over::Wall(spent(10_000, 120))));
        assert_eq!(decided(50, 9999, 0), Ok(1));
        assert_eq!(decided(60_000, 1_199_999, 59_000), Ok(1));
        assert_eq!(decided(60_000, 1_200_000, 0), Err(Over::Wall(spent(1_200_000, 0))));
        assert_eq!(wall_most(ms(500)), ms(10_000));
        assert_eq!(wall_most(ms(60_000)), ms(1_200_000));
    }

    #[test]
    fn ticks_cover_a_time() {
        let of = |times: [u64; 5]| times.map(|time| ticks(Duration::from_micros(time)));
        assert_eq!(of([0, 1, 10_000, 10_001, 500_000]), [1, 1, 1, 2, 50]);
    }

    #[test]
    fn the_time_of_the_processor_stands_still_while_a_thread_waits() {
        let (before, work) = (own_time(), |rounds: u64| {
            (0..rounds).fold(0, |sum, at| sum ^ black_box(at))
        });
        while own_time() - before < ms(2) {
            black_box(work(1000));
        }
        // Whatever other threads do, it is not counted here.
        let here = own_time();
        std::thread::spawn(move || {
            let begun = own_time();
            while own_time() - begun < ms(50) {
                black_box(work(1000));
            }
        })
        .join()
        .unwrap();
        assert!(own_time() - here < ms(40));
    }

    #[test]
    fn a_call_is_first_looked_at_after_a_tick() {
        let now = Arc::default();
        let mut meter = Meter::new(Arc::clone(&now));
        assert_eq!(meter.begin(ms(100)), 1);
        assert!(!meter.is_due());
        now.store(1, std::sync::atomic::Ordering::Relaxed);
        assert!(meter.is_due());
        assert_eq!(meter.look(), Some(10));
        assert!(!meter.is_due());
        assert_eq!(meter.over(), None);
    }
}
