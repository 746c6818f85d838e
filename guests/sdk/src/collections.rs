//! Maps and sets whose keys are fixed, so that they iterate in the same order wherever the same was done with them.

use std::hash::{BuildHasherDefault, DefaultHasher};

/// What [`HashMap`] and [`HashSet`] hash with: keys that never change.
///
/// The standard library's `RandomState` gives each map other keys, so a rule that iterates over one gives other rows in other
/// batches, runs and replays. With keys that are known, whoever chooses what goes into a map can make it slow; where that matters,
/// a `BTreeMap` is never slow.
pub type FixedState = BuildHasherDefault<DefaultHasher>;

/// A [`HashMap`](std::collections::HashMap) with keys that never change; made by `default()`, or collected.
///
/// In one component, two maps that were filled in the same way iterate in the same order: the same insertions and removals, one
/// after the other, from the same capacity on. Another compiler may choose another order. Where the order itself is to mean
/// something, or must not depend on the order of insertions, take a [`BTreeMap`](std::collections::BTreeMap).
///
/// # Examples
/// ```
/// use weir_guest::HashMap;
///
/// let mut seen: HashMap<&str, u32> = HashMap::default();
/// for word in ["blue", "red", "blue"] {
///     *seen.entry(word).or_default() += 1;
/// }
/// assert_eq!(seen["blue"], 2);
/// ```
pub type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A [`HashSet`](std::collections::HashSet) with keys that never change; otherwise as [`HashMap`].
pub type HashSet<T> = std::collections::HashSet<T, FixedState>;

#[cfg(test)]
mod tests {
    use super::{HashMap, HashSet};

    #[test]
    fn what_was_filled_alike_iterates_alike() {
        let map = || (0..100).map(|number| (number, ())).collect::<HashMap<u32, ()>>();
        assert!(map().keys().eq(map().keys()));
        let set = || (0..100).collect::<HashSet<u32>>();
        assert!(set().iter().eq(set().iter()));
    }
}
