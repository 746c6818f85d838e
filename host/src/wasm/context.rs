//! What a guest may import: lines for the log, time zones, and what it carries along.

use super::{
    bindings::{v0_1, v0_2},
    deadline::Meter,
    limiter::Room,
    log::{Allowed, Said},
};
use crate::{
    limits::{GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES, GUEST_LOG_LINES_PER_MINUTE, GUEST_ZONE_BYTES_MAX},
    model::{
        deployment::Whose,
        time_zone::{self, ZoneOffset},
    },
    text::printable,
};
use std::{sync::Arc, time::Instant};
use tracing::Level;
use wasmtime::Trap;

/// The target of events that are lines of a rule's log.
pub const RULE_LOG: &str = "weir::rule";

/// What a store holds for its guest: bounds, and what came in through `log`.
pub(super) struct GuestContext {
    pub(super) room: Room,
    pub(super) meter: Meter,
    /// The last line at level error of this call: a panic's message, when the guest traps after it.
    pub(super) last_error: Option<String>,
    /// The lines of this call. They are written when it ends well: one that fails is called again with parts of its
    /// batch, and would say them again.
    pub(super) log: Vec<(Level, String)>,
    /// How many lines there were beyond [`GUEST_LOG_LINES`].
    pub(super) log_dropped: u64,
    /// Who is speaking, for the log.
    pub(super) name: String,
    /// Which step and version that is.
    pub(super) whose: Whose,
    /// What its component carries beside its code.
    pub(super) attachment: Option<Arc<[u8]>>,
}

impl GuestContext {
    /// Ends a call that is past its deadline. A guest notices that within its own loops and calls, but not between calls of
    /// the host.
    fn check_time(&mut self) -> wasmtime::Result<()> {
        match self.meter.is_due() && self.meter.look().is_none() {
            true => Err(Trap::Interrupt.into()),
            false => Ok(()),
        }
    }

    /// Forgets what the call before left.
    pub(super) fn begin_call(&mut self) {
        self.last_error = None;
        self.log.clear();
        self.log_dropped = 0;
    }

    /// Writes the lines of a call that ended well, of a guest that has said so much.
    pub(super) fn write_log(&mut self, said: &mut Said) {
        if self.log.is_empty() {
            return;
        }
        let Allowed { lines, tells } = said.allow(self.log.len(), Instant::now());
        for (level, line) in self.log.drain(..).take(lines) {
            log_line(&self.whose, level, &line);
        }
        if tells {
            let what = format!(
                "rule {} said more than {GUEST_LOG_LINES_PER_MINUTE} lines in a minute; what it says in the rest of it is dropped",
                self.name
            );
            log_line(&self.whose, Level::WARN, &what);
        }
        // It is a line as well: where none of the guest's is written any more, this one is not.
        if std::mem::take(&mut self.log_dropped) > 0 && lines > 0 {
            let what = format!(
                "rule {} said more than {GUEST_LOG_LINES} lines in one call; the rest is dropped",
                self.name
            );
            log_line(&self.whose, Level::WARN, &what);
        }
    }
}

/// Logs a line of a rule, with the step and the version that it is of.
fn log_line(whose: &Whose, level: Level, line: &str) {
    let (step, version) = (whose.step.as_str(), whose.version);
    match level {
        Level::ERROR => tracing::error!(target: RULE_LOG, step, version, "{line}"),
        Level::WARN => tracing::warn!(target: RULE_LOG, step, version, "{line}"),
        Level::INFO => tracing::info!(target: RULE_LOG, step, version, "{line}"),
        _ => tracing::debug!(target: RULE_LOG, step, version, "{line}"),
    }
}

/// Whether anybody reads lines of this level.
fn is_read(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: RULE_LOG, Level::ERROR),
        Level::WARN => tracing::enabled!(target: RULE_LOG, Level::WARN),
        Level::INFO => tracing::enabled!(target: RULE_LOG, Level::INFO),
        _ => tracing::enabled!(target: RULE_LOG, Level::DEBUG),
    }
}

impl GuestContext {
    /// Takes a line of the guest's.
    fn write_line(&mut self, level: Level, mut message: String) -> wasmtime::Result<()> {
        self.check_time()?;
        let end = message.floor_char_boundary(GUEST_LOG_LINE_BYTES);
        message.truncate(end);
        message.shrink_to_fit();
        let word = level.as_str().to_ascii_lowercase();
        let line =
            is_read(level).then(|| format!("rule {} says ({word}): {}", printable(&self.name), printable(&message)));
        // A trap names it, whether or not anybody reads the log.
        if level == Level::ERROR {
            self.last_error = Some(message);
        }
        let Some(line) = line else { return Ok(()) };
        match self.log.len() < GUEST_LOG_LINES {
            true => self.log.push((level, line)),
            false => self.log_dropped += 1,
        }
        Ok(())
    }

    fn zone_offset(&mut self, zone: &str, instant_ms: i64) -> wasmtime::Result<Result<ZoneOffset, String>> {
        self.check_time()?;
        if zone.len() > GUEST_ZONE_BYTES_MAX {
            let length = zone.len();
            return Ok(Err(format!("there is no time zone with a name of {length} bytes")));
        }
        Ok(time_zone::offset_at(zone, instant_ms))
    }
}

/// Offers the imports of one version of the contract.
macro_rules! offer {
    ($version:ident) => {
        impl $version::weir::stage::log::Host for GuestContext {
            fn write(&mut self, level: $version::weir::stage::log::Level, message: String) -> wasmtime::Result<()> {
                use $version::weir::stage::log::Level as Given;
                let level = match level {
                    Given::Debug => Level::DEBUG,
                    Given::Info => Level::INFO,
                    Given::Warn => Level::WARN,
                    Given::Error => Level::ERROR,
                };
                self.write_line(level, message)
            }
        }

        impl $version::weir::stage::time_zone::Host for GuestContext {
            fn offset_at(
                &mut self,
                zone: String,
                instant_ms: i64,
            ) -> wasmtime::Result<Result<$version::weir::stage::time_zone::ZoneOffset, String>> {
                let found = self.zone_offset(&zone, instant_ms)?;
                Ok(found.map(|found| $version::weir::stage::time_zone::ZoneOffset {
                    offset_s: found.offset_s,
                    valid_from_ms: found.valid_from_ms,
                    valid_until_ms: found.valid_until_ms,
                }))
            }
        }
    };
}

offer!(v0_1);
offer!(v0_2);

impl v0_2::weir::stage::types::Host for GuestContext {}

impl v0_2::weir::stage::attachment::Host for GuestContext {
    fn read(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        self.check_time()?;
        Ok(self.attachment.as_deref().map(<[u8]>::to_vec))
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestContext, Level};
    use crate::{
        limits::GUEST_ZONE_BYTES_MAX,
        model::deployment::Whose,
        wasm::{deadline::Meter, limiter::Room},
    };
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };
    use wasmtime::Trap;

    /// A context in a call that has no time, and the ticks by which it knows.
    fn context() -> (GuestContext, Arc<AtomicU64>) {
        let ticks = Arc::new(AtomicU64::new(0));
        let mut context = GuestContext {
            room: Room::new(0, 0),
            meter: Meter::new(ticks.clone()),
            last_error: None,
            log: Vec::new(),
            log_dropped: 0,
            name: "rule".to_owned(),
            whose: Whose::default(),
            attachment: None,
        };
        context.meter.begin(Duration::ZERO);
        (context, ticks)
    }

    /// What calls the host directly, without a function of its own in between, notices nothing by itself.
    #[test]
    fn a_call_whose_time_is_over_ends_in_whatever_it_asks_of_the_host() {
        let say = |context: &mut GuestContext| context.write_line(Level::INFO, "hello".to_owned()).map(drop);
        let ask = |context: &mut GuestContext| context.zone_offset("UTC", 0).map(drop);
        for call in [&say as &dyn Fn(&mut GuestContext) -> wasmtime::Result<()>, &ask] {
            let (mut context, ticks) = context();
            call(&mut context).unwrap();
            // The first look is what the time is counted from.
            ticks.store(1, Ordering::Relaxed);
            call(&mut context).unwrap();
            ticks.store(2, Ordering::Relaxed);
            let ended = call(&mut context).unwrap_err();
            assert!(matches!(ended.downcast_ref(), Some(Trap::Interrupt)), "{ended}");
        }
    }

    #[test]
    fn a_time_zone_without_measure_is_not_looked_for() {
        let name = "a".repeat(GUEST_ZONE_BYTES_MAX + 1);
        let found = context().0.zone_offset(&name, 0).unwrap();
        assert_eq!(found.unwrap_err(), "there is no time zone with a name of 257 bytes");
    }
}
