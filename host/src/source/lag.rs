//! How many messages wait: those that the server has, as it says, and those that are under way here.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Kept up to date by a source, read by whoever shows it.
#[derive(Debug, Default)]
pub struct Lag {
    /// The consumer's count of the last message that waits.
    ahead: AtomicU64,
    /// The consumer's count of the last message that came.
    came: AtomicU64,
    /// Messages that were handed on since the start.
    handed_on: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// Why the lag may not be true.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// When the server last said how many wait.
    told: Option<jiff::Timestamp>,
    /// Whether it has not answered since.
    is_silent: bool,
    paused_until: Option<jiff::Timestamp>,
}

/// How many messages wait, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many; where it is not known, how many when it was.
    pub messages: u64,
    /// Since when it is not known: the server does not answer.
    pub unknown_since: Option<jiff::Timestamp>,
    /// Until when somebody paused the consumer, where that could not be undone.
    pub paused_until: Option<jiff::Timestamp>,
}

impl Lag {
    /// A consumer begins that has counted `count` deliveries, behind which `pending` messages wait.
    pub fn begin(&self, count: u64, pending: u64) {
        self.came.store(count, Ordering::Relaxed);
        self.tell(count, pending);
    }

    /// The server says that behind `count` deliveries `pending` messages wait.
    pub fn tell(&self, count: u64, pending: u64) {
        self.ahead.store(count.saturating_add(pending), Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.told = Some(jiff::Timestamp::now());
        trouble.is_silent = false;
    }

    /// A delivery came, behind which `pending` messages waited.
    pub fn came(&self, count: u64, pending: u64) {
        self.came.store(count, Ordering::Relaxed);
        self.ahead.fetch_max(count.saturating_add(pending), Ordering::Relaxed);
    }

    /// So many messages were handed on.
    pub fn handed_on(&self, messages: u64) {
        self.handed_on.fetch_add(messages, Ordering::Relaxed);
    }

    /// The server does not answer.
    pub fn silent(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.is_silent = true;
        trouble.told.get_or_insert_with(jiff::Timestamp::now);
    }

    /// The consumer is paused until then, or is not.
    pub fn paused(&self, until: Option<jiff::Timestamp>) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).paused_until = until;
    }

    /// Whether messages wait behind those that came.
    pub fn is_behind(&self) -> bool {
        self.ahead.load(Ordering::Relaxed) > self.came.load(Ordering::Relaxed)
    }

    /// How many wait, where `committed` messages have been committed since the start.
    pub fn waiting(&self, committed: u64) -> Waiting {
        let at_server = self
            .ahead
            .load(Ordering::Relaxed)
            .saturating_sub(self.came.load(Ordering::Relaxed));
        let under_way = self.handed_on.load(Ordering::Relaxed).saturating_sub(committed);
        let trouble = *self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Waiting {
            messages: at_server.saturating_add(under_way),
            unknown_since: trouble.told.filter(|_| trouble.is_silent),
            paused_until: trouble.paused_until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_at_the_server_or_under_way() {
        let lag = Lag::default();
        lag.begin(7, 10);
        assert_eq!(lag.waiting(0).messages, 10);
        lag.came(9, 8);
        assert_eq!((lag.waiting(0).messages, lag.is_behind()), (8, true));
        lag.handed_on(2);
        assert_eq!(lag.waiting(0).messages, 10, "what was handed on is not committed");
        assert_eq!(lag.waiting(2).messages, 8);
        lag.tell(9, 50);
        lag.came(10, 7);
        assert_eq!(
            lag.waiting(2).messages,
            49,
            "a delivery that waited here does not know what came since"
        );
        assert_eq!(lag.waiting(2).unknown_since, None);
        lag.silent();
        assert!(lag.waiting(2).unknown_since.is_some());
        lag.tell(10, 0);
        assert_eq!(lag.waiting(2), Waiting::default());
    }
}
