//! The tables that a pipeline names: made where they are missing, and checked where they are there.

use super::{
    definitions::{self, Others},
    failure::Sqlite,
    schema::{VERSION, quote},
    values::sql_type,
};
use crate::{
    error::{Error, Result},
    model::column::Field,
    plan::{Plan, Target},
};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::path::Path;

/// The tables of a pipeline, each with the statement that makes it.
pub(super) fn made_tables(plan: &Plan) -> Vec<definitions::Made> {
    let tables = plan.tables.iter().map(|table| {
        let fields: Vec<&Field> = table.columns.iter().map(|column| &column.field).collect();
        let key: Vec<usize> = (0..table.key_len).collect();
        (table.name.clone(), create_statement(&table.name, &fields, &key))
    });
    let sinks = plan.sinks.iter().filter_map(|sink| {
        let fields: Vec<&Field> = sink.columns.iter().map(|(field, _)| field).collect();
        let (name, key) = match &sink.target {
            Target::Table { name, primary_key, .. } => (name, primary_key.as_slice()),
            Target::Append { name } => (name, [].as_slice()),
            Target::Subject { .. } => return None,
        };
        Some((name.clone(), create_statement(name, &fields, key)))
    });
    tables.chain(sinks).collect()
}

/// Makes the tables of a pipeline that are missing, and checks those that are there, Weir's own among them.
pub(super) fn make_tables(connection: &mut Connection, plan: &Plan, path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let wrap = || format!("cannot make tables in database {shown}");
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .sqlite(wrap)?;
    for (name, wanted) in made_tables(plan) {
        make_table(&transaction, &plan.name, &name, &wanted)
            .map_err(|error| error.context(format!("database {shown}")))?;
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

fn make_table(transaction: &Transaction<'_>, pipeline: &str, name: &str, wanted: &str) -> Result<()> {
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
        return match found {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(Error::mismatch(format!(
                "table {name} is there with other columns: {found}; the pipeline now has: {wanted}; name another --database"
            ))),
            None => Err(Error::mismatch(format!(
                "table {name} was dropped by somebody; name another --database"
            ))),
        };
    }
    transaction.execute_batch(wanted).sqlite(wrap)?;
    transaction
        .execute(
            "INSERT INTO weir_table (name, pipeline) VALUES (?1, ?2)",
            (name, pipeline),
        )
        .sqlite(wrap)?;
    Ok(())
}

/// A key without nulls is the table's own B-tree. SQLite takes two nulls of a key for different; where there may be
/// some, the key is a unique index and the commit looks for nulls itself.
fn create_statement(name: &str, fields: &[&Field], key: &[usize]) -> String {
    let key_fields: Vec<&&Field> = key.iter().filter_map(|&column| fields.get(column)).collect();
    let in_key = |field: &Field| key_fields.iter().any(|key| key.name == field.name);
    let mut columns: Vec<String> = fields
        .iter()
        .map(|field| {
            let not_null = if !field.nullable && in_key(field) {
                " NOT NULL"
            } else {
                ""
            };
            format!("{} {}{not_null}", quote(&field.name), sql_type(field.column_type))
        })
        .collect();
    let clustered = !key.is_empty() && key_fields.iter().all(|field| !field.nullable);
    if !key.is_empty() {
        let names: Vec<String> = key_fields.iter().map(|field| quote(&field.name)).collect();
        // The primary key of a STRICT table takes no nulls at all.
        columns.push(format!(
            "{} ({})",
            if clustered { "PRIMARY KEY" } else { "UNIQUE" },
            names.join(", ")
        ));
    }
    let options = if clustered { "STRICT, WITHOUT ROWID" } else { "STRICT" };
    format!("CREATE TABLE {} ({}) {options}", quote(name), columns.join(", "))
}
