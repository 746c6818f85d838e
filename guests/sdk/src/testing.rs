//! What tests of rules have, in place of a host.

use std::collections::BTreeMap;

use crate::bounds::Verdict;
use crate::keyed::{Methods, check_later};
use crate::states::{check_size, decode_one};
use crate::{Context, EventTime, State, Timers};

/// Drives a keyed function in a test: keeps the states and timers of its keys, and calls its methods as the host does.
///
/// [`#[keyed]`](macro@crate::keyed) gives its `Rule` a function `driver` that makes one. What the methods return comes
/// back as it is, in the rule's own types.
///
/// ```
/// use std::time::Duration;
/// use weir_guest::{EventTime, Input, Output, Parameters, State, Timers, keyed};
///
/// #[derive(Input)]
/// struct Heartbeat {}
///
/// #[derive(Output)]
/// struct Silent {
///     beats: i64,
/// }
///
/// /// Devices that have sent nothing for a while.
/// #[derive(Default, State)]
/// struct Device {
///     beats: i64,
/// }
///
/// #[derive(Parameters)]
/// struct Settings {
///     /// Seconds after which a device is silent.
///     #[default(60)]
///     silent_s: i64,
/// }
///
/// #[keyed]
/// impl Device {
///     fn on_row(&mut self, _: Heartbeat, at: EventTime, settings: &Settings, timers: &mut Timers) -> Option<Silent> {
///         self.beats += 1;
///         timers.set(at + Duration::from_secs(settings.silent_s as u64));
///         None
///     }
///
///     fn on_timer(&mut self) -> Option<Silent> {
///         let beats = std::mem::take(&mut self.beats); // as a new one: the key is forgotten
///         Some(Silent { beats })
///     }
/// }
///
/// let seconds = |s: i64| EventTime::from_ms(s * 1_000);
/// let mut devices = Rule::driver(Settings::defaults()?);
/// devices.at(seconds(0)).push("pump", Heartbeat {});
/// devices.at(seconds(50)).push("pump", Heartbeat {});
/// devices.at(seconds(20)).push("valve", Heartbeat {});
/// assert_eq!(devices.timer("pump"), Some(seconds(110)));
///
/// let silent = devices.advance_to(seconds(109));
/// assert_eq!(silent.len(), 1);
/// assert_eq!(silent[0].0, "valve");
///
/// let silent = devices.advance_to(seconds(110));
/// assert!(matches!(&silent[..], [(device, Some(Silent { beats: 2 }))] if device == "pump"));
/// assert!(devices.state("pump").is_none());
/// # Ok::<(), String>(())
/// ```
pub struct Driver<M: Methods> {
    context: Context<M::Parameters>,
    event_time: EventTime,
    keys: BTreeMap<String, Kept>,
}

/// What is kept of a key.
#[derive(Default)]
struct Kept {
    state: Vec<u8>,
    timers: Timers,
}

impl<M: Methods> Driver<M> {
    /// For the attribute.
    #[doc(hidden)]
    pub fn new(parameters: M::Parameters) -> Driver<M> {
        Driver {
            context: Context::new(parameters),
            event_time: EventTime::from_us(0),
            keys: BTreeMap::new(),
        }
    }

    /// Sets the event time of the rows that follow; 1970-01-01T00:00:00Z at first. No timer fires: that is
    /// [`advance_to`](Driver::advance_to), as rows of several keys and sources come in any order of time.
    pub fn at(&mut self, at: impl Into<EventTime>) -> &mut Self {
        self.event_time = at.into();
        self
    }

    /// Sets "now" of the rows that follow, in milliseconds since 1970-01-01T00:00:00Z, which is 0 at first.
    pub fn now_ms(&mut self, now_ms: i64) -> &mut Self {
        self.context.set_now_us(now_ms.saturating_mul(1_000));
        self
    }

    /// Calls `on_row` for a row of this key, and returns what that returns. A row that it rejects leaves state and timer as
    /// they were.
    ///
    /// # Panics
    ///
    /// The state has become too large, which would reject the row; or the method panics.
    pub fn push<'r>(&'r mut self, key: &str, row: M::Row<'r>) -> M::Given<'r> {
        let kept = self.keys.entry(key.to_owned()).or_default();
        let mut state: M::State = decode_one(&kept.state);
        let mut timers = kept.timers;
        let given = M::on_row(&mut state, row, self.event_time, &self.context, &mut timers);
        if !given.is_rejected() {
            kept.keep(&state, timers, key);
        }
        if kept.is_nothing() {
            self.keys.remove(key);
        }
        given
    }

    /// Advances the watermark: calls `on_timer` for each key whose time has come by then, in the order of the times, then of
    /// the keys, and returns what that returns. A timer that is set for a time up to then fires too. One that is rejected
    /// has passed without an effect.
    ///
    /// # Panics
    ///
    /// A timer is set for a time that is not after the one that has come, or a state has become too large: both would
    /// reject the timer. Or the method panics.
    pub fn advance_to(&mut self, at: impl Into<EventTime>) -> Vec<(String, M::Fired<'_>)> {
        let until = at.into();
        let mut all = Vec::new();
        loop {
            let waiting = self
                .keys
                .iter()
                .filter_map(|(key, kept)| Some((kept.timers.get()?, key)));
            let Some((came, key)) = waiting.min().filter(|(came, _)| *came <= until) else {
                break;
            };
            let key = key.clone();
            let kept = self.keys.get_mut(&key).expect("it has a timer");
            let mut state: M::State = decode_one(&kept.state);
            let mut timers = Timers::default();
            let fired = M::on_timer(&mut state, came, &self.context.parameters, &mut timers);
            kept.timers.clear();
            if !fired.is_rejected() {
                check_later(timers, came).unwrap_or_else(|reject| panic!("key {key:?}: {reject}"));
                kept.keep(&state, timers, &key);
            }
            if kept.is_nothing() {
                self.keys.remove(&key);
            }
            all.push((key, fired));
        }
        all
    }

    /// The state of a key; nothing where there is none, as of one that has been forgotten.
    pub fn state(&self, key: &str) -> Option<M::State> {
        self.keys.get(key).map(|kept| decode_one(&kept.state))
    }

    /// The time for which a key waits.
    pub fn timer(&self, key: &str) -> Option<EventTime> {
        self.keys.get(key).and_then(|kept| kept.timers.get())
    }
}

impl Kept {
    /// Keeps a state as the host does: as bytes, and as none where it is as a new one is.
    fn keep<S: State + Default>(&mut self, state: &S, timers: Timers, key: &str) {
        check_size(state, "key").unwrap_or_else(|reject| panic!("key {key:?}: {reject}"));
        self.timers = timers;
        self.state.clear();
        state.encode(&mut self.state);
        let mut new = Vec::new();
        S::default().encode(&mut new);
        if self.state == new {
            self.state.clear();
        }
    }

    fn is_nothing(&self) -> bool {
        self.state.is_empty() && self.timers.get().is_none()
    }
}
