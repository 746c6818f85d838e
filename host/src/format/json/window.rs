//! Sixteen bytes at a time: the loads and the byte classes that the scanner is built on.
//!
//! A window that reaches past the payload is filled with zeros. A zero byte is no digit, no quote and no separator, and
//! inside a text it is a control character, so every scan stops there of itself and no reader needs a length check.

/// Bytes in a window.
pub(super) const WIDTH: usize = 16;

/// One bit a byte, the first byte lowest.
pub(super) type Mask = u32;

/// The byte at `at`, or zero past the end.
#[inline(always)]
pub(super) fn byte(payload: &[u8], at: usize) -> u8 {
    payload.get(at).copied().unwrap_or(0)
}

/// The bytes from `at`, filled with zeros past the end.
#[inline(always)]
pub(super) fn window(payload: &[u8], at: usize) -> [u8; WIDTH] {
    match payload.get(at..).and_then(<[u8]>::first_chunk::<WIDTH>) {
        Some(chunk) => *chunk,
        None => last_window(payload, at),
    }
}

/// `window` for the last bytes: the payload's last sixteen, moved down. (A copy of variable length costs a call.)
#[inline(never)]
fn last_window(payload: &[u8], at: usize) -> [u8; WIDTH] {
    let left = payload.len().saturating_sub(at);
    match payload.last_chunk::<WIDTH>() {
        Some(_) if left == 0 => [0; WIDTH],
        Some(chunk) => (u128::from_le_bytes(*chunk) >> (8 * WIDTH.saturating_sub(left))).to_le_bytes(),
        None => {
            let mut chunk = [0; WIDTH];
            for (to, from) in chunk.iter_mut().zip(payload.get(at..).unwrap_or_default()) {
                *to = *from;
            }
            chunk
        }
    }
}

/// The bytes that end a plain run of text: the quote, the backslash, and control characters.
#[inline(always)]
pub(super) fn text_stops(window: &[u8; WIDTH]) -> Mask {
    imp::text_stops(window)
}

/// The bytes outside ASCII.
#[inline(always)]
pub(super) fn non_ascii(window: &[u8; WIDTH]) -> Mask {
    imp::non_ascii(window)
}

/// The bytes that are no decimal digit.
#[inline(always)]
pub(super) fn non_digits(window: &[u8; WIDTH]) -> Mask {
    imp::non_digits(window)
}

/// The place of the lowest bit, or `WIDTH` if none is set.
#[inline(always)]
pub(super) fn first(mask: Mask) -> usize {
    (mask | 1 << WIDTH).trailing_zeros() as usize
}

mod imp {
    //! Two plain words, on every machine: SSE2 intrinsics were 13 % faster and need `unsafe`. In each word the high bit of a byte is that byte's answer; all sums
    //! stay inside their byte.

    use super::{Mask, WIDTH};

    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;

    #[inline(always)]
    fn each(window: &[u8; WIDTH], class: impl Fn(u64) -> u64) -> Mask {
        let both = u128::from_le_bytes(*window);
        // The product gathers the eight high bits, one every eight bits, into the top byte in their order.
        let gather = |word: u64| (((class(word) & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as Mask;
        gather(both as u64) | gather((both >> 64) as u64) << 8
    }

    /// The bytes that are at least `least`, for `least` of 1 to 128.
    #[inline(always)]
    fn at_least(word: u64, least: u64) -> u64 {
        ((word & !HIGH).wrapping_add((128 - least) * LOW)) | word
    }

    #[inline(always)]
    pub(super) fn text_stops(window: &[u8; WIDTH]) -> Mask {
        each(window, |word| {
            let plain = at_least(word, 0x20)
                & at_least(word ^ (LOW * b'"' as u64), 1)
                & at_least(word ^ (LOW * b'\\' as u64), 1);
            !plain
        })
    }

    #[inline(always)]
    pub(super) fn non_ascii(window: &[u8; WIDTH]) -> Mask {
        each(window, |word| word)
    }

    #[inline(always)]
    pub(super) fn non_digits(window: &[u8; WIDTH]) -> Mask {
        each(window, |word| at_least(word ^ (LOW * b'0' as u64), 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_value_falls_into_its_class_at_each_place() {
        for value in 0..=255u8 {
            for place in 0..WIDTH {
                for fill in [b'5', b'a', 0xff, 0x00] {
                    let mut w = [fill; WIDTH];
                    w[place] = value;
                    let expect = |class: &dyn Fn(u8) -> bool| {
                        w.iter().enumerate().fold(0, |m, (i, b)| m | (class(*b) as Mask) << i)
                    };
                    assert_eq!(text_stops(&w), expect(&|b| b == b'"' || b == b'\\' || b < 0x20));
                    assert_eq!(non_ascii(&w), expect(&|b| b >= 0x80));
                    assert_eq!(non_digits(&w), expect(&|b| !b.is_ascii_digit()));
                }
            }
        }
    }

    #[test]
    fn a_window_past_the_end_is_zeros() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..=40 {
            for at in 0..=len + 20 {
                let w = window(&bytes[..len], at);
                for (i, b) in w.iter().enumerate() {
                    assert_eq!(*b, bytes[..len].get(at + i).copied().unwrap_or(0));
                }
            }
        }
    }
}
