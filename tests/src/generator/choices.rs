//! Decisions, one after the other.

use crate::seed::Random;

/// Where decisions come from: bytes, of which each decides one thing, so that proptest can make what they decide smaller;
/// or a seed, which never ends.
#[derive(Clone, Debug)]
pub struct Choices<'a>(From<'a>);

#[derive(Clone, Debug)]
enum From<'a> {
    Bytes(std::slice::Iter<'a, u8>),
    Seed(Random),
}

impl<'a> Choices<'a> {
    /// The decisions of these bytes; those beyond the last are 0.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(From::Bytes(bytes.iter()))
    }

    /// The decisions of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self(From::Seed(Random::new(seed)))
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        match &mut self.0 {
            From::Bytes(bytes) => bytes.next().map_or(0, |&byte| usize::from(byte) % count),
            From::Seed(random) => random.below(count),
        }
    }

    /// True so many times out of `of`.
    pub fn happens(&mut self, times: usize, of: usize) -> bool {
        self.below(of) < times
    }

    /// One of `all`.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Some of `0 .. count`, at least `least` of them, unless the same is drawn again.
    pub fn some_of(&mut self, count: usize, least: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        for _ in 0..least.max(self.below(count + 1)) {
            let at = self.below(count);
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        chosen
    }
}
