//! Answers of guests that are given states: the states after them, and what they reject. What passes here is used without a
//! further look.

use super::check::{check_offsets, shorten};
use crate::{limits::GUEST_STATE_BYTES_MAX, model::column::TextValues};

/// What a guest answers; nothing of it is checked. The innermost error is the guest's own, the one around it says which promise
/// of the contract the answer breaks.
pub(super) type Given<T> = wasmtime::Result<Result<Result<T, RejectedNumber>, String>>;

/// What the guest rejects: the first of what it was given that it cannot take in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RejectedNumber {
    /// Its number.
    pub(super) number: u32,
    /// A sentence for a person.
    pub(super) reason: String,
}

/// What a guest answers: what was asked for, or what stands in its way.
pub(super) type Checked<T> = Result<Result<T, RejectedNumber>, String>;

/// The guest's own answer, where it has one: `check` is for what was asked for, and `count` how much that was.
///
/// # Errors
/// Which promise of the contract it breaks.
pub(super) fn checked<Unchecked, T>(
    given: Result<Unchecked, RejectedNumber>,
    count: usize,
    check: impl FnOnce(Unchecked) -> Result<T, String>,
) -> Checked<T> {
    match given {
        Ok(given) => check(given).map(Ok),
        Err(rejected) if (rejected.number as usize) < count => Ok(Err(RejectedNumber {
            number: rejected.number,
            reason: shorten(rejected.reason),
        })),
        Err(rejected) => Err(format!("it rejects number {} of {count}", rejected.number)),
    }
}

/// Takes as many states from a guest as it was given.
///
/// # Errors
/// Which promise of the contract they break.
pub(super) fn states(given: TextValues, count: usize) -> Result<TextValues, String> {
    let found = given.offsets.len().wrapping_sub(1);
    if found != count {
        return Err(format!("it answered with {found} states instead of {count}"));
    }
    check_offsets(&given.offsets, &given.data, "states")?;
    let too_large = (0..count).find(|&state| given.get(state).len() > GUEST_STATE_BYTES_MAX);
    match too_large.map(|state| given.get(state).len()) {
        Some(bytes) => Err(format!(
            "a state of {bytes} bytes; accepted are up to {GUEST_STATE_BYTES_MAX}"
        )),
        None => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_states(offsets: &[u32], bytes: usize, expected: Result<(), &str>) {
        let given = TextValues {
            offsets: offsets.to_vec(),
            data: vec![0xff; bytes],
        };
        match (states(given, 2), expected) {
            (Ok(_), Ok(())) => {}
            (Err(found), Err(expected)) => assert_eq!(found, expected),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn states_are_pieces_of_any_bytes_up_to_the_limit() {
        check_states(&[0, 0, 0], 0, Ok(()));
        check_states(&[0, 3, 4], 4, Ok(()));
        check_states(&[0, 65536, 131_072], 131_072, Ok(()));
        check_states(
            &[0, 65537, 65538],
            65538,
            Err("a state of 65537 bytes; accepted are up to 65536"),
        );
        let count = |found: &str| format!("it answered with {found} states instead of 2");
        check_states(&[0, 1], 1, Err(&count("1")));
        check_states(&[0, 1, 1, 1], 1, Err(&count("3")));
        check_states(&[], 0, Err(&count("18446744073709551615")));
        check_states(&[0, 2, 1], 1, Err("offsets of states that descend"));
        let ends = "offsets of states that do not begin at 0 and end with the data";
        check_states(&[1, 1, 1], 1, Err(ends));
        check_states(&[0, 1, 2], 3, Err(ends));
    }

    #[test]
    fn only_what_was_given_can_be_rejected() {
        let reject = |number| {
            let rejected = RejectedNumber {
                number,
                reason: "x".repeat(2000),
            };
            checked(Err::<(), _>(rejected), 3, Ok)
        };
        let reason = "x".repeat(1024);
        assert_eq!(reject(2), Ok(Err(RejectedNumber { number: 2, reason })));
        assert_eq!(reject(3), Err("it rejects number 3 of 3".to_owned()));
    }
}
