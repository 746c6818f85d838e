//! Weir's own tables: their layout, and older ones brought up to it.

use super::failure::Sqlite;
use crate::error::{Error, Result};
use rusqlite::Connection;
use std::path::Path;

/// The layout of Weir's own tables.
pub(super) const VERSION: i64 = 8;

/// The layout that first had the types of columns.
pub(super) const LAYOUT_OF_COLUMNS: i64 = 8;

/// The oldest layout that [`prepare`] brings up to [`VERSION`].
const VERSION_OLDEST: i64 = 1;

/// Marks a file as a database of Weir ("Weir" in ASCII).
const APPLICATION_ID: i64 = 0x5765_6972;

const TABLES: &str = "
    -- One row per pipeline: where it is, and what became of everything up to there.
    CREATE TABLE weir_pipeline (
        name TEXT PRIMARY KEY,
        source TEXT,
        position INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        content_hash INTEGER NOT NULL,
        seed INTEGER NOT NULL,
        events INTEGER NOT NULL,
        applied INTEGER NOT NULL,
        filtered INTEGER NOT NULL,
        dead_letters INTEGER NOT NULL,
        blank INTEGER NOT NULL
    ) STRICT;
    -- What each keyed state was built for.
    CREATE TABLE weir_state (
        pipeline TEXT NOT NULL, state TEXT NOT NULL, fingerprint TEXT NOT NULL,
        PRIMARY KEY (pipeline, state)
    ) STRICT, WITHOUT ROWID;
    -- The entries that each turn changed; several parts where they are many.
    CREATE TABLE weir_state_log (
        pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, part INTEGER NOT NULL,
        state TEXT NOT NULL, entries BLOB NOT NULL,
        PRIMARY KEY (pipeline, epoch, part)
    ) STRICT;
    -- The entries of one bucket of keys, as of some turn.
    CREATE TABLE weir_state_snapshot (
        pipeline TEXT NOT NULL, state TEXT NOT NULL, bucket INTEGER NOT NULL, entries BLOB NOT NULL,
        PRIMARY KEY (pipeline, state, bucket)
    ) STRICT;
    CREATE TABLE weir_dead_letter (
        id INTEGER PRIMARY KEY,
        pipeline TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        step TEXT NOT NULL,
        module TEXT,
        reason TEXT NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    -- Messages that are committed and not yet known to be published.
    CREATE TABLE weir_outbox (
        id INTEGER PRIMARY KEY,
        pipeline TEXT NOT NULL,
        subject TEXT NOT NULL,
        message_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        payload TEXT NOT NULL
    ) STRICT;
    -- Which pipeline writes which table.
    CREATE TABLE weir_table (name TEXT PRIMARY KEY, pipeline TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What layout 2 added.
const TABLES_OF_LAYOUT_2: &str = "
    -- Which version of a rule decided from which sequence on; `deployment` is JSON, `spoiled` the sequences at which it
    -- failed on trial and the deployment `fallback` decided.
    CREATE TABLE weir_version (
        pipeline TEXT NOT NULL, step TEXT NOT NULL, first_sequence INTEGER NOT NULL,
        version INTEGER NOT NULL,
        digest TEXT NOT NULL,
        deployment TEXT NOT NULL,
        trial_left INTEGER NOT NULL,
        spoiled TEXT NOT NULL,
        taken_back TEXT,
        fallback TEXT,
        PRIMARY KEY (pipeline, step, first_sequence)
    ) STRICT;
    -- Their components, by SHA-256.
    CREATE TABLE weir_module (digest TEXT PRIMARY KEY, component BLOB NOT NULL) STRICT;
    -- By which events rows were changed: per turn and table the keys, as hashes, and sequences.
    CREATE TABLE weir_trace (
        pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL,
        first_sequence INTEGER NOT NULL,
        entries BLOB NOT NULL,
        PRIMARY KEY (pipeline, epoch, name)
    ) STRICT;
    -- From where on the lineage is kept, where that is not the beginning.
    CREATE TABLE weir_trace_start (pipeline TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO weir_trace_start SELECT name, position + 1 FROM weir_pipeline WHERE position > 0;
";

/// What layout 3 added: counts of rows that came too late, and of those that came because time went on and were rejected;
/// and the subject of a dead letter, where the pipeline has several inputs.
const TABLES_OF_LAYOUT_3: &str = "
    ALTER TABLE weir_pipeline ADD COLUMN late_rows INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE weir_pipeline ADD COLUMN dead_rows INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE weir_dead_letter ADD COLUMN subject TEXT;
";

/// What layout 4 added: checksums of what state is read back from, absent in rows that were written before.
const TABLES_OF_LAYOUT_4: &str = "
    ALTER TABLE weir_state_log ADD COLUMN checksum INTEGER;
    ALTER TABLE weir_state_snapshot ADD COLUMN checksum INTEGER;
";

/// What layout 5 added: what a dead letter needs to be retried, how many were dropped, which were retried, and messages
/// with headers.
const TABLES_OF_LAYOUT_5: &str = "
    -- Dead letters, and rows among them, that somebody dropped.
    ALTER TABLE weir_pipeline ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
    -- When the message was stored, where the source knew.
    ALTER TABLE weir_dead_letter ADD COLUMN store_ms INTEGER;
    -- 1 for a row of a window, 0 for an event; an older layout did not say. Where no row was rejected, none is one; nor is
    -- what decode rejected.
    ALTER TABLE weir_dead_letter ADD COLUMN is_row INTEGER;
    UPDATE weir_dead_letter SET is_row = 0
        WHERE module IS NULL OR pipeline IN (SELECT name FROM weir_pipeline WHERE dead_rows = 0);
    -- How often it was retried.
    ALTER TABLE weir_dead_letter ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
    -- Events that were dead letters and are none any more: `decided_at` is the sequence behind which they took effect.
    CREATE TABLE weir_retried (
        pipeline TEXT NOT NULL, sequence INTEGER NOT NULL, decided_at INTEGER NOT NULL,
        PRIMARY KEY (pipeline, sequence)
    ) STRICT, WITHOUT ROWID;
    -- How many rows of the open block the stage of a step has judged, and on how many of them its module failed, the first
    -- at `first_sequence`; whether the pipeline stopped because the next one is one too many.
    CREATE TABLE weir_failures (
        pipeline TEXT NOT NULL, step TEXT NOT NULL,
        judged INTEGER NOT NULL, failed INTEGER NOT NULL, first_sequence INTEGER NOT NULL, stopped INTEGER NOT NULL,
        PRIMARY KEY (pipeline, step)
    ) STRICT, WITHOUT ROWID;
    -- A JSON array of names and values in turn; and where it is there, what the message holds in place of `payload`.
    ALTER TABLE weir_outbox ADD COLUMN headers TEXT;
    ALTER TABLE weir_outbox ADD COLUMN body BLOB;
";

/// What layout 6 added: what is known of a pipeline's messages beside those that wait, and dead letters that are stored once; how
/// far a stream was looked at; who wrote last; and the log and the trace without a second tree beside their rows, so that a
/// turn writes half as many pages of them.
const TABLES_OF_LAYOUT_6: &str = "
    -- The secret that the names of messages are made with; whether it is settled from which event on messages are published.
    -- Then counts: messages that lie before that, rows that the server will never take (they are dead letters of step
    -- `publish`), and messages that somebody dropped.
    CREATE TABLE weir_messages (
        pipeline TEXT PRIMARY KEY,
        secret BLOB NOT NULL,
        settled INTEGER NOT NULL DEFAULT 0,
        unpublished INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    INSERT INTO weir_messages (pipeline, secret, settled) SELECT name, randomblob(16), position > 0 FROM weir_pipeline;
    -- Dead letters that are held, with the bytes of their payloads, and those that were let go, since no more are kept.
    CREATE TABLE weir_kept (
        pipeline TEXT PRIMARY KEY,
        letters INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        let_go INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO weir_kept SELECT pipeline, count(*), sum(length(payload)), 0 FROM weir_dead_letter GROUP BY pipeline;
    -- For each subject the event from which on messages are published, and the last message of the outbox that is known to
    -- be stored: in which stream, under which sequence.
    CREATE TABLE weir_subject (
        pipeline TEXT NOT NULL, subject TEXT NOT NULL,
        publish_from INTEGER NOT NULL DEFAULT 0,
        stream TEXT, sequence INTEGER,
        PRIMARY KEY (pipeline, subject)
    ) STRICT, WITHOUT ROWID;
    -- The dead letter that has the payload of the message.
    ALTER TABLE weir_outbox ADD COLUMN letter INTEGER;
    CREATE INDEX weir_outbox_letter ON weir_outbox (letter) WHERE letter IS NOT NULL;
    -- How far a stream was looked at, which may be beyond the last message that was of the pipeline's subjects; and up to
    -- where it is accepted that messages are missing.
    ALTER TABLE weir_pipeline ADD COLUMN scanned INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE weir_pipeline ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
    -- Both are read whole, in the order in which they were written, and nothing in them is looked up.
    CREATE TABLE weir_state_log_6 (
        id INTEGER PRIMARY KEY,
        pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, part INTEGER NOT NULL,
        state TEXT NOT NULL, entries BLOB NOT NULL, checksum INTEGER
    ) STRICT;
    INSERT INTO weir_state_log_6 (pipeline, epoch, part, state, entries, checksum)
        SELECT pipeline, epoch, part, state, entries, checksum FROM weir_state_log ORDER BY pipeline, epoch, part;
    DROP TABLE weir_state_log;
    ALTER TABLE weir_state_log_6 RENAME TO weir_state_log;
    CREATE TABLE weir_trace_6 (
        id INTEGER PRIMARY KEY,
        pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL,
        first_sequence INTEGER NOT NULL,
        entries BLOB NOT NULL
    ) STRICT;
    INSERT INTO weir_trace_6 (pipeline, epoch, name, first_sequence, entries)
        SELECT pipeline, epoch, name, first_sequence, entries FROM weir_trace ORDER BY pipeline, epoch;
    DROP TABLE weir_trace;
    ALTER TABLE weir_trace_6 RENAME TO weir_trace;
    -- A number that the process drew which holds the database; 0 where it was an older weir. See `owner.rs`.
    ALTER TABLE weir_pipeline ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;
    -- Whether the times in the entries are microseconds; an older Weir wrote milliseconds.
    ALTER TABLE weir_state ADD COLUMN in_us INTEGER NOT NULL DEFAULT 0;
    -- Events that were too far ahead of their store time to move the watermark.
    ALTER TABLE weir_pipeline ADD COLUMN ahead_events INTEGER NOT NULL DEFAULT 0;
";

/// What layout 7 added: who signed a version, as key and, where the trusted keys had one, name.
const TABLES_OF_LAYOUT_7: &str = "
    ALTER TABLE weir_version ADD COLUMN signer TEXT;
    ALTER TABLE weir_version ADD COLUMN signer_name TEXT;
";

/// What layout 8 added: what a dead letter needs to be retried whose columns are read from more than its payload; and the types of
/// columns.
const TABLES_OF_LAYOUT_8: &str = "
    -- The headers of the message as a JSON object, and the sequence that its line said, where columns are read from them.
    ALTER TABLE weir_dead_letter ADD COLUMN headers TEXT;
    ALTER TABLE weir_dead_letter ADD COLUMN written_sequence INTEGER;
    -- The columns of a pipeline's table with their types and forms, see `table_columns.rs`; absent until the pipeline starts.
    ALTER TABLE weir_table ADD COLUMN columns TEXT;
";

/// What each layout after the oldest added, with its number.
const ADDED: [(i64, &str); 7] = [
    (2, TABLES_OF_LAYOUT_2),
    (3, TABLES_OF_LAYOUT_3),
    (4, TABLES_OF_LAYOUT_4),
    (5, TABLES_OF_LAYOUT_5),
    (6, TABLES_OF_LAYOUT_6),
    (7, TABLES_OF_LAYOUT_7),
    (VERSION, TABLES_OF_LAYOUT_8),
];

/// Whether the database is new; one that is there has to be Weir's, and of this version. Nothing is written.
pub(super) fn is_new(connection: &Connection, path: &Path) -> Result<bool> {
    let shown = path.display();
    let wrap = || format!("cannot open database {shown}");
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).sqlite(wrap);
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    if application != APPLICATION_ID {
        if application != 0 || number("SELECT count(*) FROM sqlite_schema")? > 0 {
            return Err(Error::mismatch(format!(
                "{shown} is a SQLite database that Weir did not make; name another file"
            )));
        }
        return Ok(true);
    }
    if !(VERSION_OLDEST..=VERSION).contains(&version) {
        return Err(Error::mismatch(format!(
            "database {shown} has layout {version}, and this weir reads layouts {VERSION_OLDEST} to {VERSION}; use the weir that made it, or replay into a new file"
        )));
    }
    Ok(false)
}

/// Makes Weir's own tables in a new database, and checks the version of one that is there.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    let wrap = || format!("cannot open database {}", path.display());
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .sqlite(wrap)?;
    if is_new(&transaction, path)? {
        make_own(&transaction, VERSION).sqlite(wrap)?;
        return transaction.commit().sqlite(wrap);
    }
    let version = layout(&transaction).sqlite(wrap)?;
    bring_up(&transaction, version, VERSION).sqlite(wrap)?;
    transaction.commit().sqlite(wrap)
}

/// The layout of a database.
pub(super) fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes Weir's own tables, as a layout has them.
pub(super) fn make_own(connection: &Connection, layout: i64) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION_OLDEST};"
    ))?;
    bring_up(connection, VERSION_OLDEST, layout)
}

fn bring_up(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<()> {
    for (layout, added) in ADDED.iter().filter(|(layout, _)| (from + 1..=to).contains(layout)) {
        connection.execute_batch(added)?;
        connection.execute_batch(&format!("PRAGMA user_version = {layout};"))?;
    }
    Ok(())
}

/// A name as SQL takes it, whatever is in it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
