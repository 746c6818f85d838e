//! What a guest may import: lines for the log, and time zones.

use super::bindings::weir::stage as imports;
use crate::{
    limits::{GUEST_LOG_LINE_BYTES, GUEST_LOG_LINES},
    time_zone,
};
use wasmtime::StoreLimits;

/// What a store holds for its guest: bounds, and what came in through `log`.
pub(super) struct GuestContext {
    pub(super) limits: StoreLimits,
    /// The last line at level error of this call: a panic's message, when the guest traps after it.
    pub(super) last_error: Option<String>,
    pub(super) log_lines: u32,
    /// Who is speaking, for the log.
    pub(super) name: String,
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
        self.log_lines += 1;
        // Control characters of a guest do not reach a terminal.
        let shown = message.escape_debug();
        if self.log_lines <= GUEST_LOG_LINES && level != "error" && level != "debug" {
            eprintln!("rule {} says ({level}): {shown}", self.name);
        }
        if level == "error" {
            self.last_error = Some(message);
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
