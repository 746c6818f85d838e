//! The tables that a pipeline names: made where they are missing, and checked where they are there.

use super::{
    definitions::{self, Others},
    failure::Sqlite,
    schema::{VERSION, quote},
    table_columns::{self, KnownColumn},
    values::sql_type,
};
use crate::{
    error::{Error, Result},
    model::{
        column::Field,
        form::{ColumnForm, Place},
    },
    plan::{Plan, SinkPlan, TablePlan, Target},
};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::path::Path;

/// A table that a pipeline names.
pub(super) struct PipelineTable<'p> {
    pub(super) name: &'p str,
    /// Its columns, and how each is written.
    pub(super) columns: Vec<(&'p Field, ColumnForm)>,
    /// The key, as indices of the columns; nothing where rows are appended.
    pub(super) key: Vec<usize>,
}

impl<'p> PipelineTable<'p> {
    /// That of a sink; nothing for a subject.
    pub(super) fn of_sink(sink: &'p SinkPlan) -> Option<Self> {
        let (name, key) = match &sink.target {
            Target::Table { name, primary_key, .. } => (name, primary_key.as_slice()),
            Target::Append { name } => (name, [].as_slice()),
            Target::Subject { .. } => return None,
        };
        let columns = sink.columns.iter().map(|column| (&column.field, column.column_form()));
        Some(Self {
            name,
            columns: columns.collect(),
            key: key.to_vec(),
        })
    }

    /// A lookup table.
    pub(super) fn of_lookup(table: &'p TablePlan) -> Self {
        let fields = table.columns.iter().map(|column| &column.field);
        Self {
            name: &table.name,
            columns: fields
                .map(|field| (field, ColumnForm::usual(field.column_type, Place::Table)))
                .collect(),
            key: (0..table.key_len).collect(),
        }
    }

    /// All of a pipeline.
    fn all(plan: &'p Plan) -> impl Iterator<Item = Self> {
        let lookups = plan.tables.iter().map(Self::of_lookup);
        lookups.chain(plan.sinks.iter().filter_map(Self::of_sink))
    }

    /// What is remembered of its columns.
    fn known(&self) -> Vec<KnownColumn> {
        let columns = self.columns.iter().map(|(field, form)| KnownColumn {
            name: field.name.clone(),
            form: *form,
        });
        columns.collect()
    }
}

/// The tables of a pipeline, each with the statement that makes it.
pub(super) fn made_tables(plan: &Plan) -> Vec<definitions::Made> {
    let tables = PipelineTable::all(plan);
    tables
        .map(|table| (table.name.to_owned(), create_statement(&table)))
        .collect()
}

/// What the values of a column would mean otherwise than those that are in its table.
pub(super) fn changed_columns(connection: &Connection, plan: &Plan) -> rusqlite::Result<Vec<String>> {
    let mut changed = Vec::new();
    for table in PipelineTable::all(plan) {
        let known = table_columns::read(connection, table.name)?.unwrap_or_default();
        let now = table.known();
        let found = table_columns::changed(&known, &now);
        changed.extend(found.map(|(before, after)| told(table.name, before, after)));
    }
    Ok(changed)
}

fn told(table: &str, before: &KnownColumn, after: &KnownColumn) -> String {
    format!(
        "column \"{}\" of table {table} holds values of {}, and the pipeline now has {}",
        before.name, before.form, after.form
    )
}

/// Makes the tables of a pipeline that are missing, and checks those that are there, Weir's own among them.
pub(super) fn make_tables(connection: &mut Connection, plan: &Plan, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let wrap = || format!("cannot make tables in database {shown}");
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .sqlite(wrap)?;
    for table in PipelineTable::all(plan) {
        make_table(&transaction, &plan.name, &table).map_err(|error| error.context(format!("database {shown}")))?;
    }
    let faults = definitions::faults(&transaction, VERSION, &made_tables(plan), Others::Ignored).sqlite(wrap)?;
    if !faults.is_empty() {
        return Err(Error::mismatch(format!(
            "database {shown} is not as weir made it: {}; undo that, or name another --database",
            faults.join("; ")
        )));
    }
    transaction.commit().sqlite(wrap)
}

fn make_table(transaction: &Transaction<'_>, pipeline: &str, table: &PipelineTable<'_>) -> Result<()> {
    let (name, wanted, columns) = (table.name, create_statement(table), table.known());
    let wrap = || format!("cannot make table {name}");
    let owner: Option<String> = transaction
        .query_row("SELECT pipeline FROM weir_table WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .sqlite(wrap)?;
    if let Some(owner) = owner {
        if owner != pipeline {
            return Err(Error::mismatch(format!(
                "table {name} belongs to pipeline {owner}; name another --database, or another table"
            )));
        }
        let found: Option<String> = transaction
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1",
                [name],
                |row| row.get(0),
            )
            .optional()
            .sqlite(wrap)?;
        let known = table_columns::read(transaction, name).sqlite(wrap)?;
        if let Some((before, after)) = known.as_ref().and_then(|known| table_columns::changed(known, &columns)) {
            return Err(Error::mismatch(format!(
                "{}: the rows that are there would mean something else; undo that, or name another --database",
                told(name, before, after)
            )));
        }
        return match found {
            Some(found) if found == wanted && known.as_ref() == Some(&columns) => Ok(()),
            Some(found) if found == wanted => {
                let update = "UPDATE weir_table SET columns = ?2 WHERE name = ?1";
                let updated = transaction.execute(update, (name, table_columns::to_json(&columns)));
                updated.map(|_| ()).sqlite(wrap)
            }
            Some(found) => Err(Error::mismatch(format!(
                "table {name} is there with other columns: {found}; the pipeline now has: {wanted}; name another --database"
            ))),
            None => Err(Error::mismatch(format!(
                "table {name} was dropped by somebody; name another --database"
            ))),
        };
    }
    transaction.execute_batch(&wanted).sqlite(wrap)?;
    transaction
        .execute(
            "INSERT INTO weir_table (name, pipeline, columns) VALUES (?1, ?2, ?3)",
            (name, pipeline, table_columns::to_json(&columns)),
        )
        .sqlite(wrap)?;
    Ok(())
}

/// A key without nulls is the table's own B-tree. SQLite takes two nulls of a key for different; where there may be
/// some, the key is a unique index and the commit looks for nulls itself.
fn create_statement(table: &PipelineTable<'_>) -> String {
    let key = table.key.iter().filter_map(|&column| table.columns.get(column));
    let key_fields: Vec<&Field> = key.map(|(field, _)| *field).collect();
    let in_key = |field: &Field| key_fields.iter().any(|key| key.name == field.name);
    let mut columns: Vec<String> = table
        .columns
        .iter()
        .map(|(field, form)| {
            let not_null = if !field.nullable && in_key(field) {
                " NOT NULL"
            } else {
                ""
            };
            format!("{} {}{not_null}", quote(&field.name), sql_type(*form))
        })
        .collect();
    let clustered = !key_fields.is_empty() && key_fields.iter().all(|field| !field.nullable);
    if !key_fields.is_empty() {
        let names: Vec<String> = key_fields.iter().map(|field| quote(&field.name)).collect();
        // The primary key of a STRICT table takes no nulls at all.
        columns.push(format!(
            "{} ({})",
            if clustered { "PRIMARY KEY" } else { "UNIQUE" },
            names.join(", ")
        ));
    }
    let options = if clustered { "STRICT, WITHOUT ROWID" } else { "STRICT" };
    format!("CREATE TABLE {} ({}) {options}", quote(table.name), columns.join(", "))
}
