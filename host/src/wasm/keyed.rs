//! Keyed functions: guests that say what becomes of a row and of a time that has come, over states that the host keeps for each
//! key.
//!
//! A [`KeyedInstance`] is given rows with the states of their keys, or keys whose time has come, and gives the states after
//! them, their timers, and rows. A call that fails costs the first piece that makes it fail, found by halving.

mod instance;
mod work;

pub use instance::KeyedInstance;

use super::{aggregate::check_layout, description::check_outputs, measured::Measured};
use crate::model::guest::KeyedDescription;

/// A description that keeps the rules of the contract.
///
/// # Errors
/// Which of them it breaks.
pub(super) fn checked(given: KeyedDescription) -> Result<KeyedDescription, String> {
    let mut measured = Measured::default();
    measured.name("its name", &given.name)?;
    measured.name("its version", &given.version)?;
    measured.doc("what it says that it does", &given.doc)?;
    measured.inputs(&given.inputs)?;
    check_outputs(&given.outputs, &mut measured)?;
    check_layout(&given.state)?;
    measured.specs(&given.parameters)?;
    Ok(given)
}
