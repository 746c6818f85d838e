//! Scenario 2, before the lookup: which events count.

use weir_guest::{Input, Output, Parameters, stage};

/// What the rule reads of a trace of an account.
#[derive(Input)]
struct Trace<'a> {
    event: Option<&'a str>,
}

/// A trace that counts.
#[derive(Output)]
#[pass(id, now_premium, now_info)]
struct SavedOrder;

#[derive(Parameters)]
struct Settings {
    /// Values of `event` that are kept. None: every trace is kept, also one without an event.
    #[default([])]
    events: Vec<String>,
}

/// Traces of saved orders.
#[stage]
fn saved_orders(trace: Trace, settings: &Settings) -> Option<SavedOrder> {
    let counts = settings.events.is_empty() || settings.events.iter().any(|event| trace.event == Some(event));
    counts.then_some(SavedOrder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(event: Option<&str>, events: &[&str]) -> bool {
        let events = events.iter().copied().map(str::to_owned).collect();
        saved_orders(Trace { event }, &Settings { events }).is_some()
    }

    #[test]
    fn only_the_listed_events_are_kept() {
        assert!(is_kept(Some("save_success"), &["save_success", "renewed"]));
        assert!(is_kept(Some("renewed"), &["save_success", "renewed"]));
        assert!(!is_kept(Some("save_fail"), &["save_success", "renewed"]));
        assert!(!is_kept(Some("SAVE_SUCCESS"), &["save_success"]));
        assert!(!is_kept(None, &["save_success"]));
    }

    #[test]
    fn the_empty_list_keeps_all() {
        let Settings { events } = Settings::defaults().unwrap();
        assert!(events.is_empty());
        assert!(is_kept(Some("save_fail"), &[]));
        assert!(is_kept(None, &[]));
    }

    #[test]
    fn the_empty_text_is_an_event_like_any_other() {
        assert!(is_kept(Some(""), &[""]));
        assert!(!is_kept(Some(""), &["save_success"]));
        assert!(!is_kept(None, &[""]));
    }
}
