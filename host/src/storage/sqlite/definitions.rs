//! Whether the tables are as Weir made them. A trigger that somebody added, a column with another type or a further unique
//! index changes what a commit writes, or has it fail; that is found before anything is processed.
//!
//! What somebody adds for readers is fine: indexes that are not unique, views, and tables of their own.

use super::schema;
use crate::text::printable;
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// A table that Weir made, with the statement that made it.
pub(super) type Made = (String, String);

/// What becomes of tables of pipelines whose statements are not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They are not looked at.
    Ignored,
    /// Nothing may be added to them that has a say in what is written.
    Checked,
}

/// What is not as it was made: in Weir's own tables of this `layout`, in those of `made`, and in `others`.
pub(super) fn faults(
    connection: &Connection,
    layout: i64,
    made: &[Made],
    others: Others,
) -> rusqlite::Result<Vec<String>> {
    let (own, model) = (own_tables(layout)?, model_of(made)?);
    let (found, made) = (statements(connection)?, statements(&model)?);
    let mut faults = Vec::new();
    for (name, table) in own.iter() {
        if found.get(name) != Some(&table.statements) {
            compare(connection, name, &table.parts, &mut faults)?;
        }
    }
    for (name, expected) in &made {
        if found.get(name) != Some(expected) {
            compare(connection, name, &parts(&model, name)?, &mut faults)?;
        }
    }
    let is_known = |name: &str| own.contains_key(name) || made.contains_key(name);
    let mut others = match others {
        Others::Checked if faults.is_empty() => names(connection, "SELECT name FROM weir_table")?,
        _ => BTreeSet::new(),
    };
    others.retain(|name| !is_known(name));
    for name in &others {
        let (found, shown) = (parts(connection, name)?, printable(name));
        if found.is_empty() {
            faults.push(format!("table {shown} is missing"));
        }
        let added = found.iter().filter(|part| part.starts_with(UNIQUE));
        faults.extend(added.map(|part| format!("table {shown} has {part}, which weir did not make")));
    }
    let mut triggers =
        connection.prepare("SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")?;
    let mut rows = triggers.query([])?;
    while let Some(row) = rows.next()? {
        let (trigger, table): (String, String) = (row.get(0)?, row.get(1)?);
        let is_ours = |name: &String| name.eq_ignore_ascii_case(&table);
        if own.keys().chain(made.keys()).chain(&others).any(is_ours) {
            let (trigger, table) = (printable(&trigger), printable(&table));
            faults.push(format!(
                "table {table} has a trigger {trigger}, which weir did not make"
            ));
        }
    }
    Ok(faults)
}

/// Adds what a table has more than the `expected` parts, or less.
fn compare(
    connection: &Connection,
    name: &str,
    expected: &BTreeSet<String>,
    faults: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let (found, shown) = (parts(connection, name)?, printable(name));
    if found.is_empty() {
        faults.push(format!("table {shown} is missing"));
        return Ok(());
    }
    let added = found.difference(expected);
    faults.extend(added.map(|part| format!("table {shown} has {part}, which weir did not make")));
    let missing = expected.difference(&found);
    faults.extend(missing.map(|part| format!("table {shown} does not have {part}")));
    Ok(())
}

/// A table as Weir makes it.
struct Table {
    statements: Statements,
    /// What has a say in what is written to it.
    parts: BTreeSet<String>,
}

/// Tables by their names.
type Tables = BTreeMap<String, Table>;

/// Weir's own tables. To make them takes longer than to look at those of a database, and a process may open many.
fn own_tables(layout: i64) -> rusqlite::Result<Arc<Tables>> {
    static KNOWN: Mutex<BTreeMap<i64, Arc<Tables>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tables) = known.get(&layout) {
        return Ok(tables.clone());
    }
    let model = Connection::open_in_memory()?;
    schema::make_own(&model, layout)?;
    let tables = statements(&model)?.into_iter().map(|(name, statements)| {
        let parts = parts(&model, &name)?;
        Ok((name, Table { statements, parts }))
    });
    let tables = Arc::new(tables.collect::<rusqlite::Result<_>>()?);
    known.insert(layout, Arc::clone(&tables));
    Ok(tables)
}

/// A database that holds the tables that these statements make.
fn model_of(made: &[Made]) -> rusqlite::Result<Connection> {
    let model = Connection::open_in_memory()?;
    for (_, statement) in made {
        model.execute_batch(statement)?;
    }
    Ok(model)
}

/// The statements that made a table and its indexes, by kind and name. An index that comes with a key has none. Tables of
/// the same statements are the same.
type Statements = BTreeSet<(String, String, Option<String>)>;

/// Those of all tables, by the name of the table.
fn statements(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Statements>> {
    let mut tables: BTreeMap<String, Statements> = BTreeMap::new();
    let mut all =
        connection.prepare("SELECT tbl_name, type, name, sql FROM sqlite_schema WHERE type IN ('table', 'index')")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let table = tables.entry(row.get(0)?).or_default();
        table.insert((row.get(1)?, row.get(2)?, row.get(3)?));
    }
    Ok(tables)
}

fn names(connection: &Connection, query: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(query)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// How a unique index begins that somebody named.
const UNIQUE: &str = "a unique index \"";

/// What has a say in what is written to a table; nothing where there is no such table.
fn parts(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut parts = BTreeSet::new();
    // A view has columns too.
    let is_table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if connection.query_row(is_table, [table], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(parts);
    }
    let mut each = |query: &str, argument: &str| -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(query)?;
        let mut rows = statement.query([argument])?;
        while let Some(row) = rows.next()? {
            parts.insert(printable(row.get::<_, String>(0)?.trim()));
        }
        Ok(())
    };
    each(
        "SELECT concat('column \"', name, '\" ', type, iif(\"notnull\", ' NOT NULL', ''), ' DEFAULT ' || dflt_value,
             iif(pk > 0, ' as part ' || pk || ' of the key', ''), iif(hidden > 0, ' that is computed', ''))
         FROM pragma_table_xinfo(?1)",
        table,
    )?;
    each(
        "SELECT concat(iif(wr, 'no rows by number', 'rows by number'), ', ', iif(strict, 'strict types', 'loose types'))
         FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?1",
        table,
    )?;
    // An index that comes with a key has no name of anybody's choice.
    each(
        "SELECT concat('a unique index ', iif(origin = 'c', '\"' || list.name || '\" ', ''), 'on ',
             (SELECT group_concat(coalesce(name, 'an expression') || ' ' || coll, ', ' ORDER BY seqno)
              FROM pragma_index_xinfo(list.name) WHERE key))
         FROM pragma_index_list(?1) AS list WHERE list.\"unique\"",
        table,
    )?;
    each(
        "SELECT concat('a foreign key on column \"', \"from\", '\"') FROM pragma_foreign_key_list(?1)",
        table,
    )?;
    // What no pragma tells stands in the text alone; no table of Weir has any of it.
    each(
        "SELECT concat('a clause ', word) FROM sqlite_schema,
             (SELECT 'CHECK' AS word UNION SELECT 'COLLATE' UNION SELECT 'ON CONFLICT' UNION SELECT 'AUTOINCREMENT')
         WHERE type = 'table' AND name = ?1 AND instr(upper(sql), word) > 0
             AND (word <> 'CHECK' OR instr(replace(replace(upper(sql), ' ', ''), char(10), ''), 'CHECK(') > 0)",
        table,
    )?;
    Ok(parts)
}
