//! Whether a turn is one of its plan: seen by every storage before it writes anything.

use crate::{
    error::{Error, Result},
    model::turn::{SinkRows, Turn},
    plan::{Plan, Target},
};

/// Checks that each part of a turn has a place in the plan: what has none would be lost while the position moves on.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::error::ErrorKind::Defect): the engine made a turn of another plan.
pub(super) fn check_turn(plan: &Plan, turn: &Turn) -> Result<()> {
    if turn.sinks.len() != plan.sinks.len() {
        let (found, wanted) = (turn.sinks.len(), plan.sinks.len());
        return Err(Error::defect(format_args!(
            "a turn has {found} sinks, and the plan {wanted}"
        )));
    }
    if turn.tables.len() != plan.tables.len() {
        let (found, wanted) = (turn.tables.len(), plan.tables.len());
        return Err(Error::defect(format_args!(
            "a turn has {found} lookup tables, and the plan {wanted}"
        )));
    }
    for ((id, sink), rows) in plan.sinks.iter_enumerated().zip(&turn.sinks) {
        match (&sink.target, rows) {
            (_, None)
            | (Target::Table { .. }, Some(SinkRows::Upserts(_)))
            | (Target::Append { .. }, Some(SinkRows::Appends(_))) => {}
            (target, Some(_)) => {
                return Err(Error::defect(format_args!(
                    "sink {id}, {target:?}, has rows of another kind"
                )));
            }
        }
    }
    turn.messages
        .iter()
        .try_for_each(|message| match plan.sinks.get(message.sink).map(|sink| &sink.target) {
            Some(Target::Subject { .. }) => Ok(()),
            _ => Err(Error::defect(format_args!(
                "a message of event {} is for sink {}",
                message.sequence, message.sink
            ))),
        })
}
