//! Where a value is within a payload.

use std::fmt;

/// One step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPart {
    /// The member of an object that is called so.
    Name(String),
    /// The element of an array at this index, from 0.
    Index(usize),
}

/// The way to a value, from the payload on; never empty.
///
/// # Examples
/// ```
/// use weir::model::path::{PathPart, ValuePath};
///
/// let path = ValuePath(vec![
///     PathPart::Name("items".to_owned()),
///     PathPart::Index(0),
///     PathPart::Name("sku".to_owned()),
/// ]);
/// assert_eq!(path.to_string(), "items[0].sku");
/// assert!(ValuePath::of_names("items".split('.')).is_on_way_to(&path));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValuePath(pub Vec<PathPart>);

impl ValuePath {
    /// A path through objects alone.
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(|name| PathPart::Name(name.to_owned())).collect())
    }

    /// Whether another path begins with this one, or is the same.
    pub fn is_on_way_to(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Whether some value would have to be an object for one of two paths, and an array for the other.
    pub fn contradicts(&self, other: &Self) -> bool {
        let mut parts = self.0.iter().zip(&other.0);
        let parting = parts.find(|(one, other)| one != other);
        parting.is_some_and(|(one, other)| matches!(one, PathPart::Name(_)) != matches!(other, PathPart::Name(_)))
    }

    /// The names, where it leads through objects alone.
    pub fn names(&self) -> Option<Vec<String>> {
        let names = self.0.iter().map(|part| match part {
            PathPart::Name(name) => Some(name.clone()),
            PathPart::Index(_) => None,
        });
        names.collect()
    }
}

/// Names with dots between them, indices in brackets.
impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.0.iter().enumerate() {
            match part {
                PathPart::Name(name) if number == 0 => f.write_str(name)?,
                PathPart::Name(name) => write!(f, ".{name}")?,
                PathPart::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
