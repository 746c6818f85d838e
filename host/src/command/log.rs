//! What the library reports while it works, as lines on standard error.
//!
//! The library emits `tracing` events: a message that is whole without its fields, and the fields for machines. A line is
//! the message, through [`terminal`], so it stands above bars and shows nothing deceptive. Lines of rules
//! ([`RULE_LOG`]) bear the rule's name, all others `weir:`.
//!
//! `-q` and `-v` say how much of Weir's own is shown. `RUST_LOG` (`weir=debug,async_nats=info`) says more than that, also
//! of the crates below; it knows targets and levels, and no spans or patterns, which would bring in a regular-expression
//! engine.

use super::terminal::{self, Level, say};
use crate::wasm::RULE_LOG;
use std::fmt::{self, Write};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, ParseError, Targets},
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

/// Shows events of the library from now on, up to `loudest`.
pub(super) fn begin(loudest: Level) {
    let loudest = match loudest {
        Level::Error => LevelFilter::ERROR,
        Level::Warning => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (shown, broken) = match filter(loudest, &asked) {
        Ok(shown) => (shown, None),
        Err(cause) => (of_weir(loudest), Some(cause)),
    };
    // Somebody who embeds the command may have a subscriber already.
    let _ = tracing_subscriber::registry().with(shown).with(Lines).try_init();
    if let Some(cause) = broken {
        say!(Warning, "weir: RUST_LOG is {asked:?}, which is passed over: {cause}");
    }
}

/// What is shown where nobody asks for more.
fn of_weir(loudest: LevelFilter) -> Targets {
    Targets::new().with_target("weir", loudest)
}

/// What is shown where `asked` says what else; it wins.
fn filter(loudest: LevelFilter, asked: &str) -> Result<Targets, ParseError> {
    // Parsed, an empty text would show the errors of all crates.
    if asked.trim().is_empty() {
        return Ok(of_weir(loudest));
    }
    let asked: Targets = asked.parse()?;
    let others = asked.default_level().unwrap_or(LevelFilter::OFF);
    let targets = asked.iter().map(|(target, level)| (target.to_owned(), level));
    Ok(of_weir(loudest).with_default(others).with_targets(targets))
}

/// Writes each event as a line.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        let mut line = Line {
            text: match target {
                RULE_LOG => String::new(),
                _ if is_ours(target) => "weir: ".to_owned(),
                _ => format!("weir: {target}: "),
            },
            has_fields: !is_ours(target),
        };
        event.record(&mut line);
        terminal::write_line(&line.text);
    }
}

fn is_ours(target: &str) -> bool {
    target == "weir" || target.starts_with("weir::")
}

/// A line as it is put together.
struct Line {
    text: String,
    /// Whether fields are shown. Messages of our own say what they hold.
    has_fields: bool,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name if self.has_fields => write!(self.text, " {name}={value:?}"),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_wins_over_the_default() {
        use tracing::Level;
        for (asked, target, level, shown) in [
            ("", "weir::nats", Level::INFO, true),
            ("", "weir::nats", Level::DEBUG, false),
            ("", "async_nats", Level::ERROR, false),
            ("async_nats=warn", "weir::nats", Level::INFO, true),
            ("async_nats=warn", "async_nats", Level::WARN, true),
            ("weir=debug", "weir::nats", Level::DEBUG, true),
            ("weir::nats=error", "weir::nats", Level::WARN, false),
            ("weir::nats=error", "weir::rule", Level::WARN, true),
        ] {
            let targets = filter(LevelFilter::INFO, asked).expect("it is well-formed");
            assert_eq!(
                targets.would_enable(target, &level),
                shown,
                "{asked:?} {target} {level}"
            );
        }
        assert!(filter(LevelFilter::INFO, "weir=loud").is_err());
    }
}
