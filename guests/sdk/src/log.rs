//! Lines for the host's log.
//!
//! They never change a result. The host cuts a line after 4096 bytes and keeps the first 100 of a batch. Natively they go
//! to standard error.

/// Says something that only someone who debugs the rule wants to know.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Says something that is worth a line.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Says something that someone should look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Says that something went wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_family = "wasm")]
use crate::bindings::weir::stage::log::{Level, write};

#[cfg(not(target_family = "wasm"))]
use native::{Level, write};

#[cfg(not(target_family = "wasm"))]
mod native {
    #[derive(Clone, Copy, Debug)]
    pub(super) enum Level {
        Debug,
        Info,
        Warn,
        Error,
    }

    pub(super) fn write(level: Level, message: &str) {
        let level = format!("{level:?}").to_lowercase();
        eprintln!("{level}: {message}");
    }
}

/// Sends a panic's message to the host, which otherwise sees a trap without one.
#[cfg(target_family = "wasm")]
pub(crate) fn send_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("panic without a message");
        match panic.location() {
            Some(at) => error(&format!("{message}, at {}:{}", at.file(), at.line())),
            None => error(message),
        }
    }));
}

/// Natively, Rust's own hook prints the message.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn send_panics() {}
