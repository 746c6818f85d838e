//! What the derives ask of types. Compilers name these traits when a type does not fit; nobody else has to.

pub use crate::aggregate::Applied;
pub use crate::computed::{ColumnBuilder, OutputField};
pub use crate::context::Argument;
pub use crate::decimal::DecimalField;
pub use crate::decoder::{DecodedRow, OfMessage};
pub use crate::event_time::Time;
pub use crate::input::{InputField, InputValue};
#[cfg(feature = "json")]
pub use crate::json::ListElement;
pub use crate::keyed::SameOutputs;
pub use crate::output::Rows;
pub use crate::parameters::WireValue;
pub use crate::stage::Verdict;
