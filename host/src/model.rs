//! What passes between the parts: deliveries, columns, rows, turns, and the names of things. Values, and no behaviour
//! beyond their own.

pub mod batch;
pub mod column;
pub mod column_type;
pub mod constant;
pub mod decimal;
pub mod delivery;
pub mod deployment;
pub mod form;
pub mod guest;
pub mod harm;
pub mod headers;
pub mod ids;
pub mod keys;
mod list;
pub mod moved;
pub mod path;
pub mod row;
pub mod rows;
pub mod subject;
pub mod time_zone;
pub mod turn;
