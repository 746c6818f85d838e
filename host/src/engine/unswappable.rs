//! What no version may change while it takes over, kind by kind. Whoever refuses one takes its words from here, and the list in
//! `docs/DEPLOYING.md` is made of this one, so that none is refused that the page does not name.
//!
//! What the planner refuses in any pipeline (a column that is not there, a parameter of another type) is not among them, nor
//! what is refused for who deploys it, or for what it did before.

use crate::error::Error;
use std::fmt;

/// A kind of change that is refused, whatever deploys it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unswappable {
    /// Other columns in a sink.
    Sink,
    /// Another state of an operator.
    State,
    /// Another module of an aggregate, in a plan that runs.
    RunningAggregate,
    /// An aggregate whose states are described otherwise.
    AggregateState,
    /// An aggregate that has no result of a state, or one that a rule does not take.
    AggregateResult,
    /// Other steps between a changelog and what reads it.
    Way,
    /// Another rule over a changelog, where nothing judges its current rows.
    RuleWithoutSwap,
    /// A rule over a changelog that a current row cannot go through.
    CurrentRow,
}

/// What is said of a kind.
struct Entry {
    /// What would change.
    what: &'static str,
    /// Why that cannot be.
    why: &'static str,
    /// What to do instead.
    instead: &'static str,
}

impl Unswappable {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Sink,
        Self::State,
        Self::Way,
        Self::CurrentRow,
        Self::RuleWithoutSwap,
        Self::RunningAggregate,
        Self::AggregateState,
        Self::AggregateResult,
    ];

    fn entry(self) -> Entry {
        match self {
            Self::Sink => Entry {
                what: "the columns of a table or of messages, where the sink takes all that its step gives",
                why: "a swap leaves tables as they are",
                instead: "name the columns of the sink in the pipeline file, or run into a new database",
            },
            Self::State => Entry {
                what: "what the state of a step is for: its key, its functions, the columns that it keeps (a version may read one \
                       that `last_value` did not keep so far)",
                why: "what it holds fits nothing else",
                instead: "name another --database and fill it from the stream, or go back to what it is held for",
            },
            Self::Way => Entry {
                what: "the steps between a changelog and a table or step that reads it: a rule more, less, or elsewhere, \
                       or other `columns`",
                why: "rows that came the one way would not be taken back the other",
                instead: "run the pipeline into a new database instead, or put the steps back as they were",
            },
            Self::CurrentRow => Entry {
                what: "a rule over a changelog, for one that fails on a row that its input holds by now, or lets one through \
                       that a rule behind it rejects",
                why: "nobody else can decide that row when it changes",
                instead: "name another module or other parameters, or put back the former",
            },
            Self::RuleWithoutSwap => Entry {
                what: "a rule over a changelog, where the former cannot judge current rows any more: the host died of it, or an \
                       older `weir` filled the database and did not keep it",
                why: "rows that its rule let through so far would stay if another rule took over",
                instead: "run the pipeline into a new database instead, or stay with the former",
            },
            Self::RunningAggregate => Entry {
                what: "the module of an aggregate of your own, while the pipeline runs",
                why: "an aggregate is not swapped while it runs",
                instead: "stop the pipeline and start it again",
            },
            Self::AggregateState => Entry {
                what: "the states of an aggregate of your own, also at a start: the name that its module has for itself, or what it \
                       says of its states",
                why: "a module goes on with states that it describes itself, to the letter",
                instead: "what stands there has to be built anew: name another --database and fill it from the stream, or put back \
                          a module that describes the states that are held",
            },
            Self::AggregateResult => Entry {
                what: "an aggregate of your own at a start, for a module or parameters that have no result of a state that is held, \
                       or one that a rule behind them rejects",
                why: "what stands behind would stay as the former gave it",
                instead: "name another module or other parameters, or put back the former",
            },
        }
    }

    /// What would change.
    pub fn what(self) -> &'static str {
        self.entry().what
    }

    /// Why that cannot be.
    pub fn why(self) -> &'static str {
        self.entry().why
    }

    /// What to do instead.
    pub fn instead(self) -> &'static str {
        self.entry().instead
    }

    /// Refuses what somebody deploys, for `what` of it.
    pub(super) fn definition(self, what: impl fmt::Display) -> Error {
        Error::definition(self.said_of(what))
    }

    /// Refuses a database, for `what` it holds.
    pub(super) fn mismatch(self, what: impl fmt::Display) -> Error {
        Error::mismatch(self.said_of(what))
    }

    fn said_of(self, what: impl fmt::Display) -> String {
        let Entry { why, instead, .. } = self.entry();
        format!("{what}: {why}; {instead}")
    }
}

#[cfg(test)]
mod tests;
