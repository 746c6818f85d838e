//! Databases that fit and that do not: gone on with, refused, and left as they were.

use super::{Folder, NAMES, changed, sql, weir};
use std::fs;
use weir_tests::table::{contents, query};

/// Events for `NAMES`.
const EVENTS: &str = "{\"id\":1,\"name\":\"a\"}\nbroken\n{\"id\":2,\"name\":\"b\"}\n";

#[test]
fn a_replay_done_twice_changes_nothing() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    let first = contents(&folder.path("p.db"));
    assert_eq!(
        (first.counts.events, first.counts.dead_letters, first.position),
        (3, 1, 3)
    );
    folder.replay(EVENTS).ends_with(0).says("continuing after line 3");
    assert_eq!(contents(&folder.path("p.db")), first);
}

#[test]
fn a_file_that_has_grown_is_gone_on_with() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    folder
        .replay(format!("{EVENTS}{{\"id\":1,\"amount\":2.5}}\n"))
        .ends_with(0);
    let grown = contents(&folder.path("p.db"));
    let straight = Folder::with(NAMES);
    straight
        .replay(format!("{EVENTS}{{\"id\":1,\"amount\":2.5}}\n"))
        .ends_with(0);
    assert_eq!(grown, contents(&straight.path("p.db")));
}

/// Checks that a second command is refused, and that the database is as the first left it.
#[track_caller]
fn check_refused(folder: &Folder, command: &str, said: &str) {
    let before = contents(&folder.path("p.db"));
    let outcome = folder.weir(command).ends_with(1).says(said);
    assert_eq!(outcome.stdout, "");
    assert_eq!(contents(&folder.path("p.db")), before, "{said}");
}

#[test]
fn another_file_is_refused() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    for (other, said) in [
        (
            "{\"id\":1,\"name\":\"a\"}\n",
            "other.jsonl has 1 lines, but the database holds 3",
        ),
        ("", "other.jsonl has 0 lines, but the database holds 3"),
        (
            &*EVENTS.replace("\"b\"", "\"c\""),
            "the first 3 lines of other.jsonl are not those that the database was filled from",
        ),
        (
            &*EVENTS.replace("broken", "token!"),
            "the first 3 lines of other.jsonl are not those",
        ),
        (
            &*EVENTS.replace('\n', "\r\n"),
            "the first 3 lines of other.jsonl are not those",
        ),
    ] {
        folder.write("other.jsonl", other);
        check_refused(&folder, "replay p.toml --input other.jsonl --database p.db", said);
    }
}

#[test]
fn a_pipeline_that_no_longer_fits_the_database_is_refused() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    for (from, to, said) in [
        // The table has other columns.
        (
            "primary_key = [\"id\"]\n",
            "primary_key = [\"id\"]\ncolumns = [\"id\", \"name\"]\n",
            "table names is there with other columns: ",
        ),
        (
            "primary_key = [\"id\"]\n",
            "primary_key = [\"name\", \"id\"]\n",
            "table names is there with other columns: ",
        ),
        // The same table over another state.
        (
            "last_value = { key = [\"id\"] }",
            "last_value = { key = [\"id\", \"name\", \"amount\"] }",
            "state \"latest/rows\" is held for last_value by the first 1 of id int, name text, amount double, but the pipeline now has \
             last_value by the first 3 of id int, name text, amount double",
        ),
        (
            "name = \"latest\"",
            "name = \"newest\"",
            "the database holds state \"latest/rows\", which this pipeline does not have",
        ),
        // Another pipeline writes the same table.
        (
            "name = \"names\"",
            "name = \"people\"",
            "table names belongs to pipeline names",
        ),
    ] {
        folder.write("other.toml", changed(from, to));
        check_refused(&folder, "replay other.toml --input events.jsonl --database p.db", said);
    }
}

#[test]
fn two_pipelines_share_a_database() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    let others = changed("name = \"names\"", "name = \"people\"").replace("table = \"names\"", "table = \"people\"");
    folder.write("other.toml", others);
    folder
        .weir("replay other.toml --input events.jsonl --database p.db")
        .ends_with(0);
    let rows = |table| weir_tests::table::read(&folder.path("p.db"), table);
    assert_eq!(rows("names"), rows("people"));
    assert_eq!(rows("names").rows.len(), 2);
}

#[test]
fn a_database_in_use_is_left_alone() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    let hold = weir_tests::replay::hold(&folder.path("p.db")).expect("nobody else holds the database");
    let said = "database p.db is in use by another weir; stop that one first";
    check_refused(&folder, "replay p.toml --input events.jsonl --database p.db", said);
    // To look is allowed.
    folder.weir("dead-letters list p.db").ends_with(0);
    drop(hold);
    folder
        .weir("replay p.toml --input events.jsonl --database p.db")
        .ends_with(0);
}

#[test]
fn a_file_that_is_no_database_of_weir_is_left_alone() {
    let folder = Folder::with(NAMES);
    folder.write("events.jsonl", EVENTS);
    folder.write("text.db", "these are the notes of somebody\n".repeat(100));
    sql(
        &folder.path("other.db"),
        "CREATE TABLE accounts (id INTEGER); INSERT INTO accounts VALUES (1)",
    );
    sql(&folder.path("marked.db"), "PRAGMA application_id = 7");
    folder.replay(EVENTS).ends_with(0);
    fs::copy(folder.path("p.db"), folder.path("later.db")).expect("a database can be copied");
    sql(&folder.path("later.db"), "PRAGMA user_version = 99");
    for (file, said) in [
        ("text.db", "cannot open database text.db: file is not a database"),
        (
            "other.db",
            "other.db is a SQLite database that Weir did not make; name another file",
        ),
        (
            "marked.db",
            "marked.db is a SQLite database that Weir did not make; name another file",
        ),
        (
            "later.db",
            "database later.db has layout 99, and this weir reads layouts 1 to 8",
        ),
        (
            "missing/p.db",
            "cannot open database missing/p.db: No such file or directory",
        ),
    ] {
        let before = fs::read(folder.path(file)).ok();
        folder
            .weir(&format!("replay p.toml --input events.jsonl --database {file}"))
            .ends_with(1)
            .says(said);
        assert!(before == fs::read(folder.path(file)).ok(), "{file} was changed");
    }
}

#[test]
fn a_database_that_was_closed_is_one_file_to_copy() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    fs::copy(folder.path("p.db"), folder.path("copy.db")).expect("a file can be copied");
    assert_eq!(contents(&folder.path("copy.db")), contents(&folder.path("p.db")));
}

#[test]
fn whoever_reads_a_database_leaves_nothing_beside_it() {
    let folder = Folder::with(NAMES);
    let check = |after: &str| {
        for left in ["p.db-wal", "p.db-shm"] {
            assert!(!folder.path(left).exists(), "{left} is left by {after}");
        }
    };
    // The summary of a replay reads the database that was closed before it.
    folder.replay(EVENTS).ends_with(0);
    check("replay");
    folder.weir("dead-letters list p.db").ends_with(0);
    check("dead-letters");
}

#[test]
fn a_database_may_have_any_name() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    let before = fs::read(folder.path("p.db")).expect("the database can be read");
    for name in ["file:p.db", ":memory:", "file:p.db?mode=memory", "a?b#c%20.db"] {
        for _ in 0..2 {
            let replay = format!("replay p.toml --input events.jsonl --database {name}");
            folder.weir(&replay).ends_with(0);
        }
        assert!(folder.path(name).is_file(), "{name}");
        let listed = folder.weir(&format!("dead-letters list {name}")).ends_with(0);
        assert!(listed.stdout.contains("broken"), "{name}: {}", listed.stdout);
        let mut left = vec![format!("{name}-wal"), format!("{name}-shm"), "p.db-wal".to_owned()];
        left.retain(|left| folder.path(left).exists());
        assert_eq!(left, Vec::<String>::new(), "{name}");
    }
    assert!(before == fs::read(folder.path("p.db")).expect("the database can be read"));
}

#[test]
fn without_a_cache_rules_are_compiled_at_every_start() {
    let folder = Folder::with(NAMES);
    // No folder can be made below a file.
    folder.write("file", "");
    let cache = folder.path("file/cache");
    let cache = cache.to_str().expect("paths of tests are UTF-8");
    let outcome = weir().run_in_with(folder.0.path(), ["check", "p.toml"], &[("XDG_CACHE_HOME", cache)]);
    outcome
        .ends_with(0)
        .says("cannot keep compiled code in ")
        .says("XDG_CACHE_HOME names another folder");
}

#[test]
fn a_dropped_table_is_told() {
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    sql(&folder.path("p.db"), "DROP TABLE names");
    let said = "table names was dropped by somebody; name another --database";
    folder
        .weir("replay p.toml --input events.jsonl --database p.db")
        .ends_with(1)
        .says(said);
}

#[test]
fn tables_that_somebody_changed_are_found_at_the_start_and_by_verify() {
    for (change, said) in [
        (
            "CREATE TRIGGER spoil AFTER INSERT ON names BEGIN UPDATE names SET name = 'x'; END",
            "table names has a trigger spoil, which weir did not make",
        ),
        (
            "CREATE TRIGGER spoil AFTER UPDATE ON weir_pipeline BEGIN UPDATE weir_pipeline SET position = 1; END",
            "table weir_pipeline has a trigger spoil, which weir did not make",
        ),
        (
            "CREATE UNIQUE INDEX once ON names (name)",
            "table names has a unique index \"once\" on name BINARY, which weir did not make",
        ),
        (
            "CREATE UNIQUE INDEX once ON weir_dead_letter (reason) WHERE step = 'decode'",
            "table weir_dead_letter has a unique index \"once\" on reason BINARY",
        ),
        (
            "ALTER TABLE weir_outbox DROP COLUMN headers",
            "table weir_outbox does not have column \"headers\" TEXT",
        ),
        (
            "ALTER TABLE weir_dead_letter ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
            "table weir_dead_letter has column \"seen\" INTEGER NOT NULL DEFAULT 0, which weir did not make",
        ),
        (
            "ALTER TABLE weir_state ADD COLUMN twice TEXT AS (state || state)",
            "table weir_state has column \"twice\" TEXT that is computed",
        ),
        (
            "DROP TABLE weir_trace; CREATE TABLE weir_trace (pipeline, epoch, name, first_sequence, entries)",
            "table weir_trace does not have column \"entries\" BLOB NOT NULL",
        ),
        (
            "DROP TABLE weir_failures; CREATE VIEW weir_failures AS SELECT 1 AS judged",
            "table weir_failures is missing",
        ),
    ] {
        let folder = Folder::with(NAMES);
        folder.replay(EVENTS).ends_with(0);
        sql(&folder.path("p.db"), change);
        let before = fs::read(folder.path("p.db")).expect("the database can be read");
        let replay = folder
            .replay(format!("{EVENTS}{{\"id\":3,\"name\":\"c\"}}\n"))
            .ends_with(1);
        replay.says("database p.db is not as weir made it").says(said);
        let verified = folder.weir("verify p.db").ends_with(3).stdout;
        assert!(
            verified.contains("schema            BROKEN") && verified.contains(said),
            "{verified}"
        );
        assert!(
            before == fs::read(folder.path("p.db")).expect("it can be read"),
            "a refusal changes nothing"
        );
    }
    // What readers add.
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    sql(
        &folder.path("p.db"),
        "CREATE INDEX by_name ON names (name); CREATE VIEW all_names AS SELECT name FROM names;
         CREATE TABLE notes (id INTEGER PRIMARY KEY, name INTEGER REFERENCES names (id) ON DELETE CASCADE);
         CREATE TRIGGER noted AFTER INSERT ON notes BEGIN DELETE FROM notes WHERE id < new.id; END",
    );
    folder.weir("verify p.db").ends_with(0);
    folder
        .replay(format!("{EVENTS}{{\"id\":3,\"name\":\"c\"}}\n"))
        .ends_with(0);
}

/// What brings a database back to a layout from the one after it, newest first.
const OLDER_LAYOUTS: [(i64, &str); 7] = [
    (
        7,
        "ALTER TABLE weir_table DROP COLUMN columns; ALTER TABLE weir_dead_letter DROP COLUMN headers;
         ALTER TABLE weir_dead_letter DROP COLUMN written_sequence",
    ),
    (
        6,
        "ALTER TABLE weir_version DROP COLUMN signer; ALTER TABLE weir_version DROP COLUMN signer_name",
    ),
    (
        5,
        "DROP TABLE weir_messages; DROP TABLE weir_kept; DROP TABLE weir_subject; DROP INDEX weir_outbox_letter;
         ALTER TABLE weir_outbox DROP COLUMN letter;
         ALTER TABLE weir_pipeline DROP COLUMN scanned; ALTER TABLE weir_pipeline DROP COLUMN accepted;
         ALTER TABLE weir_pipeline DROP COLUMN ahead_events; ALTER TABLE weir_state DROP COLUMN in_us;
         ALTER TABLE weir_pipeline DROP COLUMN owner;
         CREATE TABLE log AS SELECT * FROM weir_state_log; DROP TABLE weir_state_log;
         CREATE TABLE weir_state_log (
             pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, part INTEGER NOT NULL,
             state TEXT NOT NULL, entries BLOB NOT NULL, checksum INTEGER,
             PRIMARY KEY (pipeline, epoch, part)
         ) STRICT;
         INSERT INTO weir_state_log SELECT pipeline, epoch, part, state, entries, checksum FROM log; DROP TABLE log;
         CREATE TABLE trace AS SELECT * FROM weir_trace; DROP TABLE weir_trace;
         CREATE TABLE weir_trace (
             pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL,
             first_sequence INTEGER NOT NULL,
             entries BLOB NOT NULL,
             PRIMARY KEY (pipeline, epoch, name)
         ) STRICT;
         INSERT INTO weir_trace SELECT pipeline, epoch, name, first_sequence, entries FROM trace; DROP TABLE trace",
    ),
    (
        4,
        "ALTER TABLE weir_pipeline DROP COLUMN dropped;
         ALTER TABLE weir_dead_letter DROP COLUMN store_ms; ALTER TABLE weir_dead_letter DROP COLUMN is_row;
         ALTER TABLE weir_dead_letter DROP COLUMN retries;
         ALTER TABLE weir_outbox DROP COLUMN headers; ALTER TABLE weir_outbox DROP COLUMN body;
         DROP TABLE weir_retried; DROP TABLE weir_failures",
    ),
    (
        3,
        "ALTER TABLE weir_state_log DROP COLUMN checksum; ALTER TABLE weir_state_snapshot DROP COLUMN checksum",
    ),
    (
        2,
        "ALTER TABLE weir_dead_letter DROP COLUMN subject;
         ALTER TABLE weir_pipeline DROP COLUMN late_rows; ALTER TABLE weir_pipeline DROP COLUMN dead_rows",
    ),
    (
        1,
        "DROP TABLE weir_version; DROP TABLE weir_module; DROP TABLE weir_trace; DROP TABLE weir_trace_start",
    ),
];

#[test]
fn a_database_of_an_older_layout_is_read_as_it_is_and_brought_up_when_it_is_written() {
    let more = format!("{EVENTS}{{\"id\":1,\"amount\":2.5}}\nbroken too\n");
    let straight = Folder::with(NAMES);
    straight.replay(EVENTS).ends_with(0);
    let letters = straight.weir("dead-letters list p.db --json").ends_with(0).stdout;
    straight.replay(&more).ends_with(0);
    let expected = contents(&straight.path("p.db"));
    for (number, (layout, _)) in OLDER_LAYOUTS.iter().enumerate() {
        let folder = Folder::with(NAMES);
        folder.replay(EVENTS).ends_with(0);
        for (layout, back) in &OLDER_LAYOUTS[..=number] {
            sql(&folder.path("p.db"), &format!("{back}; PRAGMA user_version = {layout}"));
        }
        let version = || {
            query(
                &folder.path("p.db"),
                "SELECT user_version || '' FROM pragma_user_version",
            )
        };
        assert_eq!(
            folder.weir("dead-letters list p.db --json").ends_with(0).stdout,
            letters,
            "layout {layout}"
        );
        folder.weir("status p.db").ends_with(0);
        folder.weir("verify p.db").ends_with(0);
        assert_eq!(version(), [layout.to_string()], "who reads changes nothing");
        folder.replay(&more).ends_with(0);
        assert_eq!(version(), ["8"]);
        assert_eq!(contents(&folder.path("p.db")), expected, "layout {layout}");
    }
}
