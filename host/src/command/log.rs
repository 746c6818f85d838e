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
    filter::{LevelFilter, Targets},
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

/// Shows events of the library from now on, up to `loudest`.
pub(super) fn begin(loudest: Level) {
    let of_weir = Targets::new().with_target(
        "weir",
        match loudest {
            Level::Error => LevelFilter::ERROR,
            Level::Warning => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        },
    );
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, broken) = match asked.parse::<Targets>() {
        Ok(asked) => (with(of_weir, &asked), None),
        Err(cause) => (of_weir, Some(cause)),
    };
    // Somebody who embeds the command may have a subscriber already.
    let _ = tracing_subscriber::registry().with(filter).with(Lines).try_init();
    if let Some(cause) = broken {
        say!(Warning, "weir: RUST_LOG is {asked:?} and is passed over: {cause}");
    }
}

/// What is shown by default, and what was asked for, which wins.
fn with(filter: Targets, asked: &Targets) -> Targets {
    let others = asked.default_level().unwrap_or(LevelFilter::OFF);
    let targets = asked.iter().map(|(target, level)| (target.to_owned(), level));
    filter.with_default(others).with_targets(targets)
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
        let of_weir = || Targets::new().with_target("weir", LevelFilter::INFO);
        let shows = |asked: &str, target: &str, level| {
            let asked: Targets = asked.parse().expect("it is well-formed");
            with(of_weir(), &asked).would_enable(target, &level)
        };
        for (asked, target, level, shown) in [
            ("", "weir::nats", tracing::Level::INFO, true),
            ("", "weir::nats", tracing::Level::DEBUG, false),
            ("", "async_nats", tracing::Level::ERROR, false),
            ("async_nats=warn", "weir::nats", tracing::Level::INFO, true),
            ("async_nats=warn", "async_nats::connector", tracing::Level::WARN, true),
            ("weir=debug", "weir::nats", tracing::Level::DEBUG, true),
            ("weir::nats=error", "weir::nats", tracing::Level::WARN, false),
            ("weir::nats=error", "weir::rule", tracing::Level::WARN, true),
        ] {
            assert_eq!(shows(asked, target, level), shown, "{asked:?} {target} {level}");
        }
    }
}
