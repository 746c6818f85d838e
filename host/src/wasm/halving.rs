//! Work of which a part can be done, as long as those before it are: a call that fails costs the first piece that makes it fail,
//! found by halving.

use super::{
    call::World,
    check::shorten,
    context::GuestContext,
    guest::Guest,
    states::{Checked, Given, RejectedNumber},
};
use crate::{
    limits::GUEST_CALL_STATE_BYTES_MAX,
    model::{
        column::TextValues,
        guest::{GuestFailure, RejectedInput},
    },
};
use std::ops::Range;
use wasmtime::Store;

/// Why a part was not done.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its states are too much for one call.
    TooMuch,
    /// The call failed.
    Failed(GuestFailure),
    /// The guest rejects something.
    Rejected(RejectedNumber),
}

/// Work of a guest of the world `W`.
pub(super) trait Work<W: World> {
    /// Has a part done, and keeps what came of it.
    fn call(&mut self, guest: &mut Guest<W>, description: &W::Description, part: Range<usize>) -> Result<(), Stopped>;
}

/// Whom to believe when the guest names what it rejects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The guest.
    Whole,
    /// Nobody, since the guest broke its word: halving finds it, in bounded time.
    Halves,
}

/// Does all pieces of the work, or what stands before the first that is refused.
///
/// A part that fails is halved; so the search takes about two calls for each time that its length can be halved, and one more
/// where what failed alone did so in an instance that had been called.
pub(super) fn run<W: World>(
    guest: &mut Guest<W>,
    description: &W::Description,
    work: &mut impl Work<W>,
    pieces: usize,
) -> Option<RejectedInput> {
    run_part(guest, description, work, 0..pieces, Trust::Whole)
}

fn run_part<W: World>(
    guest: &mut Guest<W>,
    description: &W::Description,
    work: &mut impl Work<W>,
    part: Range<usize>,
    trust: Trust,
) -> Option<RejectedInput> {
    if part.is_empty() {
        return None;
    }
    let stopped = match work.call(guest, description, part.clone()) {
        Ok(()) => return None,
        Err(stopped) => stopped,
    };
    let is_alone = part.len() == 1;
    match stopped {
        Stopped::Rejected(rejected) if is_alone || trust == Trust::Whole => {
            // The guest promised to take in what stands before.
            let before = part.start..part.start + rejected.number as usize;
            let rejected = RejectedInput {
                reason: rejected.reason,
                failed: false,
                timed_out: false,
            };
            run_part(guest, description, work, before, Trust::Halves).or(Some(rejected))
        }
        // What other rows left in the instance must not cost this one: a new one is asked.
        Stopped::Failed(failure) if is_alone && failure.used => run_part(guest, description, work, part, trust),
        Stopped::Failed(failure) if is_alone => Some(RejectedInput {
            reason: shorten(failure.reason),
            failed: true,
            timed_out: failure.timed_out,
        }),
        Stopped::TooMuch if is_alone => Some(RejectedInput {
            reason: format!("its states have more than {GUEST_CALL_STATE_BYTES_MAX} bytes"),
            failed: true,
            timed_out: false,
        }),
        _ => {
            let middle = part.start + part.len() / 2;
            run_part(guest, description, work, part.start..middle, trust)
                .or_else(|| run_part(guest, description, work, middle..part.end, trust))
        }
    }
}

/// Calls a guest with so many rows, and has its answer checked.
///
/// # Errors
/// Why there is none.
pub(super) fn ask<W: World, Unchecked, T>(
    guest: &mut Guest<W>,
    rows: usize,
    call: impl FnOnce(&W, &mut Store<GuestContext>) -> Given<Unchecked>,
    check: impl FnOnce(Result<Unchecked, RejectedNumber>) -> Checked<T>,
) -> Result<T, Stopped> {
    match guest.work(rows, call, |given| given.and_then(check)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(rejected)) => Err(Stopped::Rejected(rejected)),
        Err(failure) => Err(Stopped::Failed(failure)),
    }
}

/// States as one call takes them.
///
/// # Errors
/// They are too much for one call.
pub(super) fn concatenated<'a>(states: impl Iterator<Item = &'a [u8]>) -> Result<TextValues, Stopped> {
    let mut all = TextValues::default();
    for state in states {
        if all.data.len() + state.len() > GUEST_CALL_STATE_BYTES_MAX {
            return Err(Stopped::TooMuch);
        }
        all.push(state);
    }
    Ok(all)
}
