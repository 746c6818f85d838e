//! What a guest may import: lines for the log, and time zones.

use super::bindings::weir::stage as imports;
use crate::{
    limits::{GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES},
    text::printable,
    time_zone,
};
use wasmtime::StoreLimits;

/// What a store holds for its guest: bounds, and what came in through `log`.
pub(super) struct GuestContext {
    pub(super) limits: StoreLimits,
    /// The last line at level error of this call: a panic's message, when the guest traps after it.
    pub(super) last_error: Option<String>,
    /// The lines of this call. They are written when it ends well: one that fails is called again with parts of its
    /// batch, and would say them again.
    pub(super) log: Vec<String>,
    /// How many lines there were beyond [`GUEST_LOG_LINES`].
    pub(super) log_dropped: u64,
    /// Who is speaking, for the log.
    pub(super) name: String,
}

impl GuestContext {
    /// Forgets what the call before left.
    pub(super) fn begin_call(&mut self) {
        self.last_error = None;
        self.log.clear();
        self.log_dropped = 0;
    }

    /// Writes the lines of a call that ended well.
    pub(super) fn write_log(&mut self) {
        for line in self.log.drain(..) {
            eprintln!("{line}");
        }
        if std::mem::take(&mut self.log_dropped) > 0 {
            eprintln!(
                "rule {} said more than {GUEST_LOG_LINES} lines in one call; the rest is dropped",
                self.name
            );
        }
    }
}

impl imports::log::Host for GuestContext {
    fn write(&mut self, level: imports::log::Level, mut message: String) {
        use imports::log::Level;
        let end = message.floor_char_boundary(GUEST_LOG_LINE_BYTES);
        message.truncate(end);
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        // Control characters of a guest do not reach a terminal.
        let line = format!("rule {} says ({level}): {}", self.name, printable(&message));
        if level == "error" {
            self.last_error = Some(message);
        }
        match self.log.len() < GUEST_LOG_LINES {
            true => self.log.push(line),
            false => self.log_dropped += 1,
        }
    }
}

impl imports::time_zone::Host for GuestContext {
    fn offset_at(&mut self, zone: String, instant_ms: i64) -> Result<imports::time_zone::ZoneOffset, String> {
        let found = time_zone::offset_at(&zone, instant_ms)?;
        Ok(imports::time_zone::ZoneOffset {
            offset_s: found.offset_s,
            valid_from_ms: found.valid_from_ms,
            valid_until_ms: found.valid_until_ms,
        })
    }
}
