//! What others do to the database under a run: a second writer, a reader that stays, a file that is removed, a copy of a file
//! that somebody makes. The run goes on, or ends with a clear word before anything is acknowledged.

use crate::{
    process::{Run, Running, position, weir},
    refusals::{SCENARIO, Setup},
    wait_until,
};
use rusqlite::{Connection, OpenFlags};
use std::{
    ffi::OsString,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
};
use weir::limits::PAGE_BYTES_SMALL;
use weir_tests::{
    nats::NatsServer,
    pipeline,
    table::{Contents, contents, query},
};

/// Events that are published and processed before something happens.
const BEFORE: usize = 500;

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(suffix);
    path.into()
}

impl Setup {
    /// A run that has processed the first events.
    #[track_caller]
    fn running() -> (Self, Running) {
        let setup = Self::at(NatsServer::start());
        let last = setup.client.publish(&setup.events[..BEFORE]);
        let mut running = setup.run().start();
        running.wait_for_position(&setup.database(), SCENARIO, last);
        (setup, running)
    }

    /// Publishes the rest, lets a run catch up, and holds it to one that nothing happened to.
    #[track_caller]
    fn check_rest(&self) {
        self.client.publish(&self.events[BEFORE..]);
        self.run().catch_up().ends_with(0);
        self.check_straight();
    }

    /// That the server was told of what was processed before, and of nothing else.
    #[track_caller]
    fn check_nothing_acknowledged_since(&self) {
        let acknowledged = self.client.consumer(SCENARIO).ack_floor.stream_sequence;
        assert!(acknowledged <= BEFORE as u64, "{acknowledged} is acknowledged");
    }

    /// Holds the tables to those of a run that nothing happened to.
    #[track_caller]
    fn check_straight(&self) {
        assert_eq!(self.contents(), self.of_straight_run());
    }

    #[track_caller]
    fn of_straight_run(&self) -> Contents {
        self.run().with(["--database", "straight.db"]).catch_up().ends_with(0);
        contents(&self.folder.path().join("straight.db"))
    }
}

#[test]
fn a_second_run_over_one_file_is_refused_whatever_the_file_is_called() {
    let (setup, running) = Setup::running();
    let path = |name: &str| setup.folder.path().join(name);
    fs::create_dir(path("elsewhere")).expect("a folder can be made");
    symlink(setup.database(), path("elsewhere/link.db")).expect("a link can be made");
    symlink(setup.folder.path(), path("elsewhere/folder")).expect("a link can be made");
    fs::hard_link(setup.database(), path("second.db")).expect("a second name can be given");
    let refused = |name: &str| {
        let outcome = setup.run().with(["--database", name]).catch_up().ends_with(1);
        outcome.says(&format!(
            "database {name} is in use by another weir; stop that one first"
        ));
    };
    let names = [
        "last-page.db",
        "elsewhere/link.db",
        "elsewhere/folder/last-page.db",
        "second.db",
    ];
    names.into_iter().for_each(refused);
    for left in ["last-page.db-lock", "second.db-lock"] {
        let _ = fs::remove_file(path(left));
    }
    names.into_iter().for_each(refused);
    let drop = ["dead-letters", "drop", "elsewhere/link.db", "--all"];
    weir()
        .run_in(setup.folder.path(), drop)
        .ends_with(1)
        .says("is in use by another weir");

    fs::remove_file(path("second.db")).expect("a name can be taken away");
    setup.client.publish(&setup.events[BEFORE..]);
    let mut running = running;
    running.wait_for_position(&setup.database(), SCENARIO, setup.events.len() as u64);
    running.interrupt().ends_with(0);
    setup.check_straight();
}

#[test]
fn a_file_with_two_names_is_refused() {
    let (setup, running) = Setup::running();
    running.interrupt().ends_with(0);
    let second = setup.folder.path().join("second.db");
    fs::hard_link(setup.database(), &second).expect("a second name can be given");
    let outcome = setup.run().with(["--database", "second.db"]).catch_up().ends_with(1);
    outcome
        .says("database second.db is a file with 2 names (hard links)")
        .says("remove the other names");
    fs::remove_file(second).expect("a name can be taken away");
    setup.check_rest();
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let (setup, running) = Setup::running();
    running.interrupt().ends_with(0);
    let lock = beside(&setup.database(), "-lock");
    let precious = setup.folder.path().join("precious");
    fs::write(&precious, "of somebody else").expect("a file can be written");
    fs::remove_file(&lock).expect("the lock can be removed");
    symlink(&precious, &lock).expect("a link can be made");
    let outcome = setup.run().catch_up().ends_with(1);
    outcome
        .says("last-page.db-lock")
        .says("it is a symbolic link")
        .says("remove it");
    assert_eq!(fs::read(&precious).expect("it can be read"), b"of somebody else");
    // A file that is there is not taken either.
    fs::remove_file(&lock).expect("the link can be removed");
    fs::hard_link(&precious, &lock).expect("a second name can be given");
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("last-page.db-lock: it is a file with 2 names (hard links)");
    assert_eq!(fs::read(&precious).expect("it can be read"), b"of somebody else");
    fs::remove_file(&lock).expect("the link can be removed");
    setup.run().catch_up().ends_with(0);
}

#[test]
fn a_run_that_another_process_wrote_under_ends_and_changes_nothing() {
    for intrusion in [
        // Whoever opens the database draws a number of its own.
        "UPDATE weir_pipeline SET owner = 7",
        // An older weir does not, and goes on from the same turn.
        "UPDATE weir_pipeline SET epoch = epoch + 1, position = position + 1",
        "DELETE FROM weir_pipeline",
    ] {
        let (setup, running) = Setup::running();
        let connection = Connection::open(setup.database()).expect("the database can be opened");
        connection.execute_batch(intrusion).expect("it can be written");
        let read = || {
            let rows = query(
                &setup.database(),
                "SELECT concat_ws('|', name, owner, epoch, position, events) FROM weir_pipeline",
            );
            (rows, contents_of_tables(&setup.database()))
        };
        let before = read();
        setup.client.publish(&setup.events[BEFORE..]);
        let outcome = running.end().ends_with(1);
        outcome
            .says("was written to by another process")
            .says("nothing was written here");
        assert_eq!(read(), before, "{intrusion}");
        setup.check_nothing_acknowledged_since();
    }
}

/// The rows of the pipeline's tables, whatever is known of the pipeline.
fn contents_of_tables(database: &Path) -> Vec<String> {
    let tables = query(database, "SELECT name FROM weir_table ORDER BY name");
    let rows = tables.iter().map(|table| weir_tests::table::read(database, table));
    rows.map(|table| format!("{table:?}")).collect()
}

#[test]
fn a_database_that_is_removed_or_replaced_under_a_run_ends_it_before_anything_is_acknowledged() {
    for (suffix, is_replaced, said) in [
        ("", false, "last-page.db was removed while weir had it open"),
        (
            "",
            true,
            "last-page.db was replaced by another file while weir had it open",
        ),
        (
            "-wal",
            false,
            "last-page.db-wal, which belongs to database last-page.db, was removed",
        ),
        (
            "-shm",
            false,
            "last-page.db-shm, which belongs to database last-page.db, was removed",
        ),
    ] {
        let (setup, running) = Setup::running();
        let (file, aside) = (beside(&setup.database(), suffix), setup.folder.path().join("aside"));
        let older = setup.folder.path().join("older.db");
        if is_replaced {
            let connection = Connection::open(setup.database()).expect("the database can be opened");
            let vacuumed = connection.execute("VACUUM INTO ?1", [older.to_str()]);
            vacuumed.expect("a copy can be made");
        }
        fs::rename(&file, &aside).expect("the file can be moved");
        if is_replaced {
            fs::rename(&older, &file).expect("the copy can be put in its place");
        }
        setup.client.publish(&setup.events[BEFORE..]);
        let outcome = running.end().ends_with(1);
        outcome.says(said).says("put back the database with all of its files");
        setup.check_nothing_acknowledged_since();
        if suffix.is_empty() {
            fs::rename(&aside, &file).expect("the file can be put back");
        }
        setup.run().catch_up().ends_with(0);
        setup.check_straight();
    }
}

#[test]
fn a_reader_that_stays_holds_up_no_commit() {
    const STEPS: usize = 10;
    let setup = Setup::at(NatsServer::start());
    let points = "wal-bytes=20000,wal-bytes-max=200000";
    let mut running = setup.run().with_variable("WEIR_FAIL_POINTS", points).start();
    let log = beside(&setup.database(), "-wal");
    let log_bytes = || fs::metadata(&log).map_or(0, |log| log.len());
    let commit = |running: &mut Running, events| {
        let last = setup.client.publish(events);
        running.wait_for_position(&setup.database(), SCENARIO, last);
    };
    commit(&mut running, &setup.events[..BEFORE]);
    let reader = Connection::open_with_flags(setup.database(), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let reader = reader.expect("the database can be opened");
    let read = "BEGIN; SELECT count(*) FROM weir_pipeline";
    reader.execute_batch(read).expect("it can be read");
    // Each waits for the one before: where a commit waits for the reader, they take minutes.
    let rest = &setup.events[BEFORE..];
    for events in rest.chunks(rest.len().div_ceil(STEPS)) {
        commit(&mut running, events);
    }
    wait_until("a log that has grown", || {
        commit(&mut running, &setup.events[..1]);
        log_bytes() > 400_000
    });
    running.wait_for_word("the write-ahead log of database last-page.db has");
    running.wait_for_word("another program keeps a transaction open on it");
    drop(reader);
    wait_until("a log that began anew", || {
        commit(&mut running, &setup.events[..1]);
        log_bytes() < 200_000
    });
    running.interrupt().ends_with(0);
    setup.check_straight();
}

#[test]
fn the_file_of_a_silent_pipeline_holds_all_of_it() {
    let setup = Setup::at(NatsServer::start());
    let running = setup.run().start();
    let copy = setup.folder.path().join("copy.db");
    let rows_of_copy = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&copy, suffix));
        }
        fs::copy(setup.database(), &copy).ok()?;
        let connection = Connection::open(&copy).ok()?;
        let position = "SELECT coalesce(max(position), 0) FROM weir_pipeline";
        connection.query_row(position, [], |row| row.get::<_, i64>(0)).ok()
    };
    // Before the first event: the tables are there.
    wait_until("the tables in a copy", || rows_of_copy() == Some(0));
    let last = setup.client.publish(&setup.events);
    wait_until("the rows in a copy", || rows_of_copy() == Some(last as i64));
    assert_eq!(contents(&copy).tables, setup.contents().tables);
    drop(running);
}

/// A pipeline that commits once a minute at most.
const RARELY: &str = r#"
name = "rarely"
commit = { at_most_every = "1 min" }

[source]
stream = "INSURANCE"
subject = "edw_zy_evt_bury_point_log"
columns = { account_id = "text", device_id = "text", page_name = "text" }

[[sink]]
table = "visits"
"#;

#[test]
fn events_that_come_one_by_one_are_committed_together() {
    const EVENTS: usize = 1000;
    let setup = Setup::at(NatsServer::start());
    let folder = setup.folder.path();
    fs::write(folder.join("rarely.toml"), RARELY).expect("the pipeline file can be written");
    let run = || Run::new(folder, &setup.server.url(), ["rarely.toml"]);
    let mut running = run().start();
    running.wait_for_word("from sequence");
    for event in &setup.events[..EVENTS] {
        setup.client.publish(std::slice::from_ref(event));
    }
    // What was received is committed at the end, and the rest by the next run.
    running.interrupt().ends_with(0);
    run().catch_up().ends_with(0);
    let database = folder.join("rarely.db");
    assert_eq!(position(&database, "rarely"), EVENTS as u64);
    let turns = query(&database, "SELECT CAST(epoch AS TEXT) FROM weir_pipeline");
    let turns: usize = turns[0].parse().expect("a number");
    assert!(turns <= 6, "{turns} turns for {EVENTS} events that came one by one");
}

#[test]
fn a_database_that_begins_with_little_has_small_pages_and_keeps_them() {
    let setup = Setup::at(NatsServer::start());
    let page_bytes = |file: &str| {
        let found = query(
            &setup.folder.path().join(file),
            "SELECT CAST(page_size AS TEXT) FROM pragma_page_size",
        );
        found[0].parse::<u32>().expect("a number")
    };
    let run = |file: &str| setup.run().with(["--database", file]).catch_up().ends_with(0);
    setup.client.publish(&setup.events[..BEFORE]);
    run("little.db");
    assert_eq!(page_bytes("little.db"), PAGE_BYTES_SMALL);
    // One that is there has the pages that it was made with.
    let made = Connection::open(setup.folder.path().join("there.db")).expect("it can be made");
    made.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")
        .expect("it can be made");
    drop(made);
    run("there.db");
    assert_eq!(page_bytes("there.db"), 8192);
    setup.client.publish(&setup.events[BEFORE..]);
    run("little.db");
    run("there.db");
    run("straight.db");
    for file in ["little.db", "there.db"] {
        assert_eq!(
            contents(&setup.folder.path().join(file)),
            contents(&setup.folder.path().join("straight.db")),
            "{file}"
        );
    }
    // A replay takes in all at once.
    let (folder, url) = (setup.folder.path(), setup.server.url());
    Run::replay(folder, &url, &pipeline(SCENARIO), "whole.db")
        .start()
        .end()
        .ends_with(0);
    assert_eq!(page_bytes("whole.db"), 4096);
}

/// The user "nobody" of most systems.
const NOBODY: u32 = 65_534;

#[test]
fn who_may_not_write_to_the_folder_reads_all_the_same() {
    let (setup, running) = Setup::running();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
    };
    set(setup.folder.path(), 0o755);
    // They were made for their owner alone.
    for suffix in ["", "-wal", "-shm"] {
        set(&beside(&setup.database(), suffix), 0o644);
    }
    let read = || {
        for arguments in [
            &["status", "last-page.db"][..],
            &["verify", "last-page.db"],
            &["dead-letters", "list", "last-page.db"],
        ] {
            let mut command = weir().command();
            command.current_dir(setup.folder.path()).args(arguments);
            // SAFETY: it only reads.
            match unsafe { libc::geteuid() } {
                0 => command.uid(NOBODY).gid(NOBODY),
                _ => &mut command,
            };
            let output = command.output().expect("weir can be started");
            let (said, shown) = (
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout),
            );
            assert!(output.status.success(), "{arguments:?}: {said}{shown}");
        }
    };
    set(setup.folder.path(), 0o555);
    read();
    running.interrupt().ends_with(0);
    set(&setup.database(), 0o444);
    let names = |folder: &Path| fs::read_dir(folder).expect("the folder can be read").count();
    let before = names(setup.folder.path());
    read();
    assert_eq!(names(setup.folder.path()), before, "nothing is left");
    set(setup.folder.path(), 0o755);
    set(&setup.database(), 0o644);
    setup.check_rest();
    assert_eq!(position(&setup.database(), SCENARIO), setup.events.len() as u64);
}

/// A command of another user, where the test may start one.
fn as_nobody(folder: &Path, arguments: &[&str]) -> Option<std::process::Output> {
    let mut command = weir().command();
    command.current_dir(folder).args(arguments);
    // SAFETY: it only reads.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    // A user who is no owner of the cache goes on without it.
    command.uid(NOBODY).gid(NOBODY);
    Some(command.output().expect("weir can be started"))
}

#[test]
fn who_may_write_to_the_folder_and_not_to_the_file_leaves_nothing() {
    let setup = Setup::at(NatsServer::start());
    setup.client.publish(&setup.events[..BEFORE]);
    setup.run().catch_up().ends_with(0);
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
    };
    set(setup.folder.path(), 0o1777);
    set(&setup.database(), 0o644);
    let names = || {
        fs::read_dir(setup.folder.path())
            .expect("the folder can be read")
            .count()
    };
    let before = names();
    for arguments in [
        &["status", "last-page.db"][..],
        &["verify", "last-page.db"],
        &["dead-letters", "list", "last-page.db"],
    ] {
        let Some(output) = as_nobody(setup.folder.path(), arguments) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert_eq!(names(), before, "{arguments:?} left a file");
    }

    // While such a reader reads, it holds this lock, and a start waits for it.
    let reader = fs::File::open(setup.database()).expect("the database can be read");
    reader.lock_shared().expect("nobody writes");
    let mut starting = setup.run().start();
    starting.wait_for_word("waiting for the end of that");
    assert!(!setup.folder.path().join("last-page.db-wal").exists());
    drop(reader);
    starting.wait_for_word("into last-page.db");
    starting.interrupt().ends_with(0);

    // What an older reader left is named with its owner.
    let log = setup.folder.path().join("last-page.db-wal");
    fs::write(&log, "").expect("a file can be written");
    set(&log, 0o600);
    std::os::unix::fs::chown(setup.database(), Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    std::os::unix::fs::chown(setup.folder.path(), Some(NOBODY), Some(NOBODY)).expect("root gives folders away");
    let lock = setup.folder.path().join("last-page.db-lock");
    std::os::unix::fs::chown(&lock, Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    let arguments = ["dead-letters", "drop", "last-page.db", "--all"];
    let output = as_nobody(setup.folder.path(), &arguments).expect("it was asked before");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("last-page.db-wal belongs to user 0, and this user may not write to it"),
        "{said}"
    );
}
