//! A table as a storage keeps it, with the types that its pipeline gave it.

use crate::model::form::ColumnForm;

/// A table, with its columns.
#[derive(Clone, Debug)]
pub struct StoredTable {
    /// The name.
    pub name: String,
    /// The pipeline that it belongs to.
    pub pipeline: String,
    /// The columns, in order.
    pub columns: Vec<StoredColumn>,
    /// Those of the key; none for a table to which rows are appended.
    pub key: Vec<String>,
    /// Whether the storage knows the types that the pipeline gave the columns. Where an older Weir made the table, and none has
    /// started the pipeline since, a timestamp is a text, a decimal a double or a text, and a boolean an integer.
    pub is_typed: bool,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct StoredColumn {
    /// The name.
    pub name: String,
    /// Its type, and how its values are written there.
    pub form: ColumnForm,
    /// Whether it may hold null.
    pub is_nullable: bool,
}
