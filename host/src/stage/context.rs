//! What a guest may import: lines for the log, and time zones.

use super::{
    bindings::weir::stage as imports,
    deadline::Meter,
    limiter::Room,
    log::{Allowed, Said},
};
use crate::{
    limits::{GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES, GUEST_LOG_LINES_PER_MINUTE, GUEST_ZONE_BYTES_MAX},
    say,
    terminal::{self, Level},
    text::printable,
    time_zone,
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
        if std::mem::take(&mut self.log_dropped) > 0 {
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
