//! The world around a run fails: the disk, the database's file, the server's store, the process itself. Each ends in a clear
//! word or in waiting, and once the fault is gone the tables are those of a run that nothing happened to.

use crate::{
    events::{case, of_case},
    kills::{outbox, payloads},
    process::{Run, copy_database, load_customers, position},
    refusals::{SCENARIO, Setup},
    server::{ALERTS, Client, INSURANCE},
    wait_until,
};
use rusqlite::Connection;
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt, chown},
    path::Path,
    time::Duration,
};
use weir_tests::{
    command::Outcome,
    nats::NatsServer,
    pipeline, scratch, seed,
    table::{Contents, contents},
};

/// A stream with events, and how many of them are published before the fault.
const BEFORE: usize = 500;

impl Setup {
    fn with_events_before() -> Self {
        let setup = Self::at(NatsServer::start());
        setup.client.publish(&setup.events[..BEFORE]);
        setup
    }

    /// Publishes the rest, lets a run catch up, and holds it to one that nothing happened to.
    #[track_caller]
    fn check_goes_on(&self) {
        self.client.publish(&self.events[BEFORE..]);
        self.run().catch_up().ends_with(0);
        assert_eq!(self.contents(), self.straight(), "the tables of a straight run");
    }

    /// What a run leaves that nothing happens to.
    #[track_caller]
    fn straight(&self) -> Contents {
        self.run().with(["--database", "straight.db"]).catch_up().ends_with(0);
        contents(&self.folder.path().join("straight.db"))
    }
}

/// That a command did not end by a defect of its own.
#[track_caller]
fn assert_no_panic(outcome: &Outcome) {
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    assert!([0, 1, 2].contains(&outcome.code), "{outcome:?}");
}

/// A pipeline without rules: what their memory is mapped from counts as a file too.
const PLAIN: &str = r#"
name = "plain"

[source]
stream = "INSURANCE"
subject = "edw_zy_evt_bury_point_log"
columns = { account_id = "text", device_id = "text", page_name = "text" }

[[step]]
name = "last"
last_value = { key = ["account_id", "device_id"] }

[[sink]]
table = "last"
primary_key = ["account_id", "device_id"]

[[sink]]
from = "source"
table = "visits"
"#;

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing() {
    let setup = Setup::with_events_before();
    fs::write(setup.folder.path().join("plain.toml"), PLAIN).expect("the pipeline file can be written");
    let run = || Run::new(setup.folder.path(), &setup.server.url(), ["plain.toml"]);
    let found = || contents(&setup.folder.path().join("plain.db"));
    // Of a new database: room for nothing, for some of the tables, for all but the first rows.
    let mut ended = 0;
    for room in (8_000..160_000).step_by(8_000) {
        let outcome = run().limited(libc::RLIMIT_FSIZE, room).catch_up();
        assert_no_panic(&outcome);
        if outcome.code != 0 {
            ended += 1;
            outcome
                .ends_with(1)
                .says("database plain.db")
                .says("see that the disk has room")
                .says("`ulimit -f`");
        }
    }
    assert!(ended > 3, "{ended} runs had too little room");
    run().catch_up().ends_with(0);
    assert_eq!(found().counts.events, BEFORE as u64);

    // Of one that is there: it fails at a commit, which then is not there.
    setup.client.publish(&setup.events[BEFORE..]);
    let before = found();
    let outcome = run().limited(libc::RLIMIT_FSIZE, 48_000).catch_up();
    outcome
        .ends_with(1)
        .says("pipeline plain: cannot commit turn")
        .says("to database plain.db")
        .says("see that the disk has room");
    assert_eq!(found(), before, "no part of the turn is there");
    run().catch_up().ends_with(0);
    run().with(["--database", "straight.db"]).catch_up().ends_with(0);
    assert_eq!(found(), contents(&setup.folder.path().join("straight.db")));
}

/// Under its own bound a guest finds no memory to begin with, which is no fault of the rule.
#[test]
fn a_bound_on_files_that_keeps_a_rule_from_its_memory_is_no_fault_of_the_rule() {
    let setup = Setup::with_events_before();
    let outcome = setup.run().limited(libc::RLIMIT_FSIZE, 8_000).catch_up();
    assert_no_panic(&outcome);
    outcome.ends_with(1).says("ulimit -f");
    setup.check_goes_on();
}

#[test]
fn who_gets_no_threads_says_so_and_goes_on_when_there_are_some() {
    // SAFETY: it looks up who we are.
    if unsafe { libc::geteuid() } != 0 {
        // What runs for this user anyway counts too, so that nothing can be said of how many there may be.
        return;
    }
    // A user of whom nothing else runs.
    let user = 54_321 + std::process::id() % 1000;
    let setup = Setup::with_events_before();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(setup.folder.path(), open).expect("it is ours");
    let folder = setup.folder.path().join("own");
    fs::create_dir(&folder).expect("a folder can be made");
    chown(&folder, Some(user), Some(user)).expect("root may do that");
    fs::write(folder.join("plain.toml"), PLAIN).expect("the pipeline file can be written");
    // A name that has to be looked up, on a thread of its own.
    let url = setup.server.url().replace("127.0.0.1", "localhost");
    let mut ended = 0;
    for threads in 1..30 {
        let run = Run::new(&folder, &url, ["plain.toml"]).of_user(user);
        let outcome = run.limited(libc::RLIMIT_NPROC, threads).catch_up();
        assert_no_panic(&outcome);
        if outcome.code == 0 {
            break;
        }
        ended += 1;
        outcome.ends_with(1).says("cannot start");
    }
    assert!((6..29).contains(&ended), "{ended} runs had too few threads");
    assert_eq!(contents(&folder.join("plain.db")).counts.events, BEFORE as u64);
}

#[test]
fn a_database_that_cannot_be_written_is_named() {
    let setup = Setup::with_events_before();
    setup.run().catch_up().ends_with(0);
    let before = setup.contents();
    let beside = setup.folder.path().join("last-page.db-wal");
    // Left by who read the tables just now.
    let left = fs::metadata(&beside).map_or(0, |log| log.len());
    assert_eq!(left, 0, "the database is all in its file");
    let _ = fs::remove_file(&beside);
    fs::create_dir(&beside).expect("a folder can be made");
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("last-page.db-wal: it is a folder, where weir keeps a file of its own")
        .says("remove it");
    fs::remove_dir(&beside).expect("a folder can be removed");
    setup
        .run()
        .with(["--database", "."])
        .catch_up()
        .ends_with(1)
        .says("see that it is a file that this user may write to");
    assert_eq!(setup.contents(), before, "a refusal changes nothing");

    let modes = |file, folder| {
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        set(&setup.database(), file).expect("the mode can be set");
        set(setup.folder.path(), folder).expect("the mode can be set");
    };
    // SAFETY: it only reads.
    if unsafe { libc::geteuid() } == 0 {
        println!("modes are not tested: they do not hold the superuser back");
    } else {
        modes(0o444, 0o755);
        setup
            .run()
            .catch_up()
            .ends_with(1)
            .says("last-page.db")
            .says("see that it is a file that this user may write to");
        modes(0o644, 0o755);
    }
    setup.check_goes_on();
}

#[test]
fn a_damaged_database_is_named_or_read_as_far_as_it_goes() {
    const TRIALS: usize = 60;
    let setup = Setup::with_events_before();
    setup.run().catch_up().ends_with(0);
    let whole = setup.folder.path().join("whole.db");
    copy_database(&setup.database(), &whole);
    let bytes = fs::metadata(&whole).expect("the file is there").len() as usize;
    let mut refused = 0;
    seed::with_seed(|random| {
        for trial in 0..TRIALS {
            copy_database(&whole, &setup.database());
            let file = fs::OpenOptions::new().write(true).open(setup.database());
            let file = file.expect("the file can be opened");
            // Whole pages, or some bytes, beyond the first page as a rule.
            let (count, unit) = [(4096, 4096), (16, 1)][trial % 2];
            let at = random.below(bytes / unit) * unit;
            let damage: Vec<u8> = (0..count).map(|_| random.number() as u8).collect();
            let room = damage.len().min(bytes - at);
            file.write_all_at(&damage[..room], at as u64)
                .expect("the file can be written");
            drop(file);

            let outcome = setup.run().catch_up();
            assert_no_panic(&outcome);
            if outcome.code != 0 {
                refused += 1;
                outcome.says("last-page.db");
            }
        }
    });
    println!("{refused} of {TRIALS} damaged databases were refused");
    assert!(refused > TRIALS / 20, "{refused} of {TRIALS} were refused");
    copy_database(&whole, &setup.database());
    setup.check_goes_on();
}

#[test]
fn a_run_without_file_descriptors_says_so() {
    let setup = Setup::with_events_before();
    let (mut ended, mut went) = (0, 0);
    for most in 4..64 {
        let outcome = setup.run().limited(libc::RLIMIT_NOFILE, most).catch_up();
        if outcome.stderr.contains("while loading shared libraries") {
            continue;
        }
        assert_no_panic(&outcome);
        match outcome.code {
            0 => went += 1,
            _ => {
                ended += 1;
                outcome.ends_with(1).says("ulimit -n");
            }
        }
    }
    println!("{ended} runs had too few descriptors, {went} had enough");
    assert!(ended > 5 && went > 5, "{ended} runs ended, {went} went on");
    setup.check_goes_on();
}

#[test]
fn a_process_that_is_stopped_for_longer_than_the_server_waits_goes_on() {
    // The server cuts who does not answer two pings.
    let server = NatsServer::with_config("ping_interval: \"500ms\"\nping_max: 1\ndebug: true\n");
    let setup = Setup::at(server);
    setup.client.publish(&setup.events[..BEFORE]);
    let mut running = setup.run().start();
    running.wait_for_position(&setup.database(), SCENARIO, 1);
    running.send(libc::SIGSTOP);
    wait_until("the server's patience to end", || {
        setup.server.log().contains("Stale Client Connection")
    });
    let client = Client::connect(&setup.server.url());
    let last = client.publish(&setup.events[BEFORE..]);
    running.send(libc::SIGCONT);
    running.wait_for_position(&setup.database(), SCENARIO, last);
    running.interrupt().ends_with(0);
    assert_eq!(setup.contents(), setup.straight());
}

#[test]
fn a_server_that_lost_its_store_ends_the_run() {
    let mut setup = Setup::with_events_before();
    let mut running = setup.run().start();
    running.wait_for_position(&setup.database(), SCENARIO, BEFORE as u64);
    let before = setup.contents();
    setup.server.kill();
    let (store, kept) = (setup.server.store(), setup.folder.path().join("kept"));
    fs::rename(&store, &kept).expect("the store can be moved");
    setup.server.restart();
    running
        .end()
        .ends_with(2)
        .says("pipeline last-page: there is no stream INSURANCE")
        .says("nats stream add INSURANCE");
    // A stream that somebody makes in its place is another one.
    setup.client = Client::connect(&setup.server.url());
    setup.client.make_insurance();
    setup
        .run()
        .catch_up()
        .ends_with(1)
        .says("stream INSURANCE made at")
        .says("--database");
    assert_eq!(setup.contents(), before, "a refusal changes nothing");

    setup.server.kill();
    fs::remove_dir_all(&store).expect("the new store can be removed");
    fs::rename(&kept, &store).expect("the store can be moved back");
    setup.server.restart();
    setup.client = Client::connect(&setup.server.url());
    setup.check_goes_on();
}

#[test]
fn a_stream_that_ends_before_the_position_ends_the_run() {
    let mut setup = Setup::with_events_before();
    setup.server.kill();
    let (store, older) = (setup.server.store(), setup.folder.path().join("older"));
    let newer = setup.folder.path().join("newer");
    copy_folder(&store, &older);
    setup.server.restart();
    setup.client = Client::connect(&setup.server.url());
    let middle = BEFORE + 300;
    setup.client.publish(&setup.events[BEFORE..middle]);
    let mut running = setup.run().start();
    running.wait_for_position(&setup.database(), SCENARIO, middle as u64);
    let before = setup.contents();

    setup.server.kill();
    fs::rename(&store, &newer).expect("the store can be moved");
    fs::rename(&older, &store).expect("the store can be moved");
    setup.server.restart();
    let says = |outcome: Outcome| {
        outcome
            .ends_with(1)
            .says(&format!("up to sequence {middle}, but the stream ends at {BEFORE}"))
            .says("name another --database, or restore the stream")
    };
    says(running.end());
    says(setup.run().catch_up());
    assert_eq!(setup.contents(), before, "a refusal changes nothing");

    setup.server.kill();
    fs::remove_dir_all(&store).expect("the older store can be removed");
    fs::rename(&newer, &store).expect("the store can be moved back");
    setup.server.restart();
    setup.client = Client::connect(&setup.server.url());
    setup.client.publish(&setup.events[middle..]);
    setup.run().catch_up().ends_with(0);
    assert_eq!(setup.contents(), setup.straight());
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("it has a type").is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a file can be copied")),
        }
    }
}

#[test]
fn a_stream_made_anew_under_a_run_ends_it() {
    let setup = Setup::with_events_before();
    let mut running = setup.run().start();
    running.wait_for_position(&setup.database(), SCENARIO, BEFORE as u64);
    let before = setup.contents();
    // Stopped, it cannot see that there was none in between. The server answers questions in their order: what the run had still
    // asked is answered by then.
    running.send(libc::SIGSTOP);
    setup.client.stream_names();
    setup.client.delete_stream(INSURANCE);
    setup.client.make_insurance();
    setup.client.publish(&setup.events);
    running.send(libc::SIGCONT);
    running
        .end()
        .ends_with(1)
        .says("stream INSURANCE was deleted and made anew while it was read")
        .says("--database");
    assert_eq!(setup.contents(), before, "what was committed stays");
}

#[test]
fn an_outbox_that_cannot_be_emptied_ends_the_run() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    client.make_alerts(Duration::from_secs(120));
    let case = case("premium-drop/s2_2000");
    let folder = scratch();
    let database = folder.path().join("premium-drop.db");
    load_customers(case.lookup_start.as_deref().expect("premium-drop looks up"), &database);
    let run = || Run::new(folder.path(), &server.url(), [pipeline("premium-drop")]);
    let connection = Connection::open(&database).expect("the database can be opened");
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON weir_outbox BEGIN SELECT RAISE(ABORT, 'not yet'); END";

    let mut running = run().start();
    running.wait_for_word("from sequence");
    // Before a start it would be found.
    connection.execute_batch(refuse).expect("a trigger can be made");
    let last = client.publish(&of_case(&case));
    running
        .end()
        .ends_with(1)
        .says("cannot write the outbox of premium-drop.db: not yet");
    let committed = position(&database, "premium-drop");
    assert!(committed > 0, "what was committed stays");
    connection
        .execute_batch("DROP TRIGGER refuse")
        .expect("a trigger can be removed");
    drop(connection);
    run().catch_up().ends_with(0);
    assert_eq!(position(&database, "premium-drop"), last);
    assert_eq!(outbox(&database), [], "nothing waits");

    let straight = folder.path().join("straight.db");
    load_customers(case.lookup_start.as_deref().expect("premium-drop looks up"), &straight);
    let found = client.messages(ALERTS, "alerts.premium-drop");
    // Without a stream of alerts all of them stay in the outbox.
    client.delete_stream(ALERTS);
    run().with(["--database", "straight.db"]).catch_up().ends_with(0);
    assert_eq!(
        payloads(&found),
        payloads(&outbox(&straight)),
        "each alert once, in order"
    );
}
