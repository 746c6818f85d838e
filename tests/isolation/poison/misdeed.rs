//! What a guest can do wrong, and what is said of it.

/// One way to misbehave.
#[derive(Debug)]
pub(crate) struct Misdeed {
    /// What the event says.
    pub(crate) what: &'static str,
    /// Words in the reason of its dead letter.
    pub(crate) reason: &'static str,
}

/// The deadline of a pipeline in which some rule runs into it: short, since it is waited for.
pub(crate) const SHORTEST_MS: u64 = 50;

/// The deadline of all others: long, so that a busy machine is no misdeed.
pub(crate) const LONGEST_MS: u64 = 400;

impl Misdeed {
    /// The deadline under which it is tried.
    pub(crate) fn deadline_ms(&self) -> u64 {
        if self.what == "loop" { SHORTEST_MS } else { LONGEST_MS }
    }
}

/// All of them.
pub(crate) const MISDEEDS: [Misdeed; 20] = [
    // Calls that do not end well.
    misdeed(
        "trap",
        "the rule trapped: wasm `unreachable` instruction executed; in end_badly (tests/guests/hostile/src/lib.rs:",
    ),
    misdeed("panic", "the rule panicked: it was asked to panic"),
    misdeed("loop", "the rule ran longer than "),
    misdeed(
        "recurse",
        "the rule trapped: call stack exhausted; in recurse (tests/guests/hostile/src/lib.rs:",
    ),
    misdeed("grow", "the rule needs more than 8 MiB of memory"),
    misdeed("huge", "the answer has more than 1 MiB"),
    // Answers that break the contract, in the order in which they are checked.
    misdeed(
        "output-less",
        "the rule broke the contract: it answered with 0 outputs instead of 1",
    ),
    misdeed(
        "far-row",
        "the rule broke the contract: in output \"out\": row 1 of a batch of 1",
    ),
    misdeed("twice", "in output \"out\": row 0 comes again or after a later one"),
    misdeed(
        "column-less",
        "in output \"out\": it answered with 1 columns instead of 2",
    ),
    misdeed("short", "column \"weight\": 0 values for 1 rows"),
    misdeed("validity-2", "column \"weight\": validity byte 2; accepted are 0 and 1"),
    misdeed("null", "column \"echo\": a null, though it is described as never null"),
    misdeed("nan", "column \"weight\": NaN; accepted are finite numbers"),
    misdeed(
        "loose-data",
        "column \"echo\": offsets of texts that do not begin at 0 and end with the data",
    ),
    misdeed(
        "not-utf8",
        "column \"echo\": text that is not UTF-8: invalid utf-8 sequence",
    ),
    misdeed(
        "split-character",
        "column \"echo\": text that is not UTF-8: incomplete utf-8",
    ),
    misdeed("lie", "column \"echo\": int values, though it is described as text"),
    misdeed(
        "both",
        "the rule broke the contract: row 0 is both rejected and in an output",
    ),
    // No misdeed at all, and a dead letter like the others.
    misdeed(
        "reject",
        "column `what` holds \"reject\", which is asked not to be kept",
    ),
];

const fn misdeed(what: &'static str, reason: &'static str) -> Misdeed {
    Misdeed { what, reason }
}
