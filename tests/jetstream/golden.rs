//! Golden cases over a stream: the tables of the reference engine, whatever carries the events.

use crate::{
    events::{SCENARIOS, case, interleaved, of_case, pipelines, scenario_of},
    process::{Run, all_contents, database, load_customers, share_of},
    server::{Client, INSURANCE},
};
use weir_tests::{
    golden::{Case, cases},
    nats::NatsServer,
    scratch, seed,
    table::{Contents, Counts, contents},
};

#[test]
fn every_case_gives_the_tables_of_the_reference_engine() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    for case in cases().into_iter().filter(crate::events::is_of_the_reference) {
        client.make_insurance();
        check(&case, &server, &client);
        client.delete_stream(INSURANCE);
    }
}

#[track_caller]
fn check(case: &Case, server: &NatsServer, client: &Client) {
    let name = &case.name;
    let events = of_case(case);
    let last = client.publish(&events);
    let folder = scratch();
    let database = folder.path().join("golden.db");
    if let Some(rows) = &case.lookup_start {
        load_customers(rows, &database);
    }
    let run = || Run::new(folder.path(), &server.url(), [&case.pipeline]).with(["--database", "golden.db"]);
    run().catch_up().ends_with(0);

    let found = contents(&database);
    case.check(&found);
    check_counts(name, &found, events.len());
    assert_eq!(found.position, last, "{name}: the position is the last message");
    for letter in &found.dead_letters {
        let payload = &events[letter.sequence as usize - 1].1;
        assert_eq!(&letter.payload, payload, "{name}: the payload is kept byte for byte");
    }
    client.check_acknowledged(scenario_of(case), last);

    run().catch_up().ends_with(0);
    assert_eq!(contents(&database), found, "{name}: running again changes nothing");
    client.check_acknowledged(scenario_of(case), last);
}

#[track_caller]
fn check_counts(name: &str, contents: &Contents, count: usize) {
    let Counts {
        events,
        applied,
        filtered,
        dead_letters,
        empty,
        ..
    } = contents.counts;
    assert_eq!(events, count as u64, "{name}: every message is counted");
    assert_eq!(
        events,
        applied + filtered + dead_letters + empty,
        "{name}: the counts add up"
    );
    assert_eq!(
        dead_letters,
        contents.dead_letters.len() as u64,
        "{name}: dead letters are counted"
    );
}

#[test]
fn three_pipelines_read_one_stream_in_one_process() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let chosen = [
        "hourly-orders/s1_2000_dirty",
        "premium-drop/s2_2000_dirty",
        "last-page/s3_2000_dirty",
    ];
    let chosen = chosen.map(case);
    let rows = chosen.iter().map(of_case).collect();
    seed::with_seed(|random| client.publish(&interleaved(random, rows)));

    let folder = scratch();
    let customers = chosen
        .iter()
        .find_map(|case| case.lookup_start.clone())
        .expect("premium-drop looks up");
    load_customers(&customers, &database(folder.path(), "premium-drop"));
    Run::new(folder.path(), &server.url(), pipelines())
        .catch_up()
        .ends_with(0);
    let apart = all_contents(folder.path());
    for case in &chosen {
        let found = &apart[scenario_of(case)];
        case.check(found);
        check_counts(&case.name, found, of_case(case).len());
        client.check_acknowledged(scenario_of(case), found.position);
    }

    let together = folder.path().join("together.db");
    load_customers(&customers, &together);
    let run = || Run::new(folder.path(), &server.url(), pipelines()).with(["--database", "together.db"]);
    run().catch_up().ends_with(0);
    let share = |scenario: &str| share_of(&together, scenario);
    let first = SCENARIOS.map(share);
    for (scenario, found) in SCENARIOS.iter().zip(&first) {
        let expected = share_of(&database(folder.path(), scenario), scenario);
        assert_eq!(found, &expected, "{scenario}: in one database as in its own");
    }
    run().catch_up().ends_with(0);
    assert_eq!(SCENARIOS.map(share), first, "running again changes nothing");
}
