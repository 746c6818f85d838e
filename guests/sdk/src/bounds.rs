//! What the derives ask of types. Compilers name these traits when a type does not fit; nobody else has to.

pub use crate::aggregate::Applied;
pub use crate::context::Argument;
pub use crate::input::{InputField, InputValue};
pub use crate::output::{ColumnBuilder, MaybeRow, OutputField};
pub use crate::parameters::WireValue;
pub use crate::stage::Verdict;
