//! States of groups and keys, as they come and go in a call.

use crate::abi::States;
use crate::{Reject, State};

/// Bytes of a state, as the contract says.
const STATE_BYTES_MAX: usize = 65536;

/// Bytes that there is room for at first for a state without a bound.
const STATE_BYTES_ASSUMED: usize = 64;

/// States as they came. One of no bytes is new.
pub(crate) fn decode<S: State + Default>(states: &States) -> Vec<S> {
    let decode = |ends: &[u32]| decode_one(&states.data[ends[0] as usize..ends[1] as usize]);
    states.offsets.windows(2).map(decode).collect()
}

pub(crate) fn decode_one<S: State + Default>(mut bytes: &[u8]) -> S {
    match bytes {
        [] => S::default(),
        _ => S::decode(&mut bytes)
            .filter(|_| bytes.is_empty())
            .expect("the host sent a state that is none of this module"),
    }
}

pub(crate) fn encode<S: State>(states: &[S]) -> States {
    encode_each(states, S::encode)
}

/// As [`encode`], but a state that is as it was when it was new has no bytes.
pub(crate) fn encode_or_forget<S: State + Default>(states: &[S]) -> States {
    let mut new = Vec::new();
    S::default().encode(&mut new);
    encode_each(states, |state, data| {
        let start = data.len();
        state.encode(data);
        if data[start..] == new {
            data.truncate(start);
        }
    })
}

fn encode_each<S: State>(states: &[S], encode: impl Fn(&S, &mut Vec<u8>)) -> States {
    let mut offsets = Vec::with_capacity(states.len() + 1);
    offsets.push(0);
    let mut data = Vec::with_capacity(states.len() * S::BYTES_MAX.unwrap_or(STATE_BYTES_ASSUMED));
    for state in states {
        encode(state, &mut data);
        offsets.push(u32::try_from(data.len()).expect("states have at most 2^32 - 1 bytes"));
    }
    States { offsets, data }
}

/// Rejects what makes a state too large. `of` says whose it is.
#[inline(always)]
pub(crate) fn check_size<S: State>(state: &S, of: &str) -> Result<(), Reject> {
    if S::BYTES_MAX.is_some_and(|bytes| bytes <= STATE_BYTES_MAX) {
        return Ok(());
    }
    match state.encoded_bytes() {
        ..=STATE_BYTES_MAX => Ok(()),
        bytes => Err(Reject::new(format!(
            "the state of the {of} would have {bytes} bytes; accepted are up to {STATE_BYTES_MAX}"
        ))),
    }
}
