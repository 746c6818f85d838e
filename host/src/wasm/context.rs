//! What a guest may import: lines for the log, and time zones.

use super::{
    bindings::weir::stage as imports,
    deadline::Meter,
    limiter::Room,
    log::{Allowed, Said},
};
use crate::{
    limits::{GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES, GUEST_LOG_LINES_PER_MINUTE, GUEST_ZONE_BYTES_MAX},
    model::time_zone,
    say,
    terminal::{self, Level},
    text::printable,
};
use std::time::Instant;
use wasmtime::Trap;

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
            terminal::say(level, format_args!("{line}"));
        }
        if tells {
            say!(
                Warning,
                "rule {} said more than {GUEST_LOG_LINES_PER_MINUTE} lines in a minute; what it says in the rest of it is dropped",
                self.name
            );
        }
        // It is a line as well: where none of the guest's is written any more, this one is not.
        if std::mem::take(&mut self.log_dropped) > 0 && lines > 0 {
            say!(
                Warning,
                "rule {} said more than {GUEST_LOG_LINES} lines in one call; the rest is dropped",
                self.name
            );
        }
    }
}

impl imports::log::Host for GuestContext {
    fn write(&mut self, level: imports::log::Level, mut message: String) -> wasmtime::Result<()> {
        self.check_time()?;
        let end = message.floor_char_boundary(GUEST_LOG_LINE_BYTES);
        message.truncate(end);
        message.shrink_to_fit();
        let (level, word) = match level {
            imports::log::Level::Debug => (Level::Debug, "debug"),
            imports::log::Level::Info => (Level::Info, "info"),
            imports::log::Level::Warn => (Level::Warning, "warn"),
            imports::log::Level::Error => (Level::Error, "error"),
        };
        if !terminal::is_said(level) {
            return Ok(());
        }
        let line = format!("rule {} says ({word}): {}", printable(&self.name), printable(&message));
        if level == Level::Error {
            self.last_error = Some(message);
        }
        match self.log.len() < GUEST_LOG_LINES {
            true => self.log.push((level, line)),
            false => self.log_dropped += 1,
        }
        Ok(())
    }
}

impl imports::time_zone::Host for GuestContext {
    fn offset_at(
        &mut self,
        zone: String,
        instant_ms: i64,
    ) -> wasmtime::Result<Result<imports::time_zone::ZoneOffset, String>> {
        self.check_time()?;
        if zone.len() > GUEST_ZONE_BYTES_MAX {
            let length = zone.len();
            return Ok(Err(format!("there is no time zone with a name of {length} bytes")));
        }
        Ok(
            time_zone::offset_at(&zone, instant_ms).map(|found| imports::time_zone::ZoneOffset {
                offset_s: found.offset_s,
                valid_from_ms: found.valid_from_ms,
                valid_until_ms: found.valid_until_ms,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestContext, imports::log::Host as _, imports::log::Level, imports::time_zone::Host as _};
    use crate::{
        limits::GUEST_ZONE_BYTES_MAX,
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
        };
        context.meter.begin(Duration::ZERO);
        (context, ticks)
    }

    /// What calls the host directly, without a function of its own in between, notices nothing by itself.
    #[test]
    fn a_call_whose_time_is_over_ends_in_whatever_it_asks_of_the_host() {
        let say = |context: &mut GuestContext| context.write(Level::Info, "hello".to_owned()).map(drop);
        let ask = |context: &mut GuestContext| context.offset_at("UTC".to_owned(), 0).map(drop);
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
        let found = context().0.offset_at(name, 0).unwrap();
        assert_eq!(found.unwrap_err(), "there is no time zone with a name of 257 bytes");
    }
}
