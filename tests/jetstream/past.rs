//! `weir replay --from-stream`: the stream once more, beside whatever reads it, and with other rules.

use crate::{
    cuts::Proxy,
    events::{Event, case, made_up, of_case, scenario_of, subject_of, write_customers},
    kills::outbox,
    process::{Run, Running, database, load_customers, position, weir},
    server::{Client, INSURANCE},
    wait_until,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use weir_tests::{
    command::Outcome,
    golden::{Case, cases},
    nats::NatsServer,
    oracle, pipeline, scratch, seed,
    table::{Cell, Contents, contents, read},
};

/// A server with the stream, and a folder.
struct Setup {
    server: NatsServer,
    client: Client,
    folder: TempDir,
}

impl Setup {
    fn new() -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_insurance();
        Self {
            server,
            client,
            folder: scratch(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replay(&self, scenario: &str, database: &str) -> Run {
        Run::replay(self.folder.path(), &self.server.url(), &pipeline(scenario), database)
    }

    /// Replays to the end, and checks that nothing is left of it on the server.
    #[track_caller]
    fn replayed(&self, scenario: &str, database: &str, arguments: &[&str]) -> Contents {
        let before = self.client.consumer_names();
        let outcome = self.replay(scenario, database).with(arguments).start().end();
        let outcome = outcome.ends_with(0);
        assert!(outcome.stdout.starts_with("replayed "), "{}", outcome.stdout);
        assert_eq!(
            self.client.consumer_names(),
            before,
            "{arguments:?}: no consumer is left"
        );
        for left in ["-wal", "-shm"] {
            let left = self.path(&format!("{database}{left}"));
            assert!(!left.exists(), "{} is left", left.display());
        }
        contents(&self.path(database))
    }

    #[track_caller]
    fn refused(&self, scenario: &str, database: &str, arguments: &[&str], code: i32) -> Outcome {
        let outcome = self.replay(scenario, database).with(arguments).start().end();
        let outcome = outcome.ends_with(code);
        assert_eq!(self.client.consumer_names(), Vec::<String>::new(), "{arguments:?}");
        outcome
    }

    fn run(&self, scenario: &str, database: &str) -> Run {
        let run = Run::new(self.folder.path(), &self.server.url(), [pipeline(scenario)]);
        run.with(["--database", database])
    }
}

#[test]
fn the_whole_stream_gives_the_tables_of_the_reference_engine() {
    let setup = Setup::new();
    for case in cases().into_iter().filter(crate::events::is_of_the_reference) {
        check_whole(&setup, &case);
        setup.client.delete_stream(INSURANCE);
        setup.client.make_insurance();
    }
}

#[track_caller]
fn check_whole(setup: &Setup, case: &Case) {
    setup.client.publish(&of_case(case));
    let scenario = scenario_of(case);
    for database in ["run.db", "past.db"] {
        let _ = fs::remove_file(setup.path(database));
        if let Some(rows) = &case.lookup_start {
            load_customers(rows, &setup.path(database));
        }
    }
    let past = setup.replayed(scenario, "past.db", &[]);
    case.check(&past);
    setup.run(scenario, "run.db").catch_up().ends_with(0);
    let name = &case.name;
    assert!(
        !setup.path("run.db-wal").exists(),
        "{name}: a run that ended leaves one file"
    );
    assert_eq!(past, contents(&setup.path("run.db")), "{name}: as a run leaves it");
    assert_eq!(outbox(&setup.path("past.db")), [], "{name}: a replay tells nobody");
    let again = setup.replayed(scenario, "past.db", &[]);
    assert_eq!(again, past, "{name}: again, it changes nothing");
}

/// Made-up events of all scenarios, published; the sequences after which the second and the third part begin.
fn publish_in_parts(setup: &Setup, count: usize) -> (Vec<Event>, [u64; 2]) {
    let events = seed::with_seed(|random| made_up(random, count));
    // Each part is stored before the next is sent, so that their times differ.
    let ends = [count / 3, count / 3 + count / 5, count];
    let mut begin = 0;
    for end in ends {
        setup.client.publish(&events[begin..end]);
        begin = end;
    }
    (events, [ends[0] as u64, ends[1] as u64])
}

/// What a replay of a file of these events leaves, of those that belong to the scenario.
fn from_file(setup: &Setup, scenario: &str, events: &[Event]) -> Contents {
    let mut lines = Vec::new();
    for (_, payload) in events.iter().filter(|(subject, _)| *subject == subject_of(scenario)) {
        assert!(!payload.contains(&b'\n'), "a payload is a line");
        lines.extend_from_slice(payload);
        lines.push(b'\n');
    }
    let (input, database) = (setup.path("part.jsonl"), setup.path("part.db"));
    fs::write(&input, lines).expect("a file can be written");
    let _ = fs::remove_file(&database);
    let arguments = ["--now", crate::NOW, "--database", "part.db", "--input", "part.jsonl"];
    let mut command = vec!["replay".into(), pipeline(scenario).into_os_string()];
    command.extend(arguments.map(Into::into));
    weir().run_in(setup.folder.path(), command).ends_with(0);
    contents(&database)
}

#[test]
fn a_range_by_sequence_or_by_time_holds_both_its_ends() {
    let setup = Setup::new();
    let (events, [begin, end]) = publish_in_parts(&setup, 3_000);
    let time = |sequence| in_words(setup.client.stored_at(sequence));
    let (first, last) = ((begin + 1).to_string(), end.to_string());
    let (first_time, last_time) = (time(begin + 1), time(end));
    let scenario = "last-page";
    let part = &events[begin as usize..end as usize];
    let expected = from_file(&setup, scenario, part);
    assert!(expected.counts.applied > 100 && expected.counts.dead_letters > 0);

    let by_sequence = setup.replayed(scenario, "sequence.db", &["--from", &first, "--to", &last]);
    assert_eq!(
        (&by_sequence.tables, by_sequence.counts),
        (&expected.tables, expected.counts)
    );
    for (name, from, to) in [
        ("time.db", &*first_time, &*last_time),
        ("mixed.db", &first, &last_time),
        ("other.db", &first_time, &last),
    ] {
        let found = setup.replayed(scenario, name, &["--from", from, "--to", to]);
        assert_eq!(found, by_sequence, "{from} to {to}");
    }

    // One end alone, and ends at which no message of this subject stands.
    let until = setup.replayed(scenario, "until.db", &["--to", &last_time]);
    let expected = from_file(&setup, scenario, &events[..end as usize]);
    assert_eq!((&until.tables, until.counts), (&expected.tables, expected.counts));
    let since = setup.replayed(scenario, "since.db", &["--from", &first_time]);
    let expected = from_file(&setup, scenario, &events[begin as usize..]);
    assert_eq!((&since.tables, since.counts), (&expected.tables, expected.counts));
    for to in end..end + 6 {
        let to = to.to_string();
        let name = format!("{to}.db");
        let found = setup.replayed(scenario, &name, &["--from", &first, "--to", &to]);
        let expected = from_file(&setup, scenario, &events[begin as usize..to.parse().unwrap()]);
        assert_eq!(
            (&found.tables, found.counts),
            (&expected.tables, expected.counts),
            "to {to}"
        );
    }

    // After the last message there is nothing, and before the first one neither.
    let none = setup.replayed(scenario, "none.db", &["--from", "2200-01-01T00:00:00Z"]);
    assert_eq!((none.counts.events, none.position), (0, 0));
    let none = setup.replayed(scenario, "before.db", &["--to", "2000-01-01T00:00:00Z"]);
    assert_eq!((none.counts.events, none.position), (0, 0));
    let all = setup.replayed(scenario, "all.db", &["--from", "2000-01-01T00:00:00Z"]);
    assert_eq!(all.position, last_of(&events, scenario));
}

/// An instant in RFC 3339, to the nanosecond.
fn in_words(nanoseconds: i128) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanoseconds);
    time.expect("messages are stored in our time").to_string()
}

/// The sequence of the last event of a scenario.
fn last_of(events: &[Event], scenario: &str) -> u64 {
    let last = events.iter().rposition(|(subject, _)| *subject == subject_of(scenario));
    last.map_or(0, |index| index as u64 + 1)
}

#[test]
fn a_scratch_database_is_gone_on_with_by_the_same_replay_alone() {
    let setup = Setup::new();
    let (_, [begin, end]) = publish_in_parts(&setup, 3_000);
    let (begin, end) = (begin.to_string(), end.to_string());
    let scenario = "premium-drop";
    let rows = setup.path("customers.jsonl");
    write_customers(&rows);
    for name in ["whole.db", "parts.db", "run.db"] {
        load_customers(&rows, &setup.path(name));
    }
    let whole = setup.replayed(scenario, "whole.db", &[]);
    let first = setup.replayed(scenario, "parts.db", &["--to", &begin]);
    assert!(first.counts.applied > 0 && first.counts.events < whole.counts.events);
    setup.replayed(scenario, "parts.db", &["--to", &end]);
    setup
        .replay(scenario, "parts.db")
        .start()
        .end()
        .ends_with(0)
        .says("continuing after sequence");
    assert_eq!(contents(&setup.path("parts.db")), whole);

    let beyond = "which is beyond --to, sequence";
    setup.refused(scenario, "parts.db", &["--to", &begin], 1).says(beyond);
    let other = "parts.db was filled from a replay of stream INSURANCE made at";
    for arguments in [
        &["--from", &begin][..],
        &["--param", "premium-drop.ratio=0.9"],
        &["--param", "saved-orders.events=save_success"],
    ] {
        setup.refused(scenario, "parts.db", arguments, 1).says(other);
    }
    setup.run(scenario, "parts.db").catch_up().ends_with(1).says(other);
    setup.run(scenario, "run.db").catch_up().ends_with(0);
    let run = setup.replay(scenario, "run.db").start().end().ends_with(1);
    run.says("run.db was filled from stream INSURANCE made at");
    assert_eq!(contents(&setup.path("parts.db")), whole, "refusals change nothing");
}

#[test]
fn a_pipeline_that_runs_is_not_disturbed() {
    let setup = Setup::new();
    let (events, [_, end]) = publish_in_parts(&setup, 9_000);
    let scenario = "last-page";
    let mut running = setup.run(scenario, "run.db").start();
    running.wait_for_position(&setup.path("run.db"), scenario, last_of(&events, scenario));
    let before = setup.client.consumer(scenario);

    let part = setup.replayed(scenario, "past.db", &["--to", &end.to_string()]);
    assert_eq!(part.counts, from_file(&setup, scenario, &events[..end as usize]).counts);
    let more = setup
        .client
        .publish(&[(subject_of(scenario), br#"{"account_id":"late"}"#.to_vec())]);
    running.wait_for_position(&setup.path("run.db"), scenario, more);
    let after = setup.client.consumer(scenario);
    assert_eq!(
        (&after.name, after.created),
        (&before.name, before.created),
        "the same consumer"
    );
    running.interrupt().ends_with(0);
    setup.client.check_acknowledged(scenario, more);
    let run = contents(&setup.path("run.db"));
    assert_eq!(run, setup.replayed(scenario, "whole.db", &[]));
}

#[test]
fn now_is_the_store_time_unless_it_is_said() {
    let setup = Setup::new();
    publish_in_parts(&setup, 3_000);
    let url = setup.server.url();
    let hourly = pipeline("hourly-orders");
    let command = |verb: &[&str], database: &str| {
        let mut command = vec![verb[0].into(), hourly.clone().into_os_string()];
        command.extend(verb[1..].iter().map(Into::into));
        command.extend(["--nats", &url, "--database", database].map(Into::into));
        weir().run_in(setup.folder.path(), command).ends_with(0);
        contents(&setup.path(database))
    };
    let run = command(&["run", "--until-caught-up"], "run.db");
    assert!(run.dead_letters.iter().any(|letter| letter.time_ms > 1_773_547_200_000));
    assert_eq!(command(&["replay", "--from-stream"], "past.db"), run);
}

#[test]
fn a_server_that_is_killed_meanwhile_is_waited_for() {
    let mut setup = Setup::new();
    let events = seed::with_seed(|random| made_up(random, 40_000));
    setup.client.publish(&events);
    // In batches of one, so that it is still under way.
    let slow = |setup: &Setup| -> Running {
        let mut running = setup.replay("last-page", "past.db").with(["--batch", "1"]).start();
        running.wait_for_word("replaying stream INSURANCE");
        running
    };
    let mut running = slow(&setup);
    setup.server.kill();
    running.wait_for_word("lost the connection to NATS");
    setup.server.restart();
    running.end().ends_with(0);
    setup.client = Client::connect(&setup.server.url());
    assert_eq!(setup.client.consumer_names(), Vec::<String>::new());
    assert_eq!(
        contents(&setup.path("past.db")),
        setup.replayed("last-page", "straight.db", &[])
    );

    // One that is interrupted says so, and is gone on with.
    fs::remove_file(setup.path("past.db")).expect("the database is there");
    let outcome = slow(&setup).interrupt().ends_with(1);
    outcome.says("the same command goes on from there");
    assert_eq!(setup.client.consumer_names(), Vec::<String>::new());
    let whole = setup.replayed("last-page", "past.db", &[]);
    assert_eq!(whole, contents(&setup.path("straight.db")));
}

#[test]
fn what_is_lost_on_the_way_comes_again() {
    let setup = Setup::new();
    let events = seed::with_seed(|random| made_up(random, 60_000));
    setup.client.publish(&events);
    let proxy = Proxy::start(&setup.server.url());
    let (folder, scenario) = (setup.folder.path(), pipeline("last-page"));
    let run = Run::replay(folder, &proxy.url, &scenario, "cut.db").with(["--batch", "1"]);
    let mut running = run.start();
    running.wait_for_word("replaying stream INSURANCE");
    for cuts in 1..=2 {
        // From here on the server delivers into nothing, until nothing more is committed.
        proxy.swallow(true);
        let mut before = None;
        wait_until("the last of what arrived", || {
            std::thread::park_timeout(Duration::from_millis(100));
            let now = position(&setup.path("cut.db"), "last-page");
            before.replace(now) == Some(now)
        });
        proxy.cut();
        proxy.swallow(false);
        let again = "connected to NATS";
        wait_until(again, || running.said().matches(again).count() == cuts);
    }
    running.end().ends_with(0);
    assert_eq!(setup.client.consumer_names(), Vec::<String>::new());
    assert_eq!(
        contents(&setup.path("cut.db")),
        setup.replayed("last-page", "straight.db", &[])
    );
}

#[test]
fn what_is_gone_is_not_asked_for_in_silence() {
    let setup = Setup::new();
    let events = of_case(&case("last-page/s3_2000"));
    setup.client.publish(&events[..700]);
    setup.client.publish(&events[700..]);
    let before_all = in_words(setup.client.stored_at(1) - 1);
    setup.client.purge_below(701);
    let scenario = "last-page";
    for from in ["500", "700", &before_all] {
        let outcome = setup.refused(scenario, "past.db", &["--from", from], 2);
        outcome
            .says("stream INSURANCE begins at sequence 701")
            .says("Say --from 701");
        assert!(!setup.path("past.db").exists(), "nothing was made");
    }
    for (arguments, said) in [
        (
            &["--from", "2002"][..],
            "--from is sequence 2002, but stream INSURANCE ends at sequence 2000",
        ),
        (
            &["--from", "900", "--to", "800"],
            "--from is sequence 900, which is after --to, sequence 800",
        ),
        (
            &["--from", "0"],
            "accepted is a stream sequence, from 1 on, or an instant in RFC 3339",
        ),
        (
            &["--from", "yesterday"],
            "accepted is a stream sequence, from 1 on, or an instant in RFC 3339",
        ),
    ] {
        setup.refused(scenario, "past.db", arguments, 2).says(said);
    }
    let rest = setup.replayed(scenario, "past.db", &["--from", "701"]);
    assert_eq!(rest.counts.events, 1_300);
    assert_eq!(setup.replayed(scenario, "all.db", &[]), rest);
    assert_eq!(setup.replayed(scenario, "end.db", &["--from", "2001"]).counts.events, 0);

    // A scratch database whose next message is gone.
    setup.replayed(scenario, "part.db", &["--to", "900"]);
    setup.client.purge_below(1_001);
    let outcome = setup.refused(scenario, "part.db", &[], 1);
    outcome.says("the database ends at 900").says("into another --database");
}

#[test]
fn what_was_removed_from_the_middle_is_said() {
    let setup = Setup::new();
    let events = of_case(&case("last-page/s3_2000"));
    setup.client.publish(&events[..100]);
    for sequence in [30, 50] {
        setup.client.delete_message("INSURANCE", sequence);
    }
    let replay = |database: &str, arguments: &[&str]| {
        let run = setup.replay("last-page", database).with(arguments);
        run.start().end().ends_with(0).stderr
    };
    for (index, (arguments, said)) in [
        (
            &["--from", "1"][..],
            Some("is not whole from sequence 1 to 100: 2 messages were removed"),
        ),
        (&["--from", "30"], Some("from sequence 30 to 100: 2 messages")),
        (&["--from", "31"], Some("from sequence 31 to 100: 1 message were")),
        (&["--from", "1", "--to", "29"], None),
        (&["--to", "30"], Some("from sequence 1 to 30: 1 message")),
        (&["--from", "51"], None),
        (&[], None),
    ]
    .into_iter()
    .enumerate()
    {
        let stderr = replay(&format!("{index}.db"), arguments);
        let said = said.map(|said| said.replace("1 message were", "1 message was"));
        match said {
            Some(said) => assert!(stderr.contains(&said), "{arguments:?}: {stderr}"),
            None => assert!(!stderr.contains("is not whole"), "{arguments:?}: {stderr}"),
        }
    }
    setup.client.purge("INSURANCE");
    setup
        .refused("last-page", "purged.db", &["--from", "2"], 2)
        .says("is empty");
}

/// The alerts of premium-drop as `ratio` and `events` have them, by a model that takes one event at a time.
fn alerts(case: &Case, ratio: f64, events: &[&str]) -> Vec<Vec<Cell>> {
    let columns = oracle::columns_of(&case.pipeline);
    let file = weir::definition::File::read(&case.pipeline).expect("the pipeline file can be read");
    let definition = file.parse().expect("the pipeline file is one");
    let declared = definition.source.into_inner().columns;
    let declared = declared.expect("the source has one input, without a name").0;
    let names: Vec<String> = declared.into_iter().map(|(name, _)| name.into_inner()).collect();
    let at = |name: &str| {
        names
            .iter()
            .position(|known| known == name)
            .expect("the column is declared")
    };
    let number = |cell: &Cell| match cell {
        Cell::Text(text) => Some(text.trim().parse::<f64>().expect("premiums are numbers")),
        _ => None,
    };

    let mut known: BTreeMap<Cell, (Cell, Cell)> = BTreeMap::new();
    for line in case
        .lookup_bytes()
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let row: serde_json::Value = serde_json::from_slice(line).expect("rows are JSON");
        let text = |name: &str| {
            row[name]
                .as_str()
                .map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
        };
        let id = Cell::Int(row["id"].as_i64().expect("customers have an id"));
        known.insert(id, (text("raw_premium"), text("raw_info")));
    }
    let mut alerts = BTreeMap::new();
    for (_, payload) in of_case(case) {
        let oracle::Outcome::Row(row) = oracle::decode(&payload, &columns) else {
            continue;
        };
        let cell = |name: &str| row[at(name)].clone();
        let counts = events.is_empty()
            || events
                .iter()
                .any(|event| cell("event") == Cell::Text((*event).to_owned()));
        let Some((raw_premium, raw_info)) = known.get_mut(&cell("id")).filter(|_| counts) else {
            continue;
        };
        let (now_premium, now_info) = (cell("now_premium"), cell("now_info"));
        let dropped = number(&now_premium)
            .zip(number(raw_premium))
            .is_some_and(|(now, raw)| now < raw * ratio);
        if dropped {
            let alert = [
                cell("id"),
                raw_info.clone(),
                now_info.clone(),
                raw_premium.clone(),
                now_premium.clone(),
            ];
            alerts.insert(cell("id"), alert.to_vec());
        }
        (*raw_premium, *raw_info) = (now_premium, now_info);
    }
    alerts.into_values().collect()
}

#[test]
fn other_parameters_and_modules_give_other_alerts() {
    let setup = Setup::new();
    let case = case("premium-drop/s2_2000");
    setup.client.publish(&of_case(&case));
    let rows = case.lookup_start.clone().expect("premium-drop looks up");
    let replayed = |name: &str, arguments: &[&str]| {
        load_customers(&rows, &setup.path(name));
        setup.replayed("premium-drop", name, arguments);
        let table = read(&setup.path(name), "wechat_activity_user");
        assert_eq!(
            table.columns,
            ["id", "raw_info", "now_info", "raw_premium", "now_premium"]
        );
        table.rows
    };
    let as_it_is = replayed("as-it-is.db", &[]);
    assert_eq!(as_it_is, alerts(&case, 0.85, &[]));
    let earlier = replayed("earlier.db", &["--param", "premium-drop.ratio=0.9"]);
    assert_eq!(earlier, alerts(&case, 0.9, &[]));
    assert_ne!(earlier, as_it_is);
    let both = [
        "--param",
        "premium-drop.ratio=1",
        "--param",
        "saved-orders.events=save_success",
    ];
    assert_eq!(replayed("both.db", &both), alerts(&case, 1.0, &["save_success"]));

    // A pipeline file whose module is not there: what --with names is in its place, with the file's parameters.
    let text = fs::read_to_string(&case.pipeline).expect("the pipeline file can be read");
    let module = |name: &str| weir_tests::guest(name).display().to_string();
    let text = text
        .replace("../../target/guests/saved-orders.wasm", &module("saved-orders"))
        .replace("../../target/guests/premium-drop.wasm", "missing.wasm")
        .replace("ratio = 0.85", "ratio = 0.8");
    fs::write(setup.path("missing.toml"), text).expect("a file can be written");
    let with = format!("premium-drop={}", module("premium-drop"));
    let replay = |database: &str, arguments: &[&str]| {
        let pipeline = Path::new("missing.toml");
        let run = Run::replay(setup.folder.path(), &setup.server.url(), pipeline, database);
        run.with(arguments).start().end()
    };
    load_customers(&rows, &setup.path("with.db"));
    replay("with.db", &[]).ends_with(2).says("cannot read module");
    replay("with.db", &["--with", &with]).ends_with(0);
    assert_eq!(
        read(&setup.path("with.db"), "wechat_activity_user").rows,
        alerts(&case, 0.8, &[])
    );
    load_customers(&rows, &setup.path("both-with.db"));
    replay("both-with.db", &["--with", &with, "--param", "premium-drop.ratio=0.7"]).ends_with(0);
    let found = read(&setup.path("both-with.db"), "wechat_activity_user").rows;
    assert_eq!(found, alerts(&case, 0.7, &[]));
    let hourly = format!("premium-drop={}", module("hourly-orders"));
    replay("no.db", &["--with", &hourly])
        .ends_with(2)
        .says("does not fit step \"premium-drop\"");

    assert!(
        !database(setup.folder.path(), "premium-drop").exists(),
        "only what --database names is written"
    );
}
