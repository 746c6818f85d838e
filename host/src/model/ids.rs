//! Indices into a plan, each of a type of its own: the number of a step is no number of a sink.
//!
//! A plan is built and checked once, so an index of it always leads somewhere. A look-up that finds nothing is a defect, and
//! never a reason to go on with a default: [`IdVec::get`] gives an `Option`, and whoever asks says what is wrong.
//!
//! # Examples
//!
//! ```
//! use weir::model::ids::{Id, IdVec, SinkId, TableId};
//!
//! let mut tables: IdVec<TableId, &str> = IdVec::new();
//! let orders = tables.push("orders");
//!
//! assert_eq!(tables.get(orders), Some(&"orders"));
//! assert_eq!(tables.get(TableId::of(1)), None);
//! assert_eq!(format!("lookup table {orders}"), "lookup table 0");
//! ```
//!
//! An index of another kind does not compile:
//!
//! ```compile_fail
//! # use weir::model::ids::{Id, IdVec, SinkId, TableId};
//! # let tables: IdVec<TableId, &str> = IdVec::new();
//! tables.get(SinkId::of(0));
//! ```

use std::{fmt, marker::PhantomData, slice, vec};

/// An index into one kind of list.
pub trait Id: Copy + Ord {
    /// The index with this number.
    fn of(number: usize) -> Self;

    /// Its number, from 0.
    fn number(self) -> usize;
}

/// Declares indices.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(usize);

        impl $name {
            /// The first there is: the only one, where there is but one.
            pub const FIRST: Self = Self(0);
        }

        impl Id for $name {
            #[inline]
            fn of(number: usize) -> Self {
                Self(number)
            }

            #[inline]
            fn number(self) -> usize {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

ids! {
    /// A node of a plan: an input or a step.
    NodeId;
    /// A sink of a plan.
    SinkId;
    /// A lookup table of a plan.
    TableId;
    /// An input of a plan.
    InputId;
}

impl InputId {
    /// The node that this input is: the inputs are the first nodes of a plan.
    pub fn node(self) -> NodeId {
        NodeId(self.0)
    }
}

impl NodeId {
    /// The input that this node is, where it is one.
    pub fn input(self) -> InputId {
        InputId(self.0)
    }
}

/// A list that one kind of index leads into.
///
/// It is a `Vec` at run time, and an index is a number. The crates `index_vec` and `typed-index-collections` offer the same,
/// but also `list[index]`, which panics: nothing of a pipeline may do that, and the lint that forbids it for slices does not
/// see it there.
#[derive(Clone)]
pub struct IdVec<I, T> {
    items: Vec<T>,
    ids: PhantomData<fn(I) -> I>,
}

impl<I: Id, T> IdVec<I, T> {
    /// An empty list.
    pub fn new() -> Self {
        Self::from(Vec::new())
    }

    /// Adds an item, and gives its index.
    pub fn push(&mut self, item: T) -> I {
        let id = self.next_id();
        self.items.push(item);
        id
    }

    /// The index that the next item gets.
    pub fn next_id(&self) -> I {
        I::of(self.items.len())
    }

    /// The item at an index.
    #[inline]
    pub fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.number())
    }

    /// The item at an index, to change it.
    #[inline]
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.items.get_mut(id.number())
    }

    /// The index of the first item that `is_it`.
    pub fn position(&self, is_it: impl FnMut(&T) -> bool) -> Option<I> {
        self.items.iter().position(is_it).map(I::of)
    }

    /// The first item that `is_it`, with its index.
    pub fn find(&self, mut is_it: impl FnMut(&T) -> bool) -> Option<(I, &T)> {
        self.iter_enumerated().find(|(_, item)| is_it(item))
    }

    /// The indices, ascending.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.items.len()).map(I::of)
    }

    /// The items, each with its index.
    pub fn iter_enumerated(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        let items = self.items.iter().enumerate();
        items.map(|(number, item)| (I::of(number), item))
    }

    /// The items, each with its index, to change them.
    pub fn iter_mut_enumerated(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> + ExactSizeIterator {
        let items = self.items.iter_mut().enumerate();
        items.map(|(number, item)| (I::of(number), item))
    }

    /// A list of as many items, each made of one of these and its index.
    pub fn map<'v, U>(&'v self, mut make: impl FnMut(I, &'v T) -> U) -> IdVec<I, U> {
        self.iter_enumerated().map(|(id, item)| make(id, item)).collect()
    }
}

impl<I, T> IdVec<I, T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items, ascending.
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.items.iter()
    }

    /// The items, ascending, to change them.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, T> {
        self.items.iter_mut()
    }

    /// The items, for whoever does not ask for their indices.
    pub fn as_slice(&self) -> &[T] {
        &self.items
    }
}

impl<I: Id, T> Default for IdVec<I, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, T: fmt::Debug> fmt::Debug for IdVec<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}

impl<I, T: PartialEq> PartialEq for IdVec<I, T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl<I, T> From<Vec<T>> for IdVec<I, T> {
    fn from(items: Vec<T>) -> Self {
        let ids = PhantomData;
        Self { items, ids }
    }
}

impl<I, T> FromIterator<T> for IdVec<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl<I, T> IntoIterator for IdVec<I, T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'v, I, T> IntoIterator for &'v IdVec<I, T> {
    type Item = &'v T;
    type IntoIter = slice::Iter<'v, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'v, I, T> IntoIterator for &'v mut IdVec<I, T> {
    type Item = &'v mut T;
    type IntoIter = slice::IterMut<'v, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_stands_at_the_index_that_was_given() {
        let mut names: IdVec<NodeId, String> = IdVec::new();
        let ids = ["orders", "total"].map(|name| names.push(name.to_owned()));
        assert_eq!(ids.map(Id::number), [0, 1]);
        assert_eq!(ids.map(|id| names.get(id).cloned().unwrap()), ["orders", "total"]);
        names.get_mut(ids[1]).unwrap().push('s');
        assert_eq!(names.position(|name| name == "totals"), Some(ids[1]));
        assert_eq!(names.find(|name| name.len() > 4), Some((ids[0], &"orders".to_owned())));
        assert_eq!(names.position(|name| name == "total"), None);
        assert_eq!(names.get(NodeId::of(2)), None);
    }

    #[test]
    fn items_come_in_the_order_of_their_indices() {
        let letters: IdVec<SinkId, char> = "abc".chars().collect();
        let ids: Vec<SinkId> = letters.ids().collect();
        assert!(ids.is_sorted() && ids.len() == letters.len());
        let enumerated: Vec<(SinkId, char)> = letters.iter_enumerated().map(|(id, letter)| (id, *letter)).collect();
        assert_eq!(enumerated, ids.iter().copied().zip("abc".chars()).collect::<Vec<_>>());
        let twice = letters.map(|id, letter| letter.to_string().repeat(id.number()));
        assert_eq!(twice.as_slice(), ["", "b", "cc"]);
    }

    #[test]
    fn an_index_shows_its_number_and_says_in_debug_what_it_is_of() {
        assert_eq!(TableId::of(7).to_string(), "7");
        assert_eq!(format!("{:?}", TableId::of(7)), "TableId(7)");
    }

    #[test]
    fn an_input_is_the_node_of_its_number() {
        assert_eq!(InputId::of(1).node(), NodeId::of(1));
        assert_eq!(NodeId::of(1).input(), InputId::of(1));
    }
}
